"""Names of lists from source to snapshot: one path with addresses, a secret made once, and who holds a name."""

import shutil
import stat
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearway import _engine
from clearway._engine import NameScope
from clearway.config import StateDirectory
from clearway.policy import snapshot
from clearway.policy.name_table import NameEntry
from clearway.policy.names import StoredNames
from clearway.store import list_names, lists, overview, wanted
from clearway.store.models import FeedVersion
from clearway.store.requests import FeedAddRequest, FeedRemoveRequest, FeedUpdateRequest, StoredContent

EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "phish.txt"
    path.write_text("bad.example\nwww.worse.example\n*.wild.example\n185.0.2.1\n")
    return path


def add(state: StateDirectory, source: Path, now: datetime, name: str = "phish", **more: Any) -> Any:
    request = FeedAddRequest(name=name, source=str(source), **{"reason": "phishing", **more})
    return lists.add(state, request, now, "alice")


def found(path: Path, name: str) -> str | None:
    """The list that the compiled set finds; the filter never misses what the set finds."""
    names = snapshot.load(path).names
    match = names.opened().find(name) if names else None
    if match is not None:
        assert _engine.NameFilter(names.opened(), names.name_filter.data).may_hold(name)
    return snapshot.load(path).lists[match.list].name if match else None


def test_names_go_the_way_of_addresses_to_the_snapshot(state: StateDirectory, source: Path, now: datetime) -> None:
    change = add(state, source, now)
    counts = change.answer["counts"]
    assert (counts["names"], counts["unsupported"], counts["v4"]) == (3, 0, 1)
    assert (change.base_changed, change.answer["format"]) == (True, "domains")
    assert FeedVersion.objects.get().counts == counts
    path = lists.compile_wanted(state, now)
    for name, listed in {
        "bad.example": "phish",
        "www.bad.example": None,
        "www.worse.example": "phish",
        "worse.example": None,
        "wild.example": None,
        "any.of.wild.example": "phish",
        "example.com": None,
    }.items():
        assert (name, found(path, name)) == (name, listed)
    assert lists.compile_wanted(state, now) == path, "the same lists, the same snapshot"


def test_an_update_replaces_and_a_removal_ends_them(state: StateDirectory, source: Path, now: datetime) -> None:
    add(state, source, now)
    source.write_text("new.example\n")
    change = lists.update(state, "phish", FeedUpdateRequest(), now, "alice")
    assert change.base_changed
    path = lists.compile_wanted(state, now)
    assert (found(path, "bad.example"), found(path, "new.example")) == (None, "phish")
    assert not lists.update(state, "phish", FeedUpdateRequest(), now, "alice").base_changed
    lists.remove("phish", FeedRemoveRequest(), now, "alice")
    assert found(lists.compile_wanted(state, now), "new.example") is None


def test_a_list_that_ran_out_is_enforced_no_more(state: StateDirectory, source: Path, now: datetime) -> None:
    add(state, source, now, life="1h")
    assert found(lists.compile_wanted(state, now), "bad.example") == "phish"
    assert found(lists.compile_wanted(state, now + timedelta(hours=1)), "bad.example") is None


def test_lists_of_names_and_of_addresses_stand_beside_each_other(
    state: StateDirectory, source: Path, tmp_path: Path, now: datetime
) -> None:
    (tmp_path / "drop.txt").write_text("188.51.100.7\n")
    add(state, tmp_path / "drop.txt", now, "drop", reason="malware")
    add(state, source, now)
    path = lists.compile_wanted(state, now)
    assert found(path, "bad.example") == "phish"
    assert snapshot.load(path).compiled.counts["v4_prefixes"] == 2  # an address among names is one too
    shown = {row["feed"]: (row["addresses"], row["names"]) for row in overview.feeds(now)}
    assert shown == {"drop": (1, 0), "phish": (1, 3)}


