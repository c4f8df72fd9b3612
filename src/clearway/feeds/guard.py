"""The guard: a list is read and judged whole before any of it counts, and nothing that it says of itself is believed.

    bytes → unpack, read (readers/table.py) → entries held back one by one (guard_entries) → the list as a whole
    (guard_whole) → Judgement

A list that breaks a rule of feeds is not taken at all: what was in force stays. Of one that breaks rules of entries
those entries are left out, counted and shown. Rules and their numbers are guard_rules.py's. Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from clearway.errors import ClearwayError
from clearway.feeds import guard_entries, guard_rules, guard_whole, judgement, line_search, protected
from clearway.feeds.feed_settings import FeedSettings
from clearway.feeds.guard_entries import Held, HeldBack, Widths
from clearway.feeds.guard_rules import GuardRule
from clearway.feeds.judgement import Alarm, Finding, Judgement
from clearway.feeds.protected import Protected
from clearway.feeds.readers import documents, packing, spared, table, texts
from clearway.feeds.readers.content import Content, Entries, Unfit
from clearway.feeds.readers.rules import MALFORMED
from clearway.policy.arrays import U64
from clearway.policy.model import Prefix
from clearway.policy.names import StoredNames
from clearway.policy.shared import NOTHING_SHARED, Shared
from clearway.policy.shared_sources import SharedRanges

__all__ = ["Alarm", "Context", "Finding", "HasEntries", "HeldBack", "Judgement", "check", "failed", "kept_of"]

MALFORMED_KEPT_MAX = 100
ALARMS_MAX = 20
"""Told of entries; how many there are of a rule is in its count."""
HELD_BACK_MAX = 100
"""Shown, those that alarm first."""


class HasEntries(Protocol):
    """Entries in memory, or mapped from files."""

    @property
    def v4(self) -> U64: ...
    @property
    def v6(self) -> U64: ...
    @property
    def names(self) -> StoredNames: ...


@dataclass(frozen=True, eq=False)
class Context:
    """What is known besides the list."""

    settings: FeedSettings = field(default_factory=FeedSettings)
    last_good: HasEntries | None = None
    """What is in force of this list; None, or empty: nothing is."""
    protected: Protected = field(default_factory=protected.bundled)
    shared: Shared = NOTHING_SHARED
    shared_ranges: SharedRanges | None = None
    """What `shared` is made of, to say who published a range that an entry touches."""
    other_share: int = 0
    """IPv4 addresses that all other lists hold, each once."""
    max_age: timedelta | None = None
    """Over the settings' `age_days`."""
    content_type: str = ""
    status: int | None = None
    content_length: int | None = None
    """Bytes that the server announced, of the list as it sent it."""


def check(
    data: bytes,
    *,
    format: str | None,
    origin: str,
    context: Context | None = None,
    now: datetime,
    rules: Collection[str] | None = None,
    released: bool = False,
) -> Judgement:
    """Reads and judges a list, packed or not.

    `rules`: those of feeds to hold it to, and G10, G11 of its entries (None: all). `released`: a person let it through;
    rules of feeds are told, and hold nothing back. Never raises for what a list contains. Raises feeds.E001 (no such
    format), E025, E026 (a number of the settings).
    """
    context = context or Context()
    table_word = None if format is None else format.lower()
    if table_word is not None:
        table.reader_of(table_word)
    limits = guard_rules.checked(context.settings.thresholds)
    answered = list(guard_whole.of_answer(context.status, context.content_type))
    answered += guard_whole.of_length(len(data), context.content_length)
    try:
        text = packing.unpacked(data, origin, limits["unpack_ratio"])
    except ClearwayError as error:
        return _unread([error], table_word, context, answered)
    answered += guard_whole.of_bytes(len(text), limits)
    try:
        found = table.read(text, table_word, origin=origin, now=now, reasons=context.settings.reasons or None)
    except ClearwayError as error:
        faults = list(texts.faults(text, origin)) or [_plainer(error, text, origin)]
        return _unread(faults, table_word, context, answered)
    limits = guard_rules.checked(context.settings.thresholds, table.bare(found.format))
    entries, left_out = spared.without_excepted(found.content)
    held = _hold(entries, found.format, context, limits, rules)
    findings = [
        *answered,
        *guard_whole.of_lines(found.content, limits),
        *guard_whole.of_change(held, _last(context), limits),
        *guard_whole.of_wholeness(
            found.content,
            len(entries) + left_out,
            context.settings.declared_count == "judge",
            limits,
        ),
        *guard_whole.of_width(held, context.other_share, limits),
        *guard_whole.of_protected(held, limits),
        *guard_whole.of_age(found.content.published_at, now, _max_age(context, limits)),
    ]
    findings = [finding for finding in findings if rules is None or finding.rule in rules]
    findings = findings or list(guard_whole.of_rest(found.content, held.kept))
    return _judgement(found, text, held, findings, context, left_out, released)


def failed(error: ClearwayError, *, format: str | None, context: Context | None = None) -> Judgement:
    """The same of a list that could not be fetched, where that says something of the list; else raises the error."""
    if guard_whole.of_error(error) is None:
        raise error
    return _unread([error], format, context or Context())


