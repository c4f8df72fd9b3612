"""Lists of prefixes → the arrays that the kernel looks addresses up in. Pure numpy; no clock, no files.

The longest prefix wins, over all lists together; at the same prefix an exception beats a block. The result depends on
which prefixes are listed, not on the order of lists or on duplicates. Layouts: bpf/abi.h, bpf/maps.h. Lists that are
only observed are a class by themselves: what they refuse by these rules counts where the enforced ones refuse nothing.

IPv4 in two steps. Prefixes up to /24 paint whole cells, shorter ones first, so that longer ones win. Then, /24 by /24,
longer prefixes paint the 256 bits of their cell, again shorter ones first. Prefixes of one length never overlap, so
each step is a handful of array operations. A bitmap that comes out empty or full becomes a plain cell.

IPv6 is a hash table of prefixes: bucket → slots. Its seed comes from the content; an overfull bucket takes the next.

Memory at its peak, beyond the lists: 30 to 70 bytes an IPv4 prefix (the more /24s, the more), 130 an IPv6 prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clearway._engine import LIMITS, Base
from clearway.policy.arrays import U64, lengths4, split_mapped
from clearway.policy.model import Reason
from clearway.policy.shared import NOTHING_SHARED, Shared
from clearway.policy.shared_mask import masked

U32 = npt.NDArray[np.uint32]

CELLS = 1 << 24
CELL_LISTED = 1
CELL_OBSERVED = 2
CELL_BITMAP = 256
"""enum cell of abi.h."""

SLOT = np.dtype(
    [("high", "<u8"), ("low", "<u8"), ("length", "u1"), ("listed", "u1"), ("unused", "u1", (6,))], align=False
)
"""struct v6_slot of abi.h."""
SLOT_OBSERVED = 2
"""`listed` of a slot: 0 an exception, 1 listed, 2 by lists alone that are only observed."""
SEEDS_MAX = 64
"""Tries before giving up; with two slots a bucket the first one does but once in thousands of times."""
_CHUNK = 1 << 18
"""Prefixes painted at once: the arrays in between stay in the CPU's cache."""


@dataclass(frozen=True, slots=True)
class ListEntries:
    """The entries of one list. `exception`: what it holds is spared, not refused."""

    name: str
    reason: Reason
    v4: U64
    v6: U64
    """Both as policy/arrays.py has them; need not be sorted, and are compiled faster when they are."""
    exception: bool = False
    cloud_hosts: bool = True
    """Whether its hosts in single-tenant clouds still count: shared_mask.CLOUD_HOST_LIFE."""
    observe: bool = False
    """What it holds is told of, and goes on."""


