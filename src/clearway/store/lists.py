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
from clearway.policy import name_limits, parts, snapshot
from clearway.policy.entries import StoredEntries, open_entries
from clearway.policy.model import Prefix, Reason, parse_word
from clearway.policy.name_table import NameEntry
from clearway.policy.snapshot import LeftOut, Snapshot, SnapshotList
from clearway.store import compile_lists, list_names, subscribe, wanted
from clearway.store.change import Change, ListHit, ListWanted, NameHit, NewVersion
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

    A server is asked for news only where entries of that URL are held. Raises feeds.E001 to E023, store.E002, E003.
    """
    known = _known(state, source, format)
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
            stored = files.store(state.feeds, parsed, parsed.names)
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
        format = request.format or ("domains" if version.counts["names"] else "ip-plain")
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

    Lists that are damaged or cover the inside are left out; it names them, and `left_out` reads that. Raises
    store.E002, E003, E012: then what was current still is.
    """
    progress("compile", 0, 1)
    with state.alone("compile.lock"), storing(state.path):
        opened = _opened(state, now, inside)
        usable = [(each, stored) for each, stored, _ in opened if stored is not None]
        lists = [_snapshot_list(each) for each, _ in usable]
        skipped = [
            LeftOut(each.feed, each.content, refusal.as_json()["error"]) for each, _, refusal in opened if refusal
        ]
        current = _current(state)
        if current is not None and compile_lists.is_of(current, lists, skipped):
            path = current.path
        else:
            held = [(each, stored) for each, (_, stored) in zip(lists, usable, strict=True)]
            path = compile_lists.write(state, held, current, created=now, left_out=skipped)
            state.adopt(path, state.snapshots / snapshot.CURRENT)
        _sweep(state, now)
    progress("compile", 1, 1)
    return path


