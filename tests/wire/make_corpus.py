"""Writes corpus/*.jsonl: frames at and over every edge of the parser, each with a sentence and what must become of it.

    python tests/wire/make_corpus.py          # writes; a test fails when what is checked in is not what this makes

One line a frame: name, sentence, frame (hex), reason (word of DropReason; "forwarded"), facts (words of Fact, sorted).
Expectations are stated here by hand from the RFCs; neither the kernel program nor the reference matcher is asked.
Cases come in pairs where they can: the last length that is right, and the first that is wrong.

Long because it is a table, one row a case: split up, a case would be parted from the neighbour that it is a pair with.
"""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clearway.lab import frames
from clearway.lab.frames import PROTOCOL_TCP, PROTOCOL_UDP, ethernet, ipv4, ipv6, tcp, udp

CORPUS = Path(__file__).parent / "corpus"
HERE, THERE = frames.mac("02:00:00:00:00:01"), frames.mac("02:00:00:00:00:02")
V4, V6 = ("192.0.2.1", "198.51.100.1"), ("2001:db8:1::1", "2001:db8:64::1")
ICMP, ICMPV6 = 1, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
MORE = 0x2000


@dataclass(frozen=True)
class Case:
    name: str
    sentence: str
    frame: bytes
    reason: str = "forwarded"
    facts: tuple[str, ...] = ()


def eth(ether_type: int, payload: bytes) -> bytes:
    return ethernet(THERE, HERE, ether_type, payload)


def eth4(payload: bytes, protocol: int = PROTOCOL_UDP, **fields: object) -> bytes:
    return eth(0x0800, ipv4(*V4, protocol, payload, **fields))  # type: ignore[arg-type]


def eth6(payload: bytes, next_header: int = PROTOCOL_UDP, **fields: object) -> bytes:
    return eth(0x86DD, ipv6(*V6, next_header, payload, **fields))  # type: ignore[arg-type]


UDP4, UDP6 = udp(*V4, 1000, 2000, b"clearway"), udp(*V6, 1000, 2000, b"clearway")
TCP4, TCP6 = tcp(*V4, (1000, 80), b"clearway"), tcp(*V6, (1000, 80), b"clearway")
PACKET4, PACKET6 = ipv4(*V4, PROTOCOL_UDP, UDP4), ipv6(*V6, PROTOCOL_UDP, UDP6)


def patched(frame: bytes, at: int, *octets: int) -> bytes:
    return frame[:at] + bytes(octets) + frame[at + len(octets) :]


def not_ip() -> Iterator[Case]:
    fact = ("not-ip",)
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + HERE + bytes([192, 0, 2, 1]) + bytes(6) + bytes([198, 51, 100, 1])
    yield Case("arp", "ARP is not IP and crosses.", ethernet(b"\xff" * 6, HERE, 0x0806, arp), facts=fact)
    lldp = bytes.fromhex("0207040200000000010403020002060200780000")
    multicast = frames.mac("01:80:c2:00:00:0e")
    yield Case(
        "lldp", "LLDP crosses, though a bridge would eat it.", ethernet(multicast, HERE, 0x88CC, lldp), facts=fact
    )
    llc = bytes.fromhex("424203") + bytes(35)
    stp = frames.mac("01:80:c2:00:00:00") + HERE + struct.pack("!H", len(llc)) + llc
    yield Case("stp", "A spanning tree's BPDU has a length where an EtherType would be, and crosses.", stp, facts=fact)
    lacp = ethernet(frames.mac("01:80:c2:00:00:02"), HERE, 0x8809, bytes([1, 1]) + bytes(108))
    yield Case("lacp", "LACP crosses, so bundles survive.", lacp, facts=fact)
    eapol = ethernet(frames.mac("01:80:c2:00:00:03"), HERE, 0x888E, bytes([1, 1, 0, 0]))
    yield Case("802.1x", "802.1X crosses.", eapol, facts=fact)
    yield Case("header-alone", "Fourteen bytes of an unknown EtherType are a frame.", eth(0x1234, b""), facts=fact)
    yield Case("ether-type-unknown", "An EtherType that nobody knows crosses.", eth(0xFFFF, bytes(64)), facts=fact)
    loopback = ethernet(HERE, HERE, 0x9000, bytes(46))
    yield Case("configuration-test", "Ethernet loopback frames cross.", loopback, facts=fact)


