"""Decisions about lists: taken, a new version, dropped. The entries themselves lie in feeds/ by content hash."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from clearway.config import FILE_LIFE, URL_EVERY
from clearway.errors import ClearwayError
from clearway.policy.model import Reason, check_terms, duration, parse_word, word
from clearway.store.change import Change, NewVersion, stamp
from clearway.store.database import told
from clearway.store.models import Decision, Feed, FeedVersion, Kind

if TYPE_CHECKING:
    from clearway.store.requests import FeedAddRequest

EVERY_MIN = timedelta(minutes=1)
"""No list is fetched more often."""


def public(source: str) -> str:
    """A source as it may be shown and written into rows that stay: fetch.shown. Only Feed.source has all of it."""
    if "://" not in source:
        return source
    from clearway.feeds.fetch import shown  # slow to import

    return shown(source)


def times(request: FeedAddRequest) -> tuple[timedelta | None, timedelta]:
    """How often it is fetched (None: when asked) and how long its entries live. Raises policy.E004, store.E020."""
    from clearway.feeds.fetch import is_url  # not needed for single entries, and slow to import

    every = duration(request.every) if request.every else None
    if every is None and is_url(request.source):
        every = duration(URL_EVERY.default)
    if every is not None and every < EVERY_MIN:
        raise ClearwayError.of("store.E020", field="every", detail="at least 1m", command="clearway feed add")
    if request.life:
        life = duration(request.life)
    else:
        life = 2 * every if every and is_url(request.source) else duration(FILE_LIFE.default)
    if every and life < every:
        detail = "shorter than --every: the list would run out before it is fetched again"
        raise ClearwayError.of("store.E020", field="life", detail=detail, command="clearway feed add")
    return every, life


def check_new(request: FeedAddRequest) -> Reason:
    """Whether the list could be taken, before anything is fetched. Raises store.E020, E029, policy.E004, E006."""
    reason = parse_word(Reason, request.reason)
    times(request)
    held = Feed.objects.filter(name=request.name, removed_at__isnull=True).first()
    if held:
        raise ClearwayError.of("store.E029", name=held.name, source=public(held.source))
    return reason


@told
def feed_add(request: FeedAddRequest, format: str, version: NewVersion, now: datetime, actor: str) -> Change:
    """A list and its first version. Raises store.E029 (the name is taken). lists.add does all of it."""
    every, life = times(request)
    from clearway.feeds.fetch import is_url

    source = request.source if is_url(request.source) else version.origin
    with transaction.atomic():
        reason = word(check_new(request))
        feed = Feed.objects.create(
            name=request.name,
            source=source,
            format=format,
            reason=reason,
            every_s=int(every.total_seconds()) if every else None,
            life_s=int(life.total_seconds()),
            added_at=now,
        )
        detail = {
            "source": public(source),
            "format": format,
            "every_s": feed.every_s,
            "life_s": feed.life_s,
        }
        _decision(Kind.FEED_ADD, feed, now, actor, detail=detail)
        row = _version(feed, version, now, actor)
    return Change(row.decision.pk, _answer(feed, row), base_changed=True)


@told
def feed_version(name: str, version: NewVersion, now: datetime, actor: str) -> Change:
    """A new version of a list. Raises store.E030 (no such list). lists.update does all of it.

    base_changed is False when its content is what was in force already: then only its life is longer.
    """
    with transaction.atomic():
        feed = active(name)
        before = FeedVersion.objects.filter(feed=feed).order_by("-id").first()
        row = _version(feed, version, now, actor)
    unchanged = before is not None and before.content == version.content and before.until > now
    return Change(row.decision.pk, _answer(feed, row) | {"unchanged": unchanged}, base_changed=not unchanged)


@told
def feed_remove(name: str, now: datetime, actor: str, note: str = "") -> Change:
    """Enforces a list no longer. Raises store.E030 (no such list)."""
    with transaction.atomic():
        feed = active(name)
        feed.removed_at = now
        feed.save(update_fields=["removed_at"])
        row = _decision(Kind.FEED_REMOVE, feed, now, actor, note=note)
    answer = {"decision": row.pk, "kind": row.kind, "at": stamp(now), "actor": row.actor, "feed": feed.name}
    return Change(row.pk, answer, base_changed=True)


def active(name: str) -> Feed:
    """The list of that name. Raises store.E030."""
    feed = Feed.objects.filter(name=name, removed_at__isnull=True).first()
    if feed is None:
        raise ClearwayError.of("store.E030", name=name)
    return feed


def _version(feed: Feed, version: NewVersion, now: datetime, actor: str) -> FeedVersion:
    end = now + timedelta(seconds=feed.life_s)
    check_terms(f"list {feed.name}", parse_word(Reason, feed.reason), now, end)
    detail = {"content": version.content, "counts": version.counts, "origin": version.origin}
    decision = _decision(Kind.FEED_VERSION, feed, now, actor, until=end, detail=detail)
    row = FeedVersion(
        feed=feed,
        decision=decision,
        content=version.content,
        fetched_at=now,
        until=end,
        counts=version.counts,
        origin=version.origin,
        etag=version.etag,
        last_modified=version.last_modified,
    )
    row.save()
    return row


def _decision(kind: Kind, feed: Feed, now: datetime, actor: str, **values: Any) -> Decision:
    row = Decision(at=now, actor=actor or "unknown", kind=kind.value, target=feed.name, reason=feed.reason, **values)
    row.save()
    return row


def _answer(feed: Feed, row: FeedVersion) -> dict[str, Any]:
    return {
        "decision": row.decision.pk,
        "kind": row.decision.kind,
        "at": stamp(row.fetched_at),
        "actor": row.decision.actor,
        "feed": feed.name,
        "reason": feed.reason,
        "source": public(feed.source),
        "format": feed.format,
        "content": row.content,
        "counts": row.counts,
        "until": stamp(row.until),
    }
