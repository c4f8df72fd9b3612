"""Frames out of pcap and pcapng files, Ethernet only. Small, for tests: it reads what a file holds, and no more.

Formats: draft-ietf-opsawg-pcap and -pcapng. A block that is cut off ends the file.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

ETHERNET = 1
PCAPNG_MAGIC = 0x0A0D0D0A
BYTE_ORDER_MAGIC = b"\x1a\x2b\x3c\x4d"
SECTION, INTERFACE, SIMPLE_PACKET, ENHANCED_PACKET = PCAPNG_MAGIC, 1, 3, 6


def frames_of(path: Path) -> Iterator[bytes]:
    """Every Ethernet frame in order, as captured (perhaps cut)."""
    data = path.read_bytes()
    if data[:4] == struct.pack("<I", PCAPNG_MAGIC):
        yield from _pcapng(data)
    else:
        yield from _pcap(data)


def _pcap(data: bytes) -> Iterator[bytes]:
    order = ">" if data[0] == 0xA1 else "<"
    (link,) = struct.unpack_from(f"{order}I", data, 20)
    at = 24
    while link & 0xFFFF == ETHERNET and at + 16 <= len(data):
        (length,) = struct.unpack_from(f"{order}I", data, at + 8)
        frame = data[at + 16 : at + 16 + length]
        if len(frame) < length:
            return
        yield frame
        at += 16 + length


def _pcapng(data: bytes) -> Iterator[bytes]:
    at, order, links = 0, "<", list[int]()
    while at + 12 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        if kind == SECTION:
            order = ">" if data[at + 8 : at + 12] == BYTE_ORDER_MAGIC else "<"
            (length,) = struct.unpack_from(f"{order}I", data, at + 4)
            links = []
        if length < 12 or at + length > len(data):
            return
        body = data[at + 8 : at + length - 4]
        if kind == INTERFACE:
            links.append(struct.unpack_from(f"{order}H", body)[0])
        elif kind == ENHANCED_PACKET:
            interface, _, _, captured = struct.unpack_from(f"{order}IIII", body)
            if links[interface] == ETHERNET:
                yield body[20 : 20 + captured]
        elif kind == SIMPLE_PACKET and links[0] == ETHERNET:
            (original,) = struct.unpack_from(f"{order}I", body)
            yield body[4 : 4 + original]
        at += length
