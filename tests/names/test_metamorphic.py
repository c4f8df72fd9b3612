"""The names of a capture stay the same however its packets are cut, ordered, repeated, fragmented or tagged.

Each change is one that a network may make, or a client, without asking. Only untagged frames of IP are changed.
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
QUIC_INITIAL_BYTES_MIN = 1200
ETHERNET, RAW, COOKED, COOKED_2, LOOPBACK = 1, 101, 113, 276, 0
TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
HEADS: dict[int, tuple[int, int | None]] = {
    ETHERNET: (14, 12),
    RAW: (0, None),
    COOKED: (16, 14),
    COOKED_2: (20, 0),
    LOOPBACK: (4, None),
}
"""By link layer: where IP begins, and where its type stands."""


def ip_of(frame: Frame) -> bytes | None:
    """The IP packet right behind the link's head, if one is there."""
    head_bytes, type_at = HEADS[frame.link]
    packet = frame.data[head_bytes:]
    kind = TYPES.get(packet[0] >> 4) if packet else None
    if kind is None or (type_at is not None and frame.data[type_at : type_at + 2] != kind):
        return None
    return packet


class Parts:
    """A frame with one untagged IP packet of TCP or UDP, in its parts. Raises ValueError for any other."""

    def __init__(self, frame: Frame) -> None:
        packet = ip_of(frame)
        if packet is None or len(packet) < 20:
            raise ValueError
        self.frame, self.version = frame, packet[0] >> 4
        if self.version == 4:
            header_bytes, total = (packet[0] & 15) * 4, struct.unpack_from("!H", packet, 2)[0]
            fragment, self.protocol = struct.unpack_from("!H", packet, 6)[0] & 0x3FFF, packet[9]
        elif len(packet) > 40:
            header_bytes, total = 40, 40 + struct.unpack_from("!H", packet, 4)[0]
            fragment, self.protocol = 0, packet[6]
        else:
            raise ValueError
        self.head, self.ip = frame.data[: HEADS[frame.link][0]], packet[:header_bytes]
        self.body = packet[header_bytes:total]
        if fragment or len(packet) < total or self.protocol not in (6, 17) or len(self.body) < 8:
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
        return self.frame._replace(data=self.head + bytes(ip) + body)

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


def quic_connection(frame: Frame) -> bytes | None:
    """Both ends and the connection id of a client's Initial; None: it is none."""
    try:
        parts = Parts(frame)
    except ValueError:
        return None
    payload = parts.body[8:] if parts.protocol == 17 else b""
    kind = {b"\0\0\0\x01": 0xC0, b"\x6b\x33\x43\xcf": 0xD0}.get(payload[1:5])
    if len(payload) < QUIC_INITIAL_BYTES_MIN or payload[0] & 0xF0 != kind:
        return None
    addresses = parts.ip[12:20] if parts.version == 4 else parts.ip[8:40]
    return addresses + parts.body[:4] + payload[6 : 6 + payload[5]]


def initials_backwards(frames: list[Frame], rng: random.Random) -> list[Frame]:
    """Those that the same keys open, each in the place of another."""
    places: dict[bytes, list[int]] = {}
    for at, frame in enumerate(frames):
        if (connection := quic_connection(frame)) is not None:
            places.setdefault(connection, []).append(at)
    changed = list(frames)
    for of_one in places.values():
        for at, other in zip(of_one, reversed(of_one), strict=True):
            changed[at] = frames[other]
    return changed


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


def on_link(link: int, head: Callable[[bytes], bytes]) -> Change:
    """On another link layer, with a head by the type. What is not IP right behind its own head is left out."""

    def change(frames: list[Frame], rng: random.Random) -> list[Frame]:
        packets = [(frame, packet) for frame in frames if (packet := ip_of(frame)) is not None]
        return [f._replace(link=link, data=head(TYPES[packet[0] >> 4]) + packet) for f, packet in packets]

    return change


def tagged(tag: bytes) -> Change:
    ethernet = on_link(ETHERNET, lambda kind: bytes(12) + kind)

    def change(frames: list[Frame], rng: random.Random) -> list[Frame]:
        on_ethernet = frames if frames[0].link == ETHERNET else ethernet(frames, rng)
        return [f._replace(data=f.data[:12] + tag + f.data[12:]) for f in on_ethernet]

    return change


CHANGES: dict[str, Change] = {
    "as it is": lambda frames, rng: frames,
    "segments cut": resegmented,
    "segments of one byte": in_bytes,
    "segments out of order": reordered,
    "segments overlapping": overlapped,
    "Initials backwards": initials_backwards,
    "everything twice": doubled,
    "IP fragments out of order": fragmented,
    "a VLAN tag": tagged(b"\x81\x00\x00\x2a"),
    "two VLAN tags": tagged(b"\x88\xa8\x00\x07\x81\x00\x00\x2a"),
    "two VLAN tags, old": tagged(b"\x91\x00\x00\x07\x81\x00\x00\x2a"),
    "Ethernet": on_link(ETHERNET, lambda kind: bytes(12) + kind),
    "raw IP": on_link(RAW, lambda kind: b""),
    "Linux cooked": on_link(COOKED, lambda kind: bytes(14) + kind),
    "Linux cooked 2": on_link(COOKED_2, lambda kind: kind + bytes(18)),
}
LOSING = {"Ethernet", "raw IP", "Linux cooked", "Linux cooked 2"}
"""Changes that leave out tagged frames."""
TAGS = {"vlan", "qinq", "pppoe", "mpls"}


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
    if change in LOSING:
        before -= {name for name, line in expected()[file].items() if set(line["tags"]) & TAGS}
    assert after == before


def test_several_captures_have_a_hello_in_more_than_one_initial() -> None:
    """Or their order would change nothing."""
    several = [
        file for file in shared_files() if initials_backwards(got := read(SHARED / file), random.Random()) != got
    ]
    assert len(several) > 1
