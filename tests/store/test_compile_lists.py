"""A snapshot compiled from the one before it is the one that is compiled from nothing, whatever list has changed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from clearway.config import StateDirectory
from clearway.feeds import files
from clearway.feeds.readers import table
from clearway.policy import parts, snapshot
from clearway.policy.model import Reason
from clearway.policy.snapshot import SnapshotList
from clearway.store import compile_lists, list_names

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
MANY = "".join(f"{first}.{second}.3.{last}\n" for first in range(20, 60) for second in range(9) for last in range(7))
START = {"a": "8.8.8.8\n2001:db8::/32\n", "b": MANY, "c": "a.example\nb.example\n", "d": "9.9.9.0/24\n*.d.example\n"}


def held_of(state: StateDirectory, texts: dict[str, str]) -> compile_lists.Held:
    held = []
    for name, text in sorted(texts.items()):
        parsed = table.read(text.encode()).content.blocked
        stored = files.store(state.feeds, parsed, parsed.names)
        row = SnapshotList(name, Reason.MALWARE, stored.hash, name, NOW, NOW + timedelta(days=1))
        held.append((row, stored))
    return held


def written(state: StateDirectory, texts: dict[str, str], before: snapshot.Snapshot | None) -> snapshot.Snapshot:
    made = compile_lists.write(state, held_of(state, texts), before, created=NOW + timedelta(seconds=len(str(texts))))
    return snapshot.load(made)


def bytes_of(held: snapshot.Snapshot) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in held.path.iterdir()}


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / "state")
    made.create()
    return made


@pytest.mark.parametrize(
    "change",
    [
        {"a": "8.8.8.9\n2001:db8::/32\n"},
        {"a": "8.8.8.8\n2001:db8:1::/48\n"},
        {"b": MANY.replace("20.0.3.1\n", "21.200.3.1\n")},
        {"c": "a.example\n"},
        {"d": "9.9.9.0/24\n8.0.0.0/12\n*.d.example\n"},
        {"e": "e.example\n"},
        {"0": "1.2.3.4\n"},
        {"b": None},
        {"c": None},
        {},
    ],
)
def test_every_change_gives_the_bytes_of_a_compilation_from_nothing(
    state: StateDirectory, tmp_path: Path, change: dict[str, str | None]
) -> None:
    before = written(state, START, None)
    texts = {name: text for name, text in {**START, **change}.items() if text is not None}
    found = written(state, texts, before)
    other = StateDirectory(tmp_path / "other")
    other.create()
    shutil.copy(state.keys / "names.key", other.keys)
    assert bytes_of(found) == bytes_of(written(other, texts, None))
    assert before.names.counts["names"] == 3


def test_names_are_built_only_where_they_have_changed(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written(state, START, None)
    monkeypatch.delattr(list_names, "compile_held")
    found = written(state, {**START, "a": "8.8.4.4\n"}, before)
    assert found.path.joinpath("names.bin").samefile(before.path / "names.bin")
    with pytest.raises(AttributeError):
        written(state, {**START, "c": "c.example\n"}, before)


def test_where_an_old_list_is_gone_or_damaged_all_is_compiled(state: StateDirectory) -> None:
    before = written(state, START, None)
    gone = state.feeds / before.lists[0].content
    damaged = gone / "v4.bin"
    damaged.write_bytes(np.array([8 << 8 | 32], dtype=np.uint64).tobytes())
    without = {name: text for name, text in START.items() if name != "a"}
    found = written(state, without, before)
    assert found.compiled.counts["v4_prefixes"] == before.compiled.counts["v4_prefixes"] - 1
    shutil.rmtree(gone)
    assert bytes_of(written(state, without, before)) == bytes_of(found)


def test_a_snapshot_of_an_older_format_is_not_built_upon(state: StateDirectory) -> None:
    before = written(state, START, None)
    manifest = before.path / parts.MANIFEST
    manifest.write_text(manifest.read_text().replace(f'"format": {snapshot.FORMAT}', '"format": 1'))
    old = snapshot.load(before.path)
    found = written(state, {**START, "a": "8.8.4.4\n"}, old)
    assert not found.path.joinpath("names.bin").samefile(before.path / "names.bin")
