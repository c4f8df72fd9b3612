"""One sentence, one packet, one answer: what the reference and the loaded programs say of it.

192.0.2.1 and 2001:db8:bad::1 come from outside, 198.51.100.1 and 2001:db8:1::1 are inside. Without rules nothing is
refused, so a packet without a drop reason is one that was read and passed. The list is long, and meant to be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from frames import ARP, IPV6, chain, ethernet, fragment6, icmp, ipv4, ipv6, mpls, pppoe, tags, tcp, udp

from clearway.policy.model import Direction, DropReason, Fact, Lane

IN, OUT = Direction.INBOUND, Direction.OUTBOUND
LIVE, OVER = True, False


@dataclass(frozen=True)
class Case:
    """The last frame is the one that is asked about; those before it went the same way."""

    claim: str
    frames: tuple[bytes, ...]
    drop_reason: DropReason = DropReason.FORWARDED
    facts: frozenset[Fact] = frozenset()
    lane: Lane = Lane.INSPECTED
    direction: Direction = IN
    inside: tuple[str, ...] = ()
    bogons: bool = False
    observe: bool = False
    listed: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    blocked: dict[str, bool] = field(default_factory=dict)  # prefix → live or over
    exceptions: dict[str, bool] = field(default_factory=dict)
    granted: dict[str, bool] = field(default_factory=dict)


def case(claim: str, *frames: bytes, drop: str = "FORWARDED", facts: str = "", **rules: object) -> Case:
    noted = frozenset(Fact[name] for name in facts.split())
    return Case(claim, frames, DropReason[drop], noted, **rules)  # type: ignore[arg-type]


PLAIN = ipv4(udp())
PLAIN6 = ipv6(udp())
LATER = ethernet(ipv4(b"x" * 8, offset=800))
FIRST = ethernet(ipv4(udp(b"x" * 8, length=800), more=True))
NOTHING = {"192.0.2.0/24": LIVE}

READING = [
    case("ARP crosses", ethernet(bytes(28), ARP), facts="NOT_IP"),
    case("an LLC frame crosses", ethernet(b"\x42\x42\x03" + bytes(35), 38), facts="NOT_IP"),
    case("a plain UDP packet is read", ethernet(PLAIN)),
    case("padding behind an IPv4 packet is fine", ethernet(ipv4(tcp(b""), 6) + bytes(6))),
    case("IPv4 below three tags is read", tags(PLAIN, 0x8100, 0x88A8, 0x9100), drop="BLOCKED_SOURCE", blocked=NOTHING),
    case("four tags are opaque", tags(PLAIN, *[0x8100] * 4), facts="OPAQUE", blocked=NOTHING),
    case("a tag that is cut off is malformed", ethernet(b"\x00\x07\x08", 0x8100), drop="MALFORMED_ETHERNET"),
    case("IPv4 in PPPoE is read", pppoe(PLAIN), drop="BLOCKED_SOURCE", blocked=NOTHING),
    case("IPv6 in PPPoE is read", pppoe(PLAIN6, 0x0057), drop="LISTED_SOURCE", listed=("2001:db8:bad::/48",)),
    case("LCP in PPPoE is not IP", pppoe(b"\x01\x01\x00\x04", 0xC021), facts="NOT_IP"),
    case("a PPPoE length past the frame is malformed", pppoe(PLAIN, length=len(PLAIN) + 3), drop="MALFORMED_PPPOE"),
    case("a PPPoE length of 1 is malformed", pppoe(PLAIN, length=1), drop="MALFORMED_PPPOE"),
    case("a PPPoE header that is cut off is malformed", ethernet(b"\x11\x00\x00\x01", 0x8864), drop="MALFORMED_PPPOE"),
    case("a shorter PPPoE length bounds the packet in it", pppoe(PLAIN, length=len(PLAIN)), drop="MALFORMED_IPV4"),
    case("IPv4 below eight labels is read", mpls(PLAIN, 8), drop="BLOCKED_SOURCE", blocked=NOTHING),
    case("nine labels are opaque", mpls(PLAIN, 9), facts="OPAQUE", blocked=NOTHING),
    case(
        "a label stack that is cut off is malformed",
        ethernet(b"\x00\x01\x00\x40\x00\x01", 0x8847),
        drop="MALFORMED_MPLS",
    ),
    case("what is neither version below the labels is opaque", mpls(b"\x00\x00\x00\x00" + PLAIN, 1), facts="OPAQUE"),
    case("labels above nothing are opaque", mpls(b"", 1), facts="OPAQUE"),
    case("a version that contradicts the EtherType is not IP", ethernet(ipv4(udp(), version=5)), facts="NOT_IP"),
    case("IPv6 of another version is not IP", ethernet(ipv6(udp(), version=4), IPV6), facts="NOT_IP"),
    case("few bytes of another version are not IP", tags(b"\x50" + bytes(5), 0x8100), facts="NOT_IP"),
    case("fewer than 20 bytes of IPv4 are malformed", tags(PLAIN[:19], 0x8100), drop="MALFORMED_IPV4"),
    case("no byte at all of IPv4 is malformed", tags(b"", 0x8100), drop="MALFORMED_IPV4"),
    case("a header of 16 bytes is malformed", ethernet(ipv4(udp(), header_words=4)), drop="MALFORMED_IPV4"),
    case("a total length within the header is malformed", ethernet(ipv4(udp(), total=19)), drop="MALFORMED_IPV4"),
    case("a total length of 0 is malformed", ethernet(ipv4(udp(), total=0)), drop="MALFORMED_IPV4"),
    case("a total length past the frame is malformed", ethernet(ipv4(udp(), total=33)), drop="MALFORMED_IPV4"),
    case("options past the total length are malformed", ethernet(ipv4(udp(), header_words=15)), drop="MALFORMED_IPV4"),
    case("options are stepped over", ethernet(ipv4(udp(port=4789), options=bytes(40))), facts="TUNNEL"),
    case("fewer than 40 bytes of IPv6 are malformed", tags(PLAIN6[:39], 0x8100, last=IPV6), drop="MALFORMED_IPV6"),
    case("a payload length past the frame is malformed", ethernet(ipv6(udp(), length=99), IPV6), drop="MALFORMED_IPV6"),
    case("IPv6 with no payload has no TCP header", ethernet(ipv6(tcp(), 6, length=0), IPV6), drop="MALFORMED_TCP"),
]

JUMBO, _ = chain([0], 17, udp(length=0))
EXTENSIONS = [
    case(
        "eight extension headers are read",
        ethernet(ipv6(*chain([0, 43, 51, 60, 135, 139, 140, 60], 17, udp(port=2152))), IPV6),
        facts="TUNNEL",
    ),
    case("nine are the limit, and pass", ethernet(ipv6(*chain([60] * 9, 17, b"")), IPV6), facts="EXTENSION_LIMIT"),
    case(
        "address rules act on more than eight",
        ethernet(ipv6(*chain([60] * 9, 17, b"")), IPV6),
        facts="EXTENSION_LIMIT",
        drop="BLOCKED_SOURCE",
        blocked={"2001:db8:bad::/48": LIVE},
    ),
    case(
        "an extension header past the payload is malformed",
        ethernet(ipv6(b"\x11\x01" + bytes(10), 60), IPV6),
        drop="MALFORMED_IPV6",
    ),
    case(
        "an extension header of 7 bytes is malformed",
        ethernet(ipv6(b"\x11\x00" + bytes(5), 60), IPV6),
        drop="MALFORMED_IPV6",
    ),
    case("no next header ends the packet", ethernet(ipv6(b"", 59), IPV6)),
    case(
        "a jumbogram reaches to the frame's end, and its UDP needs no length", ethernet(ipv6(JUMBO, 0, length=0), IPV6)
    ),
    case("UDP without a length is malformed elsewhere", ethernet(ipv6(udp(length=0)), IPV6), drop="MALFORMED_UDP"),
    case(
        "an atomic fragment is a packet",
        ethernet(ipv6(fragment6(udp()[:7], 17, 0, False), 44), IPV6),
        drop="MALFORMED_UDP",
    ),
]

TRANSPORT = [
    case("TCP of 19 bytes is malformed", ethernet(ipv4(tcp()[:19], 6)), drop="MALFORMED_TCP"),
    case("a TCP header of 16 bytes is malformed", ethernet(ipv4(tcp(words=4), 6)), drop="MALFORMED_TCP"),
    case("TCP options past the packet are malformed", ethernet(ipv4(tcp(b"", words=6), 6)), drop="MALFORMED_TCP"),
    case("TCP options to the packet's end are fine", ethernet(ipv4(tcp(b"", 15, bytes(40)), 6))),
    case("UDP of 7 bytes is malformed", ethernet(ipv4(udp()[:7])), drop="MALFORMED_UDP"),
    case("a UDP length of 7 is malformed", ethernet(ipv4(udp(length=7))), drop="MALFORMED_UDP"),
    case("a UDP length of 0 is malformed", ethernet(ipv4(udp(length=0))), drop="MALFORMED_UDP"),
    case("a UDP length past the packet is malformed", ethernet(ipv4(udp(length=13))), drop="MALFORMED_UDP"),
    case("a UDP length within the packet is fine", ethernet(ipv4(udp(length=8)))),
    case("ICMP of 7 bytes is malformed", ethernet(ipv4(icmp()[:7], 1)), drop="MALFORMED_ICMP"),
    case("ICMPv6 of 4 bytes is fine", ethernet(ipv6(icmp()[:4], 58), IPV6)),
    case("ICMPv6 of 3 bytes is malformed", ethernet(ipv6(icmp()[:3], 58), IPV6), drop="MALFORMED_ICMP"),
    case("the other version's ICMP means nothing", ethernet(ipv6(b"\x08", 1), IPV6)),
    case("SCTP is not judged", ethernet(ipv4(b"\x01", 132))),
    *(case(f"protocol {p} is a tunnel", ethernet(ipv4(b"", p)), facts="TUNNEL") for p in (4, 41, 47, 50, 97, 115, 137)),
    *(case(f"UDP to port {p} is a tunnel", ethernet(ipv4(udp(port=p))), facts="TUNNEL") for p in (4789, 6081, 2152)),
    case(
        "a tunnel falls by its outer addresses",
        ethernet(ipv4(PLAIN, 4)),
        facts="TUNNEL",
        drop="BLOCKED_SOURCE",
        blocked=NOTHING,
    ),
    case(
        "and not by its inner ones",
        ethernet(ipv4(ipv4(udp(), source="203.0.113.9"), 4)),
        facts="TUNNEL",
        blocked={"203.0.113.0/24": LIVE},
    ),
    case(
        "an ICMP error does not fall by what it quotes",
        ethernet(ipv4(icmp(3, ipv4(udp(), source="203.0.113.9")), 1)),
        listed=("203.0.113.9/32",),
    ),
    case(
        "neighbour discovery does not fall by its target",
        ethernet(ipv6(icmp(135, bytes.fromhex("20010db80bad") + bytes(10)), 58, "2001:db8:1::2", "ff02::1"), IPV6),
        listed=("2001:db8:bad::/48",),
    ),
]

FRAGMENTS = [
    case("a later fragment without its first passes and is counted", LATER, facts="FRAGMENT FRAGMENT_WITHOUT_FIRST"),
    case("a later fragment follows its first", FIRST, LATER, facts="FRAGMENT"),
    case(
        "a fragment of another datagram does not",
        FIRST,
        ethernet(ipv4(b"x" * 8, offset=800, identification=2)),
        facts="FRAGMENT FRAGMENT_WITHOUT_FIRST",
    ),
    case(
        "nor does one of another protocol",
        FIRST,
        ethernet(ipv4(b"x" * 8, 6, offset=800)),
        facts="FRAGMENT FRAGMENT_WITHOUT_FIRST",
    ),
    case(
        "address rules act on later fragments", FIRST, LATER, facts="FRAGMENT", drop="BLOCKED_SOURCE", blocked=NOTHING
    ),
    case(
        "IPv6 fragments are one datagram whatever follows",
        ethernet(ipv6(fragment6(udp(b"x" * 8, length=99), 17, 0, True), 44), IPV6),
        ethernet(ipv6(fragment6(bytes(8), 60, 80, False), 44), IPV6),
        facts="FRAGMENT",
    ),
    case("a first fragment's UDP length may reach past it", FIRST, facts="FRAGMENT"),
    case(
        "a first fragment that ends within TCP is tiny, and passes",
        ethernet(ipv4(tcp()[:16], 6, more=True)),
        facts="FRAGMENT FRAGMENT_TINY",
    ),
    case(
        "within TCP's options too", ethernet(ipv4(tcp(b"", 8, bytes(4)), 6, more=True)), facts="FRAGMENT FRAGMENT_TINY"
    ),
    case(
        "a malformed first fragment is malformed",
        ethernet(ipv4(tcp(words=3), 6, more=True)),
        facts="FRAGMENT",
        drop="MALFORMED_TCP",
    ),
    case(
        "a malformed first fragment is not remembered",
        ethernet(ipv4(udp(length=7, payload=b"x" * 8), more=True)),
        LATER,
        facts="FRAGMENT FRAGMENT_WITHOUT_FIRST",
    ),
    case(
        "a fragment that reaches 65535 is fine",
        ethernet(ipv4(b"x" * 7, offset=65528)),
        facts="FRAGMENT FRAGMENT_WITHOUT_FIRST",
    ),
    case(
        "a fragment past 65535 bytes is malformed",
        ethernet(ipv4(b"x" * 8, offset=65528)),
        facts="FRAGMENT",
        drop="MALFORMED_FRAGMENT",
    ),
    case(
        "a fragment of 7 bytes with more to come is malformed",
        ethernet(ipv4(b"x" * 7, offset=8, more=True)),
        facts="FRAGMENT",
        drop="MALFORMED_FRAGMENT",
    ),
    case("an empty later fragment passes", ethernet(ipv4(b"", offset=8)), facts="FRAGMENT FRAGMENT_WITHOUT_FIRST"),
    case(
        "a second fragment header changes nothing",
        ethernet(ipv6(fragment6(fragment6(udp(b""), 17, 80, True), 44, 0, True), 44), IPV6),
        facts="FRAGMENT",
    ),
    case(
        "granted fragments are counted and not followed",
        LATER,
        facts="FRAGMENT",
        lane=Lane.GREEN,
        granted={"198.51.100.0/24": LIVE},
    ),
]

RULES = [
    case(
        "a live grant passes what is blocked and listed",
        ethernet(PLAIN),
        lane=Lane.GREEN,
        granted={"198.51.100.1": LIVE},
        blocked=NOTHING,
        listed=("192.0.2.1",),
    ),
    case(
        "a grant is asked for the inside address only",
        ethernet(PLAIN),
        drop="BLOCKED_SOURCE",
        granted={"192.0.2.1": LIVE},
        blocked=NOTHING,
    ),
    case(
        "outbound, the inside is the source",
        ethernet(PLAIN),
        lane=Lane.GREEN,
        direction=OUT,
        granted={"192.0.2.1": LIVE},
        blocked=NOTHING,
    ),
    case(
        "a grant that is over grants nothing",
        ethernet(PLAIN),
        drop="BLOCKED_SOURCE",
        granted={"198.51.100.1": OVER},
        blocked=NOTHING,
    ),
    case(
        "a shorter live grant stands below one that is over",
        ethernet(PLAIN),
        lane=Lane.GREEN,
        granted={"198.51.100.1": OVER, "198.51.0.0/16": LIVE},
    ),
    case(
        "a blocked prefix inside a granted one is granted",
        ethernet(PLAIN),
        lane=Lane.GREEN,
        granted={"198.51.0.0/16": LIVE},
        blocked={"198.51.100.1": LIVE},
    ),
    case(
        "the source is asked before the destination",
        ethernet(PLAIN),
        drop="LISTED_SOURCE",
        listed=("192.0.2.1",),
        blocked={"198.51.100.1": LIVE},
    ),
    case(
        "the destination is asked too", ethernet(PLAIN), drop="BLOCKED_DESTINATION", blocked={"198.51.100.0/28": LIVE}
    ),
    case(
        "a list refuses a destination",
        ethernet(PLAIN),
        drop="LISTED_DESTINATION",
        direction=OUT,
        listed=("198.51.100.0/25",),
    ),
    case("a block that is over blocks nothing", ethernet(PLAIN), blocked={"192.0.2.1": OVER}),
    case(
        "a shorter live block stands below one that is over",
        ethernet(PLAIN),
        drop="BLOCKED_SOURCE",
        blocked={"192.0.2.1": OVER, "192.0.0.0/8": LIVE},
    ),
    case(
        "an exception ends the question for its address",
        ethernet(PLAIN),
        exceptions={"192.0.2.0/24": LIVE},
        listed=("192.0.2.1",),
    ),
    case(
        "and for its address alone",
        ethernet(PLAIN),
        drop="LISTED_DESTINATION",
        exceptions={"192.0.2.0/24": LIVE},
        listed=("192.0.2.1", "198.51.100.1"),
    ),
    case(
        "the longest live entry decides: a block within an exception",
        ethernet(PLAIN),
        drop="BLOCKED_SOURCE",
        exceptions={"192.0.2.0/24": LIVE},
        blocked={"192.0.2.1": LIVE},
    ),
    case(
        "an exception within a block", ethernet(PLAIN), exceptions={"192.0.2.1": LIVE}, blocked={"192.0.2.0/24": LIVE}
    ),
    case(
        "at one prefix a live exception beats a block",
        ethernet(PLAIN),
        exceptions={"192.0.2.1": LIVE},
        blocked={"192.0.2.1": LIVE},
    ),
    case(
        "when the exception is over the block is back",
        ethernet(PLAIN),
        drop="BLOCKED_SOURCE",
        exceptions={"192.0.2.1": OVER},
        blocked={"192.0.2.1": LIVE},
    ),
    case(
        "the overlay beats the base whatever the lengths",
        ethernet(PLAIN),
        exceptions={"192.0.0.0/8": LIVE},
        listed=("192.0.2.1",),
    ),
    case(
        "in the base the longest prefix wins",
        ethernet(PLAIN),
        spared=("192.0.2.0/24",),
        listed=("192.0.2.1",),
        drop="LISTED_SOURCE",
    ),
    case("also when it spares", ethernet(PLAIN), spared=("192.0.2.1",), listed=("192.0.2.0/24",)),
    case(
        "at one prefix of the base an exception wins",
        ethernet(PLAIN),
        spared=("192.0.2.0/24",),
        listed=("192.0.2.0/24",),
    ),
    case(
        "IPv6 too",
        ethernet(PLAIN6, IPV6),
        spared=("2001:db8:bad::/48",),
        listed=("2001:db8:bad::/64",),
        drop="LISTED_SOURCE",
    ),
    case(
        "an IPv6 prefix says nothing of IPv4",
        ethernet(PLAIN),
        listed=("::/1",),
        blocked={"::/1": LIVE},
        granted={"::/1": LIVE},
    ),
    case(
        "a mapped address in an IPv6 header is IPv4",
        ethernet(ipv6(udp(), source="::ffff:192.0.2.1"), IPV6),
        drop="LISTED_SOURCE",
        listed=("192.0.2.0/24",),
    ),
]

GUARD = [
    case(
        "an inside source from outside is spoofed",
        ethernet(ipv4(udp(), source="198.51.100.9")),
        drop="SPOOFED_INSIDE",
        inside=("198.51.100.0/24",),
    ),
    case(
        "before any grant",
        ethernet(ipv4(udp(), source="198.51.100.9")),
        drop="SPOOFED_INSIDE",
        inside=("198.51.100.0/24",),
        granted={"198.51.100.0/24": LIVE},
    ),
    case(
        "a source from inside that is none of the inside's is spoofed",
        ethernet(PLAIN),
        drop="SPOOFED_FOREIGN",
        direction=OUT,
        inside=("198.51.100.0/24",),
    ),
    case(
        "a host without an address yet may ask for one",
        ethernet(ipv4(udp(), source="0.0.0.0", destination="255.255.255.255")),
        direction=OUT,
        inside=("198.51.100.0/24",),
    ),
    case(
        "link-local sources are not judged",
        ethernet(ipv6(icmp(135), 58, "fe80::1", "ff02::1"), IPV6),
        direction=OUT,
        inside=("198.51.100.0/24",),
    ),
    case(
        "a bogon from outside is spoofed", ethernet(ipv4(udp(), source="10.0.0.1")), drop="SPOOFED_BOGON", bogons=True
    ),
    case("a bogon from inside is not", ethernet(ipv4(udp(), source="10.0.0.1")), direction=OUT, bogons=True),
    case(
        "a bogon is none where it was not asked for",
        ethernet(ipv4(udp(), source="10.0.0.1")),
        inside=("198.51.100.0/24",),
    ),
    case("IPv4 is no bogon by ::/8", ethernet(ipv4(udp(), source="216.0.0.0")), bogons=True),
    case("::1 is one", ethernet(ipv6(udp(), source="::1"), IPV6), drop="SPOOFED_BOGON", bogons=True),
    case(
        "an inside prefix within a bogon is inside",
        ethernet(ipv4(udp(), source="10.1.0.1")),
        drop="SPOOFED_INSIDE",
        inside=("10.1.0.0/16",),
        bogons=True,
    ),
    case(
        "a bogon within an inside prefix is inside too",
        ethernet(ipv4(udp(), source="192.0.2.1")),
        direction=OUT,
        inside=("192.0.0.0/16",),
        bogons=True,
    ),
    case(
        "spoofed first fragments are not remembered",
        ethernet(ipv4(udp(b"x" * 8), source="10.0.0.1", more=True)),
        ethernet(ipv4(bytes(8), source="10.0.0.1", offset=800)),
        facts="FRAGMENT",
        drop="SPOOFED_BOGON",
        bogons=True,
    ),
    case(
        "observed, a drop is forwarded with its reason",
        ethernet(PLAIN),
        facts="OBSERVED",
        drop="BLOCKED_SOURCE",
        observe=True,
        blocked=NOTHING,
    ),
    case(
        "observed, a malformed packet too",
        ethernet(ipv4(udp(length=7))),
        facts="OBSERVED",
        drop="MALFORMED_UDP",
        observe=True,
    ),
]

CASES = [*READING, *EXTENSIONS, *TRANSPORT, *FRAGMENTS, *RULES, *GUARD]
