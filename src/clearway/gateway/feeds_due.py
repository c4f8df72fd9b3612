"""Looks, now and then, whether a list is due to be fetched, has run out, or failed to get into the kernel.

What is due is fetched beside each other, at most one list of a server at a time; nobody waits here for a source.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from clearway.boot_clock import boot_ns
from clearway.errors import ClearwayError
from clearway.gateway.base_work import BaseWork
from clearway.gateway.clock import Clock
from clearway.gateway.feed_schedule import FeedSchedule
from clearway.store import lists, trouble, wanted
from clearway.store.requests import FeedUpdateRequest

log = logging.getLogger(__name__)

LOOK_S = 5.0
AFTER_S = 0.05
"""A list has run out only after its time."""
ACTOR = "schedule"
NOT_TAKEN = ("store.E040", "store.E043", "store.E044")
"""Errors of a list that was fetched, and judged: asking its server again sooner helps nobody."""


class FeedsDue:
    """`in_reads`, `in_lists`: run a function in the thread that reads the database, and in that which writes lists."""

    def __init__(
        self,
        work: BaseWork,
        schedule: FeedSchedule,
        clock: Clock,
        in_reads: Callable[..., Awaitable[Any]],
        in_lists: Callable[..., Awaitable[Any]],
    ) -> None:
        self._work = work
        self._schedule = schedule
        self._clock = clock
        self._in_reads = in_reads
        self._in_lists = in_lists
        self._running: dict[str, asyncio.Task[None]] = {}
        self._servers: dict[str, str] = {}
        """Of the lists that are being fetched."""
        self._restored = False

    async def look(self) -> float:
        """Begins to fetch what is due; compiles anew when the kernel has others than wanted.

        Seconds until the next look: sooner when a list runs out before that.
        """
        await self._bring_in()
        if not self._restored:
            for name, (failures, left_s) in (await self._in_reads(trouble.waiting, self._clock.now())).items():
                self._schedule.restore(name, failures, left_s, boot_ns() / 1e9)
            self._restored = True
        due = {row.name: row for row in await self._in_reads(lists.due, self._clock.now())}
        for name in self._schedule.ready([(row.name, row.every_s) for row in due.values()], boot_ns() / 1e9):
            if name not in self._running and due[name].server not in self._servers.values():
                self._servers[name] = due[name].server
                self._running[name] = asyncio.create_task(self._fetch(name, due[name].every_s))
        now = self._clock.now()
        next_expiry: datetime | None = await self._in_reads(wanted.next_list_expiry, now)
        left = (next_expiry - now).total_seconds() if next_expiry is not None else LOOK_S
        return min(max(left, 0.0) + AFTER_S, LOOK_S)

    async def end(self) -> None:
        """Breaks off what is being fetched."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _bring_in(self) -> None:
        in_force = await self._in_reads(lists.wanted_keys, self._clock.now())
        differs = self._work.enforced_lists() != in_force - self._work.left_out_lists()
        if self._work.overdue or (differs and not self._work.behind):
            try:
                await self._work.rebuild()
            except ClearwayError as error:  # `status` tells it; and a list that is fetched anew may be what mends it
                log.error("the lists could not be brought into the kernel: %s", error)

    async def _fetch(self, name: str, every_s: float) -> None:
        try:
            await self._update(name, every_s)
        except Exception:
            log.exception("list %s", name)
            self._schedule.failed(name, every_s, boot_ns() / 1e9)
        finally:
            self._running.pop(name, None)
            self._servers.pop(name, None)
            self._work.changed.set()  # another list of that server may be waiting

    async def _update(self, name: str, every_s: float) -> None:
        failed = False

        def next_try(error: ClearwayError) -> datetime:
            nonlocal failed
            failed = True
            asked_s = getattr(error, "retry_after_s", None)
            wait = self._schedule.failed(name, every_s, boot_ns() / 1e9, asked_s)
            return self._clock.now() + timedelta(seconds=wait)

        try:
            await self._work.update(name, FeedUpdateRequest(), ACTOR, next_try)
        except ClearwayError as error:
            log.error("list %s: %s", name, error)
            if error.id in NOT_TAKEN:
                self._schedule.refused(name, every_s, boot_ns() / 1e9)
            elif not failed:
                self._schedule.failed(name, every_s, boot_ns() / 1e9)
        else:
            self._schedule.succeeded(name)
