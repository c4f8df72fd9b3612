"""Lists in a running daemon as time goes by: fetched when due, compiled anew when one runs out, told when it fails."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from patience import ENDS_SOON_S, until
from running import gateway
from wires import Wire

from clearway.errors import ClearwayError
from clearway.gateway.feed_schedule import FeedSchedule

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

        self.changed = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.at_once = self.most_at_once = 0

    async def update(self, name: str, _request: object, actor: str, next_try: Any) -> dict[str, Any]:
        assert actor == "schedule"
        self.rebuilt_before_updates = self.rebuilt
        self.updated.append(name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self.hold is not None:
            await self.hold.wait()
        self.at_once -= 1
        if self.refusal is not None:
            self.next_at = next_try(self.refusal)
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
        return answers.get(function.__name__, {})

    return feeds_due.FeedsDue(work, FeedSchedule(lambda: 0.0), time, in_reads, in_reads)


def one_look(due: Any) -> float:
    """A look, and what it begins."""

    async def looked() -> float:
        left: float = await due.look()
        await asyncio.gather(*due._running.values())
        return left

    return asyncio.run(looked())


def row(name: str, every_s: float, server: str = "") -> SimpleNamespace:
    return SimpleNamespace(name=name, every_s=every_s, server=server or name)


def test_what_is_due_is_fetched_and_a_failure_waits(feeds_due: Any) -> None:
    work, time = Work(), Time()
    answers: dict[str, Any] = {"due": [row("a", 3600.0)], "wanted_keys": set(), "next_list_expiry": None}
    due = looker(feeds_due, work, time, answers)
    work.refusal = ClearwayError.of("gateway.E017", why="tried")
    assert one_look(due) == feeds_due.LOOK_S
    one_look(due)
    assert work.updated == ["a"], "after a failure it waits a minute"


def test_a_list_that_runs_out_is_compiled_away_at_its_time(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.enforced = {("short", "hash")}
    answers: dict[str, Any] = {
        "due": [],
        "wanted_keys": {("short", "hash")},
        "next_list_expiry": NOON + timedelta(seconds=2),
    }
    due = looker(feeds_due, work, time, answers)
    assert one_look(due) == pytest.approx(2 + feeds_due.AFTER_S)
    time.at = NOON + timedelta(seconds=3)
    answers |= {"wanted_keys": set(), "next_list_expiry": None}
    one_look(due)
    one_look(due)
    assert work.rebuilt == 1


def test_a_list_that_is_wanted_and_not_in_the_kernel_is_compiled_unless_it_was_left_out(feeds_due: Any) -> None:
    work, time = Work(), Time()
    due = looker(feeds_due, work, time, {"due": [], "wanted_keys": {("lost", "hash")}, "next_list_expiry": None})
    one_look(due)
    assert work.rebuilt == 1
    work.behind = True
    one_look(due)
    assert work.rebuilt == 1, "it is being compiled"
    work.behind, work.left_out = False, {("lost", "hash")}
    one_look(due)
    assert work.rebuilt == 1, "compiled again it would be left out again"


def test_what_failed_to_get_into_the_kernel_is_tried_again(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.behind = work.overdue = True
    one_look(looker(feeds_due, work, time, {"due": [], "wanted_keys": set(), "next_list_expiry": None}))
    assert work.rebuilt == 1


def test_what_has_run_out_goes_before_anything_is_fetched(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.enforced = {("short", "hash")}
    one_look(looker(feeds_due, work, time, {"due": [row("a", 9.0)], "wanted_keys": set(), "next_list_expiry": None}))
    assert work.updated == ["a"] and work.rebuilt_before_updates == 1


def test_lists_are_fetched_also_while_what_is_held_cannot_be_compiled(feeds_due: Any) -> None:
    work, time = Work(), Time()
    work.enforced = {("damaged", "hash")}
    work.rebuild_refusal = ClearwayError.of("gateway.E017", why="tried")
    one_look(looker(feeds_due, work, time, {"due": [row("a", 9.0)], "wanted_keys": set(), "next_list_expiry": None}))
    assert work.updated == ["a"]


def test_a_source_that_drips_holds_up_no_other_and_no_server_is_asked_twice_at_once(feeds_due: Any) -> None:
    work, time = Work(), Time()
    rows = [row("slow", 9.0, "lists.example"), row("same", 9.0, "lists.example"), row("other", 9.0)]
    due = looker(feeds_due, work, time, {"due": rows, "wanted_keys": set(), "next_list_expiry": None})

    async def looked() -> None:
        work.hold = asyncio.Event()
        await due.look()
        await asyncio.sleep(0)
        assert (work.updated, work.most_at_once) == (["slow", "other"], 2)
        await due.look()
        assert work.updated == ["slow", "other"], "neither again, nor its server's other list"
        work.hold.set()
        await asyncio.gather(*due._running.values())
        assert work.changed.is_set()
        del rows[0]
        await due.look()
        await asyncio.sleep(0)
        assert work.updated[2] == "same"
        await due.end()

    asyncio.run(looked())


def test_a_server_that_wants_a_pause_gets_it(feeds_due: Any) -> None:
    work, time = Work(), Time()
    due = looker(feeds_due, work, time, {"due": [row("a", 60.0)], "wanted_keys": set(), "next_list_expiry": None})
    work.refusal = ClearwayError.of("feeds.E011", origin="x", status="429 Too Many Requests")
    work.refusal.retry_after_s = 4000.0
    one_look(due)
    assert work.next_at == NOON + timedelta(seconds=4000)


def test_in_a_daemon_a_damaged_list_is_named_and_an_update_mends_it(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        source = tmp_path / "list.txt"
        source.write_text("45.9.9.9\n")
        added = running.clearway("feed", "add", "it", str(source), "--reason", "scanner")
        part = tmp_path / "state" / "feeds" / added["content"] / "v4.bin"
        part.write_bytes(b"\xff" * part.stat().st_size)
        running.start()
        assert running.fate("45.9.9.9", "192.0.2.1", "inbound")[0] == "forwarded"
        health = running.status()["health"]
        assert not health["ok"] and any("list it is not enforced" in problem for problem in health["problems"])
        assert running.clearway("feed", "update", "it")["lists"][0]["unchanged"] is True
        assert running.fate("45.9.9.9", "192.0.2.1", "inbound")[0] == "listed-source"
        assert not any("list it" in problem for problem in running.status()["health"]["problems"])


def test_in_a_daemon_a_list_ends_at_its_time(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        source = tmp_path / "short.txt"
        source.write_text("45.9.9.9\n")
        for seconds in ENDS_SOON_S:
            ends = monotonic() + seconds
            words = [f"short-{seconds}", str(source), "--reason", "scanner", "--life", f"{seconds}s"]
            running.clearway("feed", "add", *words)
            found = running.fate("45.9.9.9", "192.0.2.1", "inbound")[0]
            if monotonic() < ends:
                break
        assert found == "listed-source"
        until(lambda: running.fate("45.9.9.9", "192.0.2.1", "inbound")[0] == "forwarded", "it doesn't end")
