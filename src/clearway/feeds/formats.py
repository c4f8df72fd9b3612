"""Bytes of a list → its entries, or a refusal. Pure. A list is taken whole or refused whole; nothing is half applied.

READERS is the one table of formats. Each line is blank (or a comment), an entry, unsupported or malformed; more than
one malformed line in a hundred condemns the list, fewer are counted and shown.

What is refused, besides: nothing in it, a page in place of a list, what is no text, a format that is none of these, a
prefix wider than /8 (IPv6 /16), a prefix that covers the inside, everything below a public suffix. Real lists did all
of these to their users.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from clearway import _engine
from clearway._engine import NameScope
from clearway.errors import ClearwayError
from clearway.policy import arrays, name_limits
from clearway.policy.arrays import U64
from clearway.policy.model import Prefix
from clearway.policy.names import StoredNames

BYTES_MAX = 256 << 20
"""Of a list as fetched, and unpacked."""
RATIO_FREE_BYTES = 16 << 20
RATIO_MAX = 50
"""Unpacked to packed, past RATIO_FREE_BYTES: honest lists reach 21."""
MALFORMED_PERCENT_MAX = 1
LENGTH_MIN = {4: 8, 6: 16}
"""The widest prefix that a list may hold, by IP version."""


@dataclass(frozen=True, slots=True)
class Lines:
    """What a reader made of all lines; each is counted once."""

    v4: U64
    v6: U64
    names: StoredNames
    blank: int
    entries: int
    unsupported: int
    malformed: int
    rejected: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Reader:
    """One format: who reads its lines, and what one looks like (for help and errors)."""

    read: Callable[[bytes], Lines]
    looks_like: str


def _prefixes(separators: str, text: bytes) -> Lines:
    found = _engine.parse_prefixes(text, separators)
    v4 = np.frombuffer(found.v4, dtype=np.uint64)
    v6 = np.frombuffer(found.v6, dtype=np.uint64).reshape(-1, 3)
    return Lines(v4, v6, StoredNames(), found.blank, found.entries, 0, found.malformed, found.rejected)


def _domains(text: bytes) -> Lines:
    """A name alone, `*.` in front of it for all below it. Addresses among them are not taken yet: unsupported."""
    found = _engine.parse_names(text, NameScope.EXACT, NameScope.BELOW)
    unsupported = found.unsupported + found.address_lines
    none = np.empty(0, dtype=np.uint64)
    names = StoredNames.of_lines(found)
    return Lines(
        none, none.reshape(0, 3), names, found.blank, found.entries, unsupported, found.malformed, found.rejected
    )


READERS: dict[str, Reader] = {
    "ip-plain": Reader(
        partial(_prefixes, ""), "192.0.2.1, 192.0.2.0/24 or 192.0.2.1-192.0.2.9 a line; # ; // open a comment"
    ),
    "spamhaus-drop": Reader(
        partial(_prefixes, ";"), "192.0.2.0/24 ; SBL1 a line; lines that begin with ; are comments"
    ),
    "domains": Reader(
        _domains, "bad.example a line, that one name; *.bad.example: all below it; # ; // open a comment"
    ),
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What stands in a list. Arrays as in policy/arrays.py."""

    format: str
    v4: U64
    v6: U64
    counts: dict[str, int]
    """lines, blank, entries (lines that gave one), malformed, unsupported (of a known kind that this version does
    not enforce); v4 and v6: distinct prefixes (a range gives several); names: distinct names."""
    rejected: list[tuple[int, str]]
    """The first hundred malformed lines: number from 1, text."""
    names: StoredNames = field(default_factory=StoredNames)


