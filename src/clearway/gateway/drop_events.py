"""The thread that reads drop events from the ring, and takes what the inspector refused: counts whom they hit, writes
eve.json.

A flood makes thousands of events a second; at most DETAILED_MAX of each turn are looked into, chosen by chance, and
their weights grow by what was left out. The ring overwrites nothing and never waits: what isn't read in time is skipped
by the programs and weighs on the next event.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from clearway._engine import DropEvent, Events
from clearway.errors import ClearwayError
from clearway.gateway.clock import Clock
from clearway.gateway.enforcer import Enforcer
from clearway.gateway.inspector_events import RefusedName
from clearway.policy.model import Prefix, word
from clearway.store.change import OverlayWanted
from clearway.telemetry import eve
from clearway.telemetry.hits import LISTED, SINGLE, Hits, Rule, rules_of
from clearway.telemetry.pseudonym import Pseudonyms

log = logging.getLogger(__name__)

TURN_S = 0.05
POLL_MS = 100
DETAILED_MAX = 50
RULES_KEPT_MAX = 4096
REFUSED_WAITING_MAX = 4096


class DropEvents:
    """`ports`: names of the inside and outside port. `reason_of`: category of a single entry, from the database.
    `hits`: what was counted before."""

    def __init__(
        self,
        events: Events,
        enforcer: Enforcer,
        clock: Clock,
        file: eve.EveFile,
        pseudonyms: Pseudonyms,
        ports: tuple[str, str],
        inside: tuple[Prefix, ...],
        reason_of: Callable[[OverlayWanted], str],
        hits: Hits,
    ) -> None:
        self._events = events
        self._enforcer = enforcer
        self._clock = clock
        self._pseudonyms = pseudonyms
        self._ports = ports
        self._inside = inside
        self._reason_of = reason_of
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read, name="drop-events", daemon=True)
        self._rules: dict[tuple[int, int, bytes], tuple[Rule, ...]] = {}
        self._refused: deque[dict[str, Any]] = deque(maxlen=REFUSED_WAITING_MAX)
        self.file = file
        self.hits = hits
        self.turn = threading.Lock()
        """Held while `hits` changes."""

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Reads what is left, and ends the thread."""
        self._ending.set()
        self._thread.join(timeout=5)
        self.file.close()

    def refused(self, events: list[dict[str, Any]]) -> None:
        """Names that the inspector refused, for the next turn; of too many the oldest are gone."""
        self._refused.extend(events)

    def _read(self) -> None:
        while not self._ending.wait(TURN_S):
            try:
                self.take_in(self._events.poll(POLL_MS))
                self.take_in_refused()
            except Exception:  # a defect here may cost lines, and must not end the thread
                log.exception("drop events")

    def take_in(self, events: list[DropEvent]) -> None:
        """Counts and writes one turn's events."""
        if not events:
            return
        chosen = events if len(events) <= DETAILED_MAX else random.sample(events, DETAILED_MAX)
        share = sum(event.weight for event in events) / sum(event.weight for event in chosen)
        records = []
        for event in chosen:
            at = self._clock.wall_time(event.boot_ns)
            rules = list(self._rules_of(event))
            weight = round(event.weight * share)
            with self.turn:
                self.hits.add(event, rules, at, weight)
            record = self._line(event, rules, at, weight)
            if record is not None:
                records.append(record)
        self.file.write(records)

    def take_in_refused(self) -> None:
        """Counts and writes what the inspector refused since the last turn."""
        records = []
        while self._refused:
            event = RefusedName.of_json(self._refused.popleft(), self._enforcer.tables.epoch)
            at = self._clock.wall_time(event.boot_ns)
            rules = self._rules_of_name(event)
            with self.turn:
                self.hits.add(event, rules, at, 1)
            record = self._line(event, rules, at, 1)
            if record is not None:
                records.append({**record, **event.eve_fields()})
        if records:
            self.file.write(records)

    def _rules_of_name(self, event: RefusedName) -> list[Rule]:
        """Every list that holds the name; of a single name, that entry."""
        if event.list is None:
            return [Rule(SINGLE, event.reason, event.entry)]
        told = [Rule(event.rule, event.reason, event.entry)]
        snapshot = self._enforcer.snapshot
        if snapshot is None:
            return told
        try:
            found = snapshot.name_attribution(event.name)
        except ClearwayError:  # entries of a list are gone or damaged: the rule itself is known all the same
            return told
        return [Rule(each.list_name, word(each.reason), each.entry.name, each.observe) for each in found] or told

    def _line(self, event: eve.Dropped, rules: list[Rule], at: datetime, weight: int) -> dict[str, object] | None:
        try:
            return eve.line(event, rules, at, weight, self._ports, self._inside, self._pseudonyms)
        except OSError:  # no key for pseudonyms: the line would have to name an inside host
            self.file.lost += 1
            return None

    def _rules_of(self, event: DropEvent) -> tuple[Rule, ...]:
        snapshot = self._enforcer.epochs.get(event.epoch)
        address = event.source + event.destination
        key = (event.epoch, int(event.drop_reason), address)
        held = self._rules.get(key)
        if held is None:
            try:
                held = tuple(rules_of(event, snapshot, self._enforcer.overlay_covering, self._reason_of))
            except ClearwayError:  # entries of a list are gone or damaged: status says which, here it is not known
                held = ()
            if snapshot is not None and event.drop_reason in LISTED:  # a snapshot never changes, single entries do
                if len(self._rules) >= RULES_KEPT_MAX:
                    self._rules.clear()
                self._rules[key] = held
        return held
