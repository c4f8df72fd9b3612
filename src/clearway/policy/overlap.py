"""How much of each list stands in others: for every entry, which lists hold one that covers it. Pure numpy.

Lists are bits of 64-bit masks. Addresses: where the ranges of lists begin and end is sorted once, and a running
exclusive or gives the lists that hold each stretch; an entry is covered by those that hold all of its stretches. Names:
64-bit hashes of each name and of what it ends with are looked up among those of all lists; among 15 million of them
two that differ share a hash once in a hundred thousand runs.

Memory at its peak: about 60 bytes an address, 90 a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearway._engine import NameScope
from clearway.policy.arrays import U64
from clearway.policy.names import Blob, StoredNames

BITS = 64
"""Lists that one mask holds: more are taken in turns."""
_FILTER_BITS = 26

PIECES = 64
"""That the space of addresses is compared in."""
Mask = npt.NDArray[np.bool_]
Span = tuple[U64, U64]
"""First addresses, and those behind the last ones."""
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """The entries of one list. Arrays as in policy/arrays.py."""

    v4: U64
    v6: U64
    names: StoredNames


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Of lists in the order given. An entry counts as held by another list where one entry of that covers it."""

    entries: Counts
    unique: Counts
    """Entries that no other list holds."""
    held_by: Counts
    """Row, column: how many entries of the row's list the column's list holds."""


def overlap(lists: Sequence[Listed]) -> Overlap:
    """Compares all lists with all others."""
    count = len(lists)
    held_by = np.zeros((count, count), dtype=np.int64)
    entries = np.zeros(count, dtype=np.int64)
    unique = np.zeros(count, dtype=np.int64)
    for kind in (_v4_masks, _v6_masks, _name_masks):
        elsewhere: list[Mask] = []
        for first in range(0, count, BITS):
            block = range(first, min(first + BITS, count))
            for number, masks in enumerate(kind(lists, block)):
                others = masks
                if number in block:
                    others = masks & ~np.uint64(1 << (number - first))
                if first == 0:
                    elsewhere.append(others != 0)
                else:
                    elsewhere[number] |= others != 0
                _count(held_by[number], masks, block)
        for number, mask in enumerate(elsewhere):
            entries[number] += len(mask)
            unique[number] += len(mask) - int(np.count_nonzero(mask))
    return Overlap(entries, unique, held_by)


def _count(row: Counts, masks: U64, block: range) -> None:
    found, counts = np.unique(masks, return_counts=True)
    for bit, number in enumerate(block):
        row[number] += int(counts[(found >> np.uint64(bit) & np.uint64(1)).astype(bool)].sum())


# ---- addresses ----


def _v4_masks(lists: Sequence[Listed], block: range) -> list[U64]:
    spans = [_v4_spans(each.v4) for each in lists]
    return _span_masks(spans, block)


def _v4_spans(v4: U64) -> Span:
    first = v4 >> np.uint64(8)
    return first, first + (np.uint64(1) << (np.uint64(32) - (v4 & np.uint64(0xFF))))


def _v6_masks(lists: Sequence[Listed], block: range) -> list[U64]:
    """128-bit bounds are replaced by their rank among all bounds: that is all that matters."""
    sizes = [len(each.v6) for each in lists]
    if not sum(sizes):
        return [np.empty(0, dtype=np.uint64) for _ in lists]
    rows = np.concatenate([each.v6 for each in lists])
    bounds = np.concatenate([rows[:, :2], _v6_ends(rows)])
    order = np.lexsort((bounds[:, 1], bounds[:, 0]))
    placed = bounds[order]
    rank_of_place = np.concatenate([[0], np.cumsum((placed[1:] != placed[:-1]).any(axis=1))]).astype(np.uint64)
    ranks = np.empty(len(bounds), dtype=np.uint64)
    ranks[order] = rank_of_place
    starts = np.split(ranks[: len(rows)], np.cumsum(sizes)[:-1])
    ends = np.split(ranks[len(rows) :], np.cumsum(sizes)[:-1])
    return _span_masks(list(zip(starts, ends, strict=True)), block)