def read(
    data: bytes, format: str | None = None, *, forbidden: Sequence[Prefix] = (), origin: str = "the list"
) -> Parsed:
    """Reads a list, packed by gzip or not. `format` None: found from its look. `forbidden`: inside prefixes.

    Raises feeds.E001 to E009, E015 to E017; `origin` names the list in them.
    """
    text = _unpacked(data, origin)
    _check_text(text, origin)
    name = format or detect(text, origin)
    if name not in READERS:
        raise ClearwayError.of("feeds.E001", value=name, known=", ".join(READERS))
    found = READERS[name].read(text)
    lines = found.blank + found.entries + found.unsupported + found.malformed
    if not found.entries and not found.malformed:
        raise ClearwayError.of("feeds.E002", origin=origin, lines=lines)
    if found.malformed * 100 > (found.entries + found.malformed) * MALFORMED_PERCENT_MAX:
        number, shown = found.rejected[0]
        raise ClearwayError.of(
            "feeds.E004", origin=origin, malformed=found.malformed, lines=lines, format=name, number=number, text=shown
        )
    _check_width(found.v4, found.v6, forbidden, origin)
    name_limits.check_list(found.names, origin)
    counts = {
        "lines": lines,
        "blank": found.blank,
        "entries": found.entries,
        "malformed": found.malformed,
        "unsupported": found.unsupported,
        "v4": len(found.v4),
        "v6": len(found.v6),
        "names": sum(found.names.counts().values()),
    }
    return Parsed(name, found.v4, found.v6, counts, found.rejected, found.names)


SAMPLE_BYTES = 64 << 10
"""What a format is guessed from: headers of some lists are long."""
NAMES_SHARE = 10
"""One line in so many that is a name makes a list one of names: such lists hold addresses too, mostly in some."""

_NAME_LINE = re.compile(rb"(\*\.)?(?:[\w-]+\.)+[a-z][\w-]*\.?(?:\s*(?:#|\s;|\s//).*)?", re.IGNORECASE)
_OTHERS = {
    "an adblock list": rb"\|\||@@\|\|",
    "a dnsmasq configuration": rb"(?:address|server|local)=/",
    "an unbound configuration": rb"server:|local-(?:zone|data):",
    "a BIND configuration": rb"zone\s+\"",
    "a zone of response policies": rb"\$(?:TTL|ORIGIN)\b|@\s|\S+\s+(?:IN\s+)?CNAME\s",
    "a list of URLs": rb"[a-z]+://",
    "a set of Suricata rules": rb"(?:alert|drop|reject|pass)\s+\w+\s",
    "JSON": rb"[\[{]",
}
"""Formats of lists that are known and not read yet, by how the first line that is no comment begins."""


def detect(text: bytes, origin: str = "the list") -> str:
    """The format that the first lines look like. Raises feeds.E015 for one that is known and not read."""
    lines = list(_sample(text))
    if not lines:
        return "ip-plain"
    for what, look in _OTHERS.items():
        if re.match(look, lines[0], re.IGNORECASE):
            raise ClearwayError.of("feeds.E015", origin=origin, what=what)
    names = [match for line in lines if (match := _NAME_LINE.fullmatch(line))]
    if len(names) * NAMES_SHARE >= len(lines):
        if sum(match[1] is not None for match in names) * 2 > len(names):  # some mean the name itself too, and some not
            raise ClearwayError.of(
                "feeds.E015", origin=origin, what="a list of wildcards"
            )
        return "domains"
    _, semicolon, rest = lines[0].partition(b";")
    return "spamhaus-drop" if semicolon and rest.strip().startswith(b"SBL") else "ip-plain"


def _sample(text: bytes) -> Iterator[bytes]:
    """Lines at its begin that are neither blank nor a comment, whole ones alone."""
    sample = text[:SAMPLE_BYTES].removeprefix(b"\xef\xbb\xbf")
    lines = sample.splitlines()
    if len(text) > SAMPLE_BYTES:
        lines = lines[:-1]
    for line in lines:
        stripped = line.strip()
        if stripped and not stripped.startswith((b"#", b";", b"//", b"!", b"[Adblock")):
            yield stripped


