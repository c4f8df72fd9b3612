"""Wanted against enforced: reads back what the kernel holds, sends canaries, mends, and counts what was mended.

"The process runs" says nothing about what is enforced. Every CHECK_S the live tables, overlay and grants are compared
with what was written, the links with the ports, and canaries with their fate. Runs in a thread of its own.
"""

import logging
import random
import threading
from dataclasses import dataclass, field
from datetime import datetime

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.gateway import canary_choice
from clearway.gateway.canary import Canary
from clearway.gateway.clock import Clock
from clearway.gateway.enforcer import Enforcer
from clearway.gateway.guard import Guard
from clearway.gateway.loader_client import Loaded, LoaderProcess, Outcome
from clearway.policy.model import Prefix, word
from clearway.policy.snapshot import Snapshot

log = logging.getLogger(__name__)

CHECK_S = 2.5
"""A map falsified by hand is noticed and mended within twice this."""
SWEEP_EVERY = 4
"""Expired entries and old fragments are taken out at each so manieth check."""
EXAMPLES_MAX = 10


@dataclass
class Report:
    """The two numbers, and what stands between them. Of the last check."""

    checked_at: datetime | None = None
    wanted: int = 0
    missing: int = 0
    foreign: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What kept something from being looked at, or mended."""
    canaries: int = 0
    canaries_failed: list[str] = field(default_factory=list)

    @property
    def enforced(self) -> int:
        return self.wanted - self.missing - self.wrong

    def add(self, difference: _engine.Difference) -> int:
        """Takes a comparison in; how much differs."""
        self.wanted += difference.wanted
        self.missing += difference.missing
        self.foreign += difference.foreign
        self.wrong += difference.wrong
        self.examples = (self.examples + difference.examples)[:EXAMPLES_MAX]
        return difference.missing + difference.foreign + difference.wrong


class Watch:
    """`guard`: as the loader has it. `check` is called every CHECK_S; `report` is the last one, whole."""

    def __init__(
        self,
        enforcer: Enforcer,
        loader: LoaderProcess,
        clock: Clock,
        guard: Guard,
        inside_known: bool,
    ) -> None:
        self._enforcer = enforcer
        self._loader = loader
        self._clock = clock
        self._guard = guard
        self._inside_known = inside_known
        self._chance = random.Random()
        self._turn = threading.Lock()
        self._last_base: _engine.Difference | None = None
        self.report = Report()
        self.checks = 0
        self.links = dict.fromkeys(_wanted_links(enforcer.loaded), "up")
        """up, down or gone, by the link's name."""
        self.mended = {"base": 0, "overlay": 0, "links": 0}
        self.canaries_sent = 0
        self.canaries_failed = 0

    def check(self) -> Report:
        """One look at everything, and mending. What was found stands in the report, also when it was mended."""
        with self._turn:
            report = Report(checked_at=self._clock.now())
            self._check_base(report)
            self._check_overlay(report)
            try:
                self._check_waiting(report)
                self._check_links(report)
                self._send_canaries(report)
            except ClearwayError as error:  # the loader process is gone; the tables are written all the same
                report.faults.append(error.message)
                log.error("%s", error)
            self.checks += 1
            if self.checks % SWEEP_EVERY == 0:
                self._enforcer.sweep_expired()
                self._enforcer.tables.sweep_fragments(_engine.boot_clock_ns())
            self.report = report
            return report

    def _check_base(self, report: Report) -> None:
        difference = self._enforcer.compare_base()
        if difference is None:  # lists are being written just now: what is known of them is what was found before
            if self._last_base is not None:
                report.add(self._last_base)
            return
        self._last_base = difference
        found = report.add(difference)
        if found:
            log.error("the kernel's lists differ from what was written in %d places: %s", found, difference.examples)
            self.mended["base"] += found
            self._enforcer.republish()

    def _check_overlay(self, report: Report) -> None:
        if self._enforcer.dirty:  # the tables remember what was written, so comparing them wouldn't show it
            try:
                self._enforcer.reconcile()
                log.warning("what could not be written into the kernel before is there now")
            except (ClearwayError, OSError) as error:
                report.faults.append(f"decisions are stored and not in the kernel: {error}")
                log.error("decisions are stored and not in the kernel: %s", error)
        difference = self._enforcer.compare_overlay()
        found = report.add(difference)
        if found:
            log.error("the kernel's single entries differ in %d places: %s", found, difference.examples)
            self.mended["overlay"] += found
            self._enforcer.mend_overlay()

    def _check_waiting(self, report: Report) -> None:
        if not self._enforcer.waiting:
            return
        try:
            self._enforcer.attach()
        except (ClearwayError, OSError) as error:
            report.faults.append(f"programs that were loaded are not on both ports: {error}")
            log.error("programs that were loaded are not on both ports: %s", error)

    def _check_links(self, report: Report) -> None:
        wanted = _wanted_links(self._enforcer.loaded)
        held = self._loader.links()
        lost = [name for name, ifindex in wanted.items() if held.get(name) != ifindex]
        self.links = {name: _link_word(held.get(name), ifindex) for name, ifindex in wanted.items()}
        report.wanted += len(wanted)
        report.missing += len(lost)
        if not lost:
            return
        report.examples.append(f"programs off the port: {', '.join(lost)}")
        log.error("programs are off the port: %s", ", ".join(lost))
        try:
            self._enforcer.attach()
            self.links.update(dict.fromkeys(lost, "up"))
            self.mended["links"] += len(lost)
        except ClearwayError as error:  # the port itself is gone: the link monitor waits for it
            report.faults.append(error.message)

    def _send_canaries(self, report: Report) -> None:
        if self._enforcer.replacing or self._enforcer.tables.bypass_until() > _engine.boot_clock_ns():
            return
        loaded = self._enforcer.loaded
        hooks = ("tcx", "xdp") if self._enforcer.loaded.xdp else ("tcx",)
        snapshot = self._enforcer.snapshot
        for canary in canary_choice.choose(self._enforcer, snapshot, self._guard, self._inside_known, self._chance):
            for hook in hooks:
                told = self._fate(hook, canary, snapshot, loaded)
                report.canaries += 1
                self.canaries_sent += 1
                if told is not None:
                    report.canaries_failed.append(told)
                    self.canaries_failed += 1
                    log.error("canary: %s", told)

    def _fate(self, hook: str, canary: Canary, snapshot: Snapshot | None, loaded: Loaded) -> str | None:
        """None when the programs did what they must, or when what they must do has changed since it was chosen, or
        they are others, which begin empty and under the same epoch."""
        for _ in range(2):
            outcome = self._loader.probe(hook, canary.direction, canary.frame)
            if (outcome.drop_reason, outcome.lane) == (canary.drop_reason, canary.lane):
                return None
        if self._enforcer.replacing or self._enforcer.loaded is not loaded:
            return None
        if self._enforcer.epochs.get(outcome.epoch) is not snapshot or not self._still_holds(canary):
            return None
        return _complaint(hook, canary, outcome)

    def _still_holds(self, canary: Canary) -> bool:
        covering = self._enforcer.overlay_covering(canary.address)
        if canary.kind == "blocked":
            return covering is not None and bool(covering.block_until) and not covering.exception_until
        if canary.kind == "green":
            return self._enforcer.is_green(canary.address)
        return covering is None and self._enforcer.tables.bypass_until() <= _engine.boot_clock_ns()


def _wanted_links(loaded: Loaded) -> dict[str, int]:
    """Interface number by the link's name."""
    hooks = ("tcx", "xdp") if loaded.xdp else ("tcx",)
    sides = {"inside": loaded.inside_ifindex, "outside": loaded.outside_ifindex}
    return {f"{hook}-{side}": ifindex for hook in hooks for side, ifindex in sides.items()}


def _link_word(held: int | None, wanted: int) -> str:
    if held is None:
        return "down"
    return "up" if held == wanted else "gone"


def _complaint(hook: str, canary: Canary, outcome: Outcome) -> str:
    return (
        f"{canary.kind} address {Prefix.from_mapped(canary.address)} by {hook}: expected "
        f"{word(canary.drop_reason)} in lane {word(canary.lane)}, got {word(outcome.drop_reason)} in "
        f"{word(outcome.lane)}"
    )
