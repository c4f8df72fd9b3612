"""Flows of raw frames through a gateway: what an evader sends, byte by byte, and what came out at both ends.

No kernel answers here: the frames bear addresses and hardware addresses of nobody. A scenario is played anew when the
inspector was away meanwhile (a busy machine), since then it shows the failure policy and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway_between import Between
from patience import send_whole
from recording import RST, Packet, Recorder, packets, recorder

from clearway.lab import frames
from clearway.lab.frames import ACK, PSH, SYN
from clearway.lab.namespace import End

CLIENT_MAC, SERVER_MAC = frames.mac("02:c1:ea:00:0e:01"), frames.mac("02:c1:ea:00:0e:02")
ADDRESSES = {"v4": ("192.0.2.101", "198.51.100.102"), "v6": ("2001:db8:1::101", "2001:db8:64::102")}
START = 0x7FFF_FF00
"""Of each client's bytes: half of the sequence numbers lie before it, half behind."""
SETTLED_S = 0.25
WAITING_S_MAX = 5.0
WATCHED_S = 2.0
"""So long the inspector looks at a flow."""
ATTEMPTS_MAX = 20
_ports = itertools.count(20_000)


@dataclass
class RawWire:
    """Both ends of a gateway, to send at and to look at."""

    between: Between
    sockets: dict[str, socket.socket]
    recorders: dict[str, Recorder] = field(default_factory=dict)

    def send(self, frame: bytes, end: str = "client") -> None:
        send_whole(self.sockets[end], frame)

    def away(self, overflows: bool = False) -> int:
        """Packets that met no inspector, or no room, so far. `overflows`: those of a flow that were over its bound are
        meant to."""
        status = self.between.status()
        dropped = sum(row["packets"] for row in status["counters"] if row["reason"] == "not-inspected")
        facts = status["facts"]
        met = sum(facts.get(word, {"packets": 0})["packets"] for word in ("inspector-away", "hold-full"))
        return int(met + (0 if overflows else dropped))

    def settle(self) -> None:
        """Until the inspector has decided about all that was held, or leaves it waiting for what never comes."""
        deadline = time.monotonic() + WAITING_S_MAX
        while self.between.names()["waiting_packets"] and time.monotonic() < deadline:
            time.sleep(0.01)


@contextlib.contextmanager
def raw_wire(between: Between) -> Iterator[RawWire]:
    def made(end: End) -> socket.socket:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        opened.bind((end.interface, 0))
        return opened

    ends = {"client": between.pair.client, "server": between.pair.server}
    wire = RawWire(between, {word: end.namespace.call(partial(made, end)) for word, end in ends.items()})
    try:
        yield wire
    finally:
        for each in wire.sockets.values():
            each.close()


