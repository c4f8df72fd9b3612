"""Which rule a drop event fell to, and who was hit how often.

The kernel says that an address is listed; which list and entry it was is found here, in the snapshot of the epoch that
the event carries, or among the single entries. Counts are packets: each event stands for `weight` drops, so totals by
list are estimates as good as the sampling; the counters in the kernel are exact, but know no lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from clearway._engine import DropEvent, DropReason
from clearway.policy.model import word
from clearway.policy.snapshot import Holding
from clearway.store.change import OverlayWanted, stamp

ENTRIES_MAX = 4096
"""Entries counted one by one; when more are hit, the rarest half makes room."""
TOP = 10
TOP_BY_LIST = 20
"""Entries of each list in `answer`."""
SINGLE = "block"
"""Stands in place of a list's name for a single entry, by a person or a detector. No list is taken under this name."""

_SOURCE = {DropReason.BLOCKED_SOURCE, DropReason.LISTED_SOURCE}
_DESTINATION = {DropReason.BLOCKED_DESTINATION, DropReason.LISTED_DESTINATION}
LISTED = {DropReason.LISTED_SOURCE, DropReason.LISTED_DESTINATION}


class Fallen(Protocol):
    """What of an event is asked here."""

    @property
    def drop_reason(self) -> DropReason: ...


class Attributes(Protocol):
    """What of a snapshot is needed here."""

    def attribution(self, address: bytes) -> list[Holding]: ...


@dataclass(frozen=True)
class Rule:
    """What a packet fell to: an entry of a list, or a single one."""

    list: str
    reason: str
    """Category of the closed list; empty for a single entry whose decision isn't at hand."""
    entry: str
    observe: bool = False
    """Of a list that is only observed."""

    def as_json(self, *, with_entry: bool = True) -> dict[str, str | bool]:
        """`with_entry`: whether the entry may be told; it can be the very host that a pseudonym stands for."""
        told: dict[str, str | bool] = {"list": self.list, "reason": self.reason}
        if self.observe:
            told["observe"] = True
        return {**told, "entry": self.entry} if with_entry else told


@dataclass
class Count:
    packets: int = 0
    events: int = 0
    last_seen: datetime | None = None

    def add(self, weight: int, at: datetime) -> None:
        self.packets += weight
        self.events += 1
        self.last_seen = at

    def as_json(self) -> dict[str, Any]:
        last_seen = stamp(self.last_seen) if self.last_seen is not None else None
        return {"hits": self.packets, "events": self.events, "last_seen": last_seen}


def rules_of(
    event: DropEvent,
    snapshot: Attributes | None,
    covering: Callable[[bytes], OverlayWanted | None],
    reason_of: Callable[[OverlayWanted], str],
) -> list[Rule]:
    """The rules that an event fell to, the most specific first. Empty: by form or origin, not by an address rule.

    `snapshot`: of the event's epoch, None when it isn't known any more. `covering`: the single entry that covers an
    address. `reason_of`: the category of a single entry.
    """
    address = event.source if fell_by_source(event) else event.destination
    if event.drop_reason in LISTED:
        found = snapshot.attribution(address) if snapshot is not None else []
        return [Rule(name, word(reason), str(prefix), observe) for name, reason, prefix, observe in found]
    if event.drop_reason in _SOURCE | _DESTINATION:
        wanted = covering(address)
        return [Rule(SINGLE, reason_of(wanted), str(wanted.prefix))] if wanted is not None else []
    return []


def fell_by_source(event: Fallen) -> bool:
    """Did the source match an address rule? False: the destination did, or no such rule."""
    return event.drop_reason in _SOURCE


def fell_by_destination(event: Fallen) -> bool:
    """Did the destination match an address rule?"""
    return event.drop_reason in _DESTINATION