def vlan() -> Iterator[Case]:
    inner = eth4(UDP4)
    one = frames.vlan(0x8100, 5, inner)
    yield Case("vlan", "A tag is walked over.", one)
    yield Case(
        "vlan-priority", "Priority and DEI are no part of the VLAN's number.", frames.vlan(0x8100, 0xF005, inner)
    )
    yield Case("vlan-zero", "A priority tag (VLAN 0) is walked over.", frames.vlan(0x8100, 0x6000, inner))
    yield Case("qinq", "An outer 0x88a8 tag and an inner 0x8100 one are walked over.", frames.vlan(0x88A8, 7, one))
    yield Case("qinq-old", "0x9100 is a tag as well.", frames.vlan(0x9100, 7, one))
    three = frames.vlan(0x88A8, 9, frames.vlan(0x88A8, 7, one))
    yield Case("vlan-three", "Three tags are the most that are walked.", three)
    four = frames.vlan(0x88A8, 11, three)
    yield Case("vlan-four", "A fourth tag hides what is below; it crosses, counted.", four, facts=("opaque",))
    cut = eth(0x8100, b"\0\5")
    yield Case("vlan-cut", "A tag that ends before its EtherType is malformed.", cut, "malformed-ethernet")
    cut = eth(0x88A8, struct.pack("!HH", 7, 0x8100) + b"\0")
    yield Case("qinq-cut", "So is a second tag that ends early.", cut, "malformed-ethernet")
    yield Case(
        "vlan-empty",
        "A tag with nothing below it but a type is a frame.",
        frames.vlan(0x8100, 5, eth(0x1234, b"")),
        facts=("not-ip",),
    )
    arp = frames.vlan(0x8100, 5, eth(0x0806, bytes(28)))
    yield Case("vlan-arp", "ARP below a tag is not IP.", arp, facts=("not-ip",))
    yield Case(
        "vlan-ipv4-malformed",
        "Lengths are held together below a tag too.",
        frames.vlan(0x8100, 5, patched(inner, 14, 0x44)),
        "malformed-ipv4",
    )
    yield Case(
        "vlan-empty-ipv4",
        "A tag that promises IPv4 and ends is malformed IPv4.",
        frames.vlan(0x8100, 5, eth(0x0800, b"")),
        "malformed-ipv4",
    )


def pppoe_frame(protocol: int, packet: bytes, length: int | None = None) -> bytes:
    length = len(packet) + 2 if length is None else length
    return eth(0x8864, struct.pack("!BBHHH", 0x11, 0, 1, length, protocol) + packet)


