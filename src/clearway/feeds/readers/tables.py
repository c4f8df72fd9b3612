"""CSV: columns by their names, where a header stands (a comment line may be one), else by their place.

Real files have spaces behind commas, quotes around some fields or all, a header behind `#`, and notes between rows. A
row is a line: no field here holds a newline, so a quote that is never closed spoils one line and not the rest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from clearway._engine import NameScope
from clearway.feeds.readers import lines
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Meaning, Said, Unfit
from clearway.feeds.readers.lines import Shape
from clearway.feeds.readers.plain import EXACT, SUBTREE, of_column, of_url
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import looks_like_address

COLUMNS_MAX = 256

_DELIMITERS = (",", ";", "\t", "|")
_BETWEEN_QUOTES = {each: re.compile(rf'"{re.escape(each)} *"') for each in _DELIMITERS}


class Read(Protocol):
    """A reader of tables."""

    def __call__(self, text: bytes, asked: Asked = ..., /) -> Content: ...


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table say something, by their names in small letters."""

    values: Sequence[str]
    """The first of these that the header has holds the name or address."""
    seconds: Sequence[str] = ()
    """The first of these that the header has beside that says one more thing."""
    kinds: Sequence[str] = ()
    """Holds the kind of the value: `domain`, `ip:port`, `url`…"""
    paths: Sequence[str] = ()
    """Where one of these is not empty, the value is part of a URL."""
    usual: Sequence[str] = ()
    """The header of files that have none."""
    categories: Sequence[str] = ()
    """Hold what the source says that it is, the closest first."""
    detections: Sequence[str] = ()
    """Where the first of these says no, the author does not want the value acted on."""


class _Places(NamedTuple):
    """Columns by number."""

    value: int | None
    second: int | None
    kind: int | None
    paths: list[int]
    categories: list[int]
    detection: int | None