def kept_of(data: bytes, *, format: str | None, origin: str, context: Context | None = None, now: datetime) -> Entries:
    """What of a list would be kept of its entries, whatever there is to say of it as a whole: for a last good list.

    Raises what readers/table.read raises.
    """
    context = context or Context()
    found = table.read(data, format, origin=origin, now=now, reasons=context.settings.reasons or None)
    limits = guard_rules.checked(context.settings.thresholds, table.bare(found.format))
    return _hold(spared.without_excepted(found.content)[0], found.format, context, limits, None).kept


def _hold(
    entries: Entries, format: str, context: Context, limits: dict[str, float], rules: Collection[str] | None
) -> Held:
    if rules is not None and "G10" not in rules:
        return guard_entries.all_of(entries)
    wide = table.bare(format) in guard_rules.WIDE_FORMATS if context.settings.wide is None else context.settings.wide
    widths = Widths(int(limits["widest_v4"]), int(limits["widest_v6"]), 0 if wide else int(limits["wide_v4"]))
    return guard_entries.hold(entries, context.protected, context.shared, widths)


def _last(context: Context) -> Entries | None:
    last = context.last_good
    if last is None:
        return None
    entries = Entries(last.v4, last.v6, last.names)
    return None if judgement.is_empty(entries) else entries


def _max_age(context: Context, limits: dict[str, float]) -> timedelta:
    return timedelta(days=limits["age_days"]) if context.max_age is None else context.max_age


def _plainer(error: ClearwayError, text: bytes, origin: str) -> ClearwayError:
    """JSON of which nobody knows the format may be none, or too deep to be looked at: that says more."""
    if error.id != "feeds.E023":
        return error
    if text.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        try:
            documents.load(text)
        except Unfit as unfit:
            return ClearwayError.of(unfit.id, origin=origin, **unfit.fields)
    return error


def _unread(
    errors: Sequence[ClearwayError], format: str | None, context: Context, answered: Sequence[Finding] = ()
) -> Judgement:
    """`answered`: what was found beside them."""
    findings = list(answered)
    for error in errors:
        finding = guard_whole.of_error(error)
        if finding is None:
            raise error
        findings.append(finding)
    findings = guard_whole.in_order_of_rules(findings)
    return Judgement(
        format,
        findings=tuple(findings),
        alarms=tuple(_alarms(findings, [], {})),
        first_load=_last(context) is None,
    )


def _judgement(
    found: table.Found,
    text: bytes,
    held: Held,
    findings: list[Finding],
    context: Context,
    left_out: int,
    released: bool,
) -> Judgement:
    content = found.content
    findings = guard_whole.in_order_of_rules(findings)
    rejected = {rule.id: count for rule, count in content.rejects.by_rule().items()}
    shown = sorted(held.samples, key=lambda sample: not judgement.alarming(sample.rule))[:HELD_BACK_MAX]
    samples = line_search.placed(text, _named(shown, context.shared_ranges))
    return Judgement(
        format=found.format,
        releasable=held.kept,
        releasable_by_reason={
            reason: guard_entries.common(part, held.kept) for reason, part in content.by_reason.items()
        },
        findings=tuple(findings),
        rejected={**rejected, **held.counts},
        held_back=tuple(samples),
        alarms=tuple(_alarms(findings, samples, held.counts)),
        first_load=_last(context) is None,
        released=released,
        counts=_counts(content, held.kept, left_out),
        published=None if content.published_at is None else content.published_at.astimezone(UTC),
        declared=content.declared,
        malformed=tuple(_malformed(content)),
    )


def _named(samples: list[HeldBack], ranges: SharedRanges | None) -> list[HeldBack]:
    """With who published the shared range that each touches."""
    made = []
    for sample in samples:
        is_shared = sample.rule in (GuardRule.CDN.id, GuardRule.CLOUD.id)
        found = ranges.rule(Prefix.parse(sample.value)) if ranges is not None and is_shared else None
        made.append(
            sample if found is None else sample._replace(hit=f"{found.prefix} ({found.vendor}, {found.source})")
        )
    return made


def _alarms(findings: list[Finding], samples: list[HeldBack], counts: dict[str, int]) -> list[Alarm]:
    of_feed = [Alarm(finding.rule, finding.seen, "", 1) for finding in findings]
    told = [held for held in samples if judgement.alarming(held.rule)]
    of_entries = {(held.rule, held.hit): held for held in reversed(told)}
    return [
        *of_feed,
        *(
            Alarm(held.rule, held.value, held.hit, counts[held.rule])
            for held in [each for each in told if of_entries[each.rule, each.hit] is each][:ALARMS_MAX]
        ),
    ]


def _counts(content: Content, kept: Entries, left_out: int) -> dict[str, int]:
    counts = content.counts
    lines = {key: counts[key] for key in ("lines", "blank", "entries", "malformed", "unsupported")}
    names = sum(kept.names.counts().values())
    found = sum(counts[key] for key in ("v4", "v6", "names"))
    return {**lines, "v4": len(kept.v4), "v6": len(kept.v6), "names": names, "spared": left_out, "found": found}


def _malformed(content: Content) -> list[tuple[int, str]]:
    if content.rejects.count(MALFORMED) == 0:
        return []
    found = []
    for reject in content.rejects:
        if reject.rule.kind == MALFORMED:
            found.append((reject.line, reject.text))
            if len(found) == MALFORMED_KEPT_MAX:
                break
    return found
