"""The names of a capture stay the same however its packets are cut, ordered, repeated, fragmented or tagged.

Each change is one that a network may make, or a client, without asking. Only frames of Ethernet with IP are changed.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from capture_files import SHARED, Frame, expected, names, read, shared_files, write_pcap

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data/captures beside the checkout")

Change = Callable[[list[Frame], random.Random], list[Frame]]
ETHERNET = 1


class Parts:
    """An Ethernet frame with one untagged IP packet of TCP or UDP, in its parts. Raises ValueError for any other."""

    def __init__(self, frame: Frame) -> None:
        data = frame.data
        if frame.link != ETHERNET or len(data) < 34:
            raise ValueError
        self.frame = frame
        if data[12:14] == b"\x08\x00" and data[14] >> 4 == 4:
            header_bytes, total = (data[14] & 15) * 4, struct.unpack_from("!H", data, 16)[0]
            fragment = struct.unpack_from("!H", data, 20)[0] & 0x3FFF
            self.protocol, self.version = data[23], 4
        elif data[12:14] == b"\x86\xdd" and len(data) > 54:
            header_bytes, total, fragment = 40, 40 + struct.unpack_from("!H", data, 18)[0], 0
            self.protocol, self.version = data[20], 6
        else:
            raise ValueError
        self.ether, self.ip = data[:14], data[14 : 14 + header_bytes]
        self.body = data[14 + header_bytes : 14 + total]
        if fragment or len(data) < 14 + total or self.protocol not in (6, 17) or len(self.body) < 8:
            raise ValueError

    def with_body(self, body: bytes, *, fragment: int | None = None, identification: int = 0) -> Frame:
        """The frame with another IP payload. `fragment`: the field of offset and flags."""
        ip = bytearray(self.ip)
        if self.version == 4:
            struct.pack_into("!H", ip, 2, len(ip) + len(body))
            if fragment is not None:
                struct.pack_into("!HH", ip, 4, identification & 0xFFFF, fragment)
        else:
            if fragment is not None:
                more, offset = fragment >> 13 & 1, fragment & 0x1FFF
                body = struct.pack("!BBHI", self.protocol, 0, offset << 3 | more, identification) + body
                ip[6] = 44
            struct.pack_into("!H", ip, 4, len(body))
        return self.frame._replace(data=self.ether + bytes(ip) + body)

    @property
    def tcp_header_bytes(self) -> int:
        return (self.body[12] >> 4) * 4

    @property
    def tcp_payload(self) -> bytes:
        return self.body[self.tcp_header_bytes :] if self.protocol == 6 else b""

    def segments(self, cuts: list[int]) -> list[Frame]:
        """Its TCP payload in segments that end at `cuts`."""
        bounds = [0, *cuts, len(self.tcp_payload)]
        made = []
        for begin, end in pairwise(bounds):
            header = bytearray(self.body[: self.tcp_header_bytes])
            struct.pack_into("!I", header, 4, (struct.unpack_from("!I", header, 4)[0] + begin) & 0xFFFFFFFF)
            made.append(self.with_body(bytes(header) + self.tcp_payload[begin:end]))
        return made


def each(frames: list[Frame], change: Callable[[Parts], list[Frame]]) -> list[Frame]:
    """Every frame that can be taken apart, changed; the others as they are."""
    changed: list[Frame] = []
    for frame in frames:
        try:
            parts = Parts(frame)
        except ValueError:
            changed.append(frame)
            continue
        changed += change(parts)
    return changed


def cuts_of(parts: Parts, rng: random.Random, pieces: int) -> list[int]:
    length = len(parts.tcp_payload)
    return sorted(rng.sample(range(1, length), min(pieces - 1, length - 1)))


def has_data(parts: Parts) -> bool:
    return parts.protocol == 6 and len(parts.tcp_payload) > 1 and not parts.body[13] & 2


def resegmented(frames: list[Frame], rng: random.Random) -> list[Frame]:
    return each(frames, lambda p: p.segments(cuts_of(p, rng, 5)) if has_data(p) else [p.frame])


def in_bytes(frames: list[Frame], rng: random.Random) -> list[Frame]:
    def change(parts: Parts) -> list[Frame]:
        first_bytes = min(len(parts.tcp_payload), 700)
        return parts.segments(list(range(1, first_bytes))) if has_data(parts) else [parts.frame]

    return each(frames, change)


def reordered(frames: list[Frame], rng: random.Random) -> list[Frame]:
    def change(parts: Parts) -> list[Frame]:
        if not has_data(parts):
            return [parts.frame]
        segments = parts.segments(cuts_of(parts, rng, 4))
        rng.shuffle(segments)
        return segments

    return each(frames, change)


def overlapped(frames: list[Frame], rng: random.Random) -> list[Frame]:
    def change(parts: Parts) -> list[Frame]:
        if not has_data(parts):
            return [parts.frame]
        pieces = parts.segments(cuts_of(parts, rng, 3))
        return [*pieces[::-1], parts.frame, *pieces]

    return each(frames, change)


def doubled(frames: list[Frame], rng: random.Random) -> list[Frame]:
    return [copy for frame in frames for copy in (frame, frame)]


def fragmented(frames: list[Frame], rng: random.Random) -> list[Frame]:
    counter = iter(range(1, 1_000_000))

    def change(parts: Parts) -> list[Frame]:
        if len(parts.body) <= 16:
            return [parts.frame]
        unit = max(1, len(parts.body) // 8 // 3)
        number, pieces = next(counter), []
        for offset in range(0, len(parts.body), unit * 8):
            body = parts.body[offset : offset + unit * 8]
            more = 0x2000 if offset + unit * 8 < len(parts.body) else 0
            pieces.append(parts.with_body(body, fragment=more | offset // 8, identification=number))
        rng.shuffle(pieces)
        return pieces

    return each(frames, change)


def tagged(tag: bytes) -> Change:
    def change(frames: list[Frame], rng: random.Random) -> list[Frame]:
        return [f._replace(data=f.data[:12] + tag + f.data[12:]) if f.link == ETHERNET else f for f in frames]

    return change


def without_ethernet(frames: list[Frame], rng: random.Random) -> list[Frame]:
    """As raw IP; what is not IP right behind the addresses is left out, so nothing may be expected of it."""
    kept = [f for f in frames if f.link == ETHERNET and f.data[12:14] in (b"\x08\x00", b"\x86\xdd")]
    return [f._replace(link=101, data=f.data[14:]) for f in kept]


def cooked(frames: list[Frame], rng: random.Random) -> list[Frame]:
    return [f._replace(link=113, data=bytes(14) + f.data[12:]) for f in frames if f.link == ETHERNET]


def cooked_2(frames: list[Frame], rng: random.Random) -> list[Frame]:
    return [f._replace(link=276, data=f.data[12:14] + bytes(18) + f.data[14:]) for f in frames if f.link == ETHERNET]


CHANGES: dict[str, Change] = {
    "as it is": lambda frames, rng: frames,
    "segments cut": resegmented,
    "segments of one byte": in_bytes,
    "segments out of order": reordered,
    "segments overlapping": overlapped,
    "everything twice": doubled,
    "IP fragments out of order": fragmented,
    "a VLAN tag": tagged(b"\x81\x00\x00\x2a"),
    "two VLAN tags": tagged(b"\x88\xa8\x00\x07\x81\x00\x00\x2a"),
    "two VLAN tags, old": tagged(b"\x91\x00\x00\x07\x81\x00\x00\x2a"),
    "raw IP": without_ethernet,
    "Linux cooked": cooked,
    "Linux cooked 2": cooked_2,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("file", shared_files())
def test_the_names_stay_the_same(file: str, change: str, tmp_path: Path) -> None:
    frames = read(SHARED / file)
    assert frames
    if len({frame.link for frame in frames}) > 1:
        pytest.skip("several link layers in one file")
    before = set(names(SHARED / file))
    changed = CHANGES[change](frames, random.Random(f"{file} {change}"))
    after = set(names(write_pcap(tmp_path / "changed.pcap", changed)))
    if change in ("raw IP", "Linux cooked", "Linux cooked 2"):
        tags = {name: set(line["tags"]) for name, line in expected()[file].items()}
        moved = frames[0].link == ETHERNET
        before = {name for name in before if moved and not tags.get(name, set()) & {"vlan", "qinq", "pppoe", "mpls"}}
        after = {name for name in after if name in before} if moved else before
    assert after == before