def _v6_ends(rows: U64) -> U64:
    """The first address behind each prefix; behind the last one of all, the highest number there is."""
    length = rows[:, 2].astype(np.int64)
    one = np.uint64(1)
    low_step = np.where(length > 64, one << np.clip(128 - length, 0, 63).astype(np.uint64), np.uint64(0))
    high_step = np.where(
        (length <= 64) & (length > 0), one << np.clip(64 - length, 0, 63).astype(np.uint64), np.uint64(0)
    )
    low = rows[:, 1] + low_step
    carry = (low < rows[:, 1]).astype(np.uint64)
    high = rows[:, 0] + high_step + carry
    over = (length == 0) | (high < rows[:, 0])
    full = ~np.uint64(0)
    return np.column_stack([np.where(over, full, high), np.where(over, full, low)])


def _span_masks(spans: Sequence[Span], block: range) -> list[U64]:
    """For each entry of each list: the lists of the block that hold all of it. Spans lie sorted, nested or apart.

    Piece by piece of the space, so that what is sorted and searched stays in the CPU's cache.
    """
    reached = [np.maximum.accumulate(end) for _, end in spans]
    bounds = _bounds(spans, reached)
    cuts = [np.searchsorted(first, bounds).tolist() for first, _ in spans]
    found: list[list[U64]] = [[] for _ in spans]
    for piece in range(len(bounds) - 1):
        slices = [slice(cut[piece], cut[piece + 1]) for cut in cuts]
        inner = [(first[part], end[part]) for (first, end), part in zip(spans, slices, strict=True)]
        outer = [furthest[part] for furthest, part in zip(reached, slices, strict=True)]
        for masks, made in zip(found, _piece_masks(inner, outer, block), strict=True):
            masks.append(made)
    return [np.concatenate(masks) if masks else np.empty(0, dtype=np.uint64) for masks in found]


def _bounds(spans: Sequence[Span], reached: Sequence[U64]) -> U64:
    """Where the space may be cut: no span goes on beyond, and all of them lie between the first and the last."""
    top = max((int(furthest[-1]) for furthest in reached if len(furthest)), default=0)
    candidates = np.unique(np.linspace(0, top, PIECES + 1).astype(np.uint64))
    whole = np.ones(len(candidates), dtype=bool)
    for (first, _), furthest in zip(spans, reached, strict=True):
        if len(first):
            before = np.searchsorted(first, candidates) - 1
            whole &= (before < 0) | (furthest[before] <= candidates)
    inner = candidates[whole]
    return np.unique(np.concatenate([[np.uint64(0)], inner, [np.uint64(top + 1)]]).astype(np.uint64))


def _piece_masks(spans: Sequence[Span], reached: Sequence[U64], block: range) -> list[U64]:
    events = []
    for bit, number in enumerate(block):
        first, end = spans[number]
        if len(first):
            outer = np.ones(len(first), dtype=bool)
            np.greater_equal(first[1:], reached[number][:-1], out=outer[1:])
            bounds = np.concatenate([first[outer], end[outer]])
            events.append(bounds << np.uint64(6) | np.uint64(bit))
    if not events:
        return [np.zeros(len(first), dtype=np.uint64) for first, _ in spans]
    told = np.concatenate(events)
    told.sort()
    held = np.bitwise_xor.accumulate(np.uint64(1) << (told & np.uint64(63)))
    places = told >> np.uint64(6)
    last = np.flatnonzero(np.concatenate([places[1:] != places[:-1], [True]]))
    places = np.concatenate([[np.uint64(0)], places[last]])  # what precedes them is held by none
    held = np.concatenate([[np.uint64(0)], held[last]])
    return [_held_all(places, held, first, end) for first, end in spans]


def _held_all(places: U64, held: U64, first: U64, end: U64) -> U64:
    if not len(first):
        return np.empty(0, dtype=np.uint64)
    low = np.searchsorted(places, first, side="right") - 1
    found = held[low]
    high = np.searchsorted(places, end, side="left")
    wide = np.flatnonzero(high > low + 1)
    if len(wide):
        padded = np.concatenate([held, [np.uint64(0)]])
        pairs = np.column_stack([low[wide], high[wide]]).ravel()
        found[wide] = np.bitwise_and.reduceat(padded, pairs)[::2]
    return found


# ---- names ----


