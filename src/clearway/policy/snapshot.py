"""Compiled policies as files: what the daemon loads at start, and what tells which list an address stood in.

    DIR/20300131T120000.000000Z-0123456789ab/    manifest.json, v4_cells.bin, …: folders as in policy/parts.py
                                                 names.bin, name_filter.bin where a list has names: policy/names.py
    DIR/current -> the one that should be enforced, swapped in one rename

The manifest carries its own meaning: format, ABI of the kernel structs, epoch, time, lists with content hash, those
left out with why, counts. Identical input gives identical bytes; the time is an argument. A damaged or foreign snapshot
is refused by name, and what the kernel holds stands. The newest KEPT stay, for events of an epoch that has just ended.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clearway import _engine
from clearway.errors import BadSnapshotPart, ClearwayError
from clearway.policy import entries, parts
from clearway.policy.compile import SLOT, CompiledBase
from clearway.policy.model import Prefix, Reason, parse_word, word
from clearway.policy.name_table import NameEntry
from clearway.policy.names import CompiledNames
from clearway.policy.shared_sources import SharedRanges, SharedRecord

FORMAT = 3
FORMATS_READ = (1, 2, FORMAT)
"""1 had no names, 2 no list that is only observed: a version that knows only 2 would refuse what such a list holds."""
KIND = "snapshot"
KEPT = 3
CURRENT = "current"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class SnapshotList:
    """One list that was compiled into a snapshot."""

    name: str
    reason: Reason
    content: str
    """Hash of its entries below feeds/."""
    source: str
    since: datetime
    """When this version was fetched."""
    until: datetime
    exception: bool = False
    cloud_hosts: bool = True
    observe: bool = False
    """Both as compile.ListEntries has them."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A list that was wanted when a snapshot was compiled, and is not in it."""

    name: str
    content: str
    error: dict[str, Any]
    """Why, as ClearwayError.as_json has it."""

    @property
    def refusal(self) -> ClearwayError:
        return ClearwayError.from_json({"error": self.error})


class Holding(NamedTuple):
    """An entry of a list that covers an address."""

    list_name: str
    reason: Reason
    prefix: Prefix
    observe: bool = False


class NameHolding(NamedTuple):
    """An entry of a list that covers a name."""

    list_name: str
    reason: Reason
    entry: NameEntry
    observe: bool = False


@dataclass(frozen=True)
class Snapshot:
    """One compiled policy; its arrays are mapped from files, and stay readable when the files are removed."""

    path: Path
    compiled: CompiledBase
    lists: tuple[SnapshotList, ...]
    epoch: int
    created: datetime
    feeds: Path
    """Where the entries of the lists are."""
    left_out: tuple[LeftOut, ...] = ()
    names: CompiledNames = field(default_factory=CompiledNames)
    format: int = FORMAT
    shared: SharedRecord = field(default_factory=SharedRecord)
    """The shared ranges that it was compiled under."""

    def base(self) -> _engine.Base:
        """For engine.Tables.fill. Raises BadSnapshotPart."""
        return self.compiled.for_engine()

    def attribution(self, address: bytes) -> list[Holding]:
        """Which lists refuse an address (16 bytes, IPv4 mapped), most specific entry first, then by name.

        Enforced lists stand before observed ones. Lists of exceptions are none of them. Raises feeds.E014 when the
        entries of a list are gone.
        """
        asked = Prefix.from_mapped(address)
        found = [
            Holding(listed.name, listed.reason, prefix, listed.observe)
            for listed, stored in self._entries
            if not listed.exception
            for prefix in stored.covering(asked)
        ]
        return sorted(found, key=lambda holding: (holding.observe, -holding.prefix.length, holding.list_name))

    def name_attribution(self, name: str) -> list[NameHolding]:
        """Which lists refuse a name, longest entry first, then by list. As `attribution` otherwise."""
        found = [
            NameHolding(listed.name, listed.reason, entry, listed.observe)
            for listed, stored in self._entries
            if not listed.exception
            for entry in stored.names.covering(name)
        ]
        return sorted(found, key=lambda holding: (holding.observe, -len(holding.entry.name), holding.list_name))

    @cached_property
    def shared_ranges(self) -> SharedRanges:
        """The shared ranges themselves. Raises feeds.E014 when they are gone."""
        return SharedRanges.opened(self.feeds, self.shared.sources)

    @cached_property
    def _entries(self) -> list[tuple[SnapshotList, entries.StoredEntries]]:
        return [(listed, entries.open_entries(self.feeds / listed.content, verify=False)) for listed in self.lists]


