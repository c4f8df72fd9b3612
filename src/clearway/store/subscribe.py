"""Decisions about lists: taken, a new version, dropped, observed, set. The entries lie in feeds/ by content hash.

What the guard held back is decided about in quarantine.py, what was in force before in versions.py.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from clearway.config import FILE_LIFE, URL_EVERY
from clearway.errors import ClearwayError
from clearway.feeds.feed_settings import FeedSettings
from clearway.policy.model import Reason, check_terms, duration, parse_word, word
from clearway.store.change import Change, NewVersion, stamp
from clearway.store.database import told
from clearway.store.models import Decision, Feed, FeedVersion, Kind

if TYPE_CHECKING:
    from clearway.store.requests import FeedAddRequest

INPUT = "-"
"""The source of a list that came by standard input."""
EVERY_MIN = timedelta(minutes=1)
"""No list is fetched more often."""


def public(source: str) -> str:
    """A source as it may be shown and written into rows that stay: fetch.shown. Only Feed.source has all of it."""
    if "://" not in source:
        return source
    from clearway.feeds.fetch import shown  # slow to import

    return shown(source)


def settings_of(feed: Feed) -> FeedSettings:
    """What is set for it; what an older version of Clearway stored and this one does not know is passed over."""
    return FeedSettings.model_validate({k: v for k, v in feed.settings.items() if k in FeedSettings.model_fields})


def settings_document(settings: FeedSettings) -> dict[str, Any]:
    """As it is stored and shown: what is not as where nothing is set."""
    return settings.model_dump(mode="json", exclude_defaults=True)


def reasons_of(feed: Feed) -> str:
    """Its reason in its public word, or those of its table."""
    return feed.reason or ", ".join(sorted(set(settings_of(feed).reasons.values())))


def times(source: str, every_text: str | None, life_text: str | None) -> tuple[timedelta | None, timedelta]:
    """How often it is fetched (None: when asked) and how long its entries live. Raises policy.E004, store.E020."""
    from clearway.feeds.fetch import is_url  # not needed for single entries, and slow to import

    every = duration(every_text) if every_text else None
    if every is None and is_url(source):
        every = duration(URL_EVERY.default)
    if every is not None and every < EVERY_MIN:
        raise ClearwayError.of("store.E020", field="every", detail="at least 1m", command="feed add")
    otherwise = 2 * every if every and is_url(source) else duration(FILE_LIFE.default)
    life = duration(life_text) if life_text else otherwise
    if every and life < every:
        detail = "shorter than --every: the list would run out before it is fetched again"
        raise ClearwayError.of("store.E020", field="life", detail=detail, command="feed add")
    return every, life


def check_new(request: FeedAddRequest) -> None:
    """Whether the list could be taken, before anything is fetched. Raises store.E020, E029, policy.E004, E006."""
    if request.name == Kind.BLOCK:
        detail = f"{request.name} is what hits and events say of what was blocked by hand; take another name"
        raise ClearwayError.of("store.E020", field="name", detail=detail, command="feed add")
    if request.reason is not None:
        parse_word(Reason, request.reason)
    times(request.source, request.every, request.life)
    held = Feed.objects.filter(name=request.name, removed_at__isnull=True).first()
    if held:
        raise ClearwayError.of("store.E029", name=held.name, source=public(held.source))


@told
def feed_add(request: FeedAddRequest, format: str, version: NewVersion, now: datetime, actor: str) -> Change:
    """A list and its first version. Raises store.E029 (the name is taken). lists.add does all of it."""
    every, life = times(request.source, request.every, request.life)
    from clearway.feeds.fetch import is_url

    with transaction.atomic():
        check_new(request)
        feed = Feed.objects.create(
            name=request.name,
            source=request.source if is_url(request.source) or request.source == INPUT else version.origin,
            format=format,
            reason=word(parse_word(Reason, request.reason)) if request.reason else "",
            every_s=int(every.total_seconds()) if every else None,
            life_s=int(life.total_seconds()),
            added_at=now,
            settings=settings_document(request.settings),
            observe=request.observe,
        )
        detail = {
            "source": public(feed.source),
            "format": format,
            "every_s": feed.every_s,
            "life_s": feed.life_s,
            "settings": feed.settings,
            "observe": feed.observe,
        }
        decide(Kind.FEED_ADD, feed, now, actor, detail=detail)
        row = put_version(feed, version, now, actor)
    return Change(row.decision.pk, answer(feed, row), base_changed=True, versions=wanted_of(feed, row))


@told
def feed_version(name: str, version: NewVersion, now: datetime, actor: str) -> Change:
    """A new version of a list. Raises store.E030 (no such list). lists.update does all of it.

    base_changed is False when its content is what was in force already: then only its life is longer.
    """
    with transaction.atomic():
        feed = active(name)
        before = newest(feed)
        row = put_version(feed, version, now, actor)
    unchanged = before is not None and same(before, version) and before.until > now
    told = answer(feed, row) | {"unchanged": unchanged}
    return Change(row.decision.pk, told, base_changed=not unchanged, versions=wanted_of(feed, row))


@told
def feed_remove(name: str, now: datetime, actor: str, note: str = "") -> Change:
    """Enforces a list no longer. Raises store.E030 (no such list)."""
    with transaction.atomic():
        feed = active(name)
        feed.removed_at = now
        feed.save(update_fields=["removed_at"])
        row = decide(Kind.FEED_REMOVE, feed, now, actor, note=note)
    return Change(row.pk, about(feed, row), base_changed=True)


@told
def feed_observe(name: str, observe: bool, now: datetime, actor: str, note: str = "") -> Change:
    """Counts a list's hits and drops nothing, or enforces it from now on. Raises store.E030, E047 (so already)."""
    with transaction.atomic():
        feed = active(name)
        if feed.observe == observe:
            raise ClearwayError.of("store.E047", name=name, state="observed" if observe else "enforced")
        row = decide(Kind.FEED_OBSERVE if observe else Kind.FEED_ENFORCE, feed, now, actor, note=note)
        feed.observe = observe
        feed.save(update_fields=["observe"])
    return Change(row.pk, about(feed, row) | {"observe": observe}, base_changed=True)