def _no_bitmaps() -> U64:
    return np.empty((0, 4), dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class CompiledBase:
    """What engine.Base takes, part by part."""

    v4_cell_numbers: U32
    """Ascending: the /24s that hold something."""
    v4_cells: U32
    """CELL_LISTED, CELL_OBSERVED, or CELL_BITMAP + number of its bitmap."""
    v4_bitmaps: U64
    """Shape (n, 4): struct bitmap."""
    v6_buckets: U32
    """Shape (power of two, 2): first slot, count."""
    v6_slots: npt.NDArray[np.void]
    """Of dtype SLOT, in the order of their bucket."""
    v6_lengths: bytes
    """Those that occur, longest first."""
    v6_seed: int
    counts: Mapping[str, int] = field(default_factory=dict)
    """v4_prefixes and v6_prefixes (distinct, exceptions with them), exceptions, cells, bitmaps, slots, buckets."""
    v4_observed: U64 = field(default_factory=_no_bitmaps)
    """As v4_bitmaps: which of their bits only observed lists set. Empty where none is."""

    def for_engine(self) -> Base:
        """For engine.Tables.fill. Raises BadSnapshotPart."""
        return Base(
            v4_cell_numbers=self.v4_cell_numbers.data,
            v4_cells=self.v4_cells.data,
            v4_bitmaps=self.v4_bitmaps.data,
            v6_buckets=self.v6_buckets.data,
            v6_slots=self.v6_slots.view(np.uint8).data,
            v6_lengths=self.v6_lengths,
            v6_seed=self.v6_seed,
            v4_observed=self.v4_observed.data if len(self.v4_observed) else None,
        )


def compile_base(lists: Sequence[ListEntries], shared: Shared = NOTHING_SHARED) -> CompiledBase:
    """Compiles all lists together, without what `shared` takes out. ValueError for an array that is none."""
    for entries in lists:
        _check(entries)
    lists = masked(lists, shared)
    enforced, observed = (_prefixes([each for each in lists if each.observe == observe]) for observe in (False, True))
    numbers, cells, bitmaps, observed_bits = _with_observed(_compile_v4(enforced.v4), _compile_v4(observed.v4))
    buckets, slots, lengths, seed = _compile_v6(*_with_observed_v6(enforced, observed))
    counts = {
        "v4_prefixes": len(enforced.v4) + len(observed.v4),
        "v6_prefixes": len(enforced.v6) + len(observed.v6),
        "exceptions": enforced.exceptions + observed.exceptions,
        "cells": len(cells),
        "bitmaps": len(bitmaps),
        "slots": len(slots),
        "buckets": len(buckets),
    }
    return CompiledBase(numbers, cells, bitmaps, buckets, slots, lengths, seed, counts, observed_bits)


@dataclass(frozen=True, slots=True)
class _Prefixes:
    """The prefixes of one class of lists, each once."""

    v4: U64
    v6: U64
    v6_listed: npt.NDArray[np.bool_]

    @property
    def exceptions(self) -> int:
        return int(np.count_nonzero(self.v4 & _ONE == 0)) + int(np.count_nonzero(~self.v6_listed))


def _prefixes(lists: Sequence[ListEntries]) -> _Prefixes:
    mapped = [split_mapped(entries.v6) for entries in lists]
    v4 = _merge_v4(
        [(np.concatenate([entries.v4, inner]) if len(inner) else entries.v4, entries.exception)
         for entries, (_, inner) in zip(lists, mapped, strict=True)]
    )  # fmt: skip
    return _Prefixes(v4, *_merge_v6([(outer, each.exception) for each, (outer, _) in zip(lists, mapped, strict=True)]))


def _check(entries: ListEntries) -> None:
    v4, v6 = entries.v4, entries.v6
    if v4.dtype != np.uint64 or v4.ndim != 1 or v6.dtype != np.uint64 or v6.ndim != 2 or v6.shape[1] != 3:
        raise ValueError(f"list {entries.name}: entries of the wrong type or shape")
    if len(v4) and int(v4.max()) >> 40:
        raise ValueError(f"list {entries.name}: an IPv4 address of more than 32 bits")
    lengths = lengths4(v4)
    nets = np.flatnonzero(lengths != 32)  # a single address has no bits beyond
    if len(v4) and (lengths.max() > 32 or (v4[nets] >> _EIGHT & _HOST_BITS[lengths[nets]]).any()):
        raise ValueError(f"list {entries.name}: an IPv4 prefix with bits beyond its length")
    if len(v6) and (v6[:, 2].max() > 128 or (_masked_v6(v6) != v6[:, :2]).any()):
        raise ValueError(f"list {entries.name}: an IPv6 prefix with bits beyond its length")


_ONE, _EIGHT, _FULL = np.uint64(1), np.uint64(8), ~np.uint64(0)
_HOST_BITS = np.array([(1 << 32 - length) - 1 for length in range(33)], dtype=np.uint64)
_MASKS = [(1 << 64) - (1 << 64 - bits) for bits in range(65)]
_HIGH_MASKS = np.array([_MASKS[min(length, 64)] for length in range(129)], dtype=np.uint64)
_LOW_MASKS = np.array([_MASKS[max(length - 64, 0)] for length in range(129)], dtype=np.uint64)


def _masked_v6(v6: U64) -> U64:
    lengths = v6[:, 2].astype(np.uint8)
    return np.column_stack([v6[:, 0] & _HIGH_MASKS[lengths], v6[:, 1] & _LOW_MASKS[lengths]])


# ---- IPv4 ----


def _merge_v4(lists: Sequence[tuple[U64, bool]]) -> U64:
    """Sorted distinct address << 9 | length << 1 | listed: an exception sorts before the block of its prefix."""
    parts = [keys << _ONE | np.uint64(not exception) for keys, exception in lists if len(keys)]
    if not parts:
        return np.empty(0, dtype=np.uint64)
    if len(parts) == 1 and (parts[0][1:] > parts[0][:-1]).all():  # as most are, and then nothing stands twice
        return parts[0]
    keys = np.concatenate(parts)
    del parts
    keys.sort(kind="stable")  # of runs in order: a fraction of the time
    prefixes = keys >> _ONE
    first = np.empty(len(keys), dtype=bool)
    first[0] = True
    np.not_equal(prefixes[1:], prefixes[:-1], out=first[1:])
    return keys if first.all() else keys[first]


def _compile_v4(keys: U64) -> tuple[U32, U32, U64]:
    """Cell numbers, cells, bitmaps."""
    if not len(keys):  # as most classes of lists are
        return np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.uint32), np.empty((0, 4), dtype=np.uint64)
    length = (keys >> _ONE).astype(np.uint8)
    short = length <= 24
    painted = _paint_cells(keys[short], length[short])
    cell_numbers, bitmaps = _paint_bitmaps(keys if not short.any() else keys[~short], painted)
    del short, length
    first, second, third, fourth = bitmaps.T  # column by column: numpy reduces short rows slowly
    full = first & second & third & fourth == ~np.uint64(0)
    empty = first | second | third | fourth == 0
    painted[cell_numbers] = ~empty
    mixed = ~(full | empty)
    if not mixed.all():
        cell_numbers, bitmaps = cell_numbers[mixed], bitmaps[mixed]
    numbers = np.flatnonzero(painted).astype(np.uint32)
    cells = np.full(len(numbers), CELL_LISTED, dtype=np.uint32)
    cells[np.searchsorted(numbers, cell_numbers)] = np.arange(CELL_BITMAP, CELL_BITMAP + len(bitmaps), dtype=np.uint32)
    return numbers, cells, bitmaps


