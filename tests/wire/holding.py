"""A bare gateway that holds: its TAPs, and an inspector as a thread of the test or as processes of their own.

And numbered segments that have to be held: each flow is a SYN and a request that is not read in the kernel, so it goes
to the inspector, is decided there, and passes. Checksums are wrong, so that nothing merges them; nobody looks at them.
"""

import contextlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bare_gateway import BareGateway, bare_gateway, base_of
from patience import HUNG_S, until
from shortwire import LEFT, RIGHT, ShortWire

from clearway import _engine as engine
from clearway.gateway import inspector_taps
from clearway.gateway.inspector_client import Answering, InspectorClient
from clearway.lab import frames
from clearway.lab.packets import Receiver, Sender

FRAME_BYTES = 256
GROUP_FLOWS = 16
ATTEMPTS_MAX = 8
PACKETS_A_FLOW = 10
_NUMBER_AT = FRAME_BYTES - 8
_LENGTH_AT, _SOURCE_PORT_AT, _SEQUENCE_AT, _FLAGS_AT, _PAYLOAD_AT = 16, 34, 38, 47, 54
_SYN, _ACK = 0x02, 0x10
_REQUEST = b"GET http://clean.example/ HTTP/1.1\r\nHost: clean.example\r\n\r\n"
"""A target in absolute form isn't read in the kernel."""
_FIRST_PORT = 20000


@dataclass
class Taps:
    descriptors: tuple[int, int]
    names: tuple[str, str]


@contextlib.contextmanager
def holding_gateway(wire: ShortWire, program: Path | None = None) -> Iterator[tuple[BareGateway, Taps]]:
    """Both TAPs made and programs on them; the name step runs, and nobody inspects yet. They go with the wire.
    `program`: in place of the gateway's own."""
    name = f"holding-{os.getpid()}"
    with bare_gateway(wire, gro=False, program=program) as gateway:
        descriptors, numbers = wire.gateway.call(lambda: inspector_taps.open_both(name, 1500))
        try:
            wire.gateway.call(lambda: gateway.loader.attach_hold(*numbers))
            gateway.tables.fill(base_of([]))
            gateway.tables.flip()
            gateway.tables.set_names_active(True)
            yield gateway, Taps(descriptors, wire.gateway.call(lambda: inspector_taps.names(name)))
        finally:
            gateway.tables.set_names_active(False)
            for descriptor in descriptors:
                os.close(descriptor)


@contextlib.contextmanager
def inspecting(wire: ShortWire, gateway: BareGateway, taps: Taps, **conduct: Any) -> Iterator[engine.Inspector]:
    """The hold loop in a thread of this process, in the gateway's namespace."""
    inspector = engine.Inspector(taps.descriptors, gateway.loader.map_fds(), **conduct)
    failure: list[BaseException] = []

    def run() -> None:
        try:
            wire.gateway.call(inspector.run)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    inspector.begin()
    wait_for(lambda: gateway.tables.hold_state()["heartbeat_ns"] > 0)
    try:
        yield inspector
    finally:
        inspector.end()
        thread.join(HUNG_S)
    assert not failure and not thread.is_alive(), failure


@contextlib.contextmanager
def inspector_process(wire: ShortWire, gateway: BareGateway, taps: Taps, **conduct: Any) -> Iterator[InspectorClient]:
    """The inspector as the daemon runs it: a keeper and its child, in the gateway's namespace."""
    maps = gateway.loader.map_fds()
    refused: list[dict[str, Any]] = []
    client = wire.gateway.call(
        lambda: InspectorClient(taps.descriptors, maps, Answering(), refused.extend, conduct or None)
    )
    try:
        client.wait_begun()
        yield client
    finally:
        client.close()


def wait_for(condition: Callable[[], object]) -> None:
    until(condition, "waited in vain", 0.001)


def in_peace(attempt: Callable[[int], bool]) -> None:
    """`attempt(number)`, again as long as it answers False: the failure policy acted in it, since a busy machine kept
    the inspector from its core. Then packets pass those that wait, and nothing is proven of the order."""
    assert any(attempt(number) for number in range(ATTEMPTS_MAX)), "the inspector was away in each attempt"


