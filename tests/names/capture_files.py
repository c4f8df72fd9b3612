"""Capture files as tests have them: read to frames, written from frames, in each form that `inspect` claims to read.

Slow and plain; shares nothing with the product's own reader, so that the two are not wrong alike.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from clearway._engine import Inspection

SHARED = Path(__file__).parents[3] / "shared" / "data" / "captures"
"""Captures of other projects, under their licences: never copied, so tests that need them skip where they lack."""

Name = tuple[str, str, int, str, int, str]
"""Protocol, source, port, destination, port, name."""


class Frame(NamedTuple):
    link: int
    time_ns: int
    data: bytes


def shared_files() -> list[str]:
    """The captures that the index lists."""
    index = SHARED / "INDEX.tsv"
    return [line.split("\t")[0] for line in index.read_text().splitlines()[1:] if line] if index.exists() else []


def expected() -> dict[str, dict[Name, dict[str, Any]]]:
    """What the answers say of each file, by name."""
    answers: dict[str, dict[Name, dict[str, Any]]] = defaultdict(dict)
    for text in (SHARED / "expected.jsonl").read_text().splitlines():
        line = json.loads(text)
        answers[line["file"]][name_of(line)] = line
    return answers


def name_of(line: dict[str, Any]) -> Name:
    """What identifies a line of the answers or of ours."""
    return line["proto"], line["src"], line["sport"], line["dst"], line["dport"], line["name"]


def lines(path: Path) -> list[dict[str, Any]]:
    """What `inspect --json` says of a file."""
    inspection = Inspection(path)
    text = b""
    while (part := inspection.json()) is not None:
        text += part
    return [json.loads(line) for line in text.splitlines()]


def names(path: Path) -> dict[Name, dict[str, Any]]:
    """Those of them that tell a name; each is told once."""
    found: dict[Name, dict[str, Any]] = {}
    for line in lines(path):
        assert ("name" in line) != ("none" in line), line
        if "name" in line:
            assert name_of(line) not in found, f"told twice: {line}"
            found[name_of(line)] = line
    return found


def read(path: Path) -> list[Frame]:
    """The frames of a pcap or pcapng file."""
    data = path.read_bytes()
    return _read_pcapng(data) if data[:4] == b"\n\r\r\n" else _read_pcap(data)


def _read_pcap(data: bytes) -> list[Frame]:
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    fraction_ns = 1 if data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1000
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    frames, at = [], 24
    while at + 16 <= len(data):
        seconds, fraction, length, _ = struct.unpack_from(order + "IIII", data, at)
        frames.append(Frame(link, seconds * 10**9 + fraction * fraction_ns, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return frames


def _read_pcapng(data: bytes) -> list[Frame]:
    frames: list[Frame] = []
    links: list[int] = []
    order, at = "<", 0
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\n\r\r\n":
            order, links = ("<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"), []
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind == 1:
            links.append(struct.unpack_from(order + "H", data, at + 8)[0])
        elif kind == 6:
            interface, high, low, size = struct.unpack_from(order + "IIII", data, at + 8)
            frames.append(Frame(links[interface], (high << 32 | low) * 1000, data[at + 28 : at + 28 + size]))
        elif kind == 3:
            size = struct.unpack_from(order + "I", data, at + 8)[0]
            frames.append(Frame(links[0], 0, data[at + 12 : at + 12 + size]))
        at += length
    return frames


def write_pcap(path: Path, frames: list[Frame], *, order: str = "<", nanoseconds: bool = False) -> Path:
    """All frames have to be of one link layer."""
    magic, unit_ns = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    link = frames[0].link if frames else 1
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link)]
    for frame in frames:
        seconds, rest_ns = divmod(frame.time_ns, 10**9)
        header = (seconds & 0xFFFFFFFF, rest_ns // unit_ns, len(frame.data), len(frame.data))
        parts += [struct.pack(order + "IIII", *header), frame.data]
    path.write_bytes(b"".join(parts))
    return path


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    """A section's header."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, order: str = "<", options: bytes = b"", snap_bytes: int = 0) -> bytes:
    """An interface's description."""
    return block(1, struct.pack(order + "HHI", link, 0, snap_bytes) + options, order)


def enhanced(number: int, data: bytes, order: str = "<") -> bytes:
    """A frame in an enhanced packet block."""
    return block(6, struct.pack(order + "IIIII", number, 0, 0, len(data), len(data)) + data, order)
