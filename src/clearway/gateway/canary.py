"""Canary frames: packets whose fate is known, run through the gateway's own loaded programs. Nothing is sent.

Comparing maps shows that the tables are right; only a packet shows that the programs read them. Each canary is made
from what is wanted just now: a listed address must fall, a blocked one too, a granted one must pass in the green lane,
and an unlisted one must pass.
"""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from clearway._engine import Direction, DropReason, Lane

_ETHERNET_V4 = bytes.fromhex("0200000000020200000000010800")
_ETHERNET_V6 = bytes.fromhex("02000000000202000000000186dd")
_UDP, _HOP_LIMIT = 17, 64
_PAYLOAD = b"clearway canary\0"
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True)
class Canary:
    """A frame and what the programs must say of it."""

    kind: str
    """listed, blocked, green or clean."""
    direction: Direction
    frame: bytes
    drop_reason: DropReason
    lane: Lane
    address: bytes
    """The address it is about, 16 bytes."""


def frame(source: bytes, destination: bytes) -> bytes:
    """A UDP datagram from one address to another (16 bytes each, of one family), with every length right."""
    udp_length = 8 + len(_PAYLOAD)
    udp = struct.pack(">HHHH", 40000, 9, udp_length, 0) + _PAYLOAD
    if is_v4(source):
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + udp_length, 0, 0, _HOP_LIMIT, _UDP, 0)
        addresses = source[12:] + destination[12:]
        return _ETHERNET_V4 + _with_checksum(header + addresses) + udp
    header = struct.pack(">IHBB", 6 << 28, udp_length, _UDP, _HOP_LIMIT)
    return _ETHERNET_V6 + header + source + destination + udp


def is_v4(address: bytes) -> bool:
    return address.startswith(_MAPPED)


def unlisted(version: int, is_free: Callable[[bytes], bool], chance: random.Random, tries: int = 64) -> bytes | None:
    """A random address outside that nothing is said about (`is_free`). None when luck doesn't find one."""
    for _ in range(tries):
        if version == 4:
            address = _MAPPED + bytes([chance.randrange(1, 224)]) + chance.randbytes(3)
        else:
            address = bytes([0x20 | chance.randrange(16)]) + chance.randbytes(15)
        if is_free(address):
            return address
    return None


def inbound(kind: str, address: bytes, other: bytes, reason: DropReason) -> Canary:
    """A packet from `address` outside to `other`."""
    return Canary(kind, Direction.INBOUND, frame(address, other), reason, Lane.INSPECTED, address)


def outbound_green(address: bytes, other: bytes) -> Canary:
    """A packet from a granted inside address to `other`, which may be listed: the lane doesn't ask."""
    return Canary("green", Direction.OUTBOUND, frame(address, other), DropReason.FORWARDED, Lane.GREEN, address)


def _with_checksum(header: bytes) -> bytes:
    total = sum(struct.unpack(">10H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
