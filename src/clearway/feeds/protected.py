"""What no list may touch: the protected set, as data that an operator sees, adds to and takes from.

It comes with the package (bundled/protected/, one file a case, each row with its source), from the network itself (own
and customers' prefixes, grants), and from its operator. The Public Suffix List is asked where it lies; shared addresses
of CDNs and clouds are policy/shared.py's. Pure, but for reading the package's own files once.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from clearway._engine import NameScope
from clearway.feeds.guard_rules import PROTECTED_CASES, GuardRule
from clearway.feeds.name_scan import Wanted
from clearway.feeds.readers import table
from clearway.policy import name_limits
from clearway.policy.arrays import U64
from clearway.policy.model import BITS, Prefix
from clearway.policy.name_table import NameEntry, suffixes
from clearway.policy.shared import NOWHERE, Ranges

EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE

ABOVE_KEPT_MAX = 10_000
"""Names of which is kept what is protected above them."""

FOLDER = Path(__file__).parent / "bundled" / "protected"
OPEN_RESOLVERS = "open-resolver.txt.gz"


class Row(NamedTuple):
    """One thing that is protected."""

    value: Prefix | NameEntry
    case: GuardRule
    """One of guard_rules.PROTECTED_CASES."""
    source: str
    """Who says so, in a few words."""


class Removal(NamedTuple):
    """What the operator says lists may act on all the same: a prefix with all within it, or one row's name."""

    value: Prefix | NameEntry
    source: str