class _Header:
    """Which column is which: found in the first line that has the names, comment or not."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.names: list[str] = list(columns.usual)
        self.delimiter = ","
        self.found = False

    def take(self, line: str) -> bool:
        """Whether the line is a header; then it is the one."""
        if self.found:
            return False
        text = line.lstrip("#; \t")
        for delimiter in _DELIMITERS:
            names = [_column_name(name) for name in _fields(text, delimiter)]
            if any(value in names for value in self._columns.values) and (len(names) > 1 or text == line):
                self.names, self.delimiter, self.found = names, delimiter, True
                return True
        return False

    def places(self) -> _Places:
        """Where the columns are."""
        asked = self._columns
        values, seconds, kinds, detections, paths, categories = (
            [self.names.index(name) for name in names if name in self.names]
            for names in (asked.values, asked.seconds, asked.kinds, asked.detections, asked.paths, asked.categories)
        )
        second = next((at for at in seconds if values and at != values[0]), None)
        return _Places(_first(values), second, _first(kinds), paths, categories, _first(detections))


def _first(places: Sequence[int]) -> int | None:
    return places[0] if places else None


def _column_name(text: str) -> str:
    """`IP Address` and `ip-address` are ip_address."""
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def _fields(line: str, delimiter: str) -> list[str]:
    if line.startswith('"') and line.endswith('"') and '""' not in line:
        parts = _BETWEEN_QUOTES[delimiter].split(line[1:-1])
        if line.count('"') == 2 * len(parts) <= 2 * COLUMNS_MAX:
            return [part.strip() for part in parts]
    if '"' not in line:
        return [field.strip() for field in line.split(delimiter, COLUMNS_MAX)]
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [field.strip() for field in row[:COLUMNS_MAX]]


def _reader(columns: Columns, scope: NameScope) -> Callable[[str], Meaning]:
    header = _Header(columns)
    places = header.places()

    def line_reader(line: str) -> Meaning:
        nonlocal places
        if not header.found and header.take(line):
            places = header.places()
            return []
        if not line or line.lstrip()[:1] in ("#", ""):
            return []
        fields = _fields(line, header.delimiter)
        if places.value is None or places.value >= len(fields):
            return Rule.FIELD
        if any(at < len(fields) and fields[at] for at in places.paths):
            return Rule.URL
        if places.detection is not None and fields[places.detection : places.detection + 1] in _NO:
            return Rule.NOT_DETECTION
        kind = fields[places.kind].lower() if places.kind is not None and places.kind < len(fields) else ""
        value = fields[places.value]
        second = fields[places.second] if places.second is not None and places.second < len(fields) else ""
        meaning = _of_kind(value, kind, scope) if value or not second else []
        if second and isinstance(meaning, list):
            more = _of_kind(second, "", scope)
            meaning = more if isinstance(more, Rule) else meaning + more
        categories = tuple(fields[at] for at in places.categories if at < len(fields) and fields[at])
        if isinstance(meaning, Rule) or not categories:
            return meaning
        return [said._replace(categories=categories) for said in meaning]

    return line_reader


_NO = (["0"], ["false"], ["False"], ["FALSE"], ["no"], ["No"], ["NO"])
_HASHES = re.compile(
    r"(?:md5|sha\d+|ssdeep|imphash|tlsh)(?:_hash)?|file.*|.*hash|email.*|filename|mutex|regkey|cve|yara|asn?|ja3.*|x509.*"
)
_HASH = re.compile(r"(?:[\da-f]{32}|[\da-f]{40}|[\da-f]{64}|[\da-f]{128})", re.ASCII | re.IGNORECASE)
_BRACKETED = re.compile(r"\[([\da-f:.]+)\](?::\d{1,5})?", re.ASCII | re.IGNORECASE)


def _of_kind(value: str, kind: str, scope: NameScope) -> Meaning:
    if kind in ("url", "uri"):
        return of_url(value)
    if _HASHES.fullmatch(kind) or _HASH.fullmatch(value):
        return Rule.NO_OBSERVABLE
    if kind == "domain|ip" and value.count("|") == 1:
        return [Said(part, scope) for part in value.split("|")]
    if bracketed := _BRACKETED.fullmatch(value):
        value = bracketed[1]
    elif kind in ("ip:port", "ip-dst|port", "ip-src|port", "ip|port"):
        value = value.rpartition(":")[0] if ":" in value and "|" not in value else value.partition("|")[0]
    elif value.count(":") == 1 and looks_like_address(value.partition(":")[0]):
        value = value.partition(":")[0]
    return of_column(value, scope, scope) if value else Rule.FIELD


def _table(columns: Columns, scope: NameScope = EXACT) -> Read:
    def read(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
        return lines.read(text, Shape(), _reader(columns, scope), asked)

    return read


NAME_COLUMNS = ("domain", "domain_name", "hostname", "host", "fqdn")
ADDRESS_COLUMNS = ("dst_ip", "dstip", "ip", "ip_address", "ipaddress", "ipaddr", "address")
ANY_COLUMN = (
    *NAME_COLUMNS, *ADDRESS_COLUMNS, "src_ip", "source_ip", "ipv4", "cidr", "ip_range", "network", "prefix", "netblock",
    "ip_prefix", "subnet",
    "indicator", "ioc_value", "ioc", "value", "url",
)  # fmt: skip
"""What the column with the entry is called in files of many hands, in the order of asking."""

CATEGORY_COLUMNS = ("category", "categories", "malware", "family", "threat", "threat_type", "classification")
"""The same of the column that says what an entry is."""

urlhaus = _table(Columns(("url",), usual=("id", "dateadded", "url"), kinds=("-url-",), categories=("threat",)))
feodo = _table(
    Columns(("dst_ip", "ip_address", "dstip"), usual=("first_seen_utc", "dst_ip", "dst_port"), categories=("malware",))
)
sslbl = _table(Columns(("dstip", "dst_ip"), usual=("firstseen", "dstip", "dstport")))
threatfox = _table(
    Columns(
        ("ioc_value", "ioc"),
        kinds=("ioc_type",),
        usual=("first_seen_utc", "ioc_id", "ioc_value", "ioc_type"),
        categories=("malware_printable", "fk_malware", "malware", "threat_type"),
    )
)
c2intel = _table(Columns(("ip", "domain"), usual=("ip", "ioc"), categories=("ioc",)))
blackbook = _table(Columns(("domain",), usual=("domain", "malware", "date added", "source"), categories=("malware",)))
splunk = _table(Columns(("host",), paths=("path",)), SUBTREE)


def by_name(column: str | None, category: str | None = None) -> Read:
    """Any table with a header. `column`: the one with the entries; None: the first that is called as they are.
    `category`: the one that says what an entry is."""

    def read(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
        values = (_column_name(column),) if column else ANY_COLUMN
        categories = (_column_name(category),) if category else CATEGORY_COLUMNS
        start = text[: lines.LINE_BYTES_MAX].decode("utf-8", "ignore").removeprefix("\ufeff")
        header = _Header(Columns(values, categories=categories))
        if not any(header.take(line) for line in start.splitlines()):
            raise Unfit("feeds.E020", wanted=column or "domain, ip, cidr, indicator…")
        if category and not header.places().categories:
            raise Unfit("feeds.E020", wanted=category)
        seconds = () if column else ADDRESS_COLUMNS  # beside a name, as in a pair
        kinds = ("ioc_type", "indicator_type", "type")
        columns = Columns(values, seconds, kinds, categories=categories, detections=("to_ids",))
        return lines.read(text, Shape(), _reader(columns, EXACT), asked)

    return read
