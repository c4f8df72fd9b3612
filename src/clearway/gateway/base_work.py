"""Lists in a running gateway: worker process, then a row in the database, then the kernel. One piece of work at a time.

Whoever adds or updates a list waits until it is enforced; several who wait share one compilation.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.gateway.clock import Clock
from clearway.gateway.enforcer import Enforcer
from clearway.policy import snapshot as snapshots
from clearway.policy.model import Prefix
from clearway.store import lists, subscribe
from clearway.store.change import Change
from clearway.store.requests import FeedAddRequest, FeedRemoveRequest, FeedUpdateRequest, StoredContent

log = logging.getLogger(__name__)

_LINE_BYTES_MAX = 1 << 20
_Answer = TypeVar("_Answer")


class BaseWorker:
    """The worker process as seen from the daemon's loop: started when it is needed, and again after it has died."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def ask(self, what: str, **values: Any) -> dict[str, Any]:
        """One request. ClearwayError of the worker, or gateway.E017 when it ends meanwhile."""
        async with self._turn:
            process = await self._running()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps({"ask": what, **values}).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            except (OSError, ValueError):
                line = b""
            if not line:
                self._process = None
                code = await process.wait()
                raise ClearwayError.of("gateway.E017", why=f"signal {-code}" if code < 0 else f"exit code {code}")
        document: dict[str, Any] = json.loads(line)
        if "error" in document:
            raise ClearwayError.from_json(document)
        return document

    async def close(self) -> None:
        """Ends the process, whatever it is doing."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "clearway.gateway.base_worker",
                str(self._state),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES_MAX,
            )
        return self._process


class BaseWork:
    """Adds, updates, removes and recompiles lists. Every method returns once the kernel has it."""

    def __init__(
        self,
        state: StateDirectory,
        inside: tuple[Prefix, ...],
        clock: Clock,
        enforcer: Enforcer,
        worker: BaseWorker,
        in_store: Callable[..., Any],
    ) -> None:
        """`in_store`: awaitable that runs a function in the thread that lists are written to the database from."""
        self._state = state
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
        """Takes in a new list. store.E029, feeds.E…; nothing is stored unless the list is whole."""
        if request.stored is None:
            await self._in_store(subscribe.check_new, request)  # before minutes go into fetching
            stored = await self._prepare(request.source, request.format)
            request = request.model_copy(update={"stored": stored[0], "format": stored[1]})
        return await self._decided(
            lambda now: lists.add(self._state, request, now, actor, inside=self._inside),
        )

    async def update(self, name: str, request: FeedUpdateRequest, actor: str) -> dict[str, Any]:
        """Fetches a list again. store.E030, feeds.E…; the old version stands until its own end when that fails."""
        if request.stored is None:
            source, format = await self._in_store(lists.source_of, name)
            stored, _ = await self._prepare(source, format)
            request = request.model_copy(update={"stored": stored})
        return await self._decided(
            lambda now: lists.update(self._state, name, request, now, actor, inside=self._inside),
        )

    async def remove(self, name: str, request: FeedRemoveRequest, actor: str) -> dict[str, Any]:
        """Enforces a list no longer. store.E030."""
        return await self._decided(lambda now: lists.remove(name, request, now, actor))

    def enforced_lists(self) -> set[tuple[str, str]]:
        """Name and content hash of the lists in the kernel."""
        snapshot = self._enforcer.snapshot
        return {(each.name, each.content) for each in snapshot.lists} if snapshot is not None else set()

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

    async def _decided(self, decide: Callable[[datetime], Change]) -> dict[str, Any]:
        """Stores, then enforces. Raises store.E032 when the row stands and what was compiled before is enforced on."""
        change: Change = await self._in_store(lambda: decide(self._clock.now()))
        self.changed.set()
        version = (change.answer["feed"], change.answer.get("content"))
        if change.base_changed or self.behind or version not in self.enforced_lists():
            try:
                await self.rebuild()
            except ClearwayError as error:
                raise lists.not_enforced(change, error) from error
            lists.check_taken(change, self._enforcer.snapshot)
        return {**change.answer, "enforced": True}

    async def _prepare(self, source: str, format: str | None) -> tuple[StoredContent, str]:
        answer = await self._worker.ask(
            "prepare", source=source, format=format, inside=[str(prefix) for prefix in self._inside]
        )
        return StoredContent.model_validate(answer["version"]), answer["format"]
