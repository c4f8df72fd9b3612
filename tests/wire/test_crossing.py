"""What crosses is byte for byte what came; what doesn't is counted, and leaks nowhere.

The programs alone, on a short wire, without a daemon. Frames are those of the corpus: every kind that is forwarded,
tags and labels and what is not IP among them, and every kind that is not.
"""

import json
from collections import Counter

import pytest
from bare_gateway import bare_gateway, publish
from capture import capture, injector
from make_corpus import CORPUS, SECTIONS
from patience import until
from shortwire import LEFT, RIGHT, ShortWire

from clearway import _engine as engine
from clearway.lab import frames
from clearway.lab.namespace import End

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces]

HERE, THERE = frames.mac(LEFT.mac), frames.mac(RIGHT.mac)


# how the programs sit: arguments of bare_gateway
HOOKS: dict[str, dict[str, bool]] = {
    "tcx": {},
    "tcx-gro": {"gro": True},
    "xdp-drops": {"xdp": True},
    "xdp-forwards": {"xdp": True, "xdp_forward": True},
}
hooks = pytest.mark.parametrize("hook", HOOKS.values(), ids=list(HOOKS))
outbound_and_inbound = pytest.mark.parametrize("outbound", [True, False], ids=["outbound", "inbound"])


def corpus(forwarded: bool) -> list[bytes]:
    """But for runts that no port hands on: the kernel itself drops a tagged frame with less than two bytes behind."""
    cases = [json.loads(line) for section in SECTIONS for line in (CORPUS / f"{section}.jsonl").open()]
    sent = [bytes.fromhex(case["frame"]) for case in cases if (case["reason"] == "forwarded") is forwarded]
    return [frame for frame in sent if frame[12:14] not in (b"\x81\x00", b"\x88\xa8") or len(frame) >= 20]


def crossed(sent: list[bytes], source: End, target: End, wanted: int | None = None) -> list[bytes]:
    """What arrives at `target` of what is sent at `source`. `wanted`: so many are waited for, in place of all."""
    with capture(target) as listening, injector(source) as sending:
        sending.send(*sent)
        return listening.frames(len(sent) if wanted is None else wanted)


def udp(source: str, destination: str, payload: bytes = b"clearway") -> bytes:
    ether_type, packet = frames.ip(source, destination, 17, frames.udp(source, destination, 1000, 2000, payload))
    return frames.ethernet(THERE, HERE, ether_type, packet)


@hooks
@outbound_and_inbound
def test_every_forwarded_frame_of_the_corpus_crosses_byte_for_byte(
    wire: ShortWire, hook: dict[str, bool], outbound: bool
) -> None:
    sent = corpus(forwarded=True)
    with bare_gateway(wire, **{"gro": False, **hook}) as gateway:
        got = crossed(sent, *((wire.left, wire.right) if outbound else (wire.right, wire.left)))
        assert Counter(got) == Counter(sent)
        assert gateway.counted() == {"forwarded": len(sent)}


def test_a_frame_of_every_length_crosses_byte_for_byte(wire: ShortWire) -> None:
    sent = [udp(LEFT.v4, RIGHT.v4, bytes(n & 0xFF for n in range(length))) for length in range(1473)]
    with bare_gateway(wire):
        assert crossed(sent, wire.left, wire.right) == sent


def test_a_tag_in_the_ports_metadata_and_one_in_the_frame_are_the_same(wire: ShortWire) -> None:
    """The kernel strips the outermost tag of 0x8100 and 0x88a8, not of 0x9100; below all, the address rule acts."""
    clean, listed = udp(LEFT.v4, RIGHT.v4), udp(LEFT.v4, "203.0.113.66")
    tags = [(0x8100, 5), (0x8100, 0xF005), (0x88A8, 7), (0x9100, 7)]
    with bare_gateway(wire) as gateway:
        publish(gateway.tables, "203.0.113.66")
        sent = [frames.vlan(kind, tci, frame) for kind, tci in tags for frame in (clean, listed)]
        sent += [frames.vlan(0x88A8, 9, frame) for frame in list(sent)]
        clean_ones = [frame for frame in sent if clean[14:] in frame]
        assert crossed(sent, wire.left, wire.right, len(clean_ones)) == clean_ones
        until(lambda: sum(gateway.counted().values()) == len(sent), "not all are counted")
        assert gateway.counted() == {"forwarded": len(sent) / 2, "listed-destination": len(sent) / 2}


@hooks
@outbound_and_inbound
def test_nothing_malformed_leaks(wire: ShortWire, hook: dict[str, bool], outbound: bool) -> None:
    """Every malformed frame of the corpus: none arrives, and the counters of the reasons add up to all of them."""
    sent = corpus(forwarded=False)
    with bare_gateway(wire, **hook) as gateway:
        source, target = (wire.left, wire.right) if outbound else (wire.right, wire.left)
        with capture(target) as listening, injector(source) as sending:
            sending.send(*sent)
            until(lambda: sum(gateway.counted().values()) >= len(sent), "not all are counted")
            got = listening.frames()
        counted = gateway.counted()
    assert got == []
    assert "forwarded" not in counted
    assert sum(counted.values()) == len(sent)
    assert all(reason.startswith("malformed-") for reason in counted)