def write(
    directory: Path,
    compiled: CompiledBase,
    lists: Sequence[SnapshotList],
    *,
    created: datetime,
    epoch: int = 0,
    left_out: Sequence[LeftOut] = (),
    names: CompiledNames | None = None,
    shared: SharedRecord | None = None,
    before: Snapshot | None = None,
) -> Path:
    """Writes a snapshot and makes it current; older ones but KEPT are removed. Its folder. Lets OSError through.

    Only for the one writer of the directory. `created` carries its offset from UTC. Nothing changes unless all is
    written and synced. `before`: a snapshot in the directory, as `load` gave it; arrays that are its own are linked.
    """
    time = created.astimezone(UTC)
    document = {
        "format": FORMAT,
        "kind": KIND,
        "abi": _engine.LIMITS["ABI_VERSION"],
        "epoch": epoch,
        "created": _time_text(time),
        "lists": [_list_document(listed) for listed in lists],
        "left_out": [asdict(each) for each in left_out],
        "shared": (shared or SharedRecord()).as_json(),
        "counts": dict(compiled.counts),
        "name_counts": dict(names.counts if names else {}),
        "v6_seed": f"{compiled.v6_seed:016x}",
        "v6_lengths": list(compiled.v6_lengths),
    }
    stamp = time.strftime("%Y%m%dT%H%M%S.%fZ")
    parts.remove_unfinished(directory)
    arrays = _arrays_of(compiled, names)
    held = _arrays_of(before.compiled, before.names) if before else {}
    taken = {part for part, array in arrays.items() if array is held.get(part)}
    path = parts.write(
        directory,
        lambda manifest: f"{stamp}-{hashlib.sha256(manifest).hexdigest()[:12]}",
        document,
        {
            part: array.view(np.uint8) if array.dtype == SLOT else array
            for part, array in arrays.items()
            if part not in taken
        },
        taken=dict.fromkeys(taken, before.path) if before else {},
    )
    make_current(directory, path.name)
    _prune(directory, path.name)
    return path


def _arrays_of(compiled: CompiledBase, names: CompiledNames | None) -> dict[str, parts.Array]:
    """Its parts by their names."""
    return {
        "v4_cell_numbers": compiled.v4_cell_numbers,
        "v4_cells": compiled.v4_cells,
        "v4_bitmaps": compiled.v4_bitmaps,
        **({"v4_observed": compiled.v4_observed} if len(compiled.v4_observed) else {}),
        "v6_buckets": compiled.v6_buckets,
        "v6_slots": compiled.v6_slots,
        **({"names": names.names, "name_filter": names.name_filter} if names else {}),
    }


def make_current(directory: Path, name: str) -> None:
    """Lets `current` lead to the snapshot of that name, in one rename."""
    link = directory / f"{parts.UNFINISHED}{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    os.replace(link, directory / CURRENT)  # noqa: PTH105 - one rename, nothing between
    parts.sync_directory(directory)


