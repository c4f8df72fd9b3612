"""What two versions of a list do not share, entry by entry. Imported after `store.setup`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from clearway._engine import NameScope
from clearway.config import StateDirectory
from clearway.feeds import files
from clearway.policy.arrays import U64
from clearway.policy.entries import StoredEntries
from clearway.policy.model import Prefix, word
from clearway.policy.names import Blob
from clearway.store.database import told
from clearway.store.subscribe import active
from clearway.store.versions import Version, find, kept

ADDED, REMOVED = "added", "removed"


@dataclass(frozen=True, slots=True)
class Side:
    """Entries that one version has and the other has not."""

    v4: U64
    v6: U64
    names: dict[NameScope, list[bytes]]

    def counts(self) -> dict[str, int]:
        return {"addresses": len(self.v4) + len(self.v6), "names": sum(map(len, self.names.values()))}

    def entries(self, change: str) -> Iterator[dict[str, Any]]:
        """As objects of a stream: what `feed parse` prints of an entry, with `change`."""
        for prefix in chain(_v4(self.v4), _v6(self.v6)):
            yield {"change": change, "kind": "address", "value": str(prefix), "scope": None}
        for scope, names in self.names.items():
            for name in names:
                yield {"change": change, "kind": "name", "value": name.decode("ascii"), "scope": word(scope)}


@dataclass(frozen=True, slots=True)
class Diff:
    """Two versions of a list."""

    feed: str
    old: Version
    new: Version
    added: Side
    removed: Side

    def counts(self) -> dict[str, Any]:
        """Without the entries."""
        return {
            "feed": self.feed,
            "old": self.old.number,
            "new": self.new.number,
            ADDED: self.added.counts(),
            REMOVED: self.removed.counts(),
        }

    def entries(self) -> Iterable[dict[str, Any]]:
        return chain(self.removed.entries(REMOVED), self.added.entries(ADDED))


@told
def diff(state: StateDirectory, name: str, old: str | None = None, new: str | None = None) -> Diff:
    """Of the version before the newest, and the newest, where none is named; of one that is named, and the newest.

    A list with one version differs from itself in nothing. Raises store.E030, E045, feeds.E014.
    """
    feed = active(name)
    held = kept(feed)
    after = find(feed, new) if new is not None else held[0]
    before = find(feed, old) if old is not None else held[min(1, len(held) - 1)]
    one, two = (files.open(state.feeds, version.row.content) for version in (before, after))
    return Diff(name, before, after, _side(two, one), _side(one, two))


def _side(held: StoredEntries, other: StoredEntries) -> Side:
    names = {
        scope: _lines_without(blob, other.names.blobs()[scope])
        for scope, blob in held.names.blobs().items()
        if len(blob)
    }
    return Side(_without(held.v4, other.v4), _rows_without(held.v6, other.v6), names)


def _without(held: U64, other: U64) -> U64:
    return np.setdiff1d(held, other, assume_unique=True)


def _rows_without(held: U64, other: U64) -> U64:
    def single(rows: U64) -> npt.NDArray[np.void]:
        return np.ascontiguousarray(rows).view([("", rows.dtype)] * 3).reshape(-1)

    if not len(held) or not len(other):
        return held
    return held[~np.isin(single(held), single(other))]


def _lines_without(held: Blob, other: Blob) -> list[bytes]:
    mine, theirs = held.tobytes().splitlines(), other.tobytes().splitlines()
    return sorted(set(mine).difference(theirs))


def _v4(keys: U64) -> Iterator[Prefix]:
    for key in keys.tolist():
        yield Prefix(4, key >> 8, key & 0xFF)


def _v6(rows: U64) -> Iterator[Prefix]:
    for high, low, length in rows.tolist():
        yield Prefix(6, high << 64 | low, length)