def _paint_cells(keys: U64, lengths: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """For each /24: is it listed whole by its longest prefix of at most 24 bits?"""
    painted = np.zeros(CELLS, dtype=bool)
    for length in np.flatnonzero(np.bincount(lengths, minlength=25)).tolist():
        of_length = keys[lengths == length]
        rows = painted.reshape(1 << length, -1)
        rows[of_length >> np.uint64(41 - length)] = (of_length & _ONE).astype(bool)[:, None]
    return painted


def _paint_bitmaps(keys: U64, painted: npt.NDArray[np.bool_]) -> tuple[U32, U64]:
    """For each /24 with longer prefixes in it, ascending: its number, and its 256 bits in four words."""
    numbers, bitmaps = [np.empty(0, dtype=np.uint32)], [np.empty((0, 4), dtype=np.uint64)]
    for chunk in _chunks_of_cells(keys):
        cells = (chunk >> np.uint64(17)).astype(np.uint32)
        starts = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
        distinct = cells[starts]
        ranks = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(chunk)))
        words = np.where(painted[distinct], ~np.uint64(0), np.uint64(0)).repeat(4)
        for positions, masks, listed in _by_length(chunk, ranks):
            _paint(words, positions[listed], masks[listed], listed=True)
            _paint(words, positions[~listed], masks[~listed], listed=False)
        numbers.append(distinct)
        bitmaps.append(words.reshape(-1, 4))
    return np.concatenate(numbers), np.concatenate(bitmaps)


def _chunks_of_cells(keys: U64) -> Iterator[U64]:
    """Pieces of about _CHUNK keys that never divide a /24."""
    start = 0
    while start < len(keys):
        end = start + _CHUNK
        if end < len(keys):
            last_cell = keys[end - 1] >> np.uint64(17)
            end = int(np.searchsorted(keys, (last_cell + _ONE) << np.uint64(17)))
        yield keys[start:end]
        start = end


