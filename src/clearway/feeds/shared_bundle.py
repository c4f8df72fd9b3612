"""The shared ranges that come with the package, so that it knows some on the first day and without a network.

Public-domain lists (bundled/ranges/NOTICE). They do not tell the front ends of Amazon and Microsoft from what those
let: all of it counts as let there, until the vendors' own lists were fetched, which take the place of these.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib import resources

import numpy as np

from clearway.feeds.readers import table
from clearway.feeds.readers.content import Entries
from clearway.feeds.shared_vendors import VENDORS
from clearway.policy import arrays
from clearway.policy.model import Prefix
from clearway.policy.names import StoredNames
from clearway.policy.shared_sources import Claim, SharedRanges, SharedSource

PREFIX = "bundled-"
"""Names of these sources begin so; no other's does."""
SHOWN = "comes with Clearway"


@dataclass(frozen=True)
class Bundled:
    """One list of the package, with its ranges. Arrays as in policy/arrays.py."""

    name: str
    vendor: str
    claim: Claim
    published: datetime
    repositories: tuple[str, ...]
    entries: Entries

    @property
    def v4(self) -> arrays.U64:
        return self.entries.v4

    @property
    def v6(self) -> arrays.U64:
        return self.entries.v6

    @cached_property
    def versions(self) -> frozenset[int]:
        """IP versions that it holds."""
        return frozenset(version for version, array in ((4, self.v4), (6, self.v6)) if len(array))

    @cached_property
    def _lengths(self) -> dict[int, list[int]]:
        return arrays.lengths_of(self.v4, self.v6)

    def covering(self, prefix: Prefix) -> list[Prefix]:
        """As entries.StoredEntries has it."""
        lengths = self._lengths[prefix.version]
        return arrays.covering(self.v4, self.v6, prefix, lengths) if lengths else []

    def within(self, prefix: Prefix, limit: int) -> list[Prefix]:
        """As entries.StoredEntries has it."""
        return arrays.within(self.v4, self.v6, prefix, limit)

    @property
    def source(self) -> SharedSource:
        """As policy.shared_sources has one; where its ranges are kept is known once they were."""
        return SharedSource(self.name, self.vendor, f"{SHOWN} ({', '.join(self.repositories)})", self.published, {})


@cache
def bundled() -> tuple[Bundled, ...]:
    """All of them, by name."""
    folder = resources.files("clearway.feeds") / "bundled" / "ranges"
    rows: dict[str, list[Mapping[str, str]]] = {}
    for row in csv.DictReader((folder / "INDEX.tsv").read_text("utf-8").splitlines(), delimiter="\t"):
        rows.setdefault(row["name"], []).append(row)
    made = []
    for name, parts in rows.items():
        text = b"".join((folder / row["file"]).read_bytes() for row in parts)
        found = table.read(text, "cidr-lines", origin=name).content.blocked
        published = min(datetime.fromisoformat(row["published"]).replace(tzinfo=UTC) for row in parts)
        repositories = tuple(dict.fromkeys(row["repository"] for row in parts))
        ranges = Entries(np.asarray(found.v4), np.asarray(found.v6), StoredNames())
        made.append(
            Bundled(PREFIX + name, parts[0]["vendor"], Claim(parts[0]["claim"]), published, repositories, ranges)
        )
    return tuple(made)


@cache
def bundled_ranges() -> SharedRanges:
    """What they make together, where nothing else is known."""
    return SharedRanges([(each.source, {each.claim: each}) for each in bundled()])


def undivided(ranges: SharedRanges) -> list[str]:
    """Vendors whose front ends count as let to tenants: of them only a list of the package is known, which does not
    tell the two apart. What the vendor publishes does."""
    claims: dict[str, set[Claim]] = {}
    for source, held in ranges.held:
        claims.setdefault(source.vendor, set()).update(held)
    return [
        row.name
        for row in VENDORS.values()
        if Claim.FRONT_END in row.tags.values() and claims.get(row.name) == {Claim.SINGLE_TENANT}
    ]
