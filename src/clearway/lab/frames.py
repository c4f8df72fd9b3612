"""Frames as bytes, built from the inside out. Pure; knows nothing of sockets.

Every length and checksum is right unless it is given: a wrong one is always written out by who wants it.
"""

import ipaddress
import struct

ETHER_IPV4 = 0x0800
ETHER_IPV6 = 0x86DD
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17

SYN, ACK, PSH, URG, ECE, CWR, FIN, RST = 0x02, 0x10, 0x08, 0x20, 0x40, 0x80, 0x01, 0x04


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    """Six bytes of a hardware address in colons."""
    return bytes.fromhex(text.replace(":", ""))


def ethernet(destination: bytes, source: bytes, ether_type: int, payload: bytes) -> bytes:
    return destination + source + struct.pack("!H", ether_type) + payload


def vlan(ether_type_of_tag: int, tci: int, frame: bytes) -> bytes:
    """The frame with one tag more, outermost."""
    return frame[:12] + struct.pack("!HH", ether_type_of_tag, tci) + frame[12:]


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 0,
    fragment: int = 0x4000,
    ttl: int = 64,
    tos: int = 0,
    options: bytes = b"",
    total_length: int | None = None,
) -> bytes:
    """`fragment`: flags and offset as on the wire; don't-fragment unless said otherwise."""
    header_length = 20 + len(options)
    if total_length is None:
        total_length = header_length + len(payload)
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed
    first = 0x40 | header_length // 4
    header = struct.pack("!BBHHHBBH", first, tos, total_length, identification, fragment, ttl, protocol, 0)
    total = checksum(header + addresses + options)
    return header[:10] + struct.pack("!H", total) + addresses + options + payload


def ipv6(
    source: str,
    destination: str,
    next_header: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    flow: int = 0,
    payload_length: int | None = None,
) -> bytes:
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed
    length = len(payload) if payload_length is None else payload_length
    return struct.pack("!IHBB", 6 << 28 | flow, length, next_header, hop_limit) + addresses + payload


def ip(source: str, destination: str, protocol: int, payload: bytes) -> tuple[int, bytes]:
    """EtherType and packet of whichever family the addresses are."""
    if ":" in source:
        return ETHER_IPV6, ipv6(source, destination, protocol, payload)
    return ETHER_IPV4, ipv4(source, destination, protocol, payload)


def pseudo_header(source: str, destination: str, protocol: int, length: int) -> bytes:
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return packed + struct.pack("!II", length, protocol)  # the same sum for both families


def udp(source: str, destination: str, source_port: int, destination_port: int, payload: bytes) -> bytes:
    """Datagram with its checksum; addresses for the pseudo header."""
    length = 8 + len(payload)
    header = struct.pack("!HHHH", source_port, destination_port, length, 0)
    total = checksum(pseudo_header(source, destination, PROTOCOL_UDP, length) + header + payload) or 0xFFFF
    return header[:6] + struct.pack("!H", total) + payload


def tcp(
    source: str,
    destination: str,
    ports: tuple[int, int],
    payload: bytes,
    *,
    sequence: int = 1,
    acknowledgement: int = 1,
    flags: int = ACK,
    window: int = 0xFFFF,
    urgent: int = 0,
    options: bytes = b"",
) -> bytes:
    """Segment with its checksum; options a multiple of four bytes."""
    words = 5 + len(options) // 4
    header = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledgement, words << 4, flags, window, 0, urgent)
    length = len(header) + len(options) + len(payload)
    total = checksum(pseudo_header(source, destination, PROTOCOL_TCP, length) + header + options + payload)
    return header[:16] + struct.pack("!HH", total, urgent) + options + payload
