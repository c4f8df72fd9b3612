"""Lists from elsewhere, from source to snapshot: prepare (prepare.py), write the row, compile what is wanted.

Used by the daemon and by the command line without one. An update is judged whole before it counts; where it is
condemned the version before it stays in force until its own end. Imported after `store.setup`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from clearway.config import StateDirectory, storing
from clearway.errors import ClearwayError
from clearway.feeds import fetch, files
from clearway.feeds.feed_settings import FeedSettings
from clearway.policy import parts, snapshot
from clearway.policy.entries import StoredEntries, open_entries
from clearway.policy.model import Prefix, Reason, parse_word
from clearway.policy.name_table import NameEntry
from clearway.policy.shared_mask import CLOUD_HOST_LIFE
from clearway.policy.snapshot import LeftOut, Snapshot, SnapshotList
from clearway.store import (
    compile_lists,
    excluded,
    judge,
    list_names,
    quarantine,
    shared_ranges,
    subscribe,
    trouble,
    unused,
    versions,
    wanted,
)
from clearway.store.change import Change, ListHit, ListWanted, NameHit, NewVersion
from clearway.store.database import told
from clearway.store.models import Feed
from clearway.store.prepare import Progress, given, no_progress, or_later, prepare
from clearway.store.requests import FeedAddRequest, FeedRemoveRequest, FeedUpdateRequest, StoredContent

__all__ = ["prepare"]

HITS_MAX = 5
"""Entries within a prefix that are shown of one list."""
EARLY_PART, EARLY_MAX_S = 0.05, 300.0
"""A list is due so much before its --every: by chance somewhere within that it is fetched, and never later."""
NOT_RENEWED = ("store.E043", "store.E044")
"""What a source still gives and a person would have none of: told like a fetch that failed, until it gives another."""


@told
def add(
    state: StateDirectory,
    request: FeedAddRequest,
    now: datetime,
    actor: str,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Change:
    """A new list: prepare, then its rows. `request.stored` is taken where it is there.

    Raises what `prepare` does, store.E020, E029, policy.E004, E006; feeds.E024 where the guard condemns it: then
    nothing is stored.
    """
    subscribe.check_new(request)
    if request.stored is None:
        version, format = prepare(
            state, request.source, request.format, inside, progress, now=now, settings=request.settings
        )
    else:
        version = _given(state, request.stored, inside)
        format = request.format or ("domains" if version.counts.get("names") else "ip-plain")
    if version.quarantined:
        raise judge.refusal(version)
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

    Raises what `prepare` does, and store.E030; E040 where the guard condemns it: that is stored, and the version before
    stands until its own end; E043 and E044 where a person would have none of it before.
    """
    feed = subscribe.active(name)
    if request.stored is None:
        settings = subscribe.settings_of(feed)
        version, _ = prepare(
            state, feed.source, feed.format, inside, progress, now=now, settings=settings, name=feed.name
        )
    else:
        version = _given(state, request.stored, inside)
    if version.feed not in (None, feed.pk):  # removed while it was fetched, and another has its name now
        raise ClearwayError.of("store.E030", name=name)
    version = or_later(subscribe.newest(feed), version)
    try:
        versions.check_not_left(feed, version)
        if version.quarantined:
            taken = quarantine.taken_before(feed, version)
            if taken is None:
                quarantine.hold(name, version, now, actor)
            version = taken
    except ClearwayError as error:
        if error.id in NOT_RENEWED:
            trouble.failed(name, error, now, now + timedelta(seconds=feed.every_s) if feed.every_s else None)
        else:
            trouble.over(name)
        raise
    trouble.over(name)
    return subscribe.feed_version(name, version, now, actor)


@told
def remove(name: str, request: FeedRemoveRequest, now: datetime, actor: str) -> Change:
    """A list in force no longer. Raises store.E030."""
    return subscribe.feed_remove(name, now, actor, request.note)


@told
def source_of(name: str) -> tuple[str, str, FeedSettings]:
    """Source, format and settings of a list. Raises store.E030."""
    feed = subscribe.active(name)
    return feed.source, feed.format, subscribe.settings_of(feed)


class Due(NamedTuple):
    """A list that should be fetched."""

    name: str
    every_s: float
    server: str
    """Whom it is asked of: the source itself, where that is no URL."""


