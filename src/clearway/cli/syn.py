"""One frame: the first packet of a TCP connection to port 443, with checksums as a sender makes them. Pure."""

from __future__ import annotations

import struct

from clearway.policy.model import Prefix

SOURCE_PORT, DESTINATION_PORT = 49_152, 443
_MACS = bytes.fromhex("020000000002020000000001")
_TCP, _TTL, _SYN = 6, 64, 0x02


def syn(source: Prefix, destination: Prefix) -> bytes:
    """Ethernet, IPv4 or IPv6, TCP; both addresses of one version."""
    size = 4 if source.version == 4 else 16
    addresses = source.address.to_bytes(size, "big") + destination.address.to_bytes(size, "big")
    segment = struct.pack("!HHIIBBHHH", SOURCE_PORT, DESTINATION_PORT, 0, 0, 5 << 4, _SYN, 65_535, 0, 0)
    pseudo = addresses + struct.pack("!II", len(segment), _TCP)
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    if source.version == 6:
        header = struct.pack("!IHBB", 6 << 28, len(segment), _TCP, _TTL) + addresses
        return _MACS + b"\x86\xdd" + header + segment
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(segment), 0, 0x4000, _TTL, _TCP)
    header = start + struct.pack("!H", checksum(start + b"\0\0" + addresses)) + addresses
    return _MACS + b"\x08\x00" + header + segment


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