def pppoe() -> Iterator[Case]:
    yield Case("pppoe-ipv4", "IPv4 in a PPPoE session is read.", pppoe_frame(0x0021, PACKET4))
    yield Case("pppoe-ipv6", "IPv6 in a PPPoE session is read.", pppoe_frame(0x0057, PACKET6))
    yield Case(
        "pppoe-lcp",
        "Other PPP protocols cross as what they are: not IP.",
        pppoe_frame(0xC021, bytes(12)),
        facts=("not-ip",),
    )
    discovery = eth(0x8863, bytes.fromhex("1109000000040101") + bytes(4))
    yield Case("pppoe-discovery", "PPPoE discovery is not IP.", discovery, facts=("not-ip",))
    yield Case(
        "pppoe-padding",
        "Ethernet's padding behind the PPPoE length is fine.",
        pppoe_frame(0x0021, PACKET4 + bytes(6), len(PACKET4) + 2),
    )
    yield Case(
        "pppoe-longer",
        "A PPPoE length past the frame's end is malformed.",
        pppoe_frame(0x0021, PACKET4, len(PACKET4) + 3),
        "malformed-pppoe",
    )
    yield Case(
        "pppoe-length-1",
        "A PPPoE length without room for the PPP protocol is malformed.",
        pppoe_frame(0x0021, PACKET4, 1),
        "malformed-pppoe",
    )
    yield Case(
        "pppoe-length-2",
        "A PPPoE length of 2 leaves no packet: malformed IPv4.",
        pppoe_frame(0x0021, PACKET4, 2),
        "malformed-ipv4",
    )
    yield Case(
        "pppoe-shorter",
        "An IPv4 packet longer than the PPPoE length around it is malformed IPv4.",
        pppoe_frame(0x0021, PACKET4, len(PACKET4) + 1),
        "malformed-ipv4",
    )
    yield Case("pppoe-cut", "A PPPoE header that ends early is malformed.", eth(0x8864, bytes(7)), "malformed-pppoe")
    yield Case(
        "pppoe-vlan",
        "PPPoE below two tags is read.",
        frames.vlan(0x88A8, 7, frames.vlan(0x8100, 5, pppoe_frame(0x0021, PACKET4))),
    )


def labels(count: int, bottom: bool = True) -> bytes:
    stack = [struct.pack("!I", (100 + i) << 12 | 64) for i in range(count)]
    if bottom:
        stack[-1] = struct.pack("!I", 999 << 12 | 0x100 | 64)
    return b"".join(stack)


def mpls() -> Iterator[Case]:
    yield Case("mpls-ipv4", "One label over IPv4.", eth(0x8847, labels(1) + PACKET4))
    yield Case("mpls-ipv6", "One label over IPv6.", eth(0x8847, labels(1) + PACKET6))
    yield Case("mpls-multicast", "0x8848 is MPLS as well.", eth(0x8848, labels(2) + PACKET4))
    yield Case("mpls-eight", "Eight labels are the most that are walked.", eth(0x8847, labels(8) + PACKET4))
    yield Case(
        "mpls-nine",
        "A ninth hides what is below; it crosses, counted.",
        eth(0x8847, labels(9) + PACKET4),
        facts=("opaque",),
    )
    yield Case(
        "mpls-ethernet",
        "A pseudowire's control word below the labels is no IP.",
        eth(0x8847, labels(1) + bytes(4) + eth4(UDP4)),
        facts=("opaque",),
    )
    yield Case(
        "mpls-nothing", "Labels with nothing below them cross, counted.", eth(0x8847, labels(2)), facts=("opaque",)
    )
    yield Case(
        "mpls-cut",
        "A stack that the frame's end cuts off is malformed.",
        eth(0x8847, labels(2, False)),
        "malformed-mpls",
    )
    yield Case(
        "mpls-cut-label", "So is a label that ends early.", eth(0x8847, labels(1, False) + b"\0\0\1"), "malformed-mpls"
    )
    yield Case("mpls-empty", "MPLS without a label is malformed.", eth(0x8847, b""), "malformed-mpls")
    yield Case(
        "mpls-ipv4-cut",
        "Below labels, what begins like IPv4 and contradicts its lengths was never said to be IP: opaque.",
        eth(0x8847, labels(1) + PACKET4[:19]),
        facts=("opaque",),
    )
    for octet in (0x44, 0x60):
        yield Case(
            f"mpls-pseudowire-{octet:x}",
            f"Ethernet in a pseudowire without a control word, to a MAC address {octet:02x}:…, crosses.",
            eth(0x8847, labels(1) + bytes([octet, 0x11, 0x22, 0x33, 0xFF, 0xFE]) + eth4(UDP4)[6:]),
            facts=("opaque",),
        )