@told
def enforce(
    state: StateDirectory,
    change: Change,
    now: datetime,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Change:
    """Compiles after a decision about lists; `change` again. Raises store.E032: the row stands, the policy is the old.

    For the command line without a gateway; the daemon compiles in a process of its own.
    """
    try:
        held = snapshot.load(compile_wanted(state, now, inside, progress))
    except ClearwayError as error:
        raise not_enforced(change, error) from error
    check_taken(change, held)
    return change


def check_taken(change: Change, held: Snapshot | None) -> None:
    """Raises store.E032 where the version of a list that was stored is one that the snapshot had to leave out."""
    version = (change.answer.get("feed"), change.answer.get("content"))
    for each in held.left_out if held is not None else ():
        if (each.name, each.content) == version:
            raise not_enforced(change, each.refusal)


def not_enforced(change: Change, error: ClearwayError) -> ClearwayError:
    """store.E032, with what kept a stored decision out of the policy."""
    return ClearwayError.of("store.E032", decision=change.decision_id, why=error)


@told
def left_out(
    state: StateDirectory, now: datetime, inside: Sequence[Prefix] = (), held: Snapshot | None = None
) -> list[tuple[str, ClearwayError]]:
    """Lists in force that are not enforced, with why. `held`: the snapshot in the kernel; None: the current one.

    What is damaged was found when it was compiled, and stands in the snapshot: here nothing is judged a second time.
    """
    compiled, refused = _record(state) if held is None else _record_of(held.lists, held.left_out)
    found: list[tuple[str, ClearwayError]] = []
    for each in wanted.lists(now):
        key = (each.feed, each.content)
        if key in refused:
            found.append((each.feed, refused[key]))
        elif key not in compiled:
            found.append((each.feed, ClearwayError.of("store.E033", name=each.feed)))
        elif held is None:  # a prefix may have become an inside one since; in a running gateway none does
            with contextlib.suppress(ClearwayError):
                stored = open_entries(state.feeds / each.content, verify=False)
                covered = _refusal(stored, inside, f"list {each.feed}")
                found += [(each.feed, covered)] if covered else []
    return found


@told
def unreadable(state: StateDirectory, now: datetime) -> list[tuple[ListWanted, ClearwayError]]:
    """Lists in force whose entries cannot be opened, with why. What was compiled of them before is enforced on."""
    return [(each, stored) for each, stored in readable(state, now) if isinstance(stored, ClearwayError)]


@told
def usable(
    state: StateDirectory, now: datetime, inside: Sequence[Prefix] = ()
) -> list[tuple[ListWanted, StoredEntries]]:
    """Lists in force with their entries, but for those that `left_out` or `unreadable` names."""
    refused = {name for name, _ in left_out(state, now, inside)}
    return [
        (each, stored)
        for each, stored in readable(state, now)
        if not isinstance(stored, ClearwayError) and each.feed not in refused
    ]


@told
def holders(state: StateDirectory, prefix: Prefix, now: datetime) -> list[ListHit]:
    """Entries of lists in force that touch `prefix`: those that cover it, longest first, then those within it.

    Of each list at most HITS_MAX within. Lists that `unreadable` names are passed over: what they hold is not known.
    """
    covering: list[ListHit] = []
    within: list[ListHit] = []
    for each, stored in readable(state, now):
        if not isinstance(stored, ClearwayError):
            covering += [_hit(each, entry) for entry in stored.covering(prefix)]
            with contextlib.suppress(ClearwayError):
                within += [_hit(each, entry) for entry in stored.within(prefix, HITS_MAX)]
    return [*sorted(covering, key=lambda hit: (-hit.prefix.length, hit.feed)), *within]


@told
def name_holders(state: StateDirectory, entry: NameEntry, now: datetime) -> list[NameHit]:
    """The same for a name, and for what is below it where the entry reaches there."""
    opened = [(each, stored) for each, stored in readable(state, now) if not isinstance(stored, ClearwayError)]
    return list_names.holders(entry, opened)


def readable(state: StateDirectory, now: datetime) -> list[tuple[ListWanted, StoredEntries | ClearwayError]]:
    """Each list in force with its entries, or with why they cannot be opened or were found damaged when compiled."""
    _, refused = _record(state)
    found: list[tuple[ListWanted, StoredEntries | ClearwayError]] = []
    for each in wanted.lists(now):
        refusal = refused.get((each.feed, each.content))
        if refusal is not None and refusal.id == "feeds.E014":
            found.append((each, refusal))
            continue
        try:
            found.append((each, open_entries(state.feeds / each.content, verify=False)))
        except ClearwayError as error:
            found.append((each, error))
    return found


Record = tuple[set[tuple[str, str]], dict[tuple[str, str], ClearwayError]]
"""Name and content of the lists in a snapshot, and why of those that were left out."""


def _record(state: StateDirectory) -> Record:
    """Of the current snapshot, its parts unread; empty where there is none."""
    try:
        document, _ = parts.read_manifest(state.snapshots / snapshot.CURRENT)
        compiled = {(each["name"], each["content"]) for each in document["lists"]}
        left = [LeftOut(**each) for each in document.get("left_out", ())]
        return compiled, {(each.name, each.content): each.refusal for each in left}
    except (parts.Damaged, KeyError, TypeError):
        return set(), {}


def _record_of(lists: Sequence[SnapshotList], left: Sequence[LeftOut]) -> Record:
    return {(each.name, each.content) for each in lists}, {(each.name, each.content): each.refusal for each in left}


def _hit(each: ListWanted, entry: Prefix) -> ListHit:
    source = fetch.shown(each.source)
    return ListHit(each.feed, each.reason, entry, each.fetched_at, each.until, source, each.decision_id)


def _snapshot_list(each: ListWanted) -> SnapshotList:
    return SnapshotList(
        name=each.feed,
        reason=parse_word(Reason, each.reason),
        content=each.content,
        source=fetch.shown(each.source),
        since=each.fetched_at,
        until=each.until,
    )


def _opened(
    state: StateDirectory, now: datetime, inside: Sequence[Prefix]
) -> list[tuple[ListWanted, StoredEntries | None, ClearwayError | None]]:
    """Each list in force with its entries, every byte of them checked, or with why it cannot be enforced."""
    opened: list[tuple[ListWanted, StoredEntries | None, ClearwayError | None]] = []
    for each in wanted.lists(now):
        try:
            stored = open_entries(state.feeds / each.content)
            _check_inside(stored, inside, f"list {each.feed}")
        except ClearwayError as refusal:
            opened.append((each, None, refusal))
        else:
            opened.append((each, stored, None))
    return opened


def _current(state: StateDirectory) -> Snapshot | None:
    """The current snapshot, where it is whole."""
    with contextlib.suppress(ClearwayError):
        return snapshot.load(state.snapshots / snapshot.CURRENT)
    return None


def _known(state: StateDirectory, source: str, format: str | None) -> FeedVersion | None:
    """The newest version of that URL, read in that format (None: any), whose entries are still held."""
    if not fetch.is_url(source):
        return None
    versions = FeedVersion.objects.filter(feed__source=source, feed__removed_at__isnull=True)
    if format is not None:
        versions = versions.filter(feed__format=format)
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
    name_limits.check_list(stored.names, given.origin)
    names = sum(stored.names.counts().values())
    counts = {**given.counts, "v4": len(stored.v4), "v6": len(stored.v6), "names": names}
    return NewVersion(stored.hash, counts, fetch.shown(given.origin), given.etag, given.last_modified)


def _check_inside(stored: StoredEntries, inside: Sequence[Prefix], origin: str) -> None:
    refusal = _refusal(stored, inside, origin)
    if refusal is not None:
        raise refusal


def _refusal(stored: StoredEntries, inside: Sequence[Prefix], origin: str) -> ClearwayError | None:
    """feeds.E006, where an entry covers a prefix of `inside`."""
    for prefix in inside:
        for entry in stored.covering(prefix):
            return ClearwayError.of("feeds.E006", origin=origin, prefix=entry, inside=prefix)
    return None


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
