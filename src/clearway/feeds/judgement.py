"""What the guard says of a list: the verdict, why, and what of it would be enforced. Data, and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from clearway.errors import ClearwayError
from clearway.feeds.guard_entries import HeldBack
from clearway.feeds.guard_rules import GUARD_RULES, THRESHOLDS, in_order, sentence_of
from clearway.feeds.readers.content import NO_V4, NO_V6, Entries
from clearway.policy.names import StoredNames

ACCEPT = "accept"
WITH_REJECTS = "accept-with-rejects"
QUARANTINE = "quarantine-feed"

NO_ENTRIES = Entries(NO_V4, NO_V6, StoredNames())


class Finding(NamedTuple):
    """Why a list as a whole is not taken."""

    rule: str
    seen: str
    """What was found, in words and with its number."""
    limit: str
    """What would have been let pass; "" where there is no number to it."""
    key: str
    """Of guard_rules.THRESHOLDS: what sets that number; "" where nothing does."""
    error: str = ""
    """Id of the error that reading or fetching it ended in; "" where it was read."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a person should know of, whatever became of the list."""

    rule: str
    value: str
    """The entry, or what was found of the list."""
    hit: str
    """What it touches; "" of the list as a whole."""
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Made by guard.check and guard.failed."""

    format: str | None
    """The word it was read by; None where no format fits, or nothing was read."""
    releasable: Entries = NO_ENTRIES
    """What would be enforced if a person let the list through: own exceptions heard, held-back entries out."""
    releasable_by_reason: dict[str, Entries] = field(default_factory=dict)
    """The same by the reasons of a table of categories; empty where none was given."""
    findings: Sequence[Finding] = ()
    """By their rules, lowest first."""
    rejected: dict[str, int] = field(default_factory=dict)
    """By rule: lines that gave no entry (malformed and unsupported ones), and entries that were held back."""
    held_back: Sequence[HeldBack] = ()
    """The first of each rule."""
    alarms: Sequence[Alarm] = ()
    first_load: bool = True
    """There was no last good list to hold it against."""
    released: bool = False
    """A person let it through: findings are told, and do not hold it."""
    counts: dict[str, int] = field(default_factory=dict)
    """lines, blank, entries (lines that gave one), malformed, unsupported; v4, v6, names of `releasable`; spared:
    entries that the list's own exceptions leave out; found: entries before any was held back. Empty where nothing was
    read."""
    published: datetime | None = None
    declared: int | None = None
    malformed: Sequence[tuple[int, str]] = ()
    """The first hundred malformed lines: number from 1, text."""

    @property
    def verdict(self) -> str:
        """accept, accept-with-rejects, quarantine-feed."""
        if self.findings and not self.released:
            return QUARANTINE
        return WITH_REJECTS if self.rejected or self.findings else ACCEPT

    @property
    def kept(self) -> Entries:
        """What would be enforced. Nothing of a list in quarantine."""
        return NO_ENTRIES if self.verdict == QUARANTINE else self.releasable

    @property
    def by_reason(self) -> dict[str, Entries]:
        """The same by reason."""
        return {} if self.verdict == QUARANTINE else self.releasable_by_reason

    @property
    def rule(self) -> str | None:
        """The lowest rule that decided: of those that hold the list back as a whole, else of those that held back a
        line or an entry; None where none did."""
        if self.findings:
            return self.findings[0].rule
        return min(self.rejected, key=in_order, default=None)

    @property
    def rules(self) -> tuple[str, ...]:
        """All that spoke, lowest first."""
        return tuple(sorted({*(finding.rule for finding in self.findings), *self.rejected}, key=in_order))

    @property
    def entries(self) -> int:
        """Distinct (kind, value, scope) that would be enforced."""
        return len(self.kept)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "format": self.format,
            "verdict": self.verdict,
            "entries": self.entries,
            "rule": self.rule,
            "rules": list(self.rules),
            "alarms": [{**asdict(alarm), "sentence": sentence_of(alarm.rule)} for alarm in self.alarms],
            "first_load": self.first_load,
            "rejected": {rule: self.rejected[rule] for rule in sorted(self.rejected, key=in_order)},
            "findings": [{**finding._asdict(), "sentence": sentence_of(finding.rule)} for finding in self.findings],
            "held_back": [held._asdict() for held in self.held_back],
            "counts": self.counts,
            "by_reason": {reason: len(entries) for reason, entries in self.by_reason.items()},
            "declared": self.declared,
            "published": None if self.published is None else self.published.isoformat().replace("+00:00", "Z"),
            "released": self.released,
        }

    def error(self, origin: str, source: str | None = None) -> ClearwayError:
        """feeds.E024, of a list in quarantine; `source`: how a person names it, where that is not its origin."""
        finding = self.findings[0]
        detail = f"{finding.seen}, and the limit is {finding.limit}" if finding.limit else finding.seen
        way_out = "Look at what the source gives; --format names its format where the guess is wrong."
        if finding.key:
            way_out = f"A person who knows better gives --set {finding.key}=NUMBER."
        shown = {"rule": finding.rule, "sentence": sentence_of(finding.rule), "detail": detail}
        return ClearwayError.of("feeds.E024", origin=origin, source=source or origin, way_out=way_out, **shown)


def limit_of(key: str, number: float) -> str:
    """A limit for people: `0.5 times`, `7 days`, `1 %`."""
    return f"{number:g} {THRESHOLDS[key].unit}"


def is_empty(entries: Entries) -> bool:
    """Cheaper than counting names."""
    return not len(entries.v4) and not len(entries.v6) and not entries.names


def alarming(rule: str) -> bool:
    """Whether a hit of that rule is told of beyond the list."""
    return rule in GUARD_RULES and GUARD_RULES[rule].alarms
