"""CSV: columns by their names, where a header stands (a comment line may be one), else by their place.

Real files have spaces behind commas, quotes around some fields or all, a header behind `#`, and notes between rows. A
row is a line: no field here holds a newline, so a quote that is never closed spoils one line and not the rest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clearway._engine import NameScope
from clearway.feeds.readers import lines
from clearway.feeds.readers.content import Content, Meaning, Unfit
from clearway.feeds.readers.lines import Shape
from clearway.feeds.readers.plain import EXACT, SUBTREE, of_column, of_url
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import looks_like_address

COLUMNS_MAX = 256

_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table say something, by their names in small letters."""

    values: Sequence[str]
    """The first of these that the header has holds the name or address."""
    kinds: Sequence[str] = ()
    """Holds the kind of the value: `domain`, `ip:port`, `url`…"""
    paths: Sequence[str] = ()
    """Where one of these is not empty, the value is part of a URL."""
    usual: Sequence[str] = ()
    """The header of files that have none."""


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
            names = [name.strip().lower() for name in _fields(text, delimiter)]
            if any(value in names for value in self._columns.values) and (len(names) > 1 or text == line):
                self.names, self.delimiter, self.found = names, delimiter, True
                return True
        return False

    def places(self) -> tuple[int | None, int | None, list[int]]:
        """Of the value, of its kind, of all paths."""
        wanted = (self._columns.values, self._columns.kinds)
        value, kind = (next((self.names.index(name) for name in each if name in self.names), None) for each in wanted)
        return value, kind, [self.names.index(name) for name in self._columns.paths if name in self.names]


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return [field.strip() for field in line.split(delimiter, COLUMNS_MAX)]
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [field.strip() for field in row[:COLUMNS_MAX]]


def _reader(columns: Columns, scope: NameScope) -> Callable[[str], Meaning]:
    header = _Header(columns)
    place, kind_at, paths = header.places()

    def line_reader(line: str) -> Meaning:
        nonlocal place, kind_at, paths
        if not header.found and header.take(line):
            place, kind_at, paths = header.places()
            return []
        if not line or line.lstrip()[:1] in ("#", ""):
            return []
        fields = _fields(line, header.delimiter)
        if place is None or place >= len(fields):
            return Rule.FIELD
        if any(at < len(fields) and fields[at] for at in paths):
            return Rule.URL
        kind = fields[kind_at].lower() if kind_at is not None and kind_at < len(fields) else ""
        return _of_kind(fields[place], kind, scope)

    return line_reader


_HASHES = re.compile(r"(?:md5|sha\d+|ssdeep|imphash|tlsh)(?:_hash)?|file.*|.*hash|email.*|filename|mutex|regkey")


def _of_kind(value: str, kind: str, scope: NameScope) -> Meaning:
    if kind in ("url", "uri"):
        return of_url(value)
    if _HASHES.fullmatch(kind):
        return Rule.NO_OBSERVABLE
    if kind in ("ip:port", "ip-dst|port", "ip|port"):
        value = value.rpartition(":")[0].strip("[]") if ":" in value else value.partition("|")[0]
    elif value.count(":") == 1 and looks_like_address(value.partition(":")[0]):
        value = value.partition(":")[0]
    return of_column(value, scope, scope) if value else Rule.FIELD


def _table(columns: Columns, scope: NameScope = EXACT) -> Callable[[bytes], Content]:
    def read(text: bytes) -> Content:
        return lines.read(text, Shape(), _reader(columns, scope))

    return read


ANY_COLUMN = (
    "domain", "domain_name", "hostname", "host", "fqdn", "dst_ip", "dstip", "ip", "ip_address", "ipaddress", "address",
    "src_ip", "cidr", "network", "prefix", "netblock", "ip_prefix", "indicator", "ioc_value", "ioc", "value", "url",
)  # fmt: skip
"""What the column with the entry is called in files of many hands, in the order of asking."""

urlhaus = _table(Columns(("url",), usual=("id", "dateadded", "url"), kinds=("-url-",)))
feodo = _table(Columns(("dst_ip", "ip_address", "dstip"), usual=("first_seen_utc", "dst_ip", "dst_port")))
sslbl = _table(Columns(("dstip", "dst_ip"), usual=("firstseen", "dstip", "dstport")))
threatfox = _table(
    Columns(("ioc_value", "ioc"), kinds=("ioc_type",), usual=("first_seen_utc", "ioc_id", "ioc_value", "ioc_type"))
)
c2intel = _table(Columns(("ip", "domain"), usual=("ip", "ioc")))
blackbook = _table(Columns(("domain",), usual=("domain", "malware", "date added", "source")))
splunk = _table(Columns(("host",), paths=("path",)), SUBTREE)


def by_name(column: str | None) -> Callable[[bytes], Content]:
    """Any table with a header. `column`: the one with the entries; None: the first that is called as they are."""

    def read(text: bytes) -> Content:
        wanted = (column.lower(),) if column else ANY_COLUMN
        start = text[: lines.LINE_BYTES_MAX].decode("utf-8", "ignore").removeprefix("\ufeff")
        if not any(_Header(Columns(wanted)).take(line) for line in start.splitlines()):
            raise Unfit("feeds.E020", wanted=column or "domain, ip, cidr, indicator…")
        kinds = ("ioc_type", "indicator_type", "type")
        return lines.read(text, Shape(), _reader(Columns(wanted, kinds=kinds), EXACT))

    return read