def _name_masks(lists: Sequence[Listed], block: range) -> list[U64]:
    """Entries of each list by scope: subtree, below, exact."""
    hashed = [[_Hashed(blob) for blob in each.names.blobs().values()] for each in lists]
    scopes = list(StoredNames().blobs())
    wide = {NameScope.SUBTREE, NameScope.BELOW}
    same = {
        scope: _Table([(bit, hashed[number][at].names) for bit, number in enumerate(block)])
        for at, scope in enumerate(scopes)
    }
    above = _Table(
        [
            (bit, hashed[number][at].names)
            for bit, number in enumerate(block)
            for at, scope in enumerate(scopes)
            if scope in wide
        ]
    )
    found = []
    for each in hashed:
        masks = []
        for at, scope in enumerate(scopes):
            mask = same[scope].of(each[at].names)
            if scope != NameScope.SUBTREE:
                mask |= same[NameScope.SUBTREE].of(each[at].names)
            places, suffixes = each[at].suffixes()
            np.bitwise_or.at(mask, places, above.of(suffixes))
            masks.append(mask)
        found.append(np.concatenate(masks))
    return found


class _Table:
    """Hash → bits of the lists that hold it."""

    def __init__(self, parts: Sequence[tuple[int, U64]]) -> None:
        keys = [(hashes & ~np.uint64(63)) | np.uint64(bit) for bit, hashes in parts if len(hashes)]
        together = np.concatenate(keys) if keys else np.empty(0, dtype=np.uint64)
        together.sort()
        held = together >> np.uint64(6)
        starts = np.flatnonzero(np.concatenate([[True], held[1:] != held[:-1]])) if len(held) else np.empty(0, np.intp)
        bits = np.uint64(1) << (together & np.uint64(63))
        self._held = held[starts]
        self._bits = np.bitwise_or.reduceat(bits, starts) if len(starts) else bits
        self._filter = np.zeros(1 << _FILTER_BITS, dtype=bool)
        self._filter[self._held >> np.uint64(58 - _FILTER_BITS)] = True

    def of(self, hashes: U64) -> U64:
        """The bits of each."""
        found = np.zeros(len(hashes), dtype=np.uint64)
        if not len(self._held):
            return found
        asked = hashes >> np.uint64(6)
        likely = np.flatnonzero(self._filter[asked >> np.uint64(58 - _FILTER_BITS)])
        order = likely[np.argsort(asked[likely])]  # in order: neighbours are found near each other
        places = np.searchsorted(self._held, asked[order])
        places[places == len(self._held)] = 0
        hit = self._held[places] == asked[order]
        found[order[hit]] = self._bits[places[hit]]
        return found


class _Hashed:
    """The names of a blob, and what they end with, as 64-bit hashes."""

    def __init__(self, blob: Blob) -> None:
        self._bytes = np.concatenate([blob, np.zeros(8, dtype=np.uint8)])
        ends = np.flatnonzero(self._bytes == ord("\n"))
        starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
        self._starts, self._ends = starts, ends
        self.names = self._hashes(starts, ends)

    def suffixes(self) -> tuple[npt.NDArray[np.intp], U64]:
        """Of each name what follows its dots, as far as it has two labels: place of the name, hash."""
        dots = np.flatnonzero(self._bytes == ord("."))
        places = np.searchsorted(self._ends, dots)
        dots, places = dots[:-1], places[:-1]  # what follows the last dot of a name has one label
        inner = np.flatnonzero(np.searchsorted(self._ends, np.flatnonzero(self._bytes == ord("."))[1:]) == places)
        return places[inner], self._hashes(dots[inner] + 1, self._ends[places[inner]])

    def _hashes(self, starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> U64:
        words = np.ndarray((len(self._bytes) - 7,), dtype="<u8", buffer=self._bytes.data, strides=(1,))
        lengths = ends - starts
        found = lengths.astype(np.uint64)
        for at in range(0, int(lengths.max(initial=0)), 8):
            active = np.flatnonzero(lengths > at) if at else np.arange(len(lengths))
            left = np.minimum(lengths[active] - at, 8).astype(np.uint64)
            word = words[starts[active] + at] & (~np.uint64(0) >> (np.uint64(64) - np.uint64(8) * left))
            found[active] = _mix(found[active] ^ word)
        return found


def _mix(x: U64) -> U64:
    """The finalizer of splitmix64, modulo 2^64."""
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)