def _by_length(
    chunk: U64, ranks: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.intp], U64, npt.NDArray[np.bool_]]]:
    """Shortest first: word positions (ascending), bits within the word, listed or not."""
    lengths = (chunk >> _ONE).astype(np.uint8)
    for length in np.flatnonzero(np.bincount(lengths, minlength=33)).tolist():
        chosen = lengths == length
        of_length, rank = (chunk, ranks) if chosen.all() else (chunk[chosen], ranks[chosen])
        listed = (of_length & _ONE).astype(bool)
        address = of_length >> np.uint64(9)
        positions = rank * 4 + (address >> np.uint64(6) & np.uint64(3)).astype(np.intp)
        if length == 25:  # two words
            full = np.full(2 * len(rank), ~np.uint64(0))
            yield np.column_stack([positions, positions + 1]).ravel(), full, listed.repeat(2)
        else:
            run = np.uint64((1 << (1 << 32 - length)) - 1)
            yield positions, run << (address & np.uint64(63)), listed


def _paint(words: U64, positions: npt.NDArray[np.intp], masks: U64, *, listed: bool) -> None:
    """Sets or clears bits; positions ascend, so those of one word stand together."""
    if not len(positions):
        return
    starts = np.flatnonzero(np.concatenate([[True], positions[1:] != positions[:-1]]))
    merged = np.bitwise_or.reduceat(masks, starts)
    if listed:
        words[positions[starts]] |= merged
    else:
        words[positions[starts]] &= ~merged


def _with_observed(enforced: tuple[U32, U32, U64], observed: tuple[U32, U32, U64]) -> tuple[U32, U32, U64, U64]:
    """Both classes in one: cell numbers, cells, bitmaps, and which of their bits only observed lists set."""
    held, cells, bitmaps = enforced
    asked = observed[0]
    if not len(asked):
        return held, cells, bitmaps, _no_bitmaps()
    words = _words_at(enforced, asked)
    only = _words_at(observed, asked) & ~words
    words |= only
    whole, whole_only = (words == _FULL).all(axis=1), (only == _FULL).all(axis=1)
    plain = whole & ~only.any(axis=1) | whole_only
    new = np.where(whole_only, CELL_OBSERVED, CELL_LISTED).astype(np.uint32)
    new[~plain] = np.arange(CELL_BITMAP, CELL_BITMAP + np.count_nonzero(~plain)) + len(bitmaps)
    kept = ~np.isin(held, asked, assume_unique=True)
    numbers = np.concatenate([held[kept], asked])
    order = np.argsort(numbers, kind="stable")
    cells = np.concatenate([cells[kept], new])[order]
    has_bitmap = cells >= CELL_BITMAP
    chosen = cells[has_bitmap] - CELL_BITMAP
    cells[has_bitmap] = np.arange(CELL_BITMAP, CELL_BITMAP + len(chosen), dtype=np.uint32)
    only = np.concatenate([np.zeros_like(bitmaps), only[~plain]])[chosen]
    bitmaps = np.concatenate([bitmaps, words[~plain]])[chosen]
    return numbers[order], cells, bitmaps, only if only.any() else _no_bitmaps()


def _words_at(painted: tuple[U32, U32, U64], asked: U32) -> U64:
    """The 256 bits of each asked /24, in four words."""
    numbers, cells, bitmaps = painted
    words = np.zeros((len(asked), 4), dtype=np.uint64)
    if not len(numbers):
        return words
    at = np.minimum(np.searchsorted(numbers, asked), len(numbers) - 1)
    found = np.where(numbers[at] == asked, cells[at], 0)
    words[found == CELL_LISTED] = _FULL
    mixed = found >= CELL_BITMAP
    words[mixed] = bitmaps[found[mixed] - CELL_BITMAP]
    return words


# ---- IPv6 ----


def v6_mix(x: U64) -> U64:
    """As in bpf/tables.h: the finalizer of splitmix64, modulo 2^64."""
    x = x ^ x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def v6_hash(seed: int, v6: U64) -> U64:
    """As in bpf/tables.h, of rows of high, low, length."""
    x = v6_mix(v6[:, 0] ^ np.uint64(seed))
    x += v6[:, 1]
    x += v6[:, 2]
    return v6_mix(x)