@told
def due(now: datetime) -> list[Due]:
    """Lists whose --every has passed since they were last fetched, or has so soon that chance may choose the moment."""
    found = []
    for feed in Feed.objects.filter(removed_at__isnull=True, every_s__isnull=False).order_by("name"):
        version = subscribe.newest(feed)
        every_s = feed.every_s or 0
        wait_s = every_s - min(every_s * EARLY_PART, EARLY_MAX_S)
        if version is None or (now - version.fetched_at).total_seconds() >= wait_s:
            server = urlsplit(feed.source).hostname if fetch.is_url(feed.source) else None
            found.append(Due(feed.name, float(every_s), server or feed.source))
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
        with ThreadPoolExecutor(1) as beside:
            reading = beside.submit(_current, state)  # hashed while the lists are
            opened = _opened(state, now, inside)
        usable = [(each, stored) for each, stored, _ in opened if stored is not None]
        lists = [_snapshot_list(each, now) for each, _ in usable]
        skipped = [
            LeftOut(each.feed, each.content, refusal.as_json()["error"]) for each, _, refusal in opened if refusal
        ]
        spared = _spared(state, [stored for _, stored in usable], now)
        lists += [each for each, _ in spared]
        current, shared = reading.result(), shared_ranges.in_force(state)
        if current is not None and compile_lists.is_of(current, lists, skipped, shared):
            path = current.path
        else:
            held = [*((each, stored) for each, (_, stored) in zip(lists, usable, strict=False)), *spared]
            path = compile_lists.write(state, held, current, created=now, left_out=skipped, shared=shared)
            state.adopt(path, state.snapshots / snapshot.CURRENT)
        unused.remove(state, now)
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
    for each in held.left_out if held is not None else ():
        if (each.name, each.content) in change.versions:
            raise not_enforced(change, each.refusal)


def not_enforced(change: Change, error: ClearwayError) -> ClearwayError:
    """store.E032, with what kept a stored decision out of the policy."""
    return ClearwayError.of("store.E032", decision=change.decision_id, why=error.message)


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


def _snapshot_list(each: ListWanted, now: datetime) -> SnapshotList:
    return SnapshotList(
        name=each.feed,
        reason=parse_word(Reason, each.reason),
        content=each.content,
        source=fetch.shown(each.source),
        since=each.fetched_at,
        until=each.until,
        observe=each.observe,
        cloud_hosts=now < each.fetched_at + CLOUD_HOST_LIFE,
    )


def _spared(
    state: StateDirectory, lists: Sequence[StoredEntries], now: datetime
) -> list[tuple[SnapshotList, StoredEntries]]:
    """The list of exceptions that keeps what is excluded out of these lists; none where nothing is."""
    live = excluded.live(now)
    if not live:
        return []
    exceptions = excluded.spared(live, lists)
    stored = files.store(state.feeds, exceptions, exceptions.names)
    state.adopt(stored.path)
    since, until = min(each.since for each in live), min(each.until for each in live)
    # The reason says nothing here: no packet falls to an exception.
    told = SnapshotList(excluded.LIST, Reason.MALWARE, stored.hash, excluded.key(live), since, until, exception=True)
    return [(told, stored)]


@told
def wanted_keys(now: datetime) -> set[tuple[str, str]]:
    """What a snapshot of what is wanted would have for `snapshot_keys`, were no list left out."""
    keys = {(each.feed, each.content) for each in wanted.lists(now)}
    live = excluded.live(now)
    return keys | ({(excluded.LIST, excluded.key(live))} if live else set())


def snapshot_keys(held: Snapshot | None) -> set[tuple[str, str]]:
    """Name and content of the lists in a snapshot; of what is excluded, which targets."""
    lists = held.lists if held is not None else ()
    return {(each.name, each.source if each.name == excluded.LIST else each.content) for each in lists}


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


def _given(state: StateDirectory, stored: StoredContent, inside: Sequence[Prefix]) -> NewVersion:
    """`given`, and held to what compiling would hold it to: feeds.E006."""
    version = given(state, stored)
    for content in () if version.quarantined else sorted(version.contents):
        _check_inside(open_entries(state.feeds / content, verify=False), inside, version.origin)
    return version


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