@dataclass(frozen=True, eq=False)
class Protected:
    """The protected set. Made by `bundled` and `of`."""

    rows: Sequence[Row] = ()
    """What is protected, what the operator took out left out. Not in it: public suffixes, top sites, open resolvers."""
    removals: Sequence[Removal] = ()
    top_sites: frozenset[bytes] = frozenset()
    """Names of an operator's list: they themselves are protected, and nothing below them."""
    open_resolvers: Ranges = field(default=NOWHERE)
    """Machines that answer questions of all the world, many of them by mistake. They count for the share of protected
    entries alone: a router that was taken over must stay blockable."""

    @cached_property
    def ranges(self) -> dict[GuardRule, Ranges]:
        """Addresses by case, in the order of the cases."""
        found = {case: [row.value for row in self.rows if row.case == case] for case in PROTECTED_CASES}
        prefixes = {case: [value for value in values if isinstance(value, Prefix)] for case, values in found.items()}
        return {case: Ranges.of_prefixes(values) for case, values in prefixes.items() if values}

    @cached_property
    def everywhere(self) -> Ranges:
        """All addresses at which an entry may touch something."""
        return NOWHERE.union(*self.ranges.values(), self.open_resolvers)

    @cached_property
    def names(self) -> dict[str, list[Row]]:
        """Rows about names, by name."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if isinstance(row.value, NameEntry):
                found.setdefault(row.value.name, []).append(row)
        return found

    @cached_property
    def names_above(self) -> dict[str, Row]:
        """What a protected name is below of, with a row below it."""
        found: dict[str, Row] = {}
        for name, rows in self.names.items():
            for suffix in suffixes(name)[1:]:
                found.setdefault(suffix, rows[0])
        return found

    @cached_property
    def top_sites_above(self) -> dict[str, str]:
        """The same for top sites."""
        found: dict[str, str] = {}
        for name in self.top_sites:
            for suffix in suffixes(name.decode("ascii"))[1:]:
                found.setdefault(suffix, name.decode("ascii"))
        return found

    def adding(self, rows: Iterable[Row], top_sites: Iterable[str] = ()) -> Protected:
        """With these too."""
        sites = self.top_sites | {name.encode("ascii") for name in top_sites}
        return replace(self, rows=[*rows, *self.rows], top_sites=sites)

    def row_touching(self, case: GuardRule, prefix: Prefix) -> Row | None:
        """A row of that case that lies within `prefix` or covers it."""
        return next(
            (
                row
                for row in self.rows
                if row.case == case
                and isinstance(row.value, Prefix)
                and (row.value.covers(prefix) or prefix.covers(row.value))
            ),
            None,
        )

    def touched_by(self, entry: NameEntry) -> tuple[GuardRule, str] | None:
        """The first case that an entry of a list touches, and what it hits there; None: it is free."""
        found = [(row.case, shown(row.value)) for row in self._rows_at(entry) if _meet(entry, row.value)]
        found += self._touched_above(entry.name.partition(".")[2])
        suffix = self._suffix_touched(entry)
        if suffix is not None:
            found.append((GuardRule.SUFFIX, suffix))
        if entry.name.encode("ascii") in self.top_sites and entry.scope != BELOW:
            found.append((GuardRule.TOP_SITE, entry.name))
        if entry.scope != EXACT and entry.name in self.top_sites_above:
            found.append((GuardRule.TOP_SITE, self.top_sites_above[entry.name]))
        return min(found, key=lambda each: PROTECTED_CASES.index(each[0]), default=None)

    def _rows_at(self, entry: NameEntry) -> list[Row]:
        found = self.names.get(entry.name, [])
        above = self.names_above.get(entry.name) if entry.scope != EXACT else None
        return [*found, above] if above else found

    def _touched_above(self, name: str) -> list[tuple[GuardRule, str]]:
        """What everything below a name touches. A list may hold millions of names below one."""
        found = self._above.get(name)
        if found is None:
            if len(self._above) == ABOVE_KEPT_MAX:
                self._above.clear()
            rows = [row for suffix in suffixes(name) for row in self.names.get(suffix, ())]
            found = [(row.case, shown(row.value)) for row in rows if _reaches_below(row.value)]
            self._above[name] = found
        return found

    @cached_property
    def _above(self) -> dict[str, list[tuple[GuardRule, str]]]:
        return {}

    def _suffix_touched(self, entry: NameEntry) -> str | None:
        if entry.name in self._freed:
            return None
        if "." not in entry.name:
            return entry.name
        if name_limits.is_public_suffix(entry.name):
            is_free = entry.scope == EXACT and name_limits.is_customers_name(entry.name)
            return None if is_free else entry.name
        return suffixes_above().get(entry.name) if entry.scope != EXACT else None

    @cached_property
    def _freed(self) -> frozenset[str]:
        return frozenset(each.value.name for each in self.removals if isinstance(each.value, NameEntry))

    def wanted(self, wide: bool) -> Wanted:
        """Names at which an entry may touch something: of the scope exact, or (`wide`) of the two others."""
        return self._wanted_wide if wide else self._wanted_exact

    @cached_property
    def _wanted_exact(self) -> Wanted:
        return Wanted.of(self._names_at(), self._trees())

    @cached_property
    def _wanted_wide(self) -> Wanted:
        above = (*self.names_above, *self.top_sites_above, *suffixes_above())
        return Wanted.of(self._names_at() | {name.encode("ascii") for name in above}, self._trees())

    def _names_at(self) -> frozenset[bytes]:
        return frozenset(name.encode("ascii") for name in (*self.names, *suffix_names())) | self.top_sites

    def _trees(self) -> list[bytes]:
        trees = [name for name, rows in self.names.items() if any(_reaches_below(row.value) for row in rows)]
        return [f".{name}".encode("ascii") for name in (*trees, *wildcard_suffixes())]


def shown(value: Prefix | NameEntry) -> str:
    """A protected value as people write it: a name with all below it as `*.NAME` beside its own."""
    if isinstance(value, Prefix):
        return str(value)
    return {EXACT: value.name, BELOW: f"*.{value.name}", SUBTREE: f"{value.name} and below"}[value.scope]


@cache
def bundled() -> Protected:
    """What comes with the package."""
    return of()


def of(
    *,
    own: Iterable[Prefix] = (),
    customers: Iterable[Prefix] = (),
    granted: Iterable[Prefix] = (),
    granted_names: Iterable[NameEntry] = (),
    additions: Iterable[Row] = (),
    removals: Iterable[Removal] = (),
    top_sites: Iterable[str] = (),
    open_resolvers: tuple[U64, U64] | None = None,
) -> Protected:
    """What comes with the package, and this network's own.

    `top_sites`: names in canonical form. `open_resolvers`: in place of the package's; arrays as in policy/arrays.py.
    """
    rows = [
        *(Row(prefix, GuardRule.OWN, "this network") for prefix in own),
        *(Row(prefix, GuardRule.OWN, "a customer's prefix") for prefix in customers),
        *(Row(prefix, GuardRule.GRANTED, "a grant") for prefix in granted),
        *(Row(name, GuardRule.GRANTED, "a grant") for name in granted_names),
        *additions,
    ]
    taken_out = list(removals)
    left = [row for each in bundled_rows() for row in _without(each, taken_out)]
    return Protected(
        rows=[*rows, *left],
        removals=taken_out,
        top_sites=frozenset(name.encode("ascii") for name in top_sites),
        open_resolvers=bundled_open_resolvers() if open_resolvers is None else Ranges.of(*open_resolvers),
    )


@cache
def bundled_open_resolvers() -> Ranges:
    """Of the package's file."""
    text = gzip.decompress((FOLDER / OPEN_RESOLVERS).read_bytes())
    found = table.read(text, "ip-plain", origin=OPEN_RESOLVERS).content.blocked
    return Ranges.of(found.v4, found.v6)


