"""Lists from source to snapshot: rows, files, what is compiled, what is left out, what is swept."""

import errno
import os
import shutil
import time
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds import fetch
from clearway.policy import snapshot
from clearway.policy.model import Prefix
from clearway.store import decide, explain, lists, overview, unused, wanted
from clearway.store.models import Decision, Feed, FeedVersion
from clearway.store.requests import (
    BlockRequest,
    FeedAddRequest,
    FeedRemoveRequest,
    FeedUpdateRequest,
    StoredContent,
    UnblockRequest,
)
from clearway.telemetry import hits

HOUR = timedelta(hours=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "drop.txt"
    path.write_text("185.0.2.0/24\n188.51.100.7\n2a00:db8::/32\n")
    return path


def add(state: StateDirectory, source: Path, now: datetime, name: str = "drop", **more: Any) -> Any:
    request = FeedAddRequest(name=name, source=str(source), **{"reason": "malware", **more})
    return lists.add(state, request, now, "alice")


def test_a_list_is_two_rows_one_file_and_a_base_to_compile(state: StateDirectory, source: Path, now: datetime) -> None:
    change = add(state, source, now)
    assert change.base_changed
    assert [(row.kind, row.target) for row in Decision.objects.order_by("id")] == [
        ("feed-add", "drop"),
        ("feed-version", "drop"),
    ]
    version = FeedVersion.objects.get()
    assert (version.decision_id, version.until - now, version.origin) == (
        change.decision_id,
        timedelta(days=30),
        str(source),
    )
    assert (version.counts["v4"], version.counts["v6"]) == (2, 1)
    assert [path.name for path in state.feeds.iterdir()] == [version.content]


@pytest.mark.parametrize(
    "more, every, life",
    [
        ({}, None, timedelta(days=30)),
        ({"life": "2d"}, None, timedelta(days=2)),
        ({"every": "1h"}, HOUR, timedelta(days=30)),
        ({"source": "https://lists.example/x"}, timedelta(days=1), timedelta(days=2)),
        ({"source": "https://lists.example/x", "every": "6h"}, timedelta(hours=6), timedelta(hours=12)),
        ({"source": "HTTP://lists.example/x", "every": "6h", "life": "7d"}, timedelta(hours=6), timedelta(days=7)),
    ],
)
def test_entries_of_a_file_live_30_days_and_of_a_url_twice_every(
    more: dict[str, Any], every: timedelta | None, life: timedelta
) -> None:
    from clearway.store import subscribe

    told = {"source": "/lists/x", **more}
    assert subscribe.times(told["source"], told.get("every"), told.get("life")) == (every, life)


@pytest.mark.parametrize("more", [{"every": "30s"}, {"every": "2d", "life": "1d"}])
def test_times_that_leave_gaps_are_refused(state: StateDirectory, source: Path, now: datetime, more: Any) -> None:
    with pytest.raises(ClearwayError) as raised:
        add(state, source, now, **more)
    assert raised.value.id == "store.E020"


def test_a_refused_list_leaves_neither_row_nor_file(state: StateDirectory, source: Path, now: datetime) -> None:
    source.write_text("0.0.0.0/0\n")
    with pytest.raises(ClearwayError, match="quarantined by rule G6"):
        add(state, source, now)
    assert (Decision.objects.count(), list(state.feeds.iterdir())) == (0, [])


def test_a_name_that_is_taken_is_refused_before_anything_is_fetched(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    add(state, source, now)
    with pytest.raises(ClearwayError) as raised:
        add(state, source.with_name("missing"), now)
    assert raised.value.id == "store.E029"


def test_no_list_has_the_name_that_hits_give_to_single_blocks(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    """Else `feed report` counts for the list what was blocked by hand, and removing it forgets nothing of that."""
    with pytest.raises(ClearwayError) as raised:
        lists.add(state, FeedAddRequest(name=hits.SINGLE, source=str(source), reason="malware"), now, "alice")
    assert (raised.value.id, raised.value.exit_code) == ("store.E020", 2)
    assert raised.value.message.startswith("name: block is what hits and events say")
    assert not Feed.objects.exists()


def test_an_unchanged_list_lives_longer_and_needs_no_compilation(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    add(state, source, now, life="2h")
    later = now + HOUR
    change = lists.update(state, "drop", FeedUpdateRequest(), later, "alice")
    assert (change.base_changed, change.answer["unchanged"]) == (False, True)
    assert [each.until for each in wanted.lists(later)] == [later + 2 * HOUR]
    assert FeedVersion.objects.count() == 2


def test_a_list_that_had_run_out_is_compiled_again_though_its_content_is_the_same(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    add(state, source, now, life="1h")
    assert wanted.next_list_expiry(now) == now + HOUR
    later = now + 2 * HOUR
    assert wanted.lists(later) == []
    assert wanted.next_list_expiry(later) is None
    assert overview.feeds(later)[0]["in_force"] is False
    assert lists.update(state, "drop", FeedUpdateRequest(), later, "alice").base_changed


def test_the_snapshot_holds_the_lists_in_force_and_is_made_once(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    empty = lists.compile_wanted(state, now)
    assert snapshot.load(empty).lists == ()
    add(state, source, now, life="2h")
    path = lists.compile_wanted(state, now)
    assert path != empty
    assert lists.compile_wanted(state, now + HOUR) == path
    loaded = snapshot.load(state.snapshots / "current")
    assert [(each.name, each.until) for each in loaded.lists] == [("drop", now + 2 * HOUR)]
    held = loaded.attribution(Prefix.parse("185.0.2.9").mapped()[0])
    assert [(each.list_name, str(each.prefix)) for each in held] == [("drop", "185.0.2.0/24")]
    assert snapshot.load(lists.compile_wanted(state, now + 3 * HOUR)).lists == ()


def test_a_damaged_snapshot_is_compiled_anew(state: StateDirectory, source: Path, now: datetime) -> None:
    add(state, source, now)
    path = lists.compile_wanted(state, now)
    part = path / "v4_cells.bin"
    part.write_bytes(bytes(len(part.read_bytes())))
    fresh = lists.compile_wanted(state, now + HOUR)
    assert snapshot.load(fresh).compiled.counts["v4_prefixes"] == 2


def test_a_damaged_list_is_left_out_and_named_while_the_others_are_enforced(
    state: StateDirectory, source: Path, now: datetime, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("193.0.113.0/24\n")
    content = add(state, source, now).answer["content"]
    add(state, other, now, "other")
    part = state.feeds / content / "v4.bin"
    part.write_bytes(b"\xff" * part.stat().st_size)
    assert [each.name for each in snapshot.load(lists.compile_wanted(state, now)).lists] == ["other"]
    assert [(name, error.id) for name, error in lists.left_out(state, now)] == [("drop", "feeds.E014")]
    assert explain.explain(state, Prefix.parse("185.0.2.9"), now)["outcome"] == "forwarded"
    shutil.rmtree(state.feeds / content)
    assert [(name, error.id) for name, error in lists.left_out(state, now)] == [("drop", "feeds.E014")]


def test_what_was_left_out_is_enforced_once_it_was_fetched_again(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    part = state.feeds / add(state, source, now).answer["content"] / "v4.bin"
    part.write_bytes(b"\xff" * part.stat().st_size)
    lists.compile_wanted(state, now)
    change = lists.update(state, "drop", FeedUpdateRequest(), now, "alice")
    assert lists.enforce(state, change, now) == change
    assert lists.left_out(state, now) == []
    assert [each.name for each in snapshot.load(state.snapshots / "current").lists] == ["drop"]


def test_a_list_that_is_stored_and_not_compiled_is_named(state: StateDirectory, source: Path, now: datetime) -> None:
    add(state, source, now)
    assert [(name, error.id) for name, error in lists.left_out(state, now)] == [("drop", "store.E033")]
    lists.compile_wanted(state, now)
    assert lists.left_out(state, now) == []


def test_one_damaged_list_disables_neither_explain_nor_unblock(
    state: StateDirectory, source: Path, now: datetime, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("193.0.113.0/24\n")
    content = add(state, source, now).answer["content"]
    add(state, other, now, "other")
    shutil.rmtree(state.feeds / content)
    lists.compile_wanted(state, now)
    asked = Prefix.parse("193.0.113.9")
    assert [hit.feed for hit in lists.holders(state, asked, now)] == ["other"]
    answer = explain.explain(state, asked, now)
    assert answer["outcome"] == "dropped"
    assert [(rule["list"], rule["enforced"], "unreadable" in rule) for rule in answer["rules"]] == [
        ("other", True, False),
        ("drop", False, True),
    ]
    decide.block(BlockRequest(target="188.51.100.9", reason="scanner", until="1h"), now, "alice")
    lifted = decide.unblock(
        UnblockRequest(target="188.51.100.9"), now, "alice", holders=lambda p: lists.holders(state, p, now)
    )
    assert lifted.answer["lifted"]


def test_a_list_damaged_after_it_was_compiled_is_enforced_and_said_to_be_unreadable(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    content = add(state, source, now).answer["content"]
    lists.compile_wanted(state, now)
    shutil.rmtree(state.feeds / content)
    assert lists.left_out(state, now) == []
    assert [(each.feed, error.id) for each, error in lists.unreadable(state, now)] == [("drop", "feeds.E014")]


def test_a_failed_compilation_says_that_the_row_stands(
    state: StateDirectory, source: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    change = add(state, source, now)
    monkeypatch.setattr(snapshot, "write", full)
    with pytest.raises(ClearwayError) as raised:
        lists.enforce(state, change, now)
    assert (raised.value.id, raised.value.retry) == ("store.E032", True)
    assert raised.value.message.startswith("decision 2 is stored, not enforced yet; the old policy stands: no space")
    assert str(raised.value).count("[") == 1, "one id in one sentence"
    assert "nothing was stored" not in raised.value.message + raised.value.fix
    assert FeedVersion.objects.get().decision_id == 2


def test_a_list_in_another_format_is_read_anew_though_its_server_has_no_news(
    state: StateDirectory, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def served(source: str, *, etag: str, **_: object) -> fetch.Fetched:
        return fetch.Fetched(b"; ours\n185.0.2.0/24\n", source, '"v1"', unchanged=bool(etag))

    monkeypatch.setattr(fetch, "fetch", served)
    address = "https://lists.example/x"
    request = FeedAddRequest(name="drop", source=address, reason="malware", format="spamhaus-drop")
    lists.add(state, request, now, "alice")
    assert lists.prepare(state, address, "spamhaus-drop", now=now)[1] == "spamhaus-drop"
    assert lists.prepare(state, address, None, now=now)[1] == "spamhaus-drop"
    assert lists.prepare(state, address, "ip-plain", now=now)[1] == "ip-plain"


def test_content_that_the_caller_stored_is_held_to_the_same_rules(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    version, format = lists.prepare(state, str(source), None, now=now)
    stored = StoredContent(**asdict(version))
    inside = [Prefix.parse("185.0.2.128/25")]
    request = FeedAddRequest(name="drop", source=str(source), reason="malware", format=format, stored=stored)
    with pytest.raises(ClearwayError) as raised:
        lists.add(state, request, now, "alice", inside)
    assert raised.value.id == "feeds.E006"
    unknown = stored.model_copy(update={"content": "0" * 64})
    with pytest.raises(ClearwayError) as raised:
        lists.add(state, request.model_copy(update={"stored": unknown}), now, "alice")
    assert raised.value.id == "feeds.E014"
    source.unlink()
    assert lists.add(state, request, now, "alice").answer["counts"]["v4"] == 2


def test_content_that_nobody_judged_is_not_taken(state: StateDirectory, source: Path, now: datetime) -> None:
    version, _ = lists.prepare(state, str(source), None, now=now)
    stored = StoredContent(content=version.content, counts=version.counts, origin="x")
    request = FeedAddRequest(name="drop", source="/x", reason="malware", stored=stored)
    with pytest.raises(ClearwayError) as raised:
        lists.add(state, request, now, "alice")
    assert (raised.value.id, Decision.objects.count()) == ("store.E020", 0)


def test_lists_are_due_once_their_every_has_passed(
    state: StateDirectory, source: Path, now: datetime, tmp_path: Path
) -> None:
    add(state, source, now, "often", every="1h")
    add(state, source, now, "never")
    assert lists.due(now + HOUR / 2) == []
    assert lists.due(now + HOUR) == [("often", 3600.0, str(source))]
    lists.update(state, "often", FeedUpdateRequest(), now + HOUR, "gateway")
    assert lists.due(now + HOUR) == []


def test_what_no_kept_version_and_no_kept_snapshot_names_is_swept_but_not_at_once(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    lists.compile_wanted(state, now)
    others = {path.name for path in state.feeds.iterdir()}
    contents = []
    for n in range(8):
        source.write_text(f"185.0.2.{n}\n")
        if n == 0:
            contents.append(add(state, source, now, settings={"keep": 4}).answer["content"])
        else:
            contents.append(lists.update(state, "drop", FeedUpdateRequest(), now, "a").answer["content"])
        lists.compile_wanted(state, now + n * HOUR)
    assert {path.name for path in state.feeds.iterdir()} == {*contents, *others}
    left = state.feeds / ".new-1-left-by-a-crash"
    left.mkdir()
    before = time.time() - 2 * unused.UNUSED_KEPT_S
    for path in state.feeds.iterdir():
        os.utime(path, (before, before))
    lists.compile_wanted(state, now + 8 * HOUR)
    assert {path.name for path in state.feeds.iterdir()} == {*contents[-4:], *others}
    lists.remove("drop", FeedRemoveRequest(), now, "alice")
    lists.compile_wanted(state, now + 9 * HOUR)
    assert {path.name for path in state.feeds.iterdir()} == {*contents[-2:], *others}, "kept snapshots name two"


def test_a_removed_list_is_in_force_no_more_and_its_history_stays(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    add(state, source, now)
    assert lists.remove("drop", FeedRemoveRequest(note="over"), now, "alice").base_changed
    assert wanted.lists(now) == []
    with pytest.raises(ClearwayError) as raised:
        lists.update(state, "drop", FeedUpdateRequest(), now, "alice")
    assert raised.value.id == "store.E030"
    assert Decision.objects.count() == 3
    assert FeedVersion.objects.count() == 1


def test_holders_name_who_covers_an_address_and_what_lies_within(
    state: StateDirectory, source: Path, now: datetime, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("185.0.2.64/26\n185.0.0.0/16\n")
    add(state, source, now)
    add(state, other, now, "other", reason="scanner")
    found = lists.holders(state, Prefix.parse("185.0.2.65"), now)
    assert [(hit.feed, str(hit.prefix), hit.reason) for hit in found] == [
        ("other", "185.0.2.64/26", "scanner"),
        ("drop", "185.0.2.0/24", "malware"),
        ("other", "185.0.0.0/16", "scanner"),
    ]
    within = lists.holders(state, Prefix.parse("185.0.2.0/25"), now)
    assert [str(hit.prefix) for hit in within] == ["185.0.2.0/24", "185.0.0.0/16", "185.0.2.64/26"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of another user")
def test_what_root_makes_belongs_to_the_owner_of_the_directory(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    os.chown(state.path, 63987, 63987)
    content = add(state, source, now).answer["content"]
    path = lists.compile_wanted(state, now)
    made = [state.feeds / content, state.feeds / content / "v4.bin", path, path / "manifest.json"]
    assert {each.stat().st_uid for each in made} == {63987}
    assert (state.snapshots / "current").lstat().st_uid == 63987
