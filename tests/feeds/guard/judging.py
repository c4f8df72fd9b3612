"""Lists made for a test, and what the guard says of them: no file, no clock, no network."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from clearway._engine import NameScope
from clearway.feeds import guard, protected
from clearway.feeds.feed_settings import FeedSettings
from clearway.feeds.guard import Context, Judgement
from clearway.feeds.guard_rules import GuardRule
from clearway.feeds.protected import Row
from clearway.feeds.readers import values
from clearway.feeds.readers.content import Entries
from clearway.feeds.shared_bundle import bundled_ranges
from clearway.policy.model import Prefix
from clearway.policy.name_table import NameEntry

NOW = datetime(2026, 8, 22, 12, tzinfo=UTC)
HOSTS = [f"77.{20 + number % 200}.{number // 200}.9" for number in range(2000)]
"""Addresses that nothing protects, in no order that means anything."""
NAMES = [f"host{number}.evil-{number % 7}.top" for number in range(2000)]


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def known(**more: Any) -> Context:
    """What a new installation knows."""
    return replace(Context(shared=bundled_ranges().shared), **more)


def own(*values_: str) -> protected.Protected:
    """What comes with Clearway, and these as a network's own."""
    rows = []
    for value in values_:
        address = values.address_of(value)
        entry = Prefix.cut(*address) if isinstance(address, values.Address) else NameEntry(value, NameScope.SUBTREE)
        rows.append(Row(entry, GuardRule.OWN, "a test"))
    return protected.bundled().adding(rows)


def numbers(**thresholds: float) -> FeedSettings:
    return FeedSettings(thresholds=thresholds)


def entries(*lines: str, format: str = "domains") -> Entries:
    """What a list of these lines would keep, to stand for the last good one."""
    return guard.kept_of(text(*lines), format=format, origin="yesterday's", now=NOW)


def judged(data: bytes, format: str | None = None, *, now: datetime = NOW, **more: Any) -> Judgement:
    rules = {key: more.pop(key) for key in ("rules", "released") if key in more}
    return guard.check(data, format=format, origin="the list", context=known(**more), now=now, **rules)


def said(judgement: Judgement) -> tuple[str, str | None, int]:
    """Verdict, rule, entries."""
    return judgement.verdict, judgement.rule, judgement.entries