@cache
def bundled_rows() -> tuple[Row, ...]:
    """Of the package's files, and the public names of encrypted hellos."""
    rows = [row for case in PROTECTED_CASES for row in _rows_of(case)]
    ech = [Row(NameEntry(name, EXACT), GuardRule.ECH, "its provider") for name in name_limits.PUBLIC_ECH_NAMES]
    return (*rows, *ech)


def _rows_of(case: GuardRule) -> list[Row]:
    path = FOLDER / f"{case.id.partition('.')[2]}.tsv"
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        value, scope, source = line.split("\t")
        named = NameEntry(value, NameScope[scope.upper()]) if scope else None
        rows.append(Row(named or Prefix.parse(value), case, source))
    return rows


def _without(row: Row, removals: Sequence[Removal]) -> list[Row]:
    """What of a row stays."""
    if isinstance(row.value, NameEntry):
        names = {each.value.name for each in removals if isinstance(each.value, NameEntry)}
        return [] if row.value.name in names else [row]
    left = [row.value]
    for each in removals:
        if isinstance(each.value, Prefix):
            left = [part for prefix in left for part in _cut_out(prefix, each.value)]
    return [row._replace(value=prefix) for prefix in left]


def _cut_out(prefix: Prefix, hole: Prefix) -> list[Prefix]:
    """The blocks of `prefix` outside `hole`."""
    if hole.covers(prefix):
        return []
    if not prefix.covers(hole):
        return [prefix]
    parts = []
    for length in range(prefix.length + 1, hole.length + 1):
        half = Prefix.cut(hole.version, hole.address, length)
        parts.append(Prefix(half.version, half.address ^ 1 << (BITS[half.version] - length), length))
    return parts


def _meet(entry: NameEntry, value: Prefix | NameEntry) -> bool:
    """Whether there is a name that both are about."""
    if isinstance(value, Prefix):
        return False
    if entry.name == value.name:
        return entry.scope == value.scope or SUBTREE in (entry.scope, value.scope)
    if entry.name.endswith(f".{value.name}"):
        return value.scope != EXACT
    return value.name.endswith(f".{entry.name}") and entry.scope != EXACT


def _reaches_below(value: Prefix | NameEntry) -> bool:
    return isinstance(value, NameEntry) and value.scope != EXACT


@cache
def suffix_names() -> frozenset[str]:
    """Public suffixes of two labels or more that are written out in the list; a list of names holds no shorter ones."""
    return frozenset(name for name in name_limits.suffix_rules()[0] if "." in name and not name.startswith("*."))


@cache
def wildcard_suffixes() -> tuple[str, ...]:
    """What every child of is a public suffix."""
    return tuple(name[2:] for name in name_limits.suffix_rules()[0] if name.startswith("*."))


@cache
def suffixes_above() -> Mapping[str, str]:
    """What public suffixes are below of, and is none itself: a name, and one such suffix."""
    found: dict[str, str] = {}
    for name in sorted(name_limits.suffix_rules()[0]):
        for above in suffixes(name.removeprefix("*."))[1:]:
            if not name_limits.is_public_suffix(above):
                found.setdefault(above, name)
    return found
