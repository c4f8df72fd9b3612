"""A list's bytes on their way to a version: fetched, judged by the guard, its entries kept in feeds/. Writes no row.

What the guard condemns is kept too, where there is something to keep, so that a person may release it; nothing of it
is enforced meanwhile. Imported after `store.setup`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from clearway.boot_clock import boot_id, boot_ns
from clearway.config import StateDirectory, storing
from clearway.errors import ClearwayError
from clearway.feeds import fetch, files, guard_rules
from clearway.feeds.feed_settings import FeedSettings
from clearway.feeds.readers import stix, table
from clearway.feeds.readers.content import Entries
from clearway.policy import parts, snapshot
from clearway.policy.model import Prefix
from clearway.store import judge, protect
from clearway.store.change import NewVersion
from clearway.store.database import told
from clearway.store.models import Feed, FeedVersion
from clearway.store.requests import StoredContent

Progress = Callable[[str, int, int | None], None]
"""Told (step, done, total): "fetch" in bytes (total None when unknown); "read", "store", "compile": 0 of 1, 1 of 1."""


def no_progress(step: str, done: int, total: int | None) -> None:
    """Tells nobody."""


@told
def prepare(
    state: StateDirectory,
    source: str,
    format: str | None,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
    *,
    now: datetime,
    settings: FeedSettings | None = None,
    name: str | None = None,
) -> tuple[NewVersion, str]:
    """Fetches `source`, has it judged, keeps its entries. The version, `quarantined` or not, and the format found.

    `name`: the list that it is of, None for a new one. A server is asked for news only where entries of that URL are
    held, read by the same settings and judged by the same protected set. Raises feeds.E001 to E033, store.E002, E003,
    E030 (no list of that name has that source any more).
    """
    settings = settings or FeedSettings()
    feed = _list_of(name, source) if name is not None else None
    if name is not None and feed is None:  # removed before its turn came, and another may have its name
        raise ClearwayError.of("store.E030", name=name)
    known = _known(state, source, format, settings, name)
    protected_by = protect.in_one_word(now, inside)
    if known and (known.judgement.get("protected_by") != protected_by or _is_old_by_now(known, settings, now)):
        known = None
    asked = _moment()
    try:
        fetched = fetch.fetch(
            source,
            etag=known.etag if known else "",
            last_modified=known.last_modified if known else "",
            progress=lambda done, total: progress("fetch", done, total),
            **judge.asked_of_source(state, settings),
        )
    except ClearwayError as error:
        failed = judge.of_failure(error, format, fetch.shown(source))
        return NewVersion("", failed.counts, fetch.shown(source), judgement=failed.document, feed=feed), failed.format
    if fetched.kept is not None:
        state.adopt(fetched.kept)
    if known and fetched.unchanged:
        progress("store", 1, 1)
        _keep_fresh(state, {known.content, *known.parts.values()})
        return _again(known, fetched, asked, feed), known.feed.format
    progress("read", 0, 1)
    judged = judge.judge(state, fetched, format, inside, now=now, settings=settings, name=name)
    progress("read", 1, 1)
    progress("store", 0, 1)
    with storing(state.path):
        content = _store(state, judged.kept) if judged.holds else ""
        by_reason = {reason: _store(state, entries) for reason, entries in judged.by_reason.items()}
    version = NewVersion(
        content,
        judged.counts,
        fetched.origin,
        fetched.etag,
        fetched.last_modified,
        by_reason,
        fetched.sha256,
        {**judged.document, "read_as": read_as(settings, judged.format), "protected_by": protected_by, "asked": asked},
        feed,
    )
    _keep_fresh(state, version.contents)
    progress("store", 1, 1)
    return version, judged.format


def _again(known: FeedVersion, fetched: fetch.Fetched, asked: list[str | int], feed: int | None) -> NewVersion:
    """What is held, of which the server said that it has nothing newer."""
    return NewVersion(
        known.content,
        dict(known.counts),
        fetched.origin,
        fetched.etag,
        fetched.last_modified,
        dict(known.parts),
        "",
        {**known.judgement, "asked": asked},
        feed,
    )


def _moment() -> list[str | int]:
    """Now, for `asked` of a judgement: which start of the machine, and how long ago that was, in ns."""
    return [boot_id(), boot_ns()]


def _asked_ns(judgement: dict[str, Any]) -> int | None:
    """When its source was asked, in this start of the machine. None: in another, by nobody, or never yet."""
    match judgement.get("asked"):
        case [str(boot), int(at_ns)] if boot == boot_id() and at_ns <= boot_ns():
            return at_ns
    return None


def or_later(newest: FeedVersion | None, version: NewVersion) -> NewVersion:
    """What was asked for later, and is there already: a source that drips may have begun to before it changed."""
    its, ours = (_asked_ns(newest.judgement) if newest else None), _asked_ns(version.judgement)
    if newest is None or its is None or ours is None or its <= ours:
        return version
    return NewVersion(
        newest.content,
        dict(newest.counts),
        newest.origin,
        newest.etag,
        newest.last_modified,
        dict(newest.parts),
        "",
        dict(newest.judgement),
    )


def _store(state: StateDirectory, entries: Entries) -> str:
    return files.store(state.feeds, entries, entries.names, entries.excepted).hash


def read_as(settings: FeedSettings, format: str) -> str:
    """What of the settings decides how bytes are read and judged, in one word: by others they are read anew."""
    said = settings.model_dump(mode="json", include={"thresholds", "reasons", "sha256", "wide", "declared_count"})
    return hashlib.sha256(json.dumps([format, said], sort_keys=True).encode()).hexdigest()[:16]


def given(state: StateDirectory, stored: StoredContent) -> NewVersion:
    """What the caller says it fetched, judged and stored; its entries must be there. Raises feeds.E014, store.E020."""
    if "verdict" not in stored.judgement:
        raise ClearwayError.of("store.E020", field="stored.judgement", detail="nobody judged it", command="feed")
    counts = dict(stored.counts)
    if stored.content:
        entries = files.open(state.feeds, stored.content, verify=False)
        counts |= {"v4": len(entries.v4), "v6": len(entries.v6)}
    for content in stored.parts.values():
        files.open(state.feeds, content, verify=False)
    return NewVersion(
        stored.content,
        counts,
        fetch.shown(stored.origin),
        stored.etag,
        stored.last_modified,
        dict(stored.parts),
        stored.sha256,
        dict(stored.judgement),
        stored.feed,
    )


def _list_of(name: str, source: str) -> int | None:
    """The list of that name and source; None where it has another by now, or is gone."""
    rows = Feed.objects.filter(name=name, source=source, removed_at__isnull=True)
    found: int | None = rows.values_list("pk", flat=True).first()
    return found


def _known(
    state: StateDirectory, source: str, format: str | None, settings: FeedSettings, name: str | None
) -> FeedVersion | None:
    """The newest version of that source, read in that format (None: any) and by the same settings, that is held."""
    found = FeedVersion.objects.filter(feed__source=source, feed__removed_at__isnull=True)
    if format is not None:
        found = found.filter(feed__format=format)
    if name is not None:
        found = found.filter(feed__name=name)
    newest: FeedVersion | None = found.select_related("feed").order_by("-id").first()
    if newest is None or not (newest.etag or newest.last_modified):
        return None
    if newest.judgement.get("read_as") != read_as(settings, newest.feed.format):
        return None
    contents = {newest.content, *newest.parts.values()}
    if contents & _damaged(state):
        return None
    with contextlib.suppress(ClearwayError):
        for content in contents:
            files.open(state.feeds, content, verify=False)
        return newest
    return None


def _is_old_by_now(version: FeedVersion, settings: FeedSettings, now: datetime) -> bool:
    """Whether time alone may have changed what there is to say of it: it is read again, whatever its server says."""
    if table.reader_of(version.feed.format).read is stix.stix:  # its indicators end one by one
        return True
    published = version.judgement.get("published")
    if not published:
        return False
    days = guard_rules.checked(settings.thresholds, version.feed.format)["age_days"]
    return now - datetime.fromisoformat(published) > timedelta(days=days)


def _damaged(state: StateDirectory) -> set[str]:
    """Contents that were found damaged when the current snapshot was compiled: to read every byte for each fetch that
    brings no news would cost more than the fetch."""
    with contextlib.suppress(parts.Damaged, KeyError, TypeError):
        document, _ = parts.read_manifest(state.snapshots / snapshot.CURRENT)
        return {each["content"] for each in document.get("left_out", ())}
    return set()


def _keep_fresh(state: StateDirectory, contents: set[str]) -> None:
    """Counts from now as unused, should nobody write their row."""
    with storing(state.path):
        for content in contents:
            parts.keep_fresh(state.feeds / content)
    state.adopt(*(state.feeds / content for content in contents))
