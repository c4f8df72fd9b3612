"""Looks, now and then, whether a list is due to be fetched, has run out, or failed to get into the kernel."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from clearway.errors import ClearwayError
from clearway.gateway.base_work import BaseWork
from clearway.gateway.clock import Clock, boot_ns
from clearway.gateway.feed_schedule import FeedSchedule
from clearway.store import lists, wanted
from clearway.store.requests import FeedUpdateRequest

log = logging.getLogger(__name__)

LOOK_S = 5.0
AFTER_S = 0.05
"""A list has run out only after its time."""
ACTOR = "schedule"


class FeedsDue:
    """`in_reads`: runs a function in the thread that reads the database."""

    def __init__(
        self, work: BaseWork, schedule: FeedSchedule, clock: Clock, in_reads: Callable[..., Awaitable[Any]]
    ) -> None:
        self._work = work
        self._schedule = schedule
        self._clock = clock
        self._in_reads = in_reads

    async def look(self) -> float:
        """Fetches what is due, one list after the other; compiles anew when the kernel has others than wanted.

        Seconds until the next look: sooner when a list runs out before that.
        """
        await self._bring_in()  # first: to fetch may take minutes, and what has run out must not stay so long
        due: dict[str, float] = dict(await self._in_reads(lists.due, self._clock.now()))
        for name in self._schedule.ready(due.items(), boot_ns() / 1e9):
            await self._fetch(name, due[name])
            await self._bring_in()
        now = self._clock.now()
        next_expiry: datetime | None = await self._in_reads(wanted.next_list_expiry, now)
        left = (next_expiry - now).total_seconds() if next_expiry is not None else LOOK_S
        return min(max(left, 0.0) + AFTER_S, LOOK_S)

    async def _bring_in(self) -> None:
        in_force = {(row.feed, row.content) for row in await self._in_reads(wanted.lists, self._clock.now())}
        differs = self._work.enforced_lists() != in_force - self._work.left_out_lists()
        if self._work.overdue or (differs and not self._work.behind):
            try:
                await self._work.rebuild()
            except ClearwayError as error:  # `status` tells it; and a list that is fetched anew may be what mends it
                log.error("the lists could not be brought into the kernel: %s", error)

    async def _fetch(self, name: str, every_s: float) -> None:
        try:
            await self._work.update(name, FeedUpdateRequest(), ACTOR)
        except ClearwayError as error:
            log.error("list %s: %s", name, error)
            self._schedule.failed(name, str(error), every_s, boot_ns() / 1e9)
        else:
            self._schedule.succeeded(name)