def _unpacked(data: bytes, origin: str) -> bytes:
    """As it is, or unpacked where it begins as gzip does; bounded by BYTES_MAX and RATIO_MAX."""
    if len(data) > BYTES_MAX:
        raise ClearwayError.of("feeds.E007", origin=origin, limit_mib=BYTES_MAX >> 20)
    if not data.startswith(b"\x1f\x8b"):
        return data
    out, rest = bytearray(), data
    limit = min(BYTES_MAX, max(RATIO_FREE_BYTES, RATIO_MAX * len(data)))
    while rest.startswith(b"\x1f\x8b"):  # a gzip file may have several members
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            out += unpacker.decompress(rest, limit + 1 - len(out))
        except zlib.error as error:
            raise ClearwayError.of("feeds.E008", origin=origin, detail=error) from None
        if len(out) > limit:
            raise ClearwayError.of("feeds.E008", origin=origin, detail=f"it unpacks to more than {limit >> 20} MiB")
        if not unpacker.eof:
            raise ClearwayError.of("feeds.E008", origin=origin, detail="it is cut off")
        rest = unpacker.unused_data
    if rest.strip(b"\0"):
        raise ClearwayError.of("feeds.E008", origin=origin, detail="something else follows the compressed data")
    return bytes(out)


_TEXT = bytes({9, 10, 12, 13, *range(0x20, 0x7F), *range(0x80, 0x100)})


_HOSTS_LINE = re.compile(rb"^(0\.0\.0\.0|127\.0\.0\.1|::1?)[ \t]+[\w.-]+\.[a-z]", re.MULTILINE | re.IGNORECASE)


def _check_text(text: bytes, origin: str) -> None:
    """Refuses pages (feeds.E003), hosts files (E015), and what is no text (E009)."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ClearwayError.of("feeds.E009", origin=origin, detail="it is UTF-16")
    strange = text.translate(None, delete=_TEXT)
    if strange:
        line = text.count(b"\n", 0, text.index(strange[:1])) + 1
        raise ClearwayError.of("feeds.E009", origin=origin, detail=f"byte 0x{strange[0]:02x} in line {line}")
    start = text[:4096].lower()
    for mark, what in ((b"<!doctype", "a web page"), (b"<html", "a web page"), (b"<?xml", "an XML document")):
        if mark in start:
            raise ClearwayError.of("feeds.E003", origin=origin, what=what)
    if start.lstrip().startswith((b'{"error', b'{"message', b'{"status')):
        raise ClearwayError.of("feeds.E003", origin=origin, what="an error message")
    if _HOSTS_LINE.search(text, 0, 65536):  # its first column is no address to refuse
        raise ClearwayError.of("feeds.E015", origin=origin, what="a hosts file")
    if text.lstrip().startswith(b"<") or any(mark in text for mark in (b"\n<!", b"\n<h", b"\n<b", b"\n<d", b"\n<p")):
        raise ClearwayError.of("feeds.E003", origin=origin, what="a web page")


def _check_width(v4: U64, v6: U64, forbidden: Sequence[Prefix], origin: str) -> None:
    """Refuses what would cut off far too much (feeds.E005) or the inside itself (E006)."""
    for version, lengths in ((4, v4 & np.uint64(0xFF)), (6, v6[:, 2])):
        wide = np.flatnonzero(lengths < LENGTH_MIN[version])
        if len(wide):
            at = int(wide[0])
            high, low, length = (0, int(v4[at]) >> 8, int(v4[at]) & 0xFF) if version == 4 else v6[at].tolist()
            prefix = Prefix(version, high << 64 | low, length)
            raise ClearwayError.of("feeds.E005", origin=origin, prefix=prefix, limit=LENGTH_MIN[version])
    for inside in forbidden:
        for prefix in arrays.covering(v4, v6, inside):
            raise ClearwayError.of("feeds.E006", origin=origin, prefix=prefix, inside=inside)
