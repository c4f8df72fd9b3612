"""What should be enforced after a day of lists, in dictionaries: written from the manual, and knowing nothing of how it
is done. Addresses and names are texts; times are datetimes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

Entry = tuple[str, str]
"""Text, and its scope: "" of addresses, else exact, below, subtree."""


@dataclass(frozen=True)
class Held:
    """What a list holds: entries, and what it spares of its own."""

    blocks: frozenset[Entry]
    spares: frozenset[Entry] = frozenset()

    def refuses(self, target: str) -> bool:
        return any_covers(self.blocks, target) and not any_covers(self.spares, target)


@dataclass
class ModelFeed:
    every: timedelta
    life: timedelta
    observe: bool
    held: dict[str, Held] = field(default_factory=dict)
    """By reason."""
    taken_at: datetime | None = None
    until: datetime | None = None
    waits: dict[str, Held] | None = None
    """In quarantine, and for a person to release."""
    waits_at: datetime | None = None
    taken: dict[int, tuple[dict[str, Held], datetime]] = field(default_factory=dict)
    """By the decision that took it: what, and when it was fetched."""
    left: list[dict[str, Held]] = field(default_factory=list)
    """What people went back from, and is not taken until they name it again."""


@dataclass
class Model:
    """All lists, and what people excluded."""

    feeds: dict[str, ModelFeed] = field(default_factory=dict)
    excluded: dict[Entry, datetime] = field(default_factory=dict)

    def good(self, name: str, held: dict[str, Held], now: datetime, decision: int) -> None:
        """Fetched and taken."""
        feed = self.feeds[name]
        feed.held, feed.taken_at, feed.until = held, now, now + feed.life
        feed.waits = None
        feed.taken[decision] = held, now

    def condemned(self, name: str, held: dict[str, Held] | None, now: datetime) -> None:
        """Fetched and not taken: what was there stands."""
        feed = self.feeds[name]
        if held is not None:
            feed.waits, feed.waits_at = held, now

    def release(self, name: str, now: datetime, decision: int) -> None:
        feed = self.feeds[name]
        assert feed.waits is not None and feed.waits_at is not None
        feed.held, feed.taken_at, feed.until, feed.waits = feed.waits, feed.waits_at, now + feed.life, None
        feed.taken[decision] = feed.held, feed.taken_at

    def rollback(self, name: str, decision: int, now: datetime) -> None:
        """Back to what that decision took, for the list's life; its age stays what it was."""
        feed = self.feeds[name]
        left = feed.held
        feed.held, _ = feed.taken[decision]
        feed.taken_at = max(at for held, at in feed.taken.values() if held == feed.held)
        feed.until, feed.waits = now + feed.life, None
        feed.left = [each for each in (*feed.left, left) if each != feed.held]

    def due(self, now: datetime) -> set[str]:
        """A list is due a twentieth of its time early, five minutes at most."""
        found = set()
        for name, feed in self.feeds.items():
            early = min(feed.every / 20, timedelta(minutes=5))
            if feed.taken_at is None or now - feed.taken_at >= feed.every - early:
                found.add(name)
        return found

    def in_force(self, now: datetime) -> set[tuple[str, str, datetime]]:
        """Name, reason, end."""
        return {
            (name, reason, feed.until)
            for name, feed in self.feeds.items()
            if feed.until is not None and now < feed.until
            for reason in feed.held
        }

    def refuses(self, target: str, now: datetime) -> bool:
        spared = [entry for entry, until in self.excluded.items() if now < until]
        if any_covers(spared, target):
            return False
        live = [
            feed for feed in self.feeds.values() if feed.until is not None and now < feed.until and not feed.observe
        ]
        return any(held.refuses(target) for feed in live for held in feed.held.values())


def any_covers(entries: Iterable[Entry], target: str) -> bool:
    return any(covers(entry, target) for entry in entries)


def covers(entry: Entry, target: str) -> bool:
    text, scope = entry
    if not scope:
        if target[-1].isalpha():
            return False
        network, address = ipaddress.ip_network(text), ipaddress.ip_address(target)
        return network.version == address.version and address in network
    if target[-1].isdigit() or ":" in target:
        return False
    is_below = target.endswith(f".{text}")
    return (target == text and scope != "below") or (is_below and scope != "exact")