def _merge_v6(lists: Sequence[tuple[U64, bool]]) -> tuple[U64, npt.NDArray[np.bool_]]:
    """Distinct rows in an order that their content gives, and whether each is listed or an exception."""
    parts = [(rows, exception) for rows, exception in lists if len(rows)]
    if not parts:
        return np.empty((0, 3), dtype=np.uint64), np.empty(0, dtype=bool)
    rows = np.concatenate([rows for rows, _ in parts])
    listed = np.repeat([not exception for _, exception in parts], [len(part) for part, _ in parts])
    prints = v6_hash(0, rows)
    order = np.argsort(prints)
    prints, rows, listed = prints[order], rows.take(order, axis=0), listed[order]
    same = prints[1:] == prints[:-1]
    if not same.any():
        return rows, listed
    if (rows[1:][same] != rows[:-1][same]).any():  # two prefixes of one fingerprint: sort by the prefixes themselves
        order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
        rows, listed = rows.take(order, axis=0), listed[order]
        same = (rows[1:] == rows[:-1]).all(axis=1)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    return rows.take(starts, axis=0), np.logical_and.reduceat(listed, starts)


def _with_observed_v6(enforced: _Prefixes, observed: _Prefixes) -> tuple[U64, npt.NDArray[np.uint8]]:
    """Both classes in one: rows in the order of _merge_v6, and what the longest prefix of each class says there."""
    if not len(observed.v6):
        return enforced.v6, enforced.v6_listed.astype(np.uint8)
    rows, _ = _merge_v6([(enforced.v6, False), (observed.v6, False)])
    said = [
        dict(zip(map(tuple, each.v6.tolist()), each.v6_listed.tolist(), strict=True)) for each in (enforced, observed)
    ]
    listed = np.zeros(len(rows), dtype=np.uint8)
    around: list[tuple[int, int, bool, bool]] = []  # prefixes that the next one lies in, each in the one before
    order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
    for at, (high, low, length) in zip(order.tolist(), rows[order].tolist(), strict=True):
        address = high << 64 | low
        while around and address >> 128 - around[-1][1] != around[-1][0] >> 128 - around[-1][1]:
            around.pop()
        before = around[-1][2:] if around else (False, False)
        refused, seen = (of.get((high, low, length), held) for of, held in zip(said, before, strict=True))
        around.append((address, length, refused, seen))
        listed[at] = 1 if refused else SLOT_OBSERVED if seen else 0
    return rows, listed


def _compile_v6(rows: U64, listed: npt.NDArray[np.uint8]) -> tuple[U32, npt.NDArray[np.void], bytes, int]:
    """Buckets, slots, lengths longest first, seed."""
    count = len(rows)
    bucket_count = 1 << max(count.bit_length() - 1, 0)
    first_seed = v6_mix(
        np.array([(int(v6_hash(0, rows).sum(dtype=np.uint64)) + count) & (1 << 64) - 1], dtype=np.uint64)
    )
    for turn in range(SEEDS_MAX):
        seed = int(v6_mix(first_seed + np.uint64(turn))[0])
        bucket_of = v6_hash(seed, rows) & np.uint64(bucket_count - 1)
        counts = np.bincount(bucket_of.astype(np.int64), minlength=bucket_count)
        if counts.max(initial=0) <= LIMITS["V6_BUCKET_SLOTS_MAX"]:
            break
    else:
        raise ValueError(f"no seed of {SEEDS_MAX} spreads {count} IPv6 prefixes over {bucket_count} buckets")
    packed = bucket_of << np.uint64(32) | np.arange(count, dtype=np.uint64)
    packed.sort()
    order = (packed & np.uint64(0xFFFFFFFF)).astype(np.intp)
    slots = np.zeros(count, dtype=SLOT)
    rows = rows.take(order, axis=0)
    slots["high"], slots["low"], slots["length"] = rows.T
    slots["listed"] = listed[order]
    buckets = np.empty((bucket_count, 2), dtype=np.uint32)
    buckets[:, 0] = np.cumsum(counts) - counts
    buckets[:, 1] = counts
    lengths = bytes(np.flatnonzero(np.bincount(rows[:, 2].astype(np.uint8)))[::-1].tolist())
    return buckets, slots, lengths, seed
