"""A frame as the RFCs read it: addresses, fragment, facts, or the header whose lengths contradict each other.

The reference reader. It is slow and plain: each layer is handed exactly the bytes that belong to it and hands on those
of the next. bpf/parse.h was written apart from it, with a cursor; the oracle (bench/oracle.py) holds the two together.
Only lengths that contradict each other are malformed; what is odd or unknown is a fact, and passes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from clearway._engine import LIMITS
from clearway.policy.model import DropReason, Fact

VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
PPPOE_SESSION = 0x8864
MPLS = frozenset({0x8847, 0x8848})
IPV4, IPV6 = 0x0800, 0x86DD
PPP_IPV4, PPP_IPV6 = 0x0021, 0x0057

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
MOBILITY, HIP, SHIM6 = 135, 139, 140
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6})
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
TUNNEL_PROTOCOLS = frozenset({4, 41, 47, 50, 97, 115, 137})
"""IPv4, IPv6, GRE, ESP, EtherIP, L2TP, MPLS."""
TUNNEL_PORTS = frozenset({4789, 6081, 2152})
"""VXLAN, Geneve, GTP-U: destination ports of UDP."""
DATAGRAM_MAX = 65535

Address = tuple[int, int]
"""IP version and number. What lies in ::ffff:0:0/96 is version 4, whichever header it stood in."""


class Malformed(Exception):
    """A header contradicts another, or the frame's end. `packet`: what was known of it until then."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.packet = Packet()


@dataclass(frozen=True, slots=True)
class FragmentKey:
    """What the fragments of one datagram share. `protocol`: 44 for IPv6, where the next header may differ."""

    source: Address
    destination: Address
    identification: int
    protocol: int


@dataclass(slots=True)
class Packet:
    """What is known of a frame. Without addresses it is none of IP, or none that could be reached."""

    source: Address | None = None
    destination: Address | None = None
    protocol: int | None = None
    source_port: int = 0
    destination_port: int = 0
    fragment: FragmentKey | None = None
    """Set for a fragment."""
    first: bool = False
    """Set for a fragment that begins its datagram."""
    facts: set[Fact] = field(default_factory=set)


def read(frame: bytes, *, super_packet: bool = False) -> Packet:
    """Reads a frame from its Ethernet header on. Raises Malformed.

    `super_packet`: several packets of the wire in one buffer (GSO, GRO), whose outer lengths may be 0.
    """
    packet = Packet()
    if super_packet:
        packet.facts.add(Fact.SUPER_PACKET)
    try:
        _ethernet(packet, frame, super_packet)
    except Malformed as malformed:
        malformed.packet = packet
        raise
    return packet


def _be16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _address(octets: bytes) -> Address:
    number = int.from_bytes(octets, "big")
    if len(octets) == 4:
        return 4, number
    return (4, number & 0xFFFFFFFF) if number >> 32 == 0xFFFF else (6, number)


# ---- down to IP ----


def _ethernet(packet: Packet, frame: bytes, super_packet: bool) -> None:
    if len(frame) < 14:
        raise Malformed(DropReason.MALFORMED_ETHERNET)
    ether_type, rest, tags = _be16(frame, 12), frame[14:], 0
    while ether_type in VLAN_TAGS:
        if tags == LIMITS["VLAN_TAGS_MAX"]:
            packet.facts.add(Fact.OPAQUE)
            return
        if len(rest) < 4:
            raise Malformed(DropReason.MALFORMED_ETHERNET)
        ether_type, rest, tags = _be16(rest, 2), rest[4:], tags + 1
    if ether_type == IPV4:
        _ipv4(packet, rest, super_packet)
    elif ether_type == IPV6:
        _ipv6(packet, rest, super_packet)
    elif ether_type == PPPOE_SESSION:
        _pppoe(packet, rest, super_packet)
    elif ether_type in MPLS:
        _mpls(packet, rest, super_packet)
    else:
        packet.facts.add(Fact.NOT_IP)