def load(path: Path, *, feeds: Path | None = None) -> Snapshot:
    """Reads and checks a snapshot, or what `current` leads to. `feeds`: by default feeds/ beside the directory.

    Raises policy.E010 (a part is damaged: truncated, altered, missing), E011 (no snapshot), E012 (of another version).
    """
    folder = path.resolve()
    try:
        document, _ = parts.read_manifest(folder)
        _check_kind(folder, document)
        _, found = parts.read(folder)
        compiled = CompiledBase(
            v4_cell_numbers=parts.shaped(found, "v4_cell_numbers", np.uint32),
            v4_cells=parts.shaped(found, "v4_cells", np.uint32),
            v4_bitmaps=parts.shaped(found, "v4_bitmaps", np.uint64, 4),
            v6_buckets=parts.shaped(found, "v6_buckets", np.uint32, 2),
            v6_slots=parts.shaped(found, "v6_slots", SLOT),
            v6_lengths=bytes(document["v6_lengths"]),
            v6_seed=int(document["v6_seed"], 16),
            counts=document["counts"],
            **({"v4_observed": parts.shaped(found, "v4_observed", np.uint64, 4)} if "v4_observed" in found else {}),
        )
        _check_counts(compiled)
        names = _names_of(document, found)
        lists = tuple(_list_of(listed) for listed in document["lists"])
        left_out = tuple(LeftOut(**each) for each in document.get("left_out", ()))
        shared = SharedRecord.from_json(document.get("shared"))
        created, epoch = datetime.fromisoformat(document["created"]), int(document["epoch"])
        format = int(document["format"])
    except parts.Damaged as damage:
        if damage.part == parts.MANIFEST:
            raise ClearwayError.of("policy.E011", path=folder, detail=damage) from None
        raise ClearwayError.of("policy.E010", path=folder, part=damage.part, detail=damage.detail) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"its manifest does not read ({type(error).__name__}: {error})"
        raise ClearwayError.of("policy.E011", path=folder, detail=detail) from None
    feeds = feeds or folder.parent.parent / "feeds"
    return Snapshot(folder, compiled, lists, epoch, created, feeds, left_out, names, format, shared)


def _check_kind(folder: Path, document: dict[str, Any]) -> None:
    """Whether this version can know what the parts mean; asked before they are looked at."""
    if document.get("kind") != KIND:
        raise ClearwayError.of("policy.E011", path=folder, detail="its manifest is of another kind")
    for what, wanted in (("format", FORMATS_READ), ("abi", (_engine.LIMITS["ABI_VERSION"],))):
        if document.get(what) not in wanted:
            raise ClearwayError.of("policy.E012", path=folder, what=what, found=document.get(what), wanted=wanted[-1])


def _check_counts(compiled: CompiledBase) -> None:
    """The parts against the manifest's counts; engine.Base checks what stands in them."""
    held = {
        "v4_cell_numbers": (len(compiled.v4_cell_numbers), compiled.counts["cells"]),
        "v4_cells": (len(compiled.v4_cells), compiled.counts["cells"]),
        "v4_bitmaps": (len(compiled.v4_bitmaps), compiled.counts["bitmaps"]),
        "v6_buckets": (len(compiled.v6_buckets), compiled.counts["buckets"]),
        "v6_slots": (len(compiled.v6_slots), compiled.counts["slots"]),
    }
    if len(compiled.v4_observed):
        held["v4_observed"] = len(compiled.v4_observed), compiled.counts["bitmaps"]
    for part, (found, wanted) in held.items():
        if found != wanted:
            raise parts.Damaged(part, f"{found} elements in place of {wanted}")


def _names_of(document: dict[str, Any], found: dict[str, parts.Array]) -> CompiledNames:
    """The names, where the manifest speaks of any; engine.NameSet checks what stands in them."""
    counts = document.get("name_counts") or {}
    if not counts:
        return CompiledNames()
    names = CompiledNames(parts.shaped(found, "names", np.uint8), parts.shaped(found, "name_filter", np.uint64), counts)
    try:
        opened = names.opened()
        _engine.NameFilter(opened, names.name_filter.data)
    except BadSnapshotPart as error:
        raise parts.Damaged("names", str(error)) from None
    for part, held, wanted in (
        ("names", opened.names, counts["names"]),
        ("name_filter", opened.filter.entries, counts["filter_keys"]),
    ):
        if held != wanted:
            raise parts.Damaged(part, f"{held} elements in place of {wanted}")
    return names


def _list_document(listed: SnapshotList) -> dict[str, Any]:
    times = {"since": _time_text(listed.since), "until": _time_text(listed.until)}
    return {**asdict(listed), **times, "reason": word(listed.reason)}


def _list_of(document: dict[str, Any]) -> SnapshotList:
    times = {key: datetime.fromisoformat(document[key]) for key in ("since", "until")}
    return SnapshotList(**{**document, **times, "reason": parse_word(Reason, document["reason"])})


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _prune(directory: Path, current: str) -> None:
    names = sorted(path.name for path in directory.glob("*") if _NAME.fullmatch(path.name))
    for name in names[:-KEPT]:
        if name != current:
            shutil.rmtree(directory / name, ignore_errors=True)
