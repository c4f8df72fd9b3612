"""A snapshot is there whole or refused by name; the last good one stands; identical input gives identical bytes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearway.errors import ClearwayError
from clearway.feeds import files
from clearway.feeds.readers import table
from clearway.policy import parts, snapshot
from clearway.policy.compile import CompiledBase, compile_base
from clearway.policy.model import Prefix, Reason
from clearway.policy.snapshot import SnapshotList

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
LISTS = {
    "wide": (Reason.MALWARE, b"192.0.2.0/24\n2001:db8::/32\n198.51.100.0/24\n", False),
    "hosts": (Reason.SCANNER, b"192.0.2.7\n192.0.2.8\n2001:db8::1\n203.0.113.9\n", False),
    "spared": (Reason.MALWARE, b"192.0.2.8\n", True),
}


def compiled(state: Path, chosen: tuple[str, ...] = tuple(LISTS)) -> tuple[CompiledBase, list[SnapshotList]]:
    rows, entries = [], []
    for name in chosen:
        reason, text, exception = LISTS[name]
        stored = files.store(state / "feeds", table.read(text).content.blocked)
        entries.append(stored.entries(name, reason, exception=exception))
        rows.append(SnapshotList(name, reason, stored.hash, f"/lists/{name}", NOW, NOW + timedelta(days=1), exception))
    return compile_base(entries), rows


def write(state: Path, *, created: datetime = NOW, chosen: tuple[str, ...] = tuple(LISTS), epoch: int = 4) -> Path:
    base, rows = compiled(state, chosen)
    return snapshot.write(state / "snapshots", base, rows, created=created, epoch=epoch)


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path)
    base, rows = compiled(tmp_path)
    loaded = snapshot.load(tmp_path / "snapshots" / "current")
    assert loaded.path == path
    assert (loaded.lists, loaded.epoch, loaded.created) == (tuple(rows), 4, NOW)
    for part in ("v4_cell_numbers", "v4_cells", "v4_bitmaps", "v6_buckets", "v6_slots"):
        assert np.array_equal(getattr(loaded.compiled, part), getattr(base, part)), part
    assert (loaded.compiled.v6_lengths, loaded.compiled.v6_seed) == (base.v6_lengths, base.v6_seed)
    assert loaded.compiled.counts == base.counts


def test_identical_input_gives_identical_bytes_and_the_same_name(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a"), write(tmp_path / "b")
    assert one.name == other.name
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in other.iterdir()}
    assert write(tmp_path / "a", created=NOW + timedelta(seconds=1)).name != one.name


def test_an_empty_policy_is_a_snapshot_too(tmp_path: Path) -> None:
    loaded = snapshot.load(write(tmp_path, chosen=()))
    assert (loaded.lists, len(loaded.compiled.v4_cells)) == ((), 0)
    assert loaded.attribution(Prefix.parse("192.0.2.7").mapped()[0]) == []


@pytest.mark.parametrize(
    ("address", "holders"),
    [
        ("192.0.2.7", [("hosts", Reason.SCANNER, "192.0.2.7"), ("wide", Reason.MALWARE, "192.0.2.0/24")]),
        ("192.0.2.9", [("wide", Reason.MALWARE, "192.0.2.0/24")]),
        ("2001:db8::1", [("hosts", Reason.SCANNER, "2001:db8::1"), ("wide", Reason.MALWARE, "2001:db8::/32")]),
        ("203.0.113.8", []),
        ("::1", []),
    ],
)
def test_an_address_is_attributed_to_its_lists_most_specific_first(
    tmp_path: Path, address: str, holders: list[tuple[str, Reason, str]]
) -> None:
    loaded = snapshot.load(write(tmp_path))
    found = loaded.attribution(Prefix.parse(address).mapped()[0])
    assert [(name, reason, str(prefix)) for name, reason, prefix, _ in found] == holders


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def edit(**changed: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        document: dict[str, Any] = json.loads(path.read_bytes())
        for key, value in changed.items():
            document[key] = value
        path.write_text(json.dumps(document))

    return change


@pytest.mark.parametrize("file", ["v4_cell_numbers", "v4_cells", "v4_bitmaps", "v6_buckets", "v6_slots"])
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink], ids=["truncated", "altered", "missing"])
def test_a_damaged_part_is_refused_by_name(tmp_path: Path, file: str, damage: Callable[[Path], None]) -> None:
    path = write(tmp_path)
    damage(path / f"{file}.bin")
    with pytest.raises(ClearwayError) as error:
        snapshot.load(path)
    assert error.value.id == "policy.E010"
    assert error.value.message.startswith(f"{file} of the snapshot in {path} is damaged: ")


@pytest.mark.parametrize(
    ("change", "id", "message"),
    [
        (Path.unlink, "policy.E011", "No such file"),
        (truncate, "policy.E011", "is no JSON"),
        (edit(kind="entries"), "policy.E011", "of another kind"),
        (edit(format=4), "policy.E012", "has format 4, and this version works with 3"),
        (edit(abi=99), "policy.E012", "has abi 99"),
        (edit(parts={}), "policy.E010", "v4_cell_numbers of the snapshot"),
        (edit(parts=None), "policy.E011", "not in the form of a manifest"),
        (edit(parts={"../x": {}}), "policy.E011", "not in the form of a manifest"),
        (edit(v6_seed=7), "policy.E011", "does not read"),
        (edit(lists=[{"name": "x"}]), "policy.E011", "does not read"),
        (edit(counts={}), "policy.E011", "does not read"),
        (edit(counts={"cells": 1, "bitmaps": 9, "buckets": 9, "slots": 9}), "policy.E010", "v4_cell_numbers of"),
    ],
)
def test_a_foreign_or_damaged_manifest_is_refused(
    tmp_path: Path, change: Callable[[Path], None], id: str, message: str
) -> None:
    path = write(tmp_path)
    change(path / "manifest.json")
    with pytest.raises(ClearwayError) as error:
        snapshot.load(path)
    assert error.value.id == id and message in error.value.message, error.value


def test_the_last_three_stay_and_what_a_crash_left_goes(tmp_path: Path) -> None:
    (tmp_path / "snapshots" / ".new-1-x").mkdir(parents=True)
    written = [write(tmp_path, created=NOW + timedelta(seconds=n)) for n in range(5)]
    assert sorted(p.name for p in (tmp_path / "snapshots").iterdir()) == sorted(
        [p.name for p in written[2:]] + ["current"]
    )


def test_a_write_that_fails_leaves_the_current_one_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts, "_write_file", full)
    base, rows = compiled(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        snapshot.write(tmp_path / "snapshots", base, rows, created=NOW + timedelta(seconds=1))
    assert (tmp_path / "snapshots" / "current").resolve() == first
    assert sorted(p.name for p in (tmp_path / "snapshots").iterdir()) == sorted([first.name, "current"])


def test_mapped_arrays_outlive_their_files(tmp_path: Path) -> None:
    loaded = snapshot.load(write(tmp_path))
    before = loaded.compiled.v4_cells.tolist()
    shutil.rmtree(tmp_path / "snapshots")
    assert loaded.compiled.v4_cells.tolist() == before


def test_lists_whose_entries_are_gone_are_named(tmp_path: Path) -> None:
    loaded = snapshot.load(write(tmp_path))
    shutil.rmtree(tmp_path / "feeds")
    with pytest.raises(ClearwayError) as error:
        loaded.attribution(Prefix.parse("192.0.2.7").mapped()[0])
    assert error.value.id == "feeds.E014"


def test_the_parts_are_what_the_engine_takes(tmp_path: Path) -> None:
    loaded = snapshot.load(write(tmp_path))
    needs = loaded.base().needs()
    assert (needs.bitmaps, needs.v6_slots) == (3, 2)
    broken = replace(loaded, compiled=replace(loaded.compiled, v4_cells=loaded.compiled.v4_cells[:-1]))
    with pytest.raises(ClearwayError) as error:
        broken.base()
    assert error.value.id == "engine.E004"
