"""What the database says should be in force at this moment, and the snapshot that goes with it."""

import logging
from datetime import datetime

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.gateway.clock import Clock
from clearway.policy import snapshot as snapshots
from clearway.policy.model import Prefix
from clearway.policy.snapshot import Snapshot
from clearway.store import lists, shared_ranges, standing, wanted
from clearway.store.change import GrantWanted, NameWanted, OverlayWanted
from clearway.store.database import told
from clearway.store.models import Decision

log = logging.getLogger(__name__)

REASONS_KEPT_MAX = 4096


class WantedNow:
    """Reads of the database by the gateway's clock. Blocking."""

    def __init__(self, state: StateDirectory, inside: tuple[Prefix, ...], clock: Clock) -> None:
        self._state = state
        self._inside = inside
        self._clock = clock

    def newest(self) -> int:
        """Id of the last decision, 0 before the first: when it hasn't changed, nothing has."""
        return _newest()

    def raise_clock(self) -> None:
        """Something was decided at a time, so it is at least that late."""
        at = _newest_at()
        if at is not None:
            self._clock.raise_to(at)

    def snapshot(self) -> Snapshot:
        """The compiled lists in force; compiled anew only when they are others than those of `current`, or damaged."""
        current = None
        if (self._state.snapshots / snapshots.CURRENT).is_symlink():
            try:
                current = snapshots.load(self._state.snapshots / snapshots.CURRENT)
            except ClearwayError as error:
                log.error("%s; it is compiled anew from the lists", error)
        path = lists.compile_wanted(self._state, self._clock.now(), self._inside)
        return current if current is not None and current.path == path.resolve() else snapshots.load(path)

    def overlay(self) -> list[OverlayWanted]:
        return wanted.overlay(self._clock.now(), self._inside, shared_ranges.shared_now(self._state))

    def names(self) -> list[NameWanted]:
        return wanted.names(self._clock.now())

    def grants(self) -> list[GrantWanted]:
        return wanted.grants(self._clock.now())

    def bypass_until(self) -> datetime | None:
        return wanted.bypass_until(self._clock.now())


class SingleReasons:
    """The category of a single entry, which the kernel doesn't know. Remembers the last few thousand."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[OverlayWanted, str] = {}

    @told  # else the thread that asks would keep a connection that the server has ended, and lose every event
    def of(self, entry: OverlayWanted) -> str:
        """The category in its public word; "" when the block has been lifted meanwhile."""
        held = self._held.get(entry)
        if held is None:
            row = standing.at(standing.BLOCK, entry.prefix, self._clock.now())
            held = row.reason if row is not None else ""
            if len(self._held) >= REASONS_KEPT_MAX:
                self._held.clear()
            self._held[entry] = held
        return held


@told
def _newest() -> int:
    return Decision.objects.order_by("-id").values_list("id", flat=True).first() or 0


@told
def _newest_at() -> datetime | None:
    return Decision.objects.order_by("-id").values_list("at", flat=True).first()
