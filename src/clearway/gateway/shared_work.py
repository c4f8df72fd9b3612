"""Shared ranges in a running gateway: a source is added, fetched, removed; what follows from it is in the kernel after.

A range that is published later wins at once: the base is compiled anew, and a person's block that touches a front end
is held back. Looks, now and then, whether a source is due, and whether what the kernel holds was compiled under the
ranges that count now, with hosts in clouds no older than a day.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from clearway.boot_clock import boot_ns
from clearway.errors import ClearwayError
from clearway.gateway.base_work import BaseWork
from clearway.gateway.base_workers import BaseWorkers
from clearway.gateway.clock import Clock
from clearway.gateway.enforcer import Enforcer
from clearway.gateway.feed_schedule import FeedSchedule
from clearway.policy.model import Prefix
from clearway.store import shared_change, shared_ranges, shared_terms, wanted
from clearway.store.change import Change
from clearway.store.shared_requests import CdnAddRequest, CdnRemoveRequest, CdnUpdateRequest, StoredRanges

log = logging.getLogger(__name__)

LOOK_S = 5.0
ACTOR = "schedule"
InThread = Callable[..., Awaitable[Any]]
"""Runs a function in a thread that does one thing after the other."""


class SharedWork:
    """Every method returns once the kernel has what follows."""

    def __init__(
        self,
        work: BaseWork,
        inside: tuple[Prefix, ...],
        clock: Clock,
        enforcer: Enforcer,
        worker: BaseWorkers,
        schedule: FeedSchedule,
        *,
        in_lists: InThread,
        in_decisions: InThread,
        in_reads: InThread,
    ) -> None:
        """Threads: that which writes lists to the database, that of decisions, that which reads."""
        self._work = work
        self._state = work.state
        self._inside = inside
        self._clock = clock
        self._enforcer = enforcer
        self._worker = worker
        self._schedule = schedule
        self._in_lists = in_lists
        self._in_decisions = in_decisions
        self._in_reads = in_reads
        self._overlay_of = ""
        """Content of the ranges that single entries in the kernel were held to; "" before the first look."""

    async def add(self, request: CdnAddRequest, actor: str) -> dict[str, Any]:
        """As shared_change.add; the heavy half of it in the worker."""
        if request.stored is None and not shared_ranges.is_bundled(request.name):
            source, vendor, _ = await self._in_lists(shared_change.check_new, request)
            stored = await self._prepare(source, vendor.name, request.format, None, request.accept)
            request = request.model_copy(update={"stored": stored})
        return await self._decided(lambda now: shared_change.add(self._state, request, now, actor))

    async def update(self, name: str, request: CdnUpdateRequest, actor: str) -> dict[str, Any]:
        """As shared_change.update."""
        if request.stored is None:
            source, vendor, format = await self._in_lists(shared_change.source_of, name)
            stored = await self._prepare(source, vendor, format, name, request.accept)
            request = request.model_copy(update={"stored": stored})
        return await self._decided(lambda now: shared_change.update(self._state, name, request, now, actor))

    async def remove(self, name: str, request: CdnRemoveRequest, actor: str) -> dict[str, Any]:
        """As shared_change.remove."""
        return await self._decided(lambda now: shared_change.remove(name, request, now, actor))

    async def look(self) -> float:
        """Fetches what is due, one after the other; brings into the kernel what counts now. Seconds until the next."""
        await self._bring_in()
        due: dict[str, float] = dict(await self._in_reads(shared_change.due, self._clock.now()))
        for name in self._schedule.ready(due.items(), boot_ns() / 1e9):
            await self._fetch(name, due[name])
        return LOOK_S

    async def _fetch(self, name: str, every_s: float) -> None:
        try:
            await self.update(name, CdnUpdateRequest(), ACTOR)
        except ClearwayError as error:
            log.error("shared ranges %s: %s", name, error)
            if error.id == "feeds.E052":
                self._schedule.refused(name, every_s, boot_ns() / 1e9)
            else:
                self._schedule.failed(name, every_s, boot_ns() / 1e9, error.retry_after_s)
        else:
            self._schedule.succeeded(name)

    async def _prepare(
        self, source: str, vendor: str, format: str | None, name: str | None, accept: str | None
    ) -> StoredRanges:
        answer = await self._worker.ask(
            "prepare_shared",
            source=source,
            vendor=vendor,
            format=format,
            now=self._clock.now().isoformat(),
            name=name,
            accept=accept,
        )
        return StoredRanges.model_validate(answer)

    async def _decided(self, decide: Callable[[datetime], Change]) -> dict[str, Any]:
        answer = await self._work.decided(decide)
        await self._bring_in()
        return answer

    async def _bring_in(self) -> None:
        changed = await self._in_reads(shared_terms.changed, self._state, self._enforcer.snapshot, self._clock.now())
        if changed and not self._work.behind:
            try:
                await self._work.rebuild()
            except ClearwayError as error:
                log.error("the lists could not be brought into the kernel: %s", error)
        await self._in_decisions(self._hold_back)

    def _hold_back(self) -> None:
        """Writes anew the single entries that are others under the ranges that count now."""
        now = self._clock.now()
        ranges = shared_ranges.in_force(self._state)
        if ranges.content == self._overlay_of:
            return
        entries = {each.prefix: each for each in wanted.overlay(now, self._inside, ranges.shared)}
        held = {each.prefix: each for each in self._enforcer.overlay()}
        differ = [prefix for prefix in {*entries, *held} if entries.get(prefix) != held.get(prefix)]
        self._enforcer.enforce([(prefix, entries.get(prefix)) for prefix in differ], [])
        self._overlay_of = ranges.content
