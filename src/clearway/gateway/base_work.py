"""Lists in a running gateway: worker process, then a row in the database, then the kernel. One piece of work at a time.

Whoever adds or updates a list waits until it is enforced; several who wait share one compilation.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds.feed_settings import FeedSettings
from clearway.gateway.clock import Clock
from clearway.gateway.enforcer import Enforcer
from clearway.policy import snapshot as snapshots
from clearway.policy.model import Prefix
from clearway.store import feed_batch, lists, subscribe, trouble
from clearway.store.change import Change
from clearway.store.requests import FeedAddRequest, FeedBatchRequest, FeedUpdateRequest, StoredContent

log = logging.getLogger(__name__)

NextTry = Callable[[ClearwayError], datetime | None]
"""When a fetch that failed so is tried again; None: when somebody asks."""


class Worker(Protocol):
    """What is needed of base_workers.BaseWorkers."""

    async def ask(self, what: str, **values: Any) -> dict[str, Any]: ...


class BaseWork:
    """Adds, updates, removes and recompiles lists. Every method returns once the kernel has it."""

    def __init__(
        self,
        state: StateDirectory,
        inside: tuple[Prefix, ...],
        clock: Clock,
        enforcer: Enforcer,
        worker: Worker,
        in_store: Callable[..., Any],
    ) -> None:
        """`in_store`: awaitable that runs a function in the thread that lists are written to the database from."""
        self.state = state
        self._inside = inside
        self._clock = clock
        self._enforcer = enforcer
        self._worker = worker
        self._in_store = in_store
        self._turn = asyncio.Lock()
        self._asked = 0
        self._built = 0
        self.changed = asyncio.Event()
        """A list, or how long it lives, was changed."""
        self.behind = False
        """What people decided about lists isn't in the kernel yet: being compiled, or the last attempt failed."""
        self.last_error: ClearwayError | None = None

    async def add(self, request: FeedAddRequest, actor: str) -> dict[str, Any]:
        """Takes in a new list. store.E029, feeds.E…; nothing is stored where the guard condemns it."""
        if request.stored is None:
            await self._in_store(subscribe.check_new, request)  # before minutes go into fetching
            stored = await self._prepare(request.source, request.format, request.settings, None)
            request = request.model_copy(update={"stored": stored[0], "format": stored[1] or None})
        return await self.decided(
            lambda now: lists.add(self.state, request, now, actor, inside=self._inside),
        )

    async def update(
        self, name: str, request: FeedUpdateRequest, actor: str, next_try: NextTry = lambda _: None
    ) -> dict[str, Any]:
        """Fetches a list again. store.E030, E040, feeds.E…; the old version stands until its own end when that fails.

        A fetch that fails is remembered, with what `next_try` makes of the error.
        """
        if request.stored is None:
            source, format, settings = await self._in_store(lists.source_of, name)
            try:
                stored, _ = await self._prepare(source, format, settings, name)
            except ClearwayError as error:
                await self._in_store(trouble.failed, name, error, self._clock.now(), next_try(error))
                raise
            request = request.model_copy(update={"stored": stored})
        return await self.decided(
            lambda now: lists.update(self.state, name, request, now, actor, inside=self._inside),
        )

    async def batch(self, request: FeedBatchRequest, actor: str) -> dict[str, Any]:
        """Takes several lists in that the caller has read: one transaction, and one compilation where one is due.

        An answer each, in their order, with `error` in it for one that was refused.
        """
        found = await self._in_store(
            lambda: feed_batch.take(self.state, request, self._clock.now(), actor, self._inside)
        )
        self.changed.set()
        changes = [change for _, change in found if isinstance(change, Change)]
        failure: ClearwayError | None = None
        if any(self._is_due(change) for change in changes):
            try:
                await self.rebuild()
            except ClearwayError as error:
                failure = error
        return {"lists": [self._told(name, change, failure) for name, change in found]}

    def _told(self, name: str, change: Change | ClearwayError, failure: ClearwayError | None) -> dict[str, Any]:
        """What came of one list of a batch. `failure`: of the compilation that was due."""
        try:
            if isinstance(change, ClearwayError):
                raise change
            if failure is not None and self._is_due(change):
                raise lists.not_enforced(change, failure)
            lists.check_taken(change, self._enforcer.snapshot)
        except ClearwayError as error:
            return {"feed": name, **error.as_json()}
        return {**change.answer, "enforced": True}

    def _is_due(self, change: Change) -> bool:
        """Whether the kernel lacks what was decided."""
        return change.base_changed or self.behind or not self.enforced_lists() >= set(change.versions)

    def enforced_lists(self) -> set[tuple[str, str]]:
        """Name and content hash of the lists in the kernel, as lists.snapshot_keys has them."""
        return lists.snapshot_keys(self._enforcer.snapshot)

    def left_out_lists(self) -> set[tuple[str, str]]:
        """Name and content hash of those that were wanted and could not be compiled; the snapshot says why."""
        snapshot = self._enforcer.snapshot
        return {(each.name, each.content) for each in snapshot.left_out} if snapshot is not None else set()

    @property
    def overdue(self) -> bool:
        """It is `behind`, and nobody is at work on it: the last attempt failed, or was broken off."""
        return self.behind and not self._turn.locked()

    async def rebuild(self) -> None:
        """Compiles what is wanted now and brings it into the kernel. On failure the old policy stands (`behind`)."""
        self._asked += 1
        mine = self._asked
        self.behind = True
        async with self._turn:
            if self._built >= mine:
                return
            covers = self._asked
            try:
                await self._rebuild()
            except ClearwayError as error:
                self.last_error = error
                raise
            except Exception as error:
                log.exception("while lists were brought into the kernel")
                self.last_error = ClearwayError.of("gateway.E023", what=f"{type(error).__name__}: {error}")
                raise self.last_error from error
            self._built = covers
            self.last_error = None
            self.behind = self._built < self._asked

    async def _rebuild(self) -> None:
        answer = await self._worker.ask(
            "compile", now=self._clock.now().isoformat(), inside=[str(prefix) for prefix in self._inside]
        )
        path = Path(answer["path"])
        loaded = await asyncio.to_thread(snapshots.load, path)
        epoch = await asyncio.to_thread(self._enforcer.publish, loaded)
        log.info("epoch %d enforces snapshot %s", epoch, path.name)

    async def decided(self, decide: Callable[[datetime], Change]) -> dict[str, Any]:
        """Stores, then enforces. Raises store.E032 when the row stands and what was compiled before is enforced on."""
        change: Change = await self._in_store(lambda: decide(self._clock.now()))
        self.changed.set()
        if self._is_due(change):
            try:
                await self.rebuild()
            except ClearwayError as error:
                raise lists.not_enforced(change, error) from error
            lists.check_taken(change, self._enforcer.snapshot)
        return {**change.answer, "enforced": True}

    async def _prepare(
        self, source: str, format: str | None, settings: FeedSettings, name: str | None
    ) -> tuple[StoredContent, str]:
        answer = await self._worker.ask(
            "prepare",
            source=source,
            format=format,
            inside=[str(prefix) for prefix in self._inside],
            now=self._clock.now().isoformat(),
            settings=subscribe.settings_document(settings),
            name=name,
        )
        return StoredContent.model_validate(answer["version"]), answer["format"]
