"""Frames built layer by layer, for tests that say what stands in them. Lengths are right unless a test lies."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
OUTSIDE, INSIDE = "192.0.2.1", "198.51.100.1"
OUTSIDE6, INSIDE6 = "2001:db8:bad::1", "2001:db8:1::1"


def ethernet(payload: bytes, ether_type: int = IPV4) -> bytes:
    return bytes.fromhex("020000000002020000000001") + ether_type.to_bytes(2, "big") + payload


def tags(payload: bytes, *ether_types: int, last: int = IPV4) -> bytes:
    """A frame with a tag of each of these EtherTypes before one of type `last`."""
    inner = b"".join(b"\x00\x07" + following.to_bytes(2, "big") for following in (*ether_types[1:], last))
    return ethernet(inner + payload, ether_types[0])


def pppoe(payload: bytes, protocol: int = 0x0021, length: int | None = None) -> bytes:
    stated = len(payload) + 2 if length is None else length
    header = b"\x11\x00\x00\x01" + stated.to_bytes(2, "big") + protocol.to_bytes(2, "big")
    return ethernet(header + payload, 0x8864)


def mpls(payload: bytes, labels: int) -> bytes:
    stack = b"\x00\x01\x00\x40" * (labels - 1) + b"\x00\x01\x01\x40"
    return ethernet(stack + payload, 0x8847)


def ipv4(
    payload: bytes,
    protocol: int = 17,
    source: str = OUTSIDE,
    destination: str = INSIDE,
    *,
    options: bytes = b"",
    total: int | None = None,
    header_words: int | None = None,
    identification: int = 1,
    offset: int = 0,
    more: bool = False,
    version: int = 4,
) -> bytes:
    words = 5 + len(options) // 4 if header_words is None else header_words
    length = 20 + len(options) + len(payload) if total is None else total
    return (
        bytes([version << 4 | words, 0])
        + length.to_bytes(2, "big")
        + identification.to_bytes(2, "big")
        + (offset // 8 | (0x2000 if more else 0)).to_bytes(2, "big")
        + bytes([64, protocol, 0, 0])
        + IPv4Address(source).packed
        + IPv4Address(destination).packed
        + options
        + payload
    )


def ipv6(
    payload: bytes,
    next_header: int = 17,
    source: str = OUTSIDE6,
    destination: str = INSIDE6,
    *,
    length: int | None = None,
    version: int = 6,
) -> bytes:
    stated = len(payload) if length is None else length
    return (
        bytes([version << 4, 0, 0, 0])
        + stated.to_bytes(2, "big")
        + bytes([next_header, 64])
        + IPv6Address(source).packed
        + IPv6Address(destination).packed
        + payload
    )


def chain(kinds: list[int], last: int, payload: bytes) -> tuple[bytes, int]:
    """Extension headers of 8 bytes each (AH of 12) before a payload of protocol `last`: bytes, first next header."""
    following = [*kinds, last]
    headers = b"".join(
        bytes([after, 1]) + bytes(10) if kind == 51 else bytes([after, 0]) + bytes(6)
        for kind, after in zip(kinds, following[1:], strict=False)
    )
    return headers + payload, following[0]


def fragment6(payload: bytes, next_header: int, offset: int, more: bool, identification: int = 1) -> bytes:
    return bytes([next_header, 0]) + (offset | more).to_bytes(2, "big") + identification.to_bytes(4, "big") + payload


def udp(payload: bytes = b"data", port: int = 443, length: int | None = None) -> bytes:
    stated = 8 + len(payload) if length is None else length
    return b"\xc0\x00" + port.to_bytes(2, "big") + stated.to_bytes(2, "big") + b"\0\0" + payload


def tcp(payload: bytes = b"data", words: int = 5, options: bytes = b"") -> bytes:
    return b"\xc0\x00\x01\xbb" + bytes(8) + bytes([words << 4, 2]) + bytes(6) + options + payload


def icmp(kind: int = 8, payload: bytes = b"") -> bytes:
    return bytes([kind, 0]) + bytes(6) + payload
