"""Lists from elsewhere, from source to snapshot: fetch, read, keep the arrays, write the row, compile what is wanted.

Used by the daemon and by the command line without one. A list is taken whole or refused whole, and the one before it
stays in force until its own end. Imported after `store.setup`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from clearway.config import StateDirectory, storing
from clearway.errors import ClearwayError
from clearway.feeds import fetch, files, formats
from clearway.policy import parts, snapshot
from clearway.policy.compile import compile_base
from clearway.policy.entries import StoredEntries, open_entries
from clearway.policy.model import Prefix, Reason, parse_word
from clearway.policy.snapshot import SnapshotList
from clearway.store import subscribe, wanted
from clearway.store.change import Change, ListHit, ListWanted, NewVersion
from clearway.store.database import told
from clearway.store.models import Feed, FeedVersion
from clearway.store.requests import FeedAddRequest, FeedRemoveRequest, FeedUpdateRequest, StoredContent

Progress = Callable[[str, int, int | None], None]
"""Told (step, done, total): "fetch" in bytes (total None when unknown); "read", "store", "compile": 0 of 1, 1 of 1."""

HITS_MAX = 5
"""Entries within a prefix that are shown of one list."""
UNUSED_KEPT_S = 3600
"""Entries that no list names stay so long: somebody may be about to write their row."""


def no_progress(step: str, done: int, total: int | None) -> None:
    """Tells nobody."""


@told
def prepare(
    state: StateDirectory,
    source: str,
    format: str | None,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> tuple[NewVersion, str]:
    """Fetches `source`, reads it whole, keeps its entries in feeds/. The version, and the format found. Writes no row.

    A server is asked for news only where entries of that URL are held. Raises feeds.E001 to E013, store.E002, E003.
    """
    known = _known(state, source)
    fetched = fetch.fetch(
        source,
        etag=known.etag if known else "",
        last_modified=known.last_modified if known else "",
        progress=lambda done, total: progress("fetch", done, total),
    )
    if known and fetched.unchanged:
        stored = files.open(state.feeds, known.content)
        _check_inside(stored, inside, fetched.origin)
        counts, found = known.counts, known.feed.format
    else:
        progress("read", 0, 1)
        parsed = formats.read(fetched.data, format, forbidden=inside, origin=fetched.origin)
        progress("read", 1, 1)
        progress("store", 0, 1)
        with storing(state.path):
            stored = files.store(state.feeds, parsed)
        counts, found = parsed.counts, parsed.format
    with storing(state.path):
        os.utime(stored.path)  # counts from now as unused, should nobody write its row
    state.adopt(stored.path)
    progress("store", 1, 1)
    version = NewVersion(stored.hash, dict(counts), fetched.origin, fetched.etag, fetched.last_modified)
    return version, found


@told
def add(
    state: StateDirectory,
    request: FeedAddRequest,
    now: datetime,
    actor: str,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Change:
    """A new list: prepare, then its rows. `request.stored` is checked and taken where it is there.

    Raises what `prepare` does, and store.E020, E029, policy.E004, E006.
    """
    subscribe.check_new(request)
    if request.stored is None:
        version, format = prepare(state, request.source, request.format, inside, progress)
    else:
        version = _given(state, request.stored, inside)
        format = request.format or next(iter(formats.READERS))
    return subscribe.feed_add(request, format, version, now, actor)


@told
def update(
    state: StateDirectory,
    name: str,
    request: FeedUpdateRequest,
    now: datetime,
    actor: str,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Change:
    """A list fetched again: prepare, then its row; base_changed is False when its content was in force already.

    Raises what `prepare` does, and store.E030.
    """
    feed = subscribe.active(name)
    if request.stored is None:
        version, _ = prepare(state, feed.source, feed.format, inside, progress)
    else:
        version = _given(state, request.stored, inside)
    return subscribe.feed_version(name, version, now, actor)


@told
def remove(name: str, request: FeedRemoveRequest, now: datetime, actor: str) -> Change:
    """A list in force no longer. Raises store.E030."""
    return subscribe.feed_remove(name, now, actor, request.note)


@told
def source_of(name: str) -> tuple[str, str]:
    """Source and format of a list. Raises store.E030."""
    feed = subscribe.active(name)
    return feed.source, feed.format


@told
def due(now: datetime) -> list[tuple[str, float]]:
    """Lists whose --every has passed since they were last fetched: name, and --every in seconds."""
    found = []
    for feed in Feed.objects.filter(removed_at__isnull=True, every_s__isnull=False).order_by("name"):
        version = FeedVersion.objects.filter(feed=feed).order_by("-id").first()
        every_s = feed.every_s or 0
        if version is None or (now - version.fetched_at).total_seconds() >= every_s:
            found.append((feed.name, float(every_s)))
    return found


@told
def compile_wanted(
    state: StateDirectory,
    now: datetime,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Path:
    """Compiles the lists in force to a snapshot that becomes `current`; its folder. Same lists: the one there is.

    Lists that `left_out` names are not in it. Raises store.E002, E003, E012: then what was current still is.
    """
    progress("compile", 0, 1)
    with state.alone("compile.lock"), storing(state.path):
        usable = [(each, stored) for each, stored, refusal in _opened(state, now, inside, verify=True) if not refusal]
        lists = [_snapshot_list(each) for each, _ in usable]
        path = _current(state, lists)
        if path is None:
            compiled = compile_base(
                [
                    stored.entries(each.name, each.reason)
                    for each, (_, stored) in zip(lists, usable, strict=True)
                    if stored
                ]
            )
            path = snapshot.write(state.snapshots, compiled, lists, created=now)
            state.adopt(path, state.snapshots / snapshot.CURRENT)
        _sweep(state, now)
    progress("compile", 1, 1)
    return path


@told
def left_out(state: StateDirectory, now: datetime, inside: Sequence[Prefix] = ()) -> list[tuple[str, ClearwayError]]:
    """Lists in force that cannot be enforced, with why: damaged entries, or one that covers an inside prefix."""
    opened = _opened(state, now, inside, verify=False)
    return [(each.feed, refusal) for each, _, refusal in opened if refusal is not None]


@told
def usable(
    state: StateDirectory, now: datetime, inside: Sequence[Prefix] = ()
) -> list[tuple[ListWanted, StoredEntries]]:
    """Lists in force with their entries, but for those that `left_out` names."""
    opened = _opened(state, now, inside, verify=False)
    return [(each, stored) for each, stored, _ in opened if stored is not None]


@told
def holders(state: StateDirectory, prefix: Prefix, now: datetime) -> list[ListHit]:
    """Entries of lists in force that touch `prefix`: those that cover it, longest first, then those within it.

    Of each list at most HITS_MAX within. Raises feeds.E014 where the entries of a list are missing.
    """
    covering: list[ListHit] = []
    within: list[ListHit] = []
    for each in wanted.lists(now):
        stored = open_entries(state.feeds / each.content, verify=False)
        covering += [_hit(each, entry) for entry in stored.covering(prefix)]
        within += [_hit(each, entry) for entry in stored.within(prefix, HITS_MAX)]
    return [*sorted(covering, key=lambda hit: (-hit.prefix.length, hit.feed)), *within]


def _hit(each: ListWanted, entry: Prefix) -> ListHit:
    source = fetch.without_credentials(each.source)
    return ListHit(each.feed, each.reason, entry, each.fetched_at, each.until, source, each.decision_id)


def _snapshot_list(each: ListWanted) -> SnapshotList:
    return SnapshotList(
        name=each.feed,
        reason=parse_word(Reason, each.reason),
        content=each.content,
        source=fetch.without_credentials(each.source),
        since=each.fetched_at,
        until=each.until,
    )


def _opened(
    state: StateDirectory, now: datetime, inside: Sequence[Prefix], *, verify: bool
) -> list[tuple[ListWanted, StoredEntries | None, ClearwayError | None]]:
    """Each list in force with its entries, or with why it cannot be enforced."""
    opened: list[tuple[ListWanted, StoredEntries | None, ClearwayError | None]] = []
    for each in wanted.lists(now):
        try:
            stored = open_entries(state.feeds / each.content, verify=verify)
            _check_inside(stored, inside, f"list {each.feed}")
        except ClearwayError as refusal:
            opened.append((each, None, refusal))
        else:
            opened.append((each, stored, None))
    return opened


def _current(state: StateDirectory, lists: Sequence[SnapshotList]) -> Path | None:
    """The current snapshot, where it is whole and of exactly these contents."""
    with contextlib.suppress(ClearwayError):
        current = snapshot.load(state.snapshots / snapshot.CURRENT)
        held = [(each.name, each.reason, each.content) for each in current.lists]
        if held == [(each.name, each.reason, each.content) for each in lists]:
            return current.path
    return None


def _known(state: StateDirectory, source: str) -> FeedVersion | None:
    """The newest version of that URL whose entries are still held."""
    if not fetch.is_url(source):
        return None
    versions = FeedVersion.objects.filter(feed__source=source, feed__removed_at__isnull=True)
    newest: FeedVersion | None = versions.select_related("feed").order_by("-id").first()
    if newest is None or not (newest.etag or newest.last_modified):
        return None
    with contextlib.suppress(ClearwayError):
        files.open(state.feeds, newest.content)
        return newest
    return None


def _given(state: StateDirectory, given: StoredContent, inside: Sequence[Prefix]) -> NewVersion:
    """What the caller says it stored, held to the rules that `formats.read` holds a list to."""
    stored = files.open(state.feeds, given.content)
    for version, lengths in stored.lengths.items():
        if lengths and min(lengths) < formats.LENGTH_MIN[version]:
            widest = f"a /{min(lengths)}"
            limit = formats.LENGTH_MIN[version]
            raise ClearwayError.of("feeds.E005", origin=given.origin, prefix=widest, limit=limit)
    _check_inside(stored, inside, given.origin)
    counts = {**given.counts, "v4": len(stored.v4), "v6": len(stored.v6)}
    return NewVersion(stored.hash, counts, given.origin, given.etag, given.last_modified)


def _check_inside(stored: StoredEntries, inside: Sequence[Prefix], origin: str) -> None:
    for prefix in inside:
        for entry in stored.covering(prefix):
            raise ClearwayError.of("feeds.E006", origin=origin, prefix=entry, inside=prefix)


def _sweep(state: StateDirectory, now: datetime) -> None:
    """Removes entries that neither a list in force nor a kept snapshot names, and what a crash left half written."""
    keep = {each.content for each in wanted.lists(now)}
    for folder in state.snapshots.glob("*Z-*"):
        with contextlib.suppress(parts.Damaged):
            keep |= {each["content"] for each in parts.read_manifest(folder)[0]["lists"]}
    oldest = time.time() - UNUSED_KEPT_S
    for path in state.feeds.iterdir():
        if path.name not in keep and path.stat().st_mtime < oldest:
            shutil.rmtree(path, ignore_errors=True)