def active(name: str) -> Feed:
    """The list of that name. Raises store.E030."""
    feed = Feed.objects.filter(name=name, removed_at__isnull=True).first()
    if feed is None:
        raise ClearwayError.of("store.E030", name=name)
    return feed


@told
def renewable() -> list[str]:
    """Names of all lists that can be fetched again, in order: those that came by standard input cannot."""
    feeds = Feed.objects.filter(removed_at__isnull=True).exclude(source=INPUT)
    return list(feeds.order_by("name").values_list("name", flat=True))


def newest(feed: Feed) -> FeedVersion | None:
    """Its newest version, whether or not it has run out."""
    found: FeedVersion | None = FeedVersion.objects.filter(feed=feed).order_by("-id").first()
    return found


def same(row: FeedVersion, version: NewVersion) -> bool:
    """Whether both hold the same entries for the same reasons."""
    return (row.content, row.parts) == (version.content, version.parts)


def wanted_of(feed: Feed, row: FeedVersion) -> tuple[tuple[str, str], ...]:
    """Name and content of what is wanted of it while this is its newest version."""
    return tuple((feed.name, content) for content in (row.parts.values() if row.parts else (row.content,)))


def put_version(
    feed: Feed,
    version: NewVersion,
    now: datetime,
    actor: str,
    fetched_at: datetime | None = None,
    decision: Decision | None = None,
) -> FeedVersion:
    """The newest version from now on, for the list's life. `decision`: the one it follows from, where one is made
    already. Within a transaction."""
    end = now + timedelta(seconds=feed.life_s)
    for reason in version.parts or (feed.reason,):
        check_terms(f"list {feed.name}", parse_word(Reason, reason), now, end)
    before = newest(feed)
    if decision is None:
        detail = {"content": version.content, "counts": version.counts, "origin": version.origin}
        if version.parts:
            detail["parts"] = version.parts
        if version.judgement.get("rejected"):
            detail["rejected"] = version.judgement["rejected"]
        decision = decide(Kind.FEED_VERSION, feed, now, actor, until=end, detail=detail)
    row = FeedVersion(
        feed=feed,
        decision=decision,
        content=version.content,
        fetched_at=fetched_at or now,
        until=end,
        counts=version.counts,
        origin=version.origin,
        etag=version.etag,
        last_modified=version.last_modified,
        parts=version.parts,
        judgement=version.judgement,
        first=(before.first or before.decision_id) if before is not None and same(before, version) else decision.pk,
    )
    row.save()
    return row


def decide(kind: Kind, feed: Feed, now: datetime, actor: str, **values: Any) -> Decision:
    """A decision about a list, stored. Within the transaction of what follows from it."""
    row = Decision(at=now, actor=actor or "unknown", kind=kind.value, target=feed.name, reason=feed.reason, **values)
    row.save()
    return row


def about(feed: Feed, row: Decision) -> dict[str, Any]:
    """What the person is told of any decision about a list."""
    told = {"decision": row.pk, "kind": row.kind, "at": stamp(row.at), "actor": row.actor, "feed": feed.name}
    return told | ({"note": row.note} if row.note else {})


def answer(feed: Feed, row: FeedVersion) -> dict[str, Any]:
    """What the person is told of a new version."""
    judgement = row.judgement
    return {
        **about(feed, row.decision),
        "reason": reasons_of(feed),
        "source": public(feed.source),
        "format": feed.format,
        "content": row.content,
        "parts": row.parts,
        "counts": row.counts,
        "until": stamp(row.until),
        "observe": feed.observe,
        "verdict": judgement.get("verdict"),
        "rejected": judgement.get("rejected", {}),
        "held_back": judgement.get("held_back", []),
        "alarms": judgement.get("alarms", []),
        "first_load": judgement.get("first_load"),
    }