def internet4() -> Iterator[Case]:
    whole = eth4(UDP4)
    yield Case("ipv4", "A plain packet.", whole)
    yield Case("ipv4-padding", "Ethernet's padding behind the total length is fine.", whole + bytes(10))
    yield Case("ipv4-options", "Forty bytes of options are the most there can be.", eth4(UDP4, options=b"\1" * 40))
    yield Case("ipv4-header-only", "A total length of just the header is a packet.", eth4(b"", protocol=253))
    yield Case(
        "ipv4-version-6",
        "Another version under IPv4's EtherType is not IP.",
        patched(whole, 14, 0x65),
        facts=("not-ip",),
    )
    yield Case("ipv4-version-0", "Version 0 is not IP.", patched(whole, 14, 0x05), facts=("not-ip",))
    yield Case(
        "ipv4-empty", "An EtherType of IPv4 with nothing behind it is malformed.", eth(0x0800, b""), "malformed-ipv4"
    )
    yield Case("ipv4-19-bytes", "Nineteen bytes are no IPv4 header.", eth(0x0800, PACKET4[:19]), "malformed-ipv4")
    yield Case("ipv4-ihl-4", "A header length below 20 is malformed.", patched(whole, 14, 0x44), "malformed-ipv4")
    yield Case("ipv4-ihl-0", "So is one of 0.", patched(whole, 14, 0x40), "malformed-ipv4")
    yield Case(
        "ipv4-ihl-past-total",
        "A header longer than the total length is malformed.",
        patched(eth(0x0800, ipv4(*V4, 253, b"", total_length=20)) + bytes(40), 14, 0x4F),
        "malformed-ipv4",
    )
    yield Case(
        "ipv4-total-19",
        "A total length below the header's is malformed.",
        eth4(UDP4, total_length=19),
        "malformed-ipv4",
    )
    yield Case(
        "ipv4-total-0",
        "A total length of 0 belongs to super-packets alone.",
        eth4(UDP4, total_length=0),
        "malformed-ipv4",
    )
    yield Case(
        "ipv4-total-longer",
        "One byte more than there is is malformed.",
        eth4(UDP4, total_length=20 + len(UDP4) + 1),
        "malformed-ipv4",
    )
    yield Case(
        "ipv4-total-65535",
        "A total length of 65 535 in a short frame is malformed.",
        eth4(UDP4, total_length=65535),
        "malformed-ipv4",
    )
    yield Case(
        "ipv4-total-shorter",
        "UDP longer than the total length leaves room for contradicts it.",
        eth4(UDP4, total_length=20 + len(UDP4) - 1),
        "malformed-udp",
    )
    yield Case("ipv4-checksum-wrong", "A wrong header checksum is the end host's affair.", patched(whole, 24, 0, 0))
    yield Case("ipv4-ttl-0", "A TTL of 0 is the routers' affair.", eth4(UDP4, ttl=0))
    yield Case("ipv4-evil-bit", "The reserved flag changes nothing.", eth4(UDP4, fragment=0xC000))
    yield Case(
        "ipv4-same-addresses",
        "Source and destination alike (land) contradict no length.",
        eth(0x0800, ipv4(V4[0], V4[0], PROTOCOL_UDP, udp(V4[0], V4[0], 1, 1, b""))),
    )


