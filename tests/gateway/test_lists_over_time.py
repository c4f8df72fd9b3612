"""Lists in a running daemon as time goes by: fetched when due, compiled anew when one runs out, told when it fails."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running import gateway, until
from wires import Wire

from clearway.errors import ClearwayError
from clearway.gateway.feed_schedule import FeedSchedule

pytestmark = pytest.mark.timeout(90)
NOON = datetime(2030, 3, 31, 12, tzinfo=UTC)


class Work:
    """The lists' side, as far as the schedule sees it."""

    def __init__(self) -> None:
        self.updated: list[str] = []
        self.rebuilt = self.rebuilt_before_updates = 0
        self.rebuild_refusal: ClearwayError | None = None
        self.enforced: set[tuple[str, str]] = set()
        self.left_out: set[tuple[str, str]] = set()
        self.behind = False
        self.overdue = False
        self.refusal: ClearwayError | None = None

    async def update(self, name: str, _request: object, actor: str) -> dict[str, Any]:
        assert actor == "schedule"
        self.rebuilt_before_updates = self.rebuilt
        self.updated.append(name)
        if self.refusal is not None:
            raise self.refusal
        return {}

    async def rebuild(self) -> None:
        self.rebuilt += 1
        if self.rebuild_refusal is not None:
            raise self.rebuild_refusal
        self.enforced = set()

    def enforced_lists(self) -> set[tuple[str, str]]:
        return self.enforced

    def left_out_lists(self) -> set[tuple[str, str]]:
        return self.left_out


class Time:
    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def feeds_due(tmp_path: Path) -> Any:
    """The module, which needs a database to be imported."""
    from clearway import store

    store.setup(tmp_path)
    from clearway.gateway import feeds_due

    return feeds_due


def looker(feeds_due: Any, work: Work, time: Time, answers: dict[str, Any]) -> Any:
    async def in_reads(function: Callable[..., Any], *_: Any) -> Any:
        return answers[function.__name__]

    return feeds_due.FeedsDue(work, FeedSchedule(lambda: 0.0), time, in_reads)


def test_what_is_due_is_fetched_and_a_failure_waits(feeds_due: Any) -> None:
    work, time = Work(), Time()
    answers: dict[str, Any] = {"due": [("a", 3600.0)], "lists": [], "next_list_expiry": None}
    due = looker(feeds_due, work, time, answers)
    work.refusal = ClearwayError.of("gateway.E017", why="tried")
    assert asyncio.run(due.look()) == feeds_due.LOOK_S
    asyncio.run(due.look())
    assert work.updated == ["a"], "after a failure it waits a minute"


def test_a_list_that_runs_out_is_compiled_away_at_its_time(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.enforced = {("short", "hash")}
    row = SimpleNamespace(feed="short", content="hash")
    answers: dict[str, Any] = {"due": [], "lists": [row], "next_list_expiry": NOON + timedelta(seconds=2)}
    due = looker(feeds_due, work, time, answers)
    assert asyncio.run(due.look()) == pytest.approx(2 + feeds_due.AFTER_S)
    time.at = NOON + timedelta(seconds=3)
    answers |= {"lists": [], "next_list_expiry": None}
    asyncio.run(due.look())
    asyncio.run(due.look())
    assert work.rebuilt == 1


def test_a_list_that_is_wanted_and_not_in_the_kernel_is_compiled_unless_it_was_left_out(feeds_due: Any) -> None:
    work, time = Work(), Time()
    row = SimpleNamespace(feed="lost", content="hash")
    due = looker(feeds_due, work, time, {"due": [], "lists": [row], "next_list_expiry": None})
    asyncio.run(due.look())
    assert work.rebuilt == 1
    work.behind = True
    asyncio.run(due.look())
    assert work.rebuilt == 1, "it is being compiled"
    work.behind, work.left_out = False, {("lost", "hash")}
    asyncio.run(due.look())
    assert work.rebuilt == 1, "compiled again it would be left out again"


def test_what_failed_to_get_into_the_kernel_is_tried_again(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.behind = work.overdue = True
    asyncio.run(looker(feeds_due, work, time, {"due": [], "lists": [], "next_list_expiry": None}).look())
    assert work.rebuilt == 1


def test_what_has_run_out_goes_before_anything_is_fetched(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.enforced = {("short", "hash")}
    asyncio.run(looker(feeds_due, work, time, {"due": [("a", 9.0)], "lists": [], "next_list_expiry": None}).look())
    assert work.updated == ["a"] and work.rebuilt_before_updates == 1


def test_lists_are_fetched_also_while_what_is_held_cannot_be_compiled(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.enforced = {("damaged", "hash")}
    work.rebuild_refusal = ClearwayError.of("gateway.E017", why="tried")
    asyncio.run(looker(feeds_due, work, time, {"due": [("a", 9.0)], "lists": [], "next_list_expiry": None}).look())
    assert work.updated == ["a"]


def test_in_a_daemon_a_damaged_list_is_named_and_an_update_mends_it(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        source = tmp_path / "list.txt"
        source.write_text("9.9.9.9\n")
        added = running.clearway("feed", "add", "it", str(source), "--reason", "scanner")
        part = tmp_path / "state" / "feeds" / added["content"] / "v4.bin"
        part.write_bytes(b"\xff" * part.stat().st_size)
        running.start()
        assert running.fate("9.9.9.9", "192.0.2.1", "inbound")[0] == "forwarded"
        health = running.status()["health"]
        assert not health["ok"] and any("list it is not enforced" in problem for problem in health["problems"])
        assert running.clearway("feed", "update", "it")["lists"][0]["unchanged"] is True
        assert running.fate("9.9.9.9", "192.0.2.1", "inbound")[0] == "listed-source"
        assert not any("list it" in problem for problem in running.status()["health"]["problems"])


def test_in_a_daemon_a_list_ends_at_its_time(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        source = tmp_path / "short.txt"
        source.write_text("9.9.9.9\n")
        running.clearway("feed", "add", "short", str(source), "--reason", "scanner", "--life", "3s")
        assert running.fate("9.9.9.9", "192.0.2.1", "inbound")[0] == "listed-source"
        until(lambda: running.fate("9.9.9.9", "192.0.2.1", "inbound")[0] == "forwarded", 10, "it doesn't end")
