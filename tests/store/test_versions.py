"""Versions of a list: kept by their content, compared, and gone back to, without flipping forward again."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.store import lists, versions, wanted
from clearway.store.models import Decision, FeedVersion
from clearway.store.requests import FeedAddRequest, FeedUpdateRequest
from clearway.store.version_diff import diff

HOUR = timedelta(hours=1)


@pytest.fixture
def update(state: StateDirectory, tmp_path: Path, now: datetime) -> Callable[..., Any]:
    """Adds a list with one address, and gives back what updates it with others."""
    source = tmp_path / "drop.txt"
    source.write_text("45.1.1.0\n")
    settings = {"keep": 3}
    request = FeedAddRequest(name="drop", source=str(source), reason="malware", life="10h", settings=settings)  # type: ignore[arg-type]
    lists.add(state, request, now, "alice")

    def updated(*entries: str, at: datetime = now) -> Any:
        source.write_text("".join(f"{entry}\n" for entry in entries))
        return lists.update(state, "drop", FeedUpdateRequest(), at, "schedule")

    return updated


def refused(call: Callable[[], Any]) -> ClearwayError:
    with pytest.raises(ClearwayError) as raised:
        call()
    return raised.value


def test_a_version_is_one_however_often_it_is_fetched(
    state: StateDirectory, update: Callable[..., Any], now: datetime
) -> None:
    for turn in range(3):
        update("45.1.1.1", at=now + turn * HOUR)
    rows = versions.listed(state, "drop", now + 2 * HOUR)
    assert [(row["version"], row["wanted"], row["held"]) for row in rows] == [(3, True, True), (2, False, True)]
    assert (rows[0]["fetched_at"], FeedVersion.objects.count()) == ("2026-11-24T14:00:00Z", 4)


def test_the_last_few_are_kept_and_no_content_twice(
    state: StateDirectory, update: Callable[..., Any], now: datetime
) -> None:
    for entry in (1, 2, 3, 2, 3, 2):
        update(f"45.1.1.{entry}")
    held = [row["counts"]["v4"] for row in versions.listed(state, "drop", now)]
    assert held == [1, 1, 1]
    assert len({row["content"] for row in versions.listed(state, "drop", now)}) == 3


def test_going_back_is_a_decision_and_the_version_that_was_left_does_not_come_again(
    state: StateDirectory, update: Callable[..., Any], now: datetime
) -> None:
    good, bad = 2, update("45.1.1.1").decision_id
    change = versions.rollback(state, "drop", str(good), now + HOUR, "bob", "half our customers")
    row = Decision.objects.get(pk=change.decision_id)
    assert (row.kind, row.detail["from"]["version"], row.detail["to"]["version"]) == ("feed-rollback", bad, good)
    (held,) = wanted.lists(now + HOUR)
    assert (held.decision_id, held.until, held.fetched_at) == (row.pk, now + 11 * HOUR, now)
    error = refused(lambda: update("45.1.1.1", at=now + 2 * HOUR))
    assert (error.id, f"clearway feed rollback drop {bad}" in error.fix) == ("store.E043", True)
    assert wanted.lists(now + 2 * HOUR) == [held], "neither replaced nor prolonged"
    assert wanted.lists(now + 11 * HOUR) == [], "it ends as any version does"
    assert [row["refused"] for row in versions.listed(state, "drop", now)] == [False, True]


def test_the_next_other_version_is_taken_and_the_one_that_was_left_stays_out(
    state: StateDirectory, update: Callable[..., Any], now: datetime
) -> None:
    update("45.1.1.1")
    versions.rollback(state, "drop", "2", now, "bob")
    assert not update("45.1.1.2", at=now + HOUR).answer["unchanged"]
    assert refused(lambda: update("45.1.1.1", at=now + HOUR)).id == "store.E043"


def test_one_goes_forward_by_naming_the_newer(state: StateDirectory, update: Callable[..., Any], now: datetime) -> None:
    bad = update("45.1.1.1").decision_id
    versions.rollback(state, "drop", "2", now, "bob")
    versions.rollback(state, "drop", str(bad), now, "bob")
    assert update("45.1.1.1", at=now + HOUR).answer["unchanged"] is True
    assert refused(lambda: update("45.1.1.0", at=now + HOUR)).id == "store.E043", "that was left now"


def test_a_version_is_named_by_its_number_or_the_beginning_of_its_content(
    state: StateDirectory, update: Callable[..., Any], now: datetime
) -> None:
    content = FeedVersion.objects.get().content
    update("45.1.1.1")
    for wrong in ("99", content[:7].replace("0", "a"), "1"):
        assert refused(partial(versions.rollback, state, "drop", wrong, now, "bob")).id == "store.E045"
    assert versions.rollback(state, "drop", content[:8], now, "bob").answer["content"] == content
    assert refused(lambda: versions.rollback(state, "drop", content, now, "bob")).id == "store.E046"


def test_a_version_whose_entries_are_damaged_is_not_gone_back_to(
    state: StateDirectory, update: Callable[..., Any], now: datetime
) -> None:
    part = state.feeds / FeedVersion.objects.get().content / "v4.bin"
    update("45.1.1.1")
    part.write_bytes(b"\xff" * part.stat().st_size)
    count = Decision.objects.count()
    assert refused(lambda: versions.rollback(state, "drop", "2", now, "bob")).id == "feeds.E014"
    assert Decision.objects.count() == count


def test_a_list_of_the_same_name_that_came_later_is_another(
    state: StateDirectory, update: Callable[..., Any], now: datetime, tmp_path: Path
) -> None:
    from clearway.store.requests import FeedRemoveRequest

    update("45.1.1.1")
    versions.rollback(state, "drop", "2", now, "bob")
    lists.remove("drop", FeedRemoveRequest(), now, "bob")
    request = FeedAddRequest(name="drop", source=str(tmp_path / "drop.txt"), reason="malware")
    lists.add(state, request, now, "alice")
    assert update("45.1.1.1").answer["unchanged"] is True


def test_the_difference_is_entry_by_entry(
    state: StateDirectory, update: Callable[..., Any], tmp_path: Path, now: datetime
) -> None:
    update("45.1.1.0", "45.1.2.0/24", "2a00:db8::/32")
    update("45.1.2.0/24", "2a00:db8:1::/48")
    found = diff(state, "drop")
    sides = {"added": {"addresses": 1, "names": 0}, "removed": {"addresses": 2, "names": 0}}
    assert found.counts() == {"feed": "drop", "old": 3, "new": 4, **sides}
    assert [(each["change"], each["kind"], each["value"], each["scope"]) for each in found.entries()] == [
        ("removed", "address", "45.1.1.0", None),
        ("removed", "address", "2a00:db8::/32", None),
        ("added", "address", "2a00:db8:1::/48", None),
    ]
    assert diff(state, "drop", "2", "4").counts()["removed"] == {"addresses": 1, "names": 0}
    names = tmp_path / "names.txt"
    names.write_text("bad.example.net\n*.wild.example.net\n")
    lists.add(state, FeedAddRequest(name="names", source=str(names), reason="phishing"), now, "alice")
    names.write_text("bad.example.net\nworse.example.net\n")
    lists.update(state, "names", FeedUpdateRequest(), now, "alice")
    assert [(each["change"], each["value"], each["scope"]) for each in diff(state, "names").entries()] == [
        ("removed", "wild.example.net", "below"),
        ("added", "worse.example.net", "exact"),
    ]


def test_one_version_differs_from_itself_in_nothing(state: StateDirectory, update: Callable[..., Any]) -> None:
    assert list(diff(state, "drop").entries()) == []
