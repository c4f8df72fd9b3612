"""Response policy zones, as draft-vixie-dnsop-dns-rpz-00 has them, in the text of RFC 1035.

The owner of a record says what it is about, its CNAME what is done. A name and `*.name` are two records, and together
one entry that covers both. Owners are relative to the zone unless they end in a dot; the zone's own name falls away.

`*.name` is all below the name, whatever other records there are. A server takes what is below another owner out of it
(the closest encloser of RFC 4592), where makers of lists just name the same things twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from clearway._engine import NameScope
from clearway.feeds.readers import lines
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Meaning, Said
from clearway.feeds.readers.lines import Frame, Shape
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import NAME_BYTES_MAX

REFUSES = frozenset({".", "*.", "rpz-drop."})
"""Targets: no such name, no data, no answer."""
TRIGGERS = ("rpz-ip", "rpz-client-ip", "rpz-nsdname", "rpz-nsip")
"""Last labels of owners that are no name that is asked for. `rpz-ip` is about an address in an answer."""

_FIELDS = re.compile(r"\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z)|(?:[^\s;\"()\\]|\\.|\\\Z)++|[()]|;.*")
_ANSWERS = frozenset(
    {"A", "AAAA", "AFSDB", "CAA", "CNAME", "DNAME", "HINFO", "HTTPS", "LOC", "MX", "NAPTR", "OPENPGPKEY", "PTR", "RP"}
    | {"SMIMEA", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT", "URI"}
)
_OF_ZONES = frozenset(
    {"SOA", "NS", "DNSKEY", "DS", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "CDS", "CDNSKEY", "CSYNC", "ZONEMD"}
)
"""Types that say nothing about names that are asked for: servers leave them out (Unbound's services/rpz.c)."""
_UNNAMED = re.compile(r"TYPE\d{1,5}", re.ASCII)
"""A type by its number, as RFC 3597 writes it."""
_CLASSES = frozenset({"IN", "CH", "HS"})
_TTL = re.compile(r"\d+|(?:\d+[smhdw])+", re.IGNORECASE)

_ESCAPE = re.compile(r"\\(\d{3}|[^\d])", re.ASCII)
_OWNERLESS = re.compile(rb"^[ \t]+(?:\S+[ \t]+){0,2}CNAME\s", re.MULTILINE | re.IGNORECASE)
_ORIGIN = re.compile(rb"^[ \t]*\$ORIGIN\b", re.MULTILINE | re.IGNORECASE)
RECORD_FIELDS_MAX = 64


@dataclass(slots=True)
class _Zone:
    """What the lines before said."""

    name: str = ""
    """The zone's own name, without its dot; "" where the file does not say."""
    origin: str | None = None
    """What relative names stand below; "" is the root, None the zone, whatever its name."""
    owner: str = ""
    has_soa: bool = False
    is_moved: bool = False
    """A record stood below another origin than the zone's own name."""
    unfinished: str = ""
    """The first line of a record whose parentheses are not closed yet."""
    _fields: list[str] = field(default_factory=list)
    _depth: int = 0
    _is_owned: bool = False

    def __call__(self, line: str) -> Meaning:
        """What a record says, with its last line."""
        fields = [part for part in _FIELDS.findall(line) if not part.startswith(";")]
        if not fields:
            return []
        if not self.unfinished:
            self._is_owned = not line[0].isspace()
            if "(" not in fields and ")" not in fields:
                return self._whole(fields)
            self._fields, self._depth = [], 0
        self._depth += fields.count("(") - fields.count(")")
        self._fields += [part for part in fields if part not in ("(", ")")]
        if self._depth > 0 and len(self._fields) <= RECORD_FIELDS_MAX:
            self.unfinished = self.unfinished or line
            return []
        is_whole, self.unfinished = self._depth == 0 and bool(self._fields), ""
        return self._whole(self._fields) if is_whole else Rule.NOT_A_LINE

    def _whole(self, fields: list[str]) -> Meaning:
        if fields[0].startswith("$"):
            return _directive(self, fields)
        if self._is_owned:
            self.owner = fields.pop(0)
        while fields and (fields[0].upper() in _CLASSES or _TTL.fullmatch(fields[0])):
            del fields[0]
        kind = fields[0].upper() if fields else ""
        if kind not in _ANSWERS and kind not in _OF_ZONES and not _UNNAMED.fullmatch(kind):
            return Rule.NOT_A_LINE
        return _record(self, kind, fields[1:])


def _directive(zone: _Zone, fields: list[str]) -> Meaning:
    word = fields[0].upper()
    if word == "$ORIGIN" and len(fields) > 1:
        origin = _absolute(zone, fields[1])
        if len(origin) > NAME_BYTES_MAX:
            return Rule.LENGTH
        if fields[1].endswith("."):
            zone.name = zone.name or origin
        zone.origin = origin
        return []
    if word == "$TTL":
        return []
    return Rule.ELSEWHERE if word in ("$INCLUDE", "$GENERATE") else Rule.NOT_A_LINE


def _absolute(zone: _Zone, owner: str) -> str:
    if owner == "@":
        return zone.origin or ""
    bare = _ESCAPE.sub(_unescaped, owner).lower() if "\\" in owner else owner.lower()
    if bare.endswith("."):
        return bare[:-1]
    return f"{bare}.{zone.origin}" if zone.origin else bare


def _unescaped(escape: re.Match[str]) -> str:
    """The character, where a name can have it inside of a label; else the escape as it stands, which is in no name."""
    character = chr(int(escape[1])) if len(escape[1]) == 3 else escape[1]
    return character if character.isascii() and (character.isalnum() or character in "-_*") else escape[0]


def _record(zone: _Zone, kind: str, data: list[str]) -> Meaning:
    absolute = _absolute(zone, zone.owner)
    if kind == "SOA" and absolute and not zone.has_soa:
        # It says the name best: `$ORIGIN .` may stand before, as servers write zones down
        zone.has_soa, zone.name = True, absolute
        zone.origin = absolute if zone.origin is None else zone.origin
    if kind in _OF_ZONES or not data or not zone.owner:
        return [] if data and zone.owner else Rule.NOT_A_LINE
    zone.is_moved = zone.is_moved or zone.origin not in (None, zone.name)
    inner = absolute.removesuffix(f".{zone.name}") if zone.name else absolute
    if not absolute or absolute == zone.name:
        return Rule.TRIGGER if kind == "CNAME" else []
    if zone.name and inner == absolute:
        return Rule.OUTSIDE
    if kind != "CNAME":
        return Rule.REDIRECT
    if len(data) != 1:
        return Rule.NOT_A_LINE
    target = data[0].lower()
    # A name that leads to itself is how zones spared names before there was a word for it (draft-vixie-dns-rpz-04)
    spares = target in ("rpz-passthru.", f"{inner}.")
    if target not in REFUSES and not spares:
        return Rule.TRIGGER if target == "rpz-tcp-only." else Rule.REDIRECT
    return _of_owner(inner, exception=spares)


def _of_owner(owner: str, exception: bool) -> Meaning:
    if owner.endswith(".rpz-ip"):
        address = _rpz_address(owner.removesuffix(".rpz-ip"))
        return [Said(address, exception=exception)] if address else Rule.ADDRESS
    if owner.rpartition(".")[2] in TRIGGERS:
        return Rule.TRIGGER
    if owner == "*":
        return Rule.EVERYTHING
    if owner.startswith("*."):
        return [Said(owner[2:], NameScope.BELOW, exception)]
    return [Said(owner, NameScope.EXACT, exception)]


def _rpz_address(text: str) -> str | None:
    """`24.0.2.0.192` → 192.0.2.0/24, `128.1.zz.db8.2001` → 2001:db8::1/128; None: neither."""
    length, *parts = text.split(".")
    parts.reverse()
    if not length.isdecimal():
        return None
    if len(parts) == 4 and all(part.isdecimal() for part in parts):
        return ".".join(parts) + f"/{length}"
    if parts.count("zz") > 1 or len(parts) > 8:
        return None
    address = ":".join(parts)
    if "zz" in parts:
        address = re.sub(r":?zz:?", "::", address)
    return f"{address}/{length}"


START_BYTES = 8 << 10


def _begun(start: bytes) -> _Zone:
    """The zone that the first lines name."""
    zone = _Zone()
    for line in start.decode("utf-8", "replace").split("\n"):
        zone(line.rstrip())
    return zone


def rpz(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """CNAME records that refuse, or with rpz-passthru spare; `rpz-ip` gives addresses."""
    frames = (
        Frame("", " CNAME .", NameScope.EXACT, addresses=False),
        Frame("*.", " CNAME .", NameScope.BELOW, addresses=False),
    )
    # Records that stand below another origin than the zone's, or take their owner from the line before, mean other
    # names than they show
    start = text if len(text) <= START_BYTES else text[:START_BYTES].rpartition(b"\n")[0]
    begun = _begun(start)
    is_moved = begun.is_moved or begun.origin not in (None, begun.name)
    is_usual = not is_moved and not _ORIGIN.search(text, len(start)) and not _OWNERLESS.search(text)

    def probe(line: str) -> Meaning:
        return _Zone(begun.name, begun.origin)(line) if line and not line[0].isspace() else []

    shape = Shape(frames if is_usual else (), (";",), special_labels=TRIGGERS, probe=probe if is_usual else None)
    return lines.read(text, shape, _Zone(), asked, merge=True)