@dataclass
class Flow:
    """One client's flow. `end`: where the client is; the gateway reads both directions alike."""

    wire: RawWire
    port: int = 443
    family: str = "v4"
    end: str = "client"
    source_port: int = field(default_factory=lambda: next(_ports))
    wrap: Callable[[bytes], bytes] = lambda frame: frame
    """What is put around each frame: tags, labels."""
    is_slow: bool = False
    """Set by a scenario that took too long to mean anything; it is played again."""

    @property
    def addresses(self) -> tuple[str, str]:
        return ADDRESSES[self.family]

    def ip(self, protocol: int, segment: bytes, ttl: int = 64) -> bytes:
        source, destination = self.addresses
        if self.family == "v6":
            return self.frame(frames.ETHER_IPV6, frames.ipv6(source, destination, protocol, segment, hop_limit=ttl))
        return self.frame(frames.ETHER_IPV4, frames.ipv4(source, destination, protocol, segment, ttl=ttl))

    def frame(self, ether_type: int, packet: bytes) -> bytes:
        return self.wrap(frames.ethernet(SERVER_MAC, CLIENT_MAC, ether_type, packet))

    def segment(self, payload: bytes, *, at: int = 0, flags: int = ACK | PSH) -> bytes:
        """TCP: the client's bytes from `at` on."""
        ports = (self.source_port, self.port)
        return frames.tcp(*self.addresses, ports, payload, sequence=(START + at) & 0xFFFF_FFFF, flags=flags)

    def open(self, payload: bytes = b"") -> None:
        """The client's SYN. The server's answer makes no difference to the gateway."""
        self.wire.send(self.ip(6, self.segment(payload, at=-1, flags=SYN)), self.end)

    def data(self, payload: bytes, *, at: int = 0, flags: int = ACK | PSH, ttl: int = 64) -> None:
        self.wire.send(self.ip(6, self.segment(payload, at=at, flags=flags), ttl), self.end)

    def datagram(self, payload: bytes) -> None:
        segment = frames.udp(*self.addresses, self.source_port, self.port, payload)
        self.wire.send(self.ip(17, segment), self.end)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    arrived: list[Packet]
    """Of the client's, with payload, at the far end."""
    answers: list[Packet]
    """Back at the client's end."""
    unreachable: int
    """ICMP to the client."""
    frames: list[bytes]
    """All that reached the far end, whosever it was."""
    moved: dict[str, Any]
    """What `status` says about names: by how much each number grew."""

    @property
    def reset(self) -> bool:
        return any(packet.flags & RST for packet in self.answers)

    def stream(self) -> bytes:
        """The client's bytes that reached the server, put together up to a gap; of each the first copy."""
        known: dict[int, int] = {}
        for packet in self.arrived:
            for place, byte in enumerate(packet.payload, (packet.sequence - START) & 0xFFFF_FFFF):
                known.setdefault(place, byte)
        return bytes(known[place] for place in itertools.takewhile(known.__contains__, itertools.count()))


def growth(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Of numbers, also in sections; what did not move is not there."""
    moved: dict[str, Any] = {}
    for key, value in after.items():
        if isinstance(value, dict):
            inner = growth(before.get(key) or {}, value)
            if inner:
                moved[key] = inner
        elif isinstance(value, int) and not isinstance(value, bool) and value != before.get(key, 0):
            moved[key] = value - before.get(key, 0)
    return moved


def nothing(flow: Flow) -> None:
    """No preparation."""


def play(
    between: Between,
    scenario: Callable[[Flow], None],
    prepared: Callable[[Flow], None] = nothing,
    overflows: bool = False,
    within_s: float = WATCHED_S - 0.5,
    **flow: Any,
) -> Outcome:
    """The scenario in a flow of its own, and again in another one as long as nobody was there to judge it. What
    `prepared` sends before is not recorded. `overflows`: the scenario sends more at once than may wait.
    `within_s`: played again as well where it took longer, since the gateway has forgotten its beginning then."""
    for _ in range(ATTEMPTS_MAX):
        with raw_wire(between) as wire:
            before, away = between.names(), wire.away(overflows)
            acting = Flow(wire, **flow)
            near, far = between.pair.client, between.pair.server
            if acting.end == "server":
                near, far = far, near
            prepared(acting)
            with recorder(near) as at_client, recorder(far) as at_server:
                began = time.monotonic()
                scenario(acting)
                took_s = time.monotonic() - began
                wire.settle()
                arrived = at_server.frames(SETTLED_S)
                back = at_client.frames(SETTLED_S)
            moved = growth(before, between.names())
            if wire.away(overflows) != away or took_s > within_s or acting.is_slow:
                time.sleep(0.2)
                continue
        ports = (acting.source_port, acting.port)
        of_client = [p for p in packets(arrived) if (p.source_port, p.destination_port) == ports and p.payload]
        answers = [p for p in packets(back) if (p.destination_port, p.source_port) == ports]
        unreachable = sum(_is_unreachable(each.data, acting) for each in back)
        return Outcome(of_client, answers, unreachable, [each.data for each in arrived], moved)
    raise AssertionError(f"away, or slower than {within_s} s, in each of {ATTEMPTS_MAX} attempts: a machine too busy")


def _is_unreachable(frame: bytes, flow: Flow) -> bool:
    """ICMP that quotes the flow's ports."""
    ports = flow.source_port.to_bytes(2, "big") + flow.port.to_bytes(2, "big")
    if flow.family == "v4":
        return frame[23:24] == b"\x01" and frame[34:36] == b"\x03\x03" and ports in frame
    return frame[20:21] == b"\x3a" and frame[54:56] == b"\x01\x04" and ports in frame
