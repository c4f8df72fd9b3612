"""What the guard condemned: kept apart, decided about by a person before it acts, and not brought up twice."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy import snapshot
from clearway.store import lists, overview, quarantine, subscribe, unused, versions, wanted
from clearway.store.models import Decision, FeedVersion, Quarantine
from clearway.store.requests import FeedAddRequest, FeedUpdateRequest

HOUR = timedelta(hours=1)
MANY = "".join(f"45.7.{n}.0/24\n" for n in range(40))
FEW = "".join(f"45.7.{n}.0/24\n" for n in range(8))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "drop.txt"
    path.write_text(MANY)
    return path


Refused = Callable[[Callable[[], Any]], ClearwayError]


def refused(call: Callable[[], Any]) -> ClearwayError:
    with pytest.raises(ClearwayError) as raised:
        call()
    return raised.value


@pytest.fixture
def update(state: StateDirectory, source: Path, now: datetime) -> Callable[..., Any]:
    """Adds the list, and gives back what updates it with another text."""
    lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="malware"), now, "alice")

    def updated(text: str, at: datetime = now) -> Any:
        source.write_text(text)
        return lists.update(state, "drop", FeedUpdateRequest(), at, "schedule")

    return updated


def test_what_is_condemned_is_a_row_and_the_last_good_stands(
    state: StateDirectory, update: Callable[..., Any], now: datetime
) -> None:
    before = wanted.lists(now)
    error = refused(lambda: update(FEW, now + HOUR))
    assert (error.id, error.exit_code) == ("store.E040", 1)
    assert "rule G4" in error.message and "8 entries after 40" in error.message
    assert wanted.lists(now + HOUR) == before
    last = Decision.objects.order_by("-id").first()
    assert last is not None and (last.kind, last.target, last.detail["rule"]) == ("feed-quarantine", "drop", "G4")
    row = Quarantine.objects.get()
    assert (row.decision_id, row.judgement["rule"], row.content != "") == (last.pk, "G4", True)
    shown = overview.feeds(now + HOUR)[0]
    assert (shown["quarantine"]["rule"], shown["in_force"], shown["age_s"]) == ("G4", True, 3600)
    snapshot_path = lists.compile_wanted(state, now + HOUR)
    assert snapshot.load(snapshot_path).compiled.counts["v4_prefixes"] == 40


def test_the_same_bytes_under_the_same_rule_are_one_row(update: Callable[..., Any], now: datetime) -> None:
    for turn in range(3):
        assert refused(partial(update, FEW, now + turn * HOUR)).id == "store.E040"
    assert Quarantine.objects.count() == 1
    refused(lambda: update(FEW.replace("45.7.1.", "45.8.1."), now))
    assert Quarantine.objects.count() == 2


def test_the_last_good_runs_out_at_its_own_end_however_often_it_is_refused(
    update: Callable[..., Any], now: datetime
) -> None:
    until = wanted.lists(now)[0].until
    for turn in range(3):
        refused(partial(update, FEW, now + turn * HOUR))
    assert [each.until for each in wanted.lists(now)] == [until]
    assert wanted.lists(until) == []


def test_a_release_is_a_decision_and_then_the_version_in_force(update: Callable[..., Any], now: datetime) -> None:
    refused(lambda: update(FEW))
    change = quarantine.release("drop", now + HOUR, "bob", "they merged lists")
    row = Decision.objects.get(pk=change.decision_id)
    assert (row.kind, row.actor, row.note) == ("feed-release", "bob", "they merged lists")
    version = FeedVersion.objects.order_by("-id").first()
    assert version is not None and version.decision_id == row.pk
    assert (version.counts["v4"], version.fetched_at, version.until) == (8, now, now + HOUR + timedelta(days=30))
    assert [each.content for each in wanted.lists(now + HOUR)] == [version.content] and change.base_changed
    assert quarantine.waiting() == [] and quarantine.shown("drop")["state"] == "released"
    assert refused(lambda: quarantine.release("drop", now, "bob")).id == "store.E041"


def test_what_was_released_is_taken_when_its_source_gives_it_again(update: Callable[..., Any], now: datetime) -> None:
    wide = MANY + "45.0.0.0/7\n".replace("45.", "44.")
    assert "G6" in refused(lambda: update(wide)).message
    quarantine.release("drop", now, "bob")
    again = update(wide, now + HOUR)
    assert again.answer["unchanged"] is True
    assert update(wide, now + 2 * HOUR).answer["unchanged"] is True
    assert "G6" in refused(lambda: update(wide + "45.9.1.1\n", now + 3 * HOUR)).message, "other entries are judged"


def test_entries_that_no_list_may_hold_are_not_released(update: Callable[..., Any], now: datetime) -> None:
    refused(lambda: update(FEW + "8.8.8.8\n10.0.0.0/8\n"))
    assert quarantine.release("drop", now, "bob").answer["counts"]["v4"] == 8


@pytest.mark.parametrize("text, rule", [("<!doctype html>\n", "G1"), ("\0\0\0", "G2"), ("# nothing\n", "G3")])
def test_what_cannot_be_read_cannot_be_released(
    update: Callable[..., Any], now: datetime, text: str, rule: str
) -> None:
    assert f"rule {rule}" in refused(lambda: update(text)).message
    assert quarantine.shown("drop")["entries_kept"] is False
    count = Decision.objects.count()
    assert refused(lambda: quarantine.release("drop", now, "bob")).id == "store.E042"
    assert Decision.objects.count() == count


def test_what_was_discarded_raises_no_second_alarm_and_is_not_taken(update: Callable[..., Any], now: datetime) -> None:
    refused(lambda: update(FEW))
    discarded = quarantine.discard("drop", now, "bob").decision_id
    assert overview.feeds(now)[0]["quarantine"] is None
    error = refused(lambda: update(FEW, now + HOUR))
    assert (error.id, f"decision {discarded} " in error.message) == ("store.E044", True)
    assert (Quarantine.objects.count(), quarantine.waiting()) == (1, [])
    assert update(MANY, now + HOUR).answer["unchanged"] is True


def test_a_later_version_that_is_taken_ends_the_waiting(update: Callable[..., Any], now: datetime) -> None:
    refused(lambda: update(FEW))
    update(MANY + "45.9.1.1\n", now + HOUR)
    assert quarantine.waiting() == []
    assert [row["state"] for row in quarantine.past(9)] == ["passed"]


def test_what_waits_is_kept_and_what_was_discarded_is_swept(
    state: StateDirectory, update: Callable[..., Any], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(lambda: update(FEW))
    content = Quarantine.objects.get().content
    monkeypatch.setattr(unused, "UNUSED_KEPT_S", -9)
    lists.compile_wanted(state, now)
    assert (state.feeds / content).exists()
    quarantine.discard("drop", now, "bob")
    lists.compile_wanted(state, now)
    assert not (state.feeds / content).exists()


def test_what_is_released_while_what_is_unused_is_looked_for_stays(
    state: StateDirectory, update: Callable[..., Any], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway compiles in a process of its own, and takes decisions meanwhile."""
    refused(lambda: update(FEW))
    content = Quarantine.objects.get().content
    kept_contents = versions.kept_contents

    def released_behind_it() -> set[str]:
        found = kept_contents()
        quarantine.release("drop", now, "bob")
        return found

    monkeypatch.setattr(unused, "UNUSED_KEPT_S", -9)
    monkeypatch.setattr(versions, "kept_contents", released_behind_it)
    lists.compile_wanted(state, now)
    assert [each.content for each in wanted.lists(now)] == [content]
    assert (state.feeds / content).exists()


def test_a_new_list_that_is_condemned_leaves_nothing(state: StateDirectory, source: Path, now: datetime) -> None:
    source.write_text("<html>\n")
    error = refused(
        lambda: lists.add(state, FeedAddRequest(name="x", source=str(source), reason="malware"), now, "alice")
    )
    assert (error.id, Decision.objects.count(), Quarantine.objects.count()) == ("feeds.E024", 0, 0)
    assert "clearway feed check" in error.fix


def test_the_numbers_that_an_operator_sets_decide(state: StateDirectory, source: Path, now: datetime) -> None:
    settings = {"thresholds": {"shrink": 0.1}}
    request = FeedAddRequest(name="drop", source=str(source), reason="malware", settings=settings)  # type: ignore[arg-type]
    lists.add(state, request, now, "alice")
    source.write_text(FEW)
    assert lists.update(state, "drop", FeedUpdateRequest(), now, "alice").answer["counts"]["v4"] == 8
    assert subscribe.settings_of(subscribe.active("drop")).thresholds == {"shrink": 0.1}