def _pppoe(packet: Packet, data: bytes, super_packet: bool) -> None:
    """RFC 2516: version and type, code, session, length of what follows; then a PPP protocol."""
    if len(data) < 6:
        raise Malformed(DropReason.MALFORMED_PPPOE)
    length, payload = _be16(data, 4), data[6:]
    if super_packet:  # it carries the length of one segment
        length = len(payload) if length >= 2 else length
    if length < 2 or length > len(payload):
        raise Malformed(DropReason.MALFORMED_PPPOE)
    protocol, inner = _be16(payload, 0), payload[2:length]
    if protocol == PPP_IPV4:
        _ipv4(packet, inner, super_packet)
    elif protocol == PPP_IPV6:
        _ipv6(packet, inner, super_packet)
    else:
        packet.facts.add(Fact.NOT_IP)


def _mpls(packet: Packet, data: bytes, super_packet: bool) -> None:
    """RFC 3032: labels of four bytes down to the one with the bottom bit; what follows names itself by its version."""
    labels, bottom = 0, False
    while not bottom:
        if labels == LIMITS["MPLS_LABELS_MAX"]:
            packet.facts.add(Fact.OPAQUE)
            return
        if len(data) < 4:
            raise Malformed(DropReason.MALFORMED_MPLS)
        bottom, data, labels = bool(data[2] & 1), data[4:], labels + 1
    version = data[0] >> 4 if data else None
    if version not in (4, 6):
        packet.facts.add(Fact.OPAQUE)
        return
    try:
        (_ipv4 if version == 4 else _ipv6)(packet, data, super_packet)
    except Malformed as malformed:
        # RFC 4928 section 3: the version is a guess; Ethernet in a pseudowire may begin with a MAC address 4x:… or 6x:…
        if malformed.reason not in (DropReason.MALFORMED_IPV4, DropReason.MALFORMED_IPV6):
            raise
        packet.source = packet.destination = packet.protocol = packet.fragment = None
        packet.first = False
        packet.facts.add(Fact.OPAQUE)


# ---- IP ----


def _ipv4(packet: Packet, data: bytes, super_packet: bool) -> None:
    """RFC 791."""
    if data and data[0] >> 4 != 4:
        packet.facts.add(Fact.NOT_IP)
        return
    if len(data) < 20:
        raise Malformed(DropReason.MALFORMED_IPV4)
    header_length, total_length = (data[0] & 15) * 4, _be16(data, 2)
    if super_packet and total_length == 0:
        total_length = len(data)
    if header_length < 20 or total_length < header_length or total_length > len(data):
        raise Malformed(DropReason.MALFORMED_IPV4)
    packet.source, packet.destination, packet.protocol = _address(data[12:16]), _address(data[16:20]), data[9]
    payload = data[header_length:total_length]
    flags_and_offset = _be16(data, 6)
    offset, more = (flags_and_offset & 0x1FFF) * 8, bool(flags_and_offset & 0x2000)
    if offset or more:
        _fragment(packet, _be16(data, 4), packet.protocol, offset, more, len(payload))
    _transport(packet, ICMP, payload, jumbo=False)


def _ipv6(packet: Packet, data: bytes, super_packet: bool) -> None:
    """RFC 8200, with jumbograms of RFC 2675 by their form: no length, and a hop-by-hop header."""
    if data and data[0] >> 4 != 6:
        packet.facts.add(Fact.NOT_IP)
        return
    if len(data) < 40:
        raise Malformed(DropReason.MALFORMED_IPV6)
    payload_length, next_header, payload = _be16(data, 4), data[6], data[40:]
    jumbo = payload_length == 0 and (next_header == HOP_BY_HOP or super_packet)
    if payload_length > len(payload):
        raise Malformed(DropReason.MALFORMED_IPV6)
    if not jumbo:
        payload = payload[:payload_length]
    packet.source, packet.destination = _address(data[8:24]), _address(data[24:40])
    reached = _extensions(packet, next_header, payload)
    if reached is None:
        return
    packet.protocol, payload = reached
    _transport(packet, ICMPV6, payload, jumbo=jumbo)