@hooks
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_both_addresses_of_a_packet_are_asked_in_both_directions(
    wire: ShortWire, hook: dict[str, bool], family: str
) -> None:
    """200 packets from and 200 to a listed host, in each direction: 0 leak, each by its reason."""
    near, far = getattr(LEFT, family), getattr(RIGHT, family)
    listed = {"v4": "203.0.113.66", "v6": "2001:db8:cb::66"}[family]
    with bare_gateway(wire, **hook) as gateway:
        publish(gateway.tables, listed)
        for source, target in ((wire.left, wire.right), (wire.right, wire.left)):
            with capture(target) as listening, injector(source) as sending:
                for _ in range(200):
                    sending.send(udp(listed, far), udp(near, listed))
                sending.send(udp(near, far))
                assert listening.frames(1) == [udp(near, far)]
        assert gateway.counted() == {"forwarded": 2, "listed-source": 400, "listed-destination": 400}


def test_a_granted_host_reaches_a_listed_one_and_its_neighbour_does_not(wire: ShortWire) -> None:
    listed = "203.0.113.66"
    granted = (bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 65]), 128)
    with bare_gateway(wire) as gateway:
        publish(gateway.tables, listed)
        gateway.tables.put_green(*granted, engine.boot_clock_ns() + 10**12)
        sent = [udp("192.0.2.65", listed), udp("192.0.2.66", listed)]
        assert crossed(sent, wire.left, wire.right, 1) == sent[:1]
        gateway.tables.remove_green(*granted)
        assert crossed(sent, wire.left, wire.right, 0) == []


def test_later_fragments_follow_the_first_ones_verdict(wire: ShortWire) -> None:
    """A datagram in three fragments crosses; one to a listed host loses all three, in whatever order the rest come."""

    def datagram(destination: str, number: int) -> list[bytes]:
        whole = frames.udp(LEFT.v4, destination, 1000, 2000, bytes(3000))
        parts = [(0, whole[:1480], 0x2000), (1480, whole[1480:2960], 0x2000), (2960, whole[2960:], 0)]
        return [
            frames.ethernet(
                THERE,
                HERE,
                frames.ETHER_IPV4,
                frames.ipv4(LEFT.v4, destination, 17, part, fragment=offset // 8 | more, identification=number),
            )
            for offset, part, more in parts
        ]

    clean, listed = datagram(RIGHT.v4, 1), datagram("203.0.113.66", 2)
    with bare_gateway(wire) as gateway:
        publish(gateway.tables, "203.0.113.66")
        assert crossed([*clean, *reversed(listed)], wire.left, wire.right, len(clean)) == clean
        until(lambda: sum(gateway.counted().values()) == 6, "not all are counted")


def test_a_bypassed_gateway_is_a_plain_wire(wire: ShortWire) -> None:
    """With the bypass on, listed and malformed frames cross, counted; after its deadline they don't."""
    sent = [*corpus(forwarded=False), udp(LEFT.v4, "203.0.113.66")]
    with bare_gateway(wire) as gateway:
        publish(gateway.tables, "203.0.113.66")
        gateway.tables.set_bypass_until(engine.boot_clock_ns() + 10**12)
        assert crossed(sent, wire.left, wire.right) == sent
        assert gateway.tables.facts()[engine.Fact.BYPASSED][0] == len(sent)
        gateway.tables.set_bypass_until(engine.boot_clock_ns())
        assert crossed(sent, wire.left, wire.right, 0) == []


def test_an_observing_gateway_drops_nothing_and_counts_what_it_would(wire: ShortWire) -> None:
    sent = [*corpus(forwarded=False), udp(LEFT.v4, "203.0.113.66")]
    with bare_gateway(wire, observe=True) as gateway:
        publish(gateway.tables, "203.0.113.66")
        assert crossed(sent, wire.left, wire.right) == sent
        assert gateway.counted() == {"forwarded": len(sent)}
        assert sum(packets for _, packets, _ in gateway.tables.observed()) == len(sent)


def test_frames_that_no_host_may_forward_cross(wire: ShortWire) -> None:
    """Bridge group addresses (STP, LACP, LLDP, 802.1X): a kernel bridge passes not even these sixteen on."""
    sent = [frames.ethernet(frames.mac(f"01:80:c2:00:00:{n:02x}"), HERE, 0x88B5, bytes(46)) for n in range(16)]
    with bare_gateway(wire):
        assert crossed(sent, wire.left, wire.right) == sent


def test_the_programs_answer_nothing(wire: ShortWire) -> None:
    """ARP, ping and neighbour discovery to the gateway's own hardware address cross; nothing comes back."""
    mac = wire.inside.mac()
    ping = frames.ipv4(LEFT.v4, "192.0.2.254", 1, bytes.fromhex("0800f7ff00000000"))
    sent = [
        frames.ethernet(mac, HERE, frames.ETHER_IPV4, ping),
        frames.ethernet(b"\xff" * 6, HERE, 0x0806, bytes.fromhex("0001080006040001") + HERE + bytes(16)),
    ]
    with bare_gateway(wire), capture(wire.left) as answers:
        assert crossed(sent, wire.left, wire.right) == sent
        assert answers.frames() == []
