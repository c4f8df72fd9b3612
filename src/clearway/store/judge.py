"""The guard, asked about a list with what this installation knows: the version before, what is protected and set."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds import files, guard
from clearway.feeds.feed_settings import FeedSettings
from clearway.feeds.fetch import Fetched
from clearway.feeds.guard_entries import addresses_of
from clearway.feeds.judgement import QUARANTINE, Judgement
from clearway.feeds.readers.content import Entries
from clearway.policy.arrays import merged4
from clearway.policy.entries import StoredEntries
from clearway.policy.model import Prefix
from clearway.store import protect, shared_ranges, subscribe, wanted
from clearway.store.change import NewVersion
from clearway.store.models import Feed, FeedVersion

ABOUT_THE_LIST = ("feeds.E003", "feeds.E007")
"""What a fetch may end in that condemns the list; all else is said of the network or the server, and tried again."""
SHARE_WATCHED = 0.01
"""Part of IPv4 that other lists hold, from which it pays to count what they have in common once."""
INPUT, INPUT_SHOWN = "-", "standard input"
"""Standard input, as a person names it, and as fetch.Fetched.origin does."""
TOLD_MAX = 20
"""Of samples in a version's row."""

KEPT_OF_DOCUMENT = ("format", "verdict", "rule", "rules", "alarms", "first_load", "rejected", "findings", "published")


@dataclass(frozen=True, slots=True)
class Judged:
    """A list as it was judged. `kept`: what would be enforced; of one that is condemned, were it released."""

    format: str
    kept: Entries
    by_reason: dict[str, Entries]
    counts: dict[str, int]
    document: dict[str, Any]

    @property
    def holds(self) -> bool:
        """There is something to keep."""
        return len(self.kept) > 0


def asked_of_source(state: StateDirectory, settings: FeedSettings) -> dict[str, Any]:
    """What of the settings is for fetch.fetch."""
    return {
        "sha256": settings.sha256,
        "proxy": settings.proxy,
        "key_file": Path(settings.key_file) if settings.key_file else None,
        "kept": state.sources,
    }


def judge(
    state: StateDirectory,
    fetched: Fetched,
    format: str | None,
    inside: Sequence[Prefix],
    *,
    now: datetime,
    settings: FeedSettings,
    name: str | None,
) -> Judged:
    """Reads and judges what was fetched for a list (`name`; None: a new one)."""
    context = replace(
        _context(state, inside, now, settings, name),
        content_type=fetched.content_type,
        status=fetched.status,
        content_length=fetched.content_length,
    )
    format = format or fetched.format
    said = guard.check(fetched.data, format=format, origin=fetched.origin, context=context, now=now)
    return _judged(said, format, fetched.origin)


def of_failure(error: ClearwayError, format: str | None, origin: str) -> Judged:
    """The same of a fetch that failed, where that condemns the list; else raises the error."""
    if error.id not in ABOUT_THE_LIST:
        raise error
    said = guard.failed(error, format=format)
    return _judged(said, format, origin)


def _judged(said: Judgement, format: str | None, origin: str) -> Judged:
    document = said.document()
    told = {key: document[key] for key in KEPT_OF_DOCUMENT}
    told |= {"alarms": document["alarms"][:TOLD_MAX], "held_back": document["held_back"][:TOLD_MAX]}
    told["malformed"] = [{"line": line, "text": text} for line, text in said.malformed[:TOLD_MAX]]
    if said.verdict == QUARANTINE:
        told["refusal"] = said.error(origin, INPUT if origin == INPUT_SHOWN else None).as_json()["error"]
    counts = {**said.counts, "v4_addresses": addresses_of(said.releasable.v4)}
    return Judged(said.format or format or "", said.releasable, dict(said.releasable_by_reason), counts, told)


def refusal(version: NewVersion) -> ClearwayError:
    """feeds.E024, for a new list that the guard condemns."""
    return ClearwayError.from_json({"error": version.judgement["refusal"]})


def context_of(
    state: StateDirectory, source: str, settings: FeedSettings | None, now: datetime, inside: Sequence[Prefix] = ()
) -> guard.Context:
    """What a list of that source would be judged by: as the list that has it, by its settings where none are given."""
    feed = Feed.objects.filter(source=source, removed_at__isnull=True).order_by("-id").first()
    if settings is None:
        settings = subscribe.settings_of(feed) if feed is not None else FeedSettings()
    return _context(state, inside, now, settings, feed.name if feed is not None else None)


def warm(state: StateDirectory, now: datetime) -> None:
    """Reads what lists are judged by, so that the first one waits for nothing."""
    context = _context(state, (), now, FeedSettings(), None)
    for wide in (False, True):
        context.protected.wanted(wide)
    context.protected.everywhere.touches(Prefix.parse("192.0.2.1"))


def _context(
    state: StateDirectory, inside: Sequence[Prefix], now: datetime, settings: FeedSettings, name: str | None
) -> guard.Context:
    ranges = shared_ranges.in_force(state)
    return guard.Context(
        settings=settings,
        last_good=_last_good(state, name) if name is not None else None,
        protected=protect.in_force(now, inside),
        shared=ranges.shared,
        shared_ranges=ranges,
        other_share=_other_share(state, name, now),
    )


def _last_good(state: StateDirectory, name: str) -> StoredEntries | None:
    newest = subscribe.newest(subscribe.active(name))
    with contextlib.suppress(ClearwayError):
        return files.open(state.feeds, newest.content, verify=False) if newest is not None else None
    return None


def _other_share(state: StateDirectory, name: str | None, now: datetime) -> int:
    """IPv4 addresses that other lists in force hold: each once, where they are so many that it matters."""
    others = {each.version_id: each for each in wanted.lists(now) if each.feed != name}
    rows = FeedVersion.objects.filter(pk__in=list(others)).values_list("content", "counts")
    known: int = sum(counts.get("v4_addresses", 0) for _, counts in rows)
    if known < SHARE_WATCHED * (1 << 32) or len(others) < 2:
        return known
    held = []
    for content, _ in rows:
        with contextlib.suppress(ClearwayError):
            held.append(files.open(state.feeds, content, verify=False).v4)
    return addresses_of(merged4(held))