def test_entries_that_a_command_stored_are_held_to_the_same_rules(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    version, format = lists.prepare(state, str(source), None, now=now)
    stored = StoredContent(**asdict(version))
    assert format == "domains"
    change = lists.add(
        state, FeedAddRequest(name="p", source=str(source), reason="phishing", stored=stored), now, "alice"
    )
    assert (change.answer["format"], change.answer["counts"]["names"]) == ("domains", 3)


def test_a_damaged_list_of_names_is_left_out_and_named(state: StateDirectory, source: Path, now: datetime) -> None:
    content = add(state, source, now).answer["content"]
    part = state.feeds / content / "names_exact.bin"
    part.write_bytes(part.read_bytes().replace(b"bad", b"mad"))
    assert found(lists.compile_wanted(state, now), "mad.example") is None
    assert [(name, error.id) for name, error in lists.left_out(state, now)] == [("phish", "feeds.E014")]


def test_the_secret_is_made_once_and_only_where_it_is_needed(
    state: StateDirectory, source: Path, tmp_path: Path, now: datetime
) -> None:
    key = state.keys / "names.key"
    (tmp_path / "drop.txt").write_text("188.51.100.7\n")
    add(state, tmp_path / "drop.txt", now, "drop")
    lists.compile_wanted(state, now)
    assert not key.exists()
    add(state, source, now)
    first = lists.compile_wanted(state, now)
    assert (stat.S_IMODE(key.stat().st_mode), key.stat().st_size) == (0o600, 32)
    keys = snapshot.load(first).names.opened().keys
    held = key.read_bytes()
    shutil.rmtree(state.snapshots)
    state.create()
    assert snapshot.load(lists.compile_wanted(state, now)).names.opened().keys == keys
    assert key.read_bytes() == held


def test_a_secret_that_was_cut_off_is_made_anew(state: StateDirectory) -> None:
    (state.keys / "names.key").write_bytes(b"short")
    (state.keys / "names.new").symlink_to("/etc/hostname")
    made = list_names.secret(state)
    assert len(made) == 32
    assert list_names.secret(state) == made


def test_who_holds_a_name_is_found_by_what_covers_it_and_what_lies_below(
    state: StateDirectory, source: Path, tmp_path: Path, now: datetime
) -> None:
    add(state, source, now)
    (tmp_path / "more.txt").write_text("deep.www.worse.example\nworse.example\nnotworse.example\n")
    add(state, tmp_path / "more.txt", now, "more")

    def holders(name: str, scope: NameScope = SUBTREE) -> list[tuple[str, str]]:
        return [(hit.feed, hit.entry.name) for hit in lists.name_holders(state, NameEntry(name, scope), now)]

    assert holders("worse.example") == [
        ("more", "worse.example"),
        ("more", "deep.www.worse.example"),
        ("phish", "www.worse.example"),
    ]
    assert holders("worse.example", EXACT) == [("more", "worse.example")]
    assert holders("a.b.wild.example") == [("phish", "wild.example")]
    assert holders("wild.example") == [("phish", "wild.example")], "all below it, not itself"
    assert holders("wild.example", EXACT) == []
    assert [each.feed for each in wanted.lists(now)] == ["more", "phish"]


@pytest.mark.parametrize("piece", [1, 7, 64, 300, 1 << 20])
def test_what_lies_below_is_found_whole_however_the_file_is_cut(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(list_names, "_PIECE_BYTES", piece)
    long = ".".join(["x" * 60] * 3 + ["bad.example"])
    below = sorted([long, "a.bad.example", "b.bad.example", "zz.bad.example"])
    others = ["bad.example", "example.org", "notbad.example", "x.notbad.example"]
    blob = "".join(f"{name}\n" for name in sorted(below + others)).encode()
    names = StoredNames(exact=np.frombuffer(blob, dtype=np.uint8))
    assert [entry.name for entry in list_names.within(names, "bad.example", 100)] == below
    assert len(list_names.within(names, "bad.example", 2)) == 2