def _extensions(packet: Packet, next_header: int, payload: bytes) -> tuple[int, bytes] | None:
    """Past the extension headers: protocol and its bytes. None: it cannot be reached."""
    for _ in range(LIMITS["EXTENSION_HEADERS_MAX"]):
        if next_header not in EXTENSIONS:
            return next_header, payload
        if len(payload) < 8:
            raise Malformed(DropReason.MALFORMED_IPV6)
        if next_header == FRAGMENT:
            length = 8
        elif next_header == AUTHENTICATION:
            length = (payload[1] + 2) * 4
        else:
            length = (payload[1] + 1) * 8
        if length > len(payload):
            raise Malformed(DropReason.MALFORMED_IPV6)
        header, payload, this = payload[:length], payload[length:], next_header
        next_header = header[0]
        if this == FRAGMENT:
            offset, more = _be16(header, 2) & 0xFFF8, bool(header[3] & 1)
            if (offset or more) and not packet.fragment:
                _fragment(packet, int.from_bytes(header[4:8], "big"), FRAGMENT, offset, more, len(payload))
            if packet.fragment and not packet.first:
                return next_header, payload
    if next_header in EXTENSIONS:
        packet.facts.add(Fact.EXTENSION_LIMIT)
        return None
    return next_header, payload


def _fragment(packet: Packet, identification: int, protocol: int, offset: int, more: bool, length: int) -> None:
    packet.facts.add(Fact.FRAGMENT)
    if offset + length > DATAGRAM_MAX or (more and length % 8):
        raise Malformed(DropReason.MALFORMED_FRAGMENT)
    assert packet.source is not None and packet.destination is not None
    packet.fragment = FragmentKey(packet.source, packet.destination, identification, protocol)
    packet.first = offset == 0


# ---- above IP ----


def _transport(packet: Packet, own_icmp: int, data: bytes, *, jumbo: bool) -> None:
    """Looks at TCP, UDP and ICMP headers, whole or in a first fragment. Ports are left 0 where none are known.

    `own_icmp`: of the two ICMPs, the one that belongs to this version of IP; the other means nothing there.
    """
    if packet.fragment and not packet.first:
        return
    if packet.protocol in TUNNEL_PROTOCOLS:
        packet.facts.add(Fact.TUNNEL)
    elif packet.protocol == TCP:
        _tcp(packet, data)
    elif packet.protocol == UDP:
        _udp(packet, data, jumbo)
    elif packet.protocol == own_icmp:
        least = 8 if own_icmp == ICMP else 4  # RFC 792, RFC 4443; what an error quotes is never read
        if len(data) < least:
            _cut_off(packet, DropReason.MALFORMED_ICMP)


def _cut_off(packet: Packet, reason: DropReason) -> None:
    """A header that does not fit: in a first fragment its rest may follow, elsewhere nothing does."""
    if not packet.fragment:
        raise Malformed(reason)
    packet.facts.add(Fact.FRAGMENT_TINY)


def _tcp(packet: Packet, data: bytes) -> None:
    """RFC 9293."""
    if len(data) < 20:
        return _cut_off(packet, DropReason.MALFORMED_TCP)
    header_length = (data[12] >> 4) * 4
    if header_length < 20:
        raise Malformed(DropReason.MALFORMED_TCP)
    packet.source_port, packet.destination_port = _be16(data, 0), _be16(data, 2)
    if header_length > len(data):
        return _cut_off(packet, DropReason.MALFORMED_TCP)


def _udp(packet: Packet, data: bytes, jumbo: bool) -> None:
    """RFC 768; without a length in a jumbogram (RFC 2675)."""
    if len(data) < 8:
        return _cut_off(packet, DropReason.MALFORMED_UDP)
    length = _be16(data, 4)
    if length < 8 and not (length == 0 and jumbo):
        raise Malformed(DropReason.MALFORMED_UDP)
    if length > len(data) and not packet.fragment:
        raise Malformed(DropReason.MALFORMED_UDP)
    packet.source_port, packet.destination_port = _be16(data, 0), _be16(data, 2)
    if packet.destination_port in TUNNEL_PORTS:
        packet.facts.add(Fact.TUNNEL)
