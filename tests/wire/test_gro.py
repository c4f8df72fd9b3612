"""GRO merges segments in front of the programs; cut apart again they are byte for byte what came. Two exceptions.

The sending host's TSO is off, or a veth merges nothing. A sender's own core polls after each frame, which leaves
nothing to merge: so GRO waits a few milliseconds for more (gro_flush_timeout); in a card's ring they would be there.
The outgoing port's TSO, GSO and checksums are off, so the kernel itself cuts super-packets apart and finishes their
checksums on the way out, as a card does. Every test first makes sure that merging happened.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from bare_gateway import BareGateway, bare_gateway, publish
from capture import Capture, capture
from patience import until
from shortwire import LEFT, RIGHT, ShortWire, set_port

from clearway import _engine as engine
from clearway.lab import frames
from clearway.lab.packets import Sender

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces]

SEGMENTS = 40
SEGMENT_BYTES = 1000
FLUSH_NS = 5_000_000
BURSTS_MAX = 20
HERE, THERE = frames.mac(LEFT.mac), frames.mac(RIGHT.mac)


@dataclass(frozen=True)
class Merging:
    """A wire whose gateway merges what comes in from the left and cuts it apart towards the right."""

    wire: ShortWire
    gateway: BareGateway
    arrivals: Capture

    def send(self, sent: list[bytes], arrive: bool = True) -> list[bytes]:
        """All in one burst; what comes out at the far end. `arrive`: waits for as many."""
        sender = Sender(self.wire.left, len(sent[0]))
        sender.data[: len(sent)] = np.frombuffer(b"".join(sent), np.uint8).reshape(len(sent), -1)
        sender.send(len(sent))
        sender.close()
        return self.arrivals.frames(len(sent) if arrive else 0)

    def merged(self) -> int:
        """Packets that came in a super-packet."""
        return self.gateway.tables.facts().get(engine.Fact.SUPER_PACKET, (0, 0))[0]


@pytest.fixture
def merging(wire: ShortWire) -> Iterator[Merging]:
    wire.left.offload(tso=False, gso=False)
    set_port(wire.inside, "gro_flush_timeout", FLUSH_NS)
    with bare_gateway(wire, gro=True) as gateway, capture(wire.right) as arrivals:
        wire.outside.offload(tso=False, gso=False, tx=False)
        yield Merging(wire, gateway, arrivals)


def segments(family: str = "v4", *, identification: int | None = None, **tcp: object) -> list[bytes]:
    """A burst of one flow; the last one pushes. `identification`: the same for all, else it counts up."""
    source, destination = getattr(LEFT, family), getattr(RIGHT, family)
    made = []
    for n in range(SEGMENTS):
        payload = bytes((n + i) & 0xFF for i in range(SEGMENT_BYTES))
        flags = frames.ACK | (frames.PSH if n == SEGMENTS - 1 else 0)
        fields = {"sequence": 1 + n * SEGMENT_BYTES, "flags": flags, **tcp}
        fields = {key: value(n) if callable(value) else value for key, value in fields.items()}
        segment = frames.tcp(source, destination, (1000, 443), payload, **fields)  # type: ignore[arg-type]
        if family == "v6":
            packet = frames.ipv6(source, destination, 6, segment, flow=0x12345)
        else:
            number = n + 7 if identification is None else identification
            packet = frames.ipv4(source, destination, 6, segment, identification=number, tos=0x10, ttl=63)
        made.append(frames.ethernet(THERE, HERE, 0x86DD if family == "v6" else 0x0800, packet))
    return made


TIMESTAMP = bytes([1, 1, 8, 10]) + bytes.fromhex("0000123400005678")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(segments("v4"), id="ipv4"),
        pytest.param(segments("v4", identification=0), id="ipv4-fixed-identification"),
        pytest.param(segments("v4", options=TIMESTAMP), id="ipv4-timestamps"),
        pytest.param(segments("v4", window=1234), id="ipv4-window"),
        pytest.param(segments("v6"), id="ipv6"),
        pytest.param(segments("v6", options=TIMESTAMP), id="ipv6-timestamps"),
    ],
)
def test_merged_segments_come_out_as_they_came_in(merging: Merging, sent: list[bytes]) -> None:
    got = merging.send(sent)
    assert merging.merged() > SEGMENTS / 2
    assert got == sent


@pytest.mark.parametrize("tags", [[(0x8100, 0x6005)], [(0x8100, 5), (0x88A8, 7)]], ids=["vlan", "qinq"])
def test_tagged_segments_come_out_as_they_came_in(merging: Merging, tags: list[tuple[int, int]]) -> None:
    """Merged or not: a kernel without 802.1Q has no GRO for them."""
    sent = segments()
    for kind, tci in tags:
        sent = [frames.vlan(kind, tci, frame) for frame in sent]
    assert merging.send(sent) == sent
    assert merging.gateway.counted() == {"forwarded": SEGMENTS}


def test_a_super_packet_counts_its_segments(merging: Merging) -> None:
    merging.send(segments())
    assert merging.merged() > SEGMENTS / 2
    assert merging.gateway.counted() == {"forwarded": SEGMENTS}


def test_a_super_packet_to_a_listed_host_is_dropped_whole(merging: Merging) -> None:
    publish(merging.gateway.tables, RIGHT.v4)
    assert merging.send(segments(), arrive=False) == []
    until(lambda: sum(merging.gateway.counted().values()) == SEGMENTS, "not all are counted")
    assert merging.arrivals.frames() == []
    assert merging.gateway.counted() == {"listed-destination": SEGMENTS}


def test_exception_one_an_urgent_pointer_without_its_flag_is_overwritten(merging: Merging) -> None:
    """RFC 9293 gives it no meaning without URG. GRO keeps the first segment's; the checksum follows; nothing else."""
    sent = segments(urgent=lambda n: n + 1)
    got = merging.send(sent)
    assert merging.merged() > SEGMENTS / 2
    assert len(got) == len(sent)
    assert got != sent
    checksum_and_urgent = slice(34 + 16, 34 + 20)
    for came, went in zip(got, sent, strict=True):
        assert came[: checksum_and_urgent.start] == went[: checksum_and_urgent.start]
        assert came[checksum_and_urgent.stop :] == went[checksum_and_urgent.stop :]
        segment = came[34:]
        assert frames.checksum(frames.pseudo_header(LEFT.v4, RIGHT.v4, 6, len(segment)) + segment) == 0


def test_an_urgent_pointer_with_its_flag_is_kept(merging: Merging) -> None:
    sent = segments(urgent=lambda n: n + 1, flags=frames.ACK | frames.URG)
    assert merging.send(sent) == sent


def test_exception_two_a_frame_with_a_bad_checksum_overtakes_merged_ones(merging: Merging) -> None:
    """It can't be merged, so it goes on at once, while those before it still wait for more. All bytes are kept.
    In one of several bursts: a machine that is interrupted amid one hands on what waited."""
    sent = segments()
    bad = bytearray(sent[20])
    bad[-1] ^= 0xFF
    sent[20] = bytes(bad)
    for _ in range(BURSTS_MAX):
        got = merging.send(sent)
        assert merging.merged() > 0
        assert sorted(got) == sorted(sent)
        assert [frame for frame in got if frame != sent[20]] == [frame for frame in sent if frame != sent[20]]
        if got.index(sent[20]) < 20:
            break
    assert got.index(sent[20]) < 20