def fragment4(offset: int, more: bool, payload: bytes, protocol: int = PROTOCOL_UDP, number: int = 0x1111) -> bytes:
    return eth4(payload, protocol, fragment=offset // 8 | (MORE if more else 0), identification=number)


def fragments4() -> Iterator[Case]:
    both = ("fragment", "fragment-without-first")
    yield Case(
        "fragment-first",
        "A first fragment of UDP whose length field tells of the whole datagram.",
        fragment4(0, True, patched(UDP4, 4, 5, 0)),
        facts=("fragment",),
    )
    yield Case(
        "fragment-later-alone",
        "A later one without its first crosses, counted.",
        fragment4(1480, False, bytes(33), number=0x2222),
        facts=both,
    )
    yield Case(
        "fragment-odd-not-last",
        "One that isn't the last and no multiple of 8 is malformed.",
        fragment4(1480, True, bytes(33)),
        "malformed-fragment",
        ("fragment",),
    )
    yield Case(
        "fragment-past-end",
        "One that reaches past 65 535 bytes is malformed (ping of death).",
        fragment4(65528, False, bytes(9)),
        "malformed-fragment",
        ("fragment",),
    )
    yield Case(
        "fragment-at-end",
        "One that ends at 65 535 is as long as can be.",
        fragment4(65528, False, bytes(7), number=0x3333),
        facts=both,
    )


def first_fragments4() -> Iterator[Case]:
    tiny = ("fragment", "fragment-tiny")
    yield Case(
        "fragment-tiny-tcp",
        "A first fragment may end inside its TCP header.",
        fragment4(0, True, TCP4[:8], 6),
        facts=tiny,
    )
    yield Case(
        "fragment-tiny-tcp-options",
        "It may end inside TCP's options.",
        fragment4(0, True, patched(TCP4, 12, 0x80)[:24], 6),
        facts=tiny,
    )
    yield Case("fragment-tiny-udp", "An empty first fragment of UDP is tiny.", fragment4(0, True, b""), facts=tiny)
    yield Case(
        "fragment-tiny-icmp", "An empty first fragment of ICMP is tiny.", fragment4(0, True, b"", ICMP), facts=tiny
    )
    yield Case(
        "fragment-first-tcp-doff",
        "A first fragment with a TCP header of 16 bytes is malformed.",
        fragment4(0, True, patched(TCP4[:24], 12, 0x40), 6),
        "malformed-tcp",
        ("fragment",),
    )
    yield Case(
        "fragment-first-udp-7",
        "A first fragment with a UDP length of 7 is malformed.",
        fragment4(0, True, patched(UDP4, 4, 0, 7)),
        "malformed-udp",
        ("fragment",),
    )
    yield Case(
        "fragment-dont",
        "Don't-fragment beside more-fragments changes nothing.",
        eth4(UDP4, fragment=0x6000, identification=0x4444),
        facts=("fragment",),
    )


def internet6() -> Iterator[Case]:
    whole = eth6(UDP6)
    yield Case("ipv6", "A plain packet.", whole)
    yield Case("ipv6-padding", "Ethernet's padding behind the payload length is fine.", whole + bytes(10))
    yield Case("ipv6-no-next", "Next header 59: nothing follows, whatever follows.", eth6(bytes(5), NO_NEXT))
    yield Case("ipv6-payload-0", "A payload length of 0 and no next header is a packet.", eth6(b"", NO_NEXT))
    yield Case(
        "ipv6-version-4",
        "Another version under IPv6's EtherType is not IP.",
        patched(whole, 14, 0x40),
        facts=("not-ip",),
    )
    yield Case(
        "ipv6-empty", "An EtherType of IPv6 with nothing behind it is malformed.", eth(0x86DD, b""), "malformed-ipv6"
    )
    yield Case("ipv6-39-bytes", "Thirty-nine bytes are no IPv6 header.", eth(0x86DD, PACKET6[:39]), "malformed-ipv6")
    yield Case(
        "ipv6-longer",
        "One byte more than there is is malformed.",
        eth6(UDP6, payload_length=len(UDP6) + 1),
        "malformed-ipv6",
    )
    yield Case(
        "ipv6-shorter",
        "UDP longer than the payload length contradicts it.",
        eth6(UDP6, payload_length=len(UDP6) - 1),
        "malformed-udp",
    )
    yield Case(
        "ipv6-payload-0-udp",
        "A payload length of 0 before UDP leaves no UDP header.",
        eth6(UDP6, payload_length=0),
        "malformed-udp",
    )
    jumbo = bytes([PROTOCOL_UDP, 0, 0xC2, 4]) + struct.pack("!I", len(UDP6) + 8)
    yield Case(
        "ipv6-jumbo",
        "A payload length of 0 before hop-by-hop options takes all bytes there are.",
        eth6(jumbo + UDP6, HOP_BY_HOP, payload_length=0),
    )
    yield Case(
        "ipv6-jumbo-udp-0",
        "In a jumbogram UDP's length may be 0.",
        eth6(jumbo + patched(UDP6, 4, 0, 0), HOP_BY_HOP, payload_length=0),
    )


def option(next_header: int, units: int = 0) -> bytes:
    """A hop-by-hop, routing or destination header of 8 × (units + 1) bytes, filled by PadN."""
    return bytes([next_header, units, 1, units * 8 + 4]) + bytes(units * 8 + 4)


def chain(kinds: list[int], last: int = PROTOCOL_UDP, payload: bytes = UDP6) -> bytes:
    following = [*kinds[1:], last]
    return eth6(b"".join(option(after) for after in following) + payload, kinds[0])


def extensions() -> Iterator[Case]:
    yield Case("extension-hop-by-hop", "One header before UDP.", chain([HOP_BY_HOP]))
    yield Case(
        "extension-eight", "Eight headers are the most that are walked.", chain([HOP_BY_HOP] + [DESTINATION] * 7)
    )
    yield Case(
        "extension-nine",
        "A ninth hides what is below; addresses are asked, it crosses, counted.",
        chain([HOP_BY_HOP] + [DESTINATION] * 8),
        facts=("extension-limit",),
    )
    yield Case(
        "extension-nine-malformed",
        "What lies behind the ninth is not looked at.",
        chain([DESTINATION] * 9, payload=b"\0"),
        facts=("extension-limit",),
    )
    yield Case(
        "extension-past-end",
        "A header that reaches past the payload is malformed.",
        eth6(patched(option(PROTOCOL_UDP), 1, 9) + UDP6, DESTINATION),
        "malformed-ipv6",
    )
    yield Case(
        "extension-cut",
        "A header of which 7 bytes are there is malformed.",
        eth6(option(PROTOCOL_UDP)[:7], DESTINATION),
        "malformed-ipv6",
    )
    yield Case(
        "extension-exact",
        "A header that ends with the payload leaves no UDP header.",
        eth6(option(PROTOCOL_UDP), DESTINATION),
        "malformed-udp",
    )
    yield Case("extension-no-next", "A header and then nothing is a packet.", eth6(option(NO_NEXT), DESTINATION))
    authentication = bytes([PROTOCOL_UDP, 4]) + bytes(22)
    yield Case(
        "extension-authentication",
        "AH counts its length in words of four bytes.",
        eth6(authentication + UDP6, AUTHENTICATION),
    )
    yield Case(
        "extension-authentication-past-end",
        "AH past the payload is malformed.",
        eth6(patched(authentication, 1, 200) + UDP6, AUTHENTICATION),
        "malformed-ipv6",
    )
    for kind in (ROUTING, 135, 139, 140):
        yield Case(f"extension-{kind}", "Routing, mobility, HIP and Shim6 headers are walked over.", chain([kind]))
    for kind in (253, 254):
        yield Case(f"extension-experiment-{kind}", "An experimental number ends the walk.", chain([DESTINATION], kind))


def header6(next_header: int, offset: int, more: bool, number: int = 0x11111111) -> bytes:
    return struct.pack("!BBHI", next_header, 0, offset | more, number)


def fragments6() -> Iterator[Case]:
    both = ("fragment", "fragment-without-first")
    yield Case("fragment6-first", "A first fragment.", eth6(header6(17, 0, True) + UDP6, FRAGMENT), facts=("fragment",))
    yield Case(
        "fragment6-atomic",
        "A fragment header without offset or more is a packet (RFC 6946).",
        eth6(header6(17, 0, False) + UDP6, FRAGMENT),
    )
    yield Case(
        "fragment6-atomic-malformed",
        "An atomic fragment's transport is checked as any packet's.",
        eth6(header6(17, 0, False) + UDP6[:7], FRAGMENT),
        "malformed-udp",
    )
    yield Case(
        "fragment6-later-alone",
        "A later one without its first crosses, counted.",
        eth6(header6(17, 1448, False, 7) + bytes(33), FRAGMENT),
        facts=both,
    )
    yield Case(
        "fragment6-odd-not-last",
        "One that isn't the last and no multiple of 8 is malformed.",
        eth6(header6(17, 1448, True) + bytes(33), FRAGMENT),
        "malformed-fragment",
        ("fragment",),
    )
    yield Case(
        "fragment6-past-end",
        "One that reaches past 65 535 bytes is malformed.",
        eth6(header6(17, 65528, False) + bytes(9), FRAGMENT),
        "malformed-fragment",
        ("fragment",),
    )
    yield Case(
        "fragment6-tiny",
        "A first fragment may end inside its TCP header.",
        eth6(header6(6, 0, True) + TCP6[:16], FRAGMENT),
        facts=("fragment", "fragment-tiny"),
    )
    yield Case(
        "fragment6-behind-options",
        "A fragment header may stand behind others.",
        eth6(option(FRAGMENT) + header6(17, 1448, False, 8) + bytes(9), HOP_BY_HOP),
        facts=both,
    )
    yield Case(
        "fragment6-cut",
        "A fragment header of which 7 bytes are there is malformed.",
        eth6(header6(17, 0, True)[:7], FRAGMENT),
        "malformed-ipv6",
    )


def tcp_cases() -> Iterator[Case]:
    for version, wrap, segment in ((4, eth4, TCP4), (6, eth6, TCP6)):
        yield Case(f"tcp{version}", "A segment.", wrap(segment, PROTOCOL_TCP))
        yield Case(
            f"tcp{version}-19-bytes",
            "Nineteen bytes are no TCP header.",
            wrap(segment[:19], PROTOCOL_TCP),
            "malformed-tcp",
        )
        yield Case(f"tcp{version}-bare", "Twenty bytes are one.", wrap(segment[:20], PROTOCOL_TCP))
        yield Case(
            f"tcp{version}-doff-4",
            "A data offset of 4 is malformed.",
            wrap(patched(segment, 12, 0x40), PROTOCOL_TCP),
            "malformed-tcp",
        )
        yield Case(
            f"tcp{version}-doff-past-end",
            "Options past the segment's end are malformed.",
            wrap(patched(segment, 12, 0x80), PROTOCOL_TCP),
            "malformed-tcp",
        )
        yield Case(
            f"tcp{version}-doff-exact",
            "Options up to the segment's end are fine.",
            wrap(patched(segment, 12, 0x70), PROTOCOL_TCP),
        )
        yield Case(
            f"tcp{version}-flags-all",
            "Every flag at once (xmas) contradicts no length.",
            wrap(patched(segment, 13, 0xFF), PROTOCOL_TCP),
        )
        yield Case(
            f"tcp{version}-flags-none",
            "No flag at all contradicts no length.",
            wrap(patched(segment, 13, 0), PROTOCOL_TCP),
        )


def udp_cases() -> Iterator[Case]:
    for version, wrap, datagram in ((4, eth4, UDP4), (6, eth6, UDP6)):
        yield Case(f"udp{version}-7-bytes", "Seven bytes are no UDP header.", wrap(datagram[:7]), "malformed-udp")
        yield Case(f"udp{version}-empty", "Eight bytes are one.", wrap(patched(datagram[:8], 4, 0, 8)))
        yield Case(
            f"udp{version}-length-7", "A length of 7 is malformed.", wrap(patched(datagram, 4, 0, 7)), "malformed-udp"
        )
        yield Case(
            f"udp{version}-length-0",
            "A length of 0 belongs to jumbograms alone.",
            wrap(patched(datagram, 4, 0, 0)),
            "malformed-udp",
        )
        yield Case(
            f"udp{version}-longer",
            "A length past the packet is malformed.",
            wrap(patched(datagram, 4, 0, len(datagram) + 1)),
            "malformed-udp",
        )
        yield Case(
            f"udp{version}-shorter",
            "A length below the packet's leaves a tail that is nobody's.",
            wrap(patched(datagram, 4, 0, len(datagram) - 1)),
        )
        yield Case(f"udp{version}-port-0", "Port 0 contradicts no length.", wrap(patched(datagram, 0, 0, 0, 0, 0)))


def icmp_cases() -> Iterator[Case]:
    yield Case("icmp-7-bytes", "Seven bytes are no ICMP header.", eth4(bytes(7), ICMP), "malformed-icmp")
    yield Case("icmp-8-bytes", "Eight are.", eth4(bytes(8), ICMP))
    yield Case("icmpv6-3-bytes", "Three bytes are no ICMPv6 header.", eth6(bytes(3), ICMPV6), "malformed-icmp")
    yield Case("icmpv6-4-bytes", "Four are.", eth6(bytes(4), ICMPV6))
    yield Case("icmp-under-ipv6", "ICMP's number under IPv6 means nothing.", eth6(bytes(1), ICMP))
    yield Case("icmpv6-under-ipv4", "ICMPv6's number under IPv4 means nothing.", eth4(bytes(1), ICMPV6))
    unreachable = bytes([3, 3, 0, 0, 0, 0, 0, 0])
    yield Case(
        "icmp-error-cut",
        "What an ICMP error quotes is not looked at, whole or cut.",
        eth4(unreachable + PACKET4[:11], ICMP),
    )


def tunnels() -> Iterator[Case]:
    fact = ("tunnel",)
    names = {4: "ip-in-ip", 41: "6in4", 47: "gre", 50: "esp", 97: "etherip", 115: "l2tpv3", 137: "mpls-in-ip"}
    for protocol, name in names.items():
        yield Case(
            f"tunnel-{name}", "A tunnel crosses by its outer addresses, counted.", eth4(PACKET4, protocol), facts=fact
        )
    yield Case("tunnel-gre-6", "Over IPv6 as well.", eth6(PACKET4, 47), facts=fact)
    for port, name in ((4789, "vxlan"), (6081, "geneve"), (2152, "gtp-u")):
        yield Case(f"tunnel-{name}", "By its UDP port.", eth4(udp(*V4, 1000, port, bytes(8) + eth4(UDP4))), facts=fact)
    yield Case("tunnel-vxlan-source", "As a source port it is any client's.", eth4(udp(*V4, 4789, 53, bytes(8))))
    yield Case("tunnel-garbage", "What a tunnel carries is not looked at.", eth4(b"\x45", 4), facts=fact)


SECTIONS: dict[str, Callable[[], Iterator[Case]]] = {
    "not-ip": not_ip,
    "vlan": vlan,
    "pppoe": pppoe,
    "mpls": mpls,
    "ipv4": internet4,
    "ipv4-fragments": fragments4,
    "ipv4-first-fragments": first_fragments4,
    "ipv6": internet6,
    "ipv6-extensions": extensions,
    "ipv6-fragments": fragments6,
    "tcp": tcp_cases,
    "udp": udp_cases,
    "icmp": icmp_cases,
    "tunnels": tunnels,
}


def line(case: Case) -> str:
    document = {
        "name": case.name,
        "sentence": case.sentence,
        "reason": case.reason,
        "facts": sorted(case.facts),
        "frame": case.frame.hex(),
    }
    return json.dumps(document) + "\n"


def text(section: str) -> str:
    """The whole file of a section."""
    return "".join(line(case) for case in SECTIONS[section]())


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for section in SECTIONS:
        (CORPUS / f"{section}.jsonl").write_text(text(section))