class HeldTraffic:
    """Segments from left to right, packet n of flow n // PACKETS_A_FLOW; the packets of GROUP_FLOWS flows mixed."""

    def __init__(self, wire: ShortWire, gateway: BareGateway | None) -> None:
        """`gateway`: to wait for where the machine is busy."""
        self._gateway = gateway
        self._sender = Sender(wire.left, FRAME_BYTES)
        self._receiver = Receiver(wire.right, FRAME_BYTES)
        header = struct.pack(">HHIIBBHHH", 0, 80, 0, 1, 0x50, _ACK, 512, 0, 0)
        rest = _REQUEST.ljust(FRAME_BYTES - _PAYLOAD_AT, b"x")
        ether_type, packet = frames.ip(LEFT.v4, RIGHT.v4, frames.PROTOCOL_TCP, header + rest)
        frame = frames.ethernet(frames.mac(RIGHT.mac), frames.mac(LEFT.mac), ether_type, packet)
        self._template = np.frombuffer(frame, np.uint8)
        self._arrived: list[np.ndarray[Any, Any]] = []
        self.sent = self.arrived = 0

    def send_group(self, pause_s: float = 0.0) -> None:
        """The next GROUP_FLOWS flows, a packet of each in turn, over that time."""
        first_flow = self.sent // PACKETS_A_FLOW
        flows = first_flow + np.arange(GROUP_FLOWS)
        rows = self._sender.data[:GROUP_FLOWS]
        rows[:] = self._template
        _write(rows, _SOURCE_PORT_AT, (_FIRST_PORT + flows).astype(">u2"))
        next_at = time.monotonic()
        for place in range(PACKETS_A_FLOW):
            sequence = 1001 + (place - 1) * (FRAME_BYTES - _PAYLOAD_AT) if place else 1000
            # the SYN carries no data: what follows its header is padding, the number in it too
            _write(rows, _LENGTH_AT, np.full(GROUP_FLOWS, FRAME_BYTES - 14 if place else 40, ">u2"))
            _write(rows, _SEQUENCE_AT, np.full(GROUP_FLOWS, sequence, ">u4"))
            rows[:, _FLAGS_AT] = _ACK if place else _SYN
            _write(rows, _NUMBER_AT, (flows * PACKETS_A_FLOW + place).astype(">u8"))
            self._sender.send(GROUP_FLOWS)
            next_at += pause_s / PACKETS_A_FLOW
            while self.receive() or time.monotonic() < next_at:
                pass
        self.sent += GROUP_FLOWS * PACKETS_A_FLOW

    def receive(self) -> int:
        got, _ = self._receiver.receive()
        if got:
            self._arrived.append(self._receiver.data[:got, _NUMBER_AT:].copy().view(">u8").reshape(-1))
            self.arrived += got
        return got

    def run(self, flows: int, pause_s: float) -> None:
        """Sends that many flows, a group in `pause_s` and none while many packets wait; takes in what arrives."""
        while self.sent < flows * PACKETS_A_FLOW:
            self.send_group(pause_s)
            while self.receive() or self._many_wait():
                pass

    def _many_wait(self) -> bool:
        """Over a quarter of what the programs allow, in front of an inspector that is at work: the machine is busy."""
        if self._gateway is None:
            return False
        state = self._gateway.tables.hold_state()
        many = state["held"] - state["released"] > engine.LIMITS["TAP_PACKETS_MAX"] // 4
        age_ns = engine.boot_clock_ns() - int(state["heartbeat_ns"])
        return many and age_ns < engine.LIMITS["HEARTBEAT_STALE_MS"] * 1_000_000

    def settle(self, quiet_s: float = 0.5, wanted: int = 0) -> None:
        """Takes in what still comes, until nothing has for a while. `wanted`: so many in all are waited for."""
        begun = last = time.monotonic()
        while time.monotonic() < last + quiet_s or (self.arrived < wanted and time.monotonic() < begun + HUNG_S):
            if self.receive():
                last = time.monotonic()

    @property
    def numbers(self) -> np.ndarray[Any, Any]:
        return np.concatenate(self._arrived).astype(np.int64) if self._arrived else np.zeros(0, np.int64)

    def judged(self) -> tuple[int, int, int]:
        """Lost, doubled, and come after a later one of its flow."""
        numbers = self.numbers
        distinct = len(np.unique(numbers))
        return self.sent - distinct, len(numbers) - distinct, len(self.late_flows())

    def late_flows(self) -> np.ndarray[Any, Any]:
        """The flow of each packet that came after a later one of it."""
        numbers = self.numbers
        first_at = np.unique(numbers, return_index=True)[1]
        in_order = numbers[np.sort(first_at)]
        by_flow = in_order[np.argsort(in_order // PACKETS_A_FLOW, kind="stable")]
        late: np.ndarray[Any, Any] = by_flow[by_flow < np.maximum.accumulate(by_flow)] if len(by_flow) else by_flow
        return late // PACKETS_A_FLOW

    def close(self) -> None:
        assert self._receiver.statistics() == 0, "the receiving socket lost frames: nothing is proven"
        self._sender.close()
        self._receiver.close()


def _write(rows: np.ndarray[Any, Any], at: int, values: np.ndarray[Any, Any]) -> None:
    """A big-endian field of each row."""
    rows[:, at : at + values.itemsize] = values.view(np.uint8).reshape(len(rows), values.itemsize)
