"""Lists in the daemon: what people are told when a decision stands and its compilation fails."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from patience import HUNG_S

from clearway.config import StateDirectory
from clearway.errors import ClearwayError

NOON = datetime(2030, 3, 31, 12, tzinfo=UTC)


class FullDisk:
    """A worker that stores a list and cannot compile it."""

    async def ask(self, what: str, **_: Any) -> dict[str, Any]:
        raise ClearwayError.of("store.E002", path="/state")


def test_a_failed_compilation_says_that_the_row_stands(tmp_path: Path) -> None:
    from clearway import store

    state = StateDirectory(tmp_path / "state")
    state.create()
    store.setup(state.path)
    from clearway.gateway.base_work import BaseWork
    from clearway.store import lists
    from clearway.store.history import decisions
    from clearway.store.requests import FeedAddRequest, StoredContent

    source = tmp_path / "list.txt"
    source.write_text("185.0.2.1\n")
    version, format = lists.prepare(state, str(source), None, now=NOON)

    async def in_store(function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    clock, enforcer = SimpleNamespace(now=lambda: NOON), SimpleNamespace(snapshot=None)
    work = BaseWork(state, (), clock, enforcer, FullDisk(), in_store)  # type: ignore[arg-type]
    stored = StoredContent(**asdict(version))
    request = FeedAddRequest(name="it", source=str(source), reason="scanner", format=format, stored=stored)
    with pytest.raises(ClearwayError) as raised:
        asyncio.run(work.add(request, "alice"))
    assert raised.value.id == "store.E032"
    assert raised.value.message.startswith("decision 2 is stored, not enforced yet; the old policy stands")
    assert [row["kind"] for row in decisions(limit=9)] == ["feed-version", "feed-add"]
    assert work.behind and work.last_error is not None and work.last_error.id == "store.E002"


class Defect:
    """A worker that answers with what nobody foresaw, until it is `well`: then its compilation stands."""

    well = False

    async def ask(self, what: str, **_: Any) -> dict[str, Any]:
        if not self.well:
            raise ValueError("a defect")
        return {"path": "/snapshot"}


def test_an_unforeseen_failure_is_told_and_ended_by_the_next_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearway import store

    store.setup(tmp_path)
    from clearway.gateway import base_work
    from clearway.policy import snapshot
    from clearway.store.change import Change

    monkeypatch.setattr(snapshot, "load", lambda path: path)

    async def in_store(function: Callable[..., Any]) -> Any:
        return function()

    published: list[Path] = []
    held = SimpleNamespace(lists=[SimpleNamespace(name="it", content="hash")], left_out=[])

    def publish(path: Path) -> int:
        published.append(path)
        return len(published)

    enforcer = SimpleNamespace(snapshot=held, publish=publish)
    worker = Defect()
    clock = SimpleNamespace(now=lambda: NOON)
    work = base_work.BaseWork(StateDirectory(tmp_path), (), clock, enforcer, worker, in_store)  # type: ignore[arg-type]
    with pytest.raises(ClearwayError, match="ValueError: a defect") as raised:
        asyncio.run(work.rebuild())
    assert raised.value.id == "gateway.E023"
    assert work.last_error is raised.value and work.overdue
    worker.well = True
    unchanged = Change(1, {"feed": "it"}, base_changed=False, versions=(("it", "hash"),))
    assert asyncio.run(work.decided(lambda now: unchanged))["enforced"] is True
    assert published == [Path("/snapshot")] and not work.behind and work.last_error is None
    asyncio.run(work.decided(lambda now: unchanged))
    assert len(published) == 1, "nothing is behind, and nothing new"


class LateFetcher:
    """A worker whose turn comes when the list that it is asked for has been removed, and another has its name."""

    def __init__(self, state: StateDirectory, meanwhile: Callable[[], None]) -> None:
        self._state = state
        self._meanwhile = meanwhile

    async def ask(self, what: str, **values: Any) -> dict[str, Any]:
        from clearway.gateway import base_worker

        await asyncio.to_thread(self._meanwhile)
        return await asyncio.to_thread(base_worker.REQUESTS[what], self._state, **values)


def test_a_list_that_was_added_anew_while_its_predecessor_waited_gets_nothing_of_it(tmp_path: Path) -> None:
    from clearway import store

    state = StateDirectory(tmp_path / "state")
    store.setup(state.path)
    from clearway.gateway.base_work import BaseWork
    from clearway.store import lists, wanted
    from clearway.store.requests import FeedAddRequest, FeedRemoveRequest, FeedUpdateRequest

    def add(file: str) -> None:
        (tmp_path / file).write_text(f"185.0.2.{len(file)}\n")
        request = FeedAddRequest(name="it", source=str(tmp_path / file), reason="scanner")
        lists.add(state, request, NOON, "alice")

    def meanwhile() -> None:
        lists.remove("it", FeedRemoveRequest(), NOON, "bob")
        add("another")

    async def in_store(function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    add("one")
    clock, enforcer = SimpleNamespace(now=lambda: NOON), SimpleNamespace(snapshot=None)
    work = BaseWork(state, (), clock, enforcer, LateFetcher(state, meanwhile), in_store)  # type: ignore[arg-type]
    with pytest.raises(ClearwayError) as raised:
        asyncio.run(work.update("it", FeedUpdateRequest(), "schedule"))
    assert raised.value.id == "store.E030"
    assert [each.source for each in wanted.lists(NOON)] == [str(tmp_path / "another")]


def test_a_worker_whose_answer_has_no_end_is_ended_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearway.gateway import base_workers

    monkeypatch.setattr(base_workers, "_LINE_BYTES_MAX", 16)

    async def asked() -> None:
        worker = base_workers.BaseWorker(tmp_path)
        try:
            with pytest.raises(ClearwayError) as raised:
                await asyncio.wait_for(worker.ask("warm"), HUNG_S)
            assert raised.value.id == "gateway.E017"
        finally:
            await worker.close()

    asyncio.run(asked())
