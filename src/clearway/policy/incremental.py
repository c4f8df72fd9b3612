"""Compiles again after few entries have changed: only the /24s that they lie in are painted anew. Pure numpy.

What a /24 holds depends on the entries within it and on the shorter ones that cover it, on nothing else. So the lists
are cut down to those, compiled as a whole would be (policy/compile.py), and what comes out takes the place of what was
there. The bytes are those of the full compilation. IPv6 is compiled anew, all of it, where any of it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt

from clearway.policy.arrays import U64, merged4
from clearway.policy.compile import CELL_BITMAP, CELLS, U32, CompiledBase, ListEntries

Compile = Callable[[Sequence[ListEntries]], CompiledBase]
"""compile_base with all that it takes besides lists, which is the same before and after."""
Cells = npt.NDArray[np.bool_]
"""One for each of the 2^24 /24s."""

TOUCHED_SHARE_MAX = 0.2
"""Of the entries, those in changed /24s: with more of them, a full compilation is as fast."""
_CELL_LENGTH = np.uint64(24)
_NO_V4 = np.empty(0, dtype=np.uint64)
_NO_V6 = np.empty((0, 3), dtype=np.uint64)


def recompile(
    compile: Compile,
    before: Sequence[ListEntries],
    base: CompiledBase,
    after: Sequence[ListEntries],
    *,
    share_max: float = TOUCHED_SHARE_MAX,
) -> CompiledBase | None:
    """What `compile(after)` gives, made of `base`, which is `compile(before)`. None: more than `share_max` is touched.

    Lists of the same arrays (the same objects) are taken as unchanged without a look at them.
    """
    touched_max = sum(len(each.v4) for each in after) * share_max
    gone, come = _gone_and_come(before, after)
    if sum(len(each.v4) for each in come) - sum(len(each.v4) for each in gone) > touched_max:
        return None  # a first large list above all: known without a second's comparison
    changed = _changed(gone, come)
    if changed is None:
        return None
    touched, v6_differs = changed
    if not touched.any() and not v6_differs:
        return base
    old, new = _cut_down(before, after, touched, v6_differs)
    if sum(len(each.v4) for each in new) > touched_max:
        return None
    unmade, made = compile(old), compile(new)
    numbers, cells, bitmaps, observed = _spliced(base, made, touched)
    v6 = made if v6_differs else base
    counts = {key: base.counts[key] - unmade.counts[key] + made.counts[key] for key in base.counts}
    counts |= {"cells": len(cells), "bitmaps": len(bitmaps), "slots": len(v6.v6_slots), "buckets": len(v6.v6_buckets)}
    return replace(
        base,
        v4_cell_numbers=numbers,
        v4_cells=cells,
        v4_bitmaps=bitmaps,
        v4_observed=observed,
        v6_buckets=v6.v6_buckets,
        v6_slots=v6.v6_slots,
        v6_lengths=v6.v6_lengths,
        v6_seed=v6.v6_seed,
        counts=counts,
    )


def _gone_and_come(
    before: Sequence[ListEntries], after: Sequence[ListEntries]
) -> tuple[list[ListEntries], list[ListEntries]]:
    """The lists that only one side has."""
    held = {_identity(each) for each in before}, {_identity(each) for each in after}
    gone = [each for each in before if _identity(each) not in held[1]]
    return gone, [each for each in after if _identity(each) not in held[0]]


def _changed(old: Sequence[ListEntries], new: Sequence[ListEntries]) -> tuple[Cells, bool] | None:
    """/24s in which some entry is another, and whether some IPv6 entry is. None: IPv4 is written as IPv6 there."""
    touched = np.zeros(CELLS, dtype=bool)
    v6_differs = False
    for kind in {_kind(each) for each in [*old, *new]}:
        gone, come = ([each for each in lists if _kind(each) == kind] for lists in (old, new))
        if any(_has_mapped(each.v6) for each in [*gone, *come]):
            return None
        _touch(np.setxor1d(_distinct(gone), _distinct(come), assume_unique=True), touched)
        v6_differs = v6_differs or not np.array_equal(_distinct_v6(gone), _distinct_v6(come))
    return touched, v6_differs


def _identity(each: ListEntries) -> tuple[object, ...]:
    return (*_kind(each), id(each.v4), id(each.v6))


_FLAGS = tuple(each.name for each in fields(ListEntries) if each.name not in ("name", "reason", "v4", "v6"))


def _kind(each: ListEntries) -> tuple[bool, ...]:
    """Entries of lists of one kind are one set: whether they are exceptions, and what else is said of them."""
    return tuple(getattr(each, flag) for flag in _FLAGS)


def _has_mapped(v6: U64) -> bool:
    return bool(((v6[:, 0] == 0) & (v6[:, 1] >> np.uint64(32) == 0xFFFF)).any())


def _distinct(lists: Sequence[ListEntries]) -> U64:
    keys = lists[0].v4 if len(lists) == 1 else np.concatenate([_NO_V4, *(each.v4 for each in lists)])
    return keys if (keys[1:] > keys[:-1]).all() else merged4([keys])


def _distinct_v6(lists: Sequence[ListEntries]) -> U64:
    return np.unique(np.concatenate([_NO_V6, *(each.v6 for each in lists)]), axis=0)


def _touch(keys: U64, touched: Cells) -> None:
    """Marks the /24s that a prefix lies in, or covers."""
    lengths = keys & np.uint64(0xFF)
    long = lengths >= _CELL_LENGTH
    touched[(keys[long] >> np.uint64(16)).astype(np.intp)] = True
    for key in keys[~long].tolist():
        first = key >> 16
        touched[first : first + (1 << 24 - (key & 0xFF))] = True


def _cut_down(
    before: Sequence[ListEntries], after: Sequence[ListEntries], touched: Cells, with_v6: bool
) -> tuple[list[ListEntries], list[ListEntries]]:
    """All entries that say something of the touched /24s. All shorter than /24 are among them, so that both compile."""
    cut: dict[int, U64] = {}

    def of(each: ListEntries) -> ListEntries:
        v4 = cut.get(id(each.v4))
        if v4 is None:
            keys = each.v4
            wanted = touched[(keys >> np.uint64(16)).astype(np.uint32)] | (keys & np.uint64(0xFF) < _CELL_LENGTH)
            v4 = cut[id(each.v4)] = keys[wanted]
        return replace(each, v4=v4, v6=each.v6 if with_v6 else _NO_V6)

    return [of(each) for each in before], [of(each) for each in after]


def _spliced(base: CompiledBase, made: CompiledBase, touched: Cells) -> tuple[U32, U32, U64, U64]:
    """Cell numbers, cells, bitmaps, their observed bits: of `made` where a /24 is touched, of `base` elsewhere."""
    kept, new = ~touched[base.v4_cell_numbers], touched[made.v4_cell_numbers]
    numbers = np.concatenate([base.v4_cell_numbers[kept], made.v4_cell_numbers[new]])
    order = np.argsort(numbers, kind="stable")
    old_cells, new_cells = base.v4_cells[kept], made.v4_cells[new]
    cells = np.concatenate([old_cells, np.where(new_cells < CELL_BITMAP, new_cells, new_cells + len(base.v4_bitmaps))])
    cells = cells[order]
    has_bitmap = cells >= CELL_BITMAP
    chosen = cells[has_bitmap] - CELL_BITMAP
    bitmaps = np.concatenate([base.v4_bitmaps, made.v4_bitmaps])[chosen]
    observed = base.v4_observed[:0]
    if len(base.v4_observed) or len(made.v4_observed):
        observed = np.concatenate([_observed_of(base), _observed_of(made)])[chosen]
        observed = observed if observed.any() else observed[:0]
    cells[has_bitmap] = np.arange(CELL_BITMAP, CELL_BITMAP + len(bitmaps), dtype=np.uint32)
    return numbers[order], cells, bitmaps, observed


def _observed_of(compiled: CompiledBase) -> U64:
    """One row for each bitmap."""
    return compiled.v4_observed if len(compiled.v4_observed) else np.zeros_like(compiled.v4_bitmaps)
