"""Drop events as EVE JSON, one object a line, in the field names that Suricata's readers know.

`src_ip` and `dest_ip` hold outside addresses only; the inside host stands in `clearway.inside` as a pseudonym. A rule
that matched an inside host is told without its entry, which would name the host beside its pseudonym. Writing happens
in the thread that reads the ring: a slow or full disk delays or loses lines, and never a packet.
"""

import contextlib
import ipaddress
import json
import os
from collections.abc import Iterable
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from clearway._engine import Direction, DropReason, Lane
from clearway.policy.model import Prefix, word
from clearway.telemetry.hits import Rule, fell_by_destination, fell_by_source
from clearway.telemetry.pseudonym import Pseudonyms

FILE_BYTES_MAX = 64 << 20
FILES_KEPT = 5
"""eve.json, and eve.json.1 (the newest) to eve.json.4."""

_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "IPv6-ICMP", 132: "SCTP"}
_WITH_PORTS = {6, 17, 132}
_NONE = bytes(16)


class Dropped(Protocol):
    """What a line is made of: an event of the kernel's programs, or one of the inspector."""

    @property
    def direction(self) -> Direction: ...
    @property
    def vlan(self) -> int: ...
    @property
    def ip_version(self) -> int: ...
    @property
    def protocol(self) -> int: ...
    @property
    def lane(self) -> Lane: ...
    @property
    def epoch(self) -> int: ...
    @property
    def observed(self) -> bool: ...
    @property
    def source(self) -> bytes: ...
    @property
    def source_port(self) -> int: ...
    @property
    def destination(self) -> bytes: ...
    @property
    def destination_port(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def ttl(self) -> int: ...
    @property
    def drop_reason(self) -> DropReason: ...


def line(
    event: Dropped,
    rules: list[Rule],
    at: datetime,
    weight: int,
    ports: tuple[str, str],
    inside: Iterable[Prefix],
    pseudonyms: Pseudonyms,
) -> dict[str, Any]:
    """One event, which stands for `weight` packets, as EVE has it.

    `ports`: names of the inside and outside port; `inside`: the inside prefixes. OSError when there is no key for
    pseudonyms.
    """
    outbound = event.direction == Direction.OUTBOUND
    record: dict[str, Any] = {
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%f%z"),
        "event_type": "drop",
        "in_iface": ports[0] if outbound else ports[1],
        "direction": "to_server" if outbound else "to_client",
        "pkt_src": "wire/pcap",
    }
    if event.vlan:
        record["vlan"] = [event.vlan]
    if event.ip_version:
        record["ip_v"] = event.ip_version
        record["proto"] = _PROTOCOLS.get(event.protocol, f"{event.protocol:03}")
    extra: dict[str, Any] = {
        "direction": word(event.direction),
        "lane": word(event.lane),
        "epoch": event.epoch,
        "weight": weight,
        "observed": event.observed,
        "rules": [rule.as_json(with_entry=not _matched_inside(event, inside)) for rule in rules],
    }
    for side, address, port, is_inside_position in (
        ("src", event.source, event.source_port, outbound),
        ("dest", event.destination, event.destination_port, not outbound),
    ):
        if event.protocol in _WITH_PORTS and event.ip_version:
            record[f"{side}_port"] = port
        if address == _NONE:
            continue
        if is_inside_position:
            extra["inside"] = pseudonyms.of(address, at)
        elif _belongs(address, inside):
            extra[f"{side}_inside"] = pseudonyms.of(address, at)  # it claims to be, or is, one of ours
        else:
            record[f"{side}_ip"] = _text(address)
    record["drop"] = {"len": event.length, "ttl": event.ttl, "reason": word(event.drop_reason)}
    record["clearway"] = extra
    return record


def _matched_inside(event: Dropped, inside: Iterable[Prefix]) -> bool:
    """Is the address that a rule matched one for which a pseudonym stands?"""
    outbound = event.direction == Direction.OUTBOUND
    if fell_by_source(event):
        return outbound or _belongs(event.source, inside)
    return fell_by_destination(event) and (not outbound or _belongs(event.destination, inside))


def _belongs(address: bytes, inside: Iterable[Prefix]) -> bool:
    host = Prefix.from_mapped(address)
    return any(prefix.covers(host) for prefix in inside)


def _text(address: bytes) -> str:
    mapped = ipaddress.IPv6Address(address)
    return str(mapped.ipv4_mapped or mapped)


class EveFile:
    """eve.json, rotated by size. Lines that can't be written are counted and forgotten."""

    def __init__(self, path: Path, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT) -> None:
        self.path = path
        self.written = 0
        self.lost = 0
        self._bytes_max = bytes_max
        self._kept = kept
        self._file: FileIO | None = None
        self._size = 0
        self._torn = False  # its last line has no end, since whoever wrote it was killed, or could not take it away

    def write(self, records: list[dict[str, Any]]) -> None:
        """Appends the records, and rotates when the file is large enough after them."""
        text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        try:
            self._append(text.encode())
        except OSError:
            self.lost += len(records)
            self._cut_back()
            self.close()
            return
        self.written += len(records)
        if self._size >= self._bytes_max:
            self._rotate()

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _append(self, lines: bytes) -> None:
        file = self._file or self._open()
        if self._torn:
            lines = b"\n" + lines
        left = memoryview(lines)
        while left:
            left = left[file.write(left) :]
        self._size += len(lines)
        self._torn = False

    def _cut_back(self) -> None:
        """Takes away what of the lines was written, or the next one would be glued to the half of one."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._size)

    def _open(self) -> FileIO:
        # unbuffered: what could not be written must not be tried again when the file is closed
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._file = FileIO(descriptor, "r+")
        self._size = os.fstat(descriptor).st_size
        self._torn = self._size > 0 and os.pread(descriptor, 1, self._size - 1) != b"\n"
        return self._file

    def _rotate(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            for number in range(self._kept - 2, 0, -1):
                older = self._numbered(number)
                if older.exists():
                    older.replace(self._numbered(number + 1))
            self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
