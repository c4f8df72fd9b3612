"""Lists in force → a snapshot, from the one before it where most of that is the same. lists.py says which lists.

Names are built anew where the names of some list have changed, or its place; addresses where they have, /24 by /24.
What comes out has the bytes of a compilation from nothing, and takes its time from what has changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy import parts, snapshot
from clearway.policy.compile import CompiledBase, ListEntries, compile_base
from clearway.policy.entries import StoredEntries, open_entries
from clearway.policy.incremental import recompile
from clearway.policy.names import CompiledNames, ListNames
from clearway.policy.shared_sources import NO_RANGES, SharedRanges, SharedRecord
from clearway.policy.snapshot import LeftOut, Snapshot, SnapshotList
from clearway.store import list_names, shared_ranges

Held = Sequence[tuple[SnapshotList, StoredEntries]]
"""Lists in the order of a snapshot, with their entries, which were read and checked."""


def write(
    state: StateDirectory,
    held: Held,
    before: Snapshot | None,
    *,
    created: datetime,
    left_out: Sequence[LeftOut] = (),
    shared: SharedRanges = NO_RANGES,
) -> Path:
    """Writes the snapshot of these lists; its folder. Lets OSError through. `before`: the current one, if it is whole.

    Only for the one that compiles.
    """
    if before is not None and before.format != snapshot.FORMAT:
        before = None
    compiled = _base(held, before, shared)
    names = before.names if before and _same_names(held, before) else _names(state, held)
    lists = [each for each, _ in held]
    return snapshot.write(
        state.snapshots,
        compiled,
        lists,
        created=created,
        left_out=left_out,
        names=names,
        shared=shared_ranges.record(state, shared),
        before=before,
    )


def is_of(
    held: Snapshot, lists: Sequence[SnapshotList], left_out: Sequence[LeftOut], shared: SharedRanges = NO_RANGES
) -> bool:
    """Whether a snapshot is of exactly these lists, contents and shared ranges, and left out the same: only their times
    may differ."""

    def told(each: SnapshotList) -> tuple[Any, ...]:
        return each.name, each.reason, each.content, _flags(ListEntries, each)

    same = [told(each) for each in held.lists] == [told(each) for each in lists]
    return same and held.left_out == tuple(left_out) and held.shared.content == SharedRecord.of(shared).content


def _base(held: Held, before: Snapshot | None, shared: SharedRanges) -> CompiledBase:
    after = [_entries_of(each, stored) for each, stored in held]
    compile = partial(compile_base, shared=shared.shared)
    if before and before.shared.content != SharedRecord.of(shared).content:
        before = None
    old = _held_before(held, before) if before else None
    if before and old is not None:
        made = recompile(compile, [_entries_of(each, stored) for each, stored in old], before.compiled, after)
        if made is not None:
            return made
    return compile(after)


def _held_before(held: Held, before: Snapshot) -> Held | None:
    """The lists of a snapshot with their entries; None where some are gone or damaged."""
    opened = {stored.hash: stored for _, stored in held}
    with contextlib.suppress(ClearwayError):
        for each in before.lists:
            if each.content not in opened:
                opened[each.content] = open_entries(before.feeds / each.content)
        return [(each, opened[each.content]) for each in before.lists]
    return None


def _flags(kind: type[ListEntries] | type[ListNames], each: SnapshotList) -> dict[str, Any]:
    """What is said of a list besides its name, reason and entries, as both have it."""
    common = {field.name for field in fields(kind)} & {field.name for field in fields(SnapshotList)}
    return {name: getattr(each, name) for name in common - {"name", "reason"}}


def _entries_of(each: SnapshotList, stored: StoredEntries) -> ListEntries:
    return stored.entries(each.name, each.reason, **_flags(ListEntries, each))


def _names(state: StateDirectory, held: Held) -> CompiledNames:
    lists = [stored.list_names(each.name, each.reason, **_flags(ListNames, each)) for each, stored in held]
    return list_names.compile_held(state, lists)


def _same_names(held: Held, before: Snapshot) -> bool:
    """Whether the names of each list are the same, in the same place."""
    with contextlib.suppress(parts.Damaged, KeyError):
        return _told_of([each for each, _ in held], before.feeds) == _told_of(before.lists, before.feeds)
    return False


def _told_of(lists: Sequence[SnapshotList], feeds: Path) -> list[tuple[Any, ...]]:
    """What compile_names hears: which lists have names, at which place, with which content."""
    told: list[tuple[Any, ...]] = []
    for number, each in enumerate(lists):
        described = parts.read_manifest(feeds / each.content)[0]["parts"]
        names = {part: described[part]["sha256"] for part in described if part.startswith("names_")}
        if names:
            told.append((number, _flags(ListNames, each), names))
    return told
