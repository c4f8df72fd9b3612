"""The gateway's clock: the largest wall time ever seen, which goes on with the boot clock and never back.

Expiries are wall times for people and boot-clock times for the kernel. Setting the wall clock back must revive nothing,
also across a restart, so what this clock shows is at least what it ever showed plus the time passed since, as far as
that is known: within one boot exactly, across a reboot at least what was stored. A wall clock that was wrongly ahead
once stays the measure; `status` shows by how much, and removing clock.json while no gateway runs forgets it.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from clearway.boot_clock import boot_id, boot_ns
from clearway.gateway import durable

STEP_NS = 500_000_000
"""A jump of the wall clock against the boot clock that makes boot-clock expiries be computed anew."""

EXPIRED_NS = 1
"""Boot-clock time that has passed on any machine; 0 would mean "none"."""


class Clock:
    """`path`: clock.json. The three sources are arguments so that tests can turn them."""

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], int] = time.time_ns,
        boot: Callable[[], int] = boot_ns,
        this_boot: Callable[[], str] = boot_id,
    ) -> None:
        self._path = path
        self._wall = wall
        self._boot = boot
        self._this_boot = this_boot()
        self._turn = threading.Lock()
        wall_now = wall()
        self._anchor_boot = boot()
        self._anchor_wall = max(wall_now, self._stored())
        self._offset = self._offset_seen = self._anchor_wall - self._anchor_boot

    def now_ns(self) -> int:
        """Wall time in ns since 1970, never less than it was."""
        return self._both()[0]

    def _both(self) -> tuple[int, int]:
        """This clock and the boot clock of one moment.

        The wall clock is read first: a pause before the boot clock is read then shows a time that is early by it, which
        the next reading mends. The other way round it would be late by it, and stay so for good.
        """
        with self._turn:
            wall = self._wall()
            boot = self._boot()
            passed = self._anchor_wall + boot - self._anchor_boot
            if wall > passed:
                self._anchor_wall, self._anchor_boot = wall, boot
                return wall, boot
            return passed, boot

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ns() / 1e9, UTC)

    def raise_to(self, seen: datetime) -> None:
        """Something was recorded at that time, so it is at least that late."""
        seen_ns = int(seen.timestamp() * 1e9)
        now, boot = self._both()
        with self._turn:
            if seen_ns > now:
                self._anchor_wall, self._anchor_boot = seen_ns, boot

    def ahead_ns(self) -> int:
        """How much this clock is ahead of the machine's: more than a moment when that was set back."""
        return max(0, self.now_ns() - self._wall())

    def stepped(self) -> bool:
        """Has this clock jumped against the boot clock since `settled`? Then expiries are to be computed anew."""
        now, boot = self._both()
        self._offset_seen = now - boot
        return abs(self._offset_seen - self._offset) > STEP_NS

    def settled(self) -> None:
        """Expiries were computed anew after `stepped` was last asked. Until this is called, it says the same again."""
        self._offset = self._offset_seen

    def boot_deadline(self, until: datetime | None) -> int:
        """The boot-clock time in ns of a wall time. None: 0. What has passed: EXPIRED_NS."""
        if until is None:
            return 0
        now, boot = self._both()
        left = int(until.timestamp() * 1e9) - now
        return boot + left if left > 0 else EXPIRED_NS

    def wall_time(self, event_boot_ns: int) -> datetime:
        """The wall time of something that happened at a boot-clock time of this boot."""
        now, boot = self._both()
        return datetime.fromtimestamp((now - boot + event_boot_ns) / 1e9, UTC)

    def save(self) -> None:
        """Stores the largest time seen. OSError when the disk is full."""
        now, boot = self._both()
        durable.write_json(self._path, {"boot_id": self._this_boot, "boot_ns": boot, "wall_ns": now})

    def _stored(self) -> int:
        data = durable.read_json(self._path) or {}
        wall, boot = data.get("wall_ns"), data.get("boot_ns")
        if not isinstance(wall, int) or not isinstance(boot, int):
            return 0
        same_boot = data.get("boot_id") == self._this_boot
        return wall + max(0, self._anchor_boot - boot) if same_boot else wall