class Hits:
    """Counts by entry (the most specific rule of each event) and by list (every list that holds the address)."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self.by_list: dict[str, Count] = {}
        self.unattributed = 0
        """Packets that fell to an address rule which is not known any more."""
        self.changes = 0
        """Grows with every change."""
        self._by_entry: dict[Rule, Count] = {}
        self._added: dict[str, str] = {}

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any]) -> "Hits":
        """What `as_stored` gave. KeyError, TypeError, ValueError, AttributeError or OverflowError where it is anything
        else."""
        hits = cls(datetime.fromisoformat(stored["since"]))
        hits.unattributed = int(stored["unattributed"])
        hits._added = {str(name): str(at) for name, at in stored["added"].items()}
        for name, (packets, events, last_seen) in stored["lists"].items():
            hits.by_list[name] = Count(int(packets), int(events), datetime.fromisoformat(last_seen))
        for name, reason, entry, observe, packets, events in stored["entries"][:ENTRIES_MAX]:
            hits._by_entry[Rule(str(name), str(reason), str(entry), bool(observe))] = Count(int(packets), int(events))
        return hits

    def as_stored(self) -> dict[str, Any]:
        """In JSON, to go on from. Of an entry no time is stored: beside other records it could tell who was refused."""
        return {
            "since": self.since.isoformat(),
            "unattributed": self.unattributed,
            "added": dict(self._added),
            "lists": {
                name: [count.packets, count.events, count.last_seen.isoformat()]
                for name, count in self.by_list.items()
                if count.last_seen is not None
            },
            "entries": [
                [rule.list, rule.reason, rule.entry, rule.observe, count.packets, count.events]
                for rule, count in self._by_entry.items()
            ],
        }

    def settle(self, added: Mapping[str, str]) -> None:
        """`added`: the lists there are, and when each was added. What was counted for others is forgotten, and for one
        of the same name that was there before."""
        gone = {
            name
            for name in self.by_list.keys() - {SINGLE}
            if name not in added or self._added.get(name, added[name]) != added[name]
        }
        for name in gone:
            del self.by_list[name]
        if gone:
            self._by_entry = {rule: count for rule, count in self._by_entry.items() if rule.list not in gone}
            self.changes += 1
        self._added = dict(added)

    def add(self, event: Fallen, rules: list[Rule], at: datetime, weight: int) -> None:
        """Counts one event, which stands for `weight` packets, for the rules that it fell to."""
        self.changes += 1
        if not rules:
            if event.drop_reason in _SOURCE | _DESTINATION:
                self.unattributed += weight
            return
        for name in {rule.list for rule in rules}:
            self.by_list.setdefault(name, Count()).add(weight, at)
        if rules[0] not in self._by_entry and len(self._by_entry) >= ENTRIES_MAX:
            self._make_room()
        self._by_entry.setdefault(rules[0], Count()).add(weight, at)

    def top(self, count: int = TOP) -> list[tuple[Rule, Count]]:
        """The entries hit most, most first."""
        return sorted(self._by_entry.items(), key=lambda item: item[1].packets, reverse=True)[:count]

    def answer(self) -> dict[str, Any]:
        """Hits by list, and by entry those that were hit most of each list."""
        return {
            "since": stamp(self.since),
            "unattributed": self.unattributed,
            "lists": {name: count.as_json() for name, count in sorted(self.by_list.items())},
            "entries": [{**rule.as_json(), **count.as_json()} for rule, count in self._top_by_list(TOP_BY_LIST)],
        }

    def _top_by_list(self, count: int) -> list[tuple[Rule, Count]]:
        """The entries of each list that are hit most, list by list."""
        found: dict[str, list[tuple[Rule, Count]]] = {}
        for rule, counted in self.top(ENTRIES_MAX):
            held = found.setdefault(rule.list, [])
            if len(held) < count:
                held.append((rule, counted))
        return [each for name in sorted(found) for each in found[name]]

    def _make_room(self) -> None:
        self._by_entry = dict(self.top(ENTRIES_MAX // 2))
