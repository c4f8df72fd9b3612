"""What the guard kept out of a list, and what a person says of it: released, or discarded. Decided, then done.

A row is written when a list is condemned, once for the same bytes and the same rule; it waits until somebody decides,
or until a later fetch brings a version that is taken. The version before it stands until its own end. What was released
is taken when the source gives it again; what was discarded is not, and no alarm is raised a second time. Imported after
`store.setup`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

from django.db import transaction

from clearway.errors import ClearwayError
from clearway.store.change import Change, NewVersion, stamp
from clearway.store.database import told
from clearway.store.models import Decision, Feed, FeedVersion, Kind, Quarantine
from clearway.store.subscribe import about, active, answer, decide, newest, public, put_version, same, wanted_of
from clearway.store.versions import until_text

WAITS, RELEASED, DISCARDED, PASSED = "waits", "released", "discarded", "passed"
"""How a row stands; passed: a later version was taken."""
DECIDED = {Kind.FEED_RELEASE: RELEASED, Kind.FEED_DISCARD: DISCARDED}


def taken_before(feed: Feed, version: NewVersion) -> NewVersion | None:
    """The version as it may be taken, where a person released these very entries from all that condemns them."""
    standing = newest(feed)
    released = set(standing.judgement.get("released", ())) if standing is not None else set()
    if standing is None or not same(standing, version) or not released >= set(_condemning(version.judgement)):
        return None
    return _released(version, sorted(released))


def _condemning(judgement: dict[str, Any]) -> list[str]:
    """The rules that condemn it whole."""
    return [str(finding["rule"]) for finding in judgement.get("findings", ())]


def _released(version: NewVersion, rules: list[str]) -> NewVersion:
    return replace(version, judgement={**version.judgement, "verdict": "accept-with-rejects", "released": rules})


@told
def hold(name: str, version: NewVersion, now: datetime, actor: str) -> NoReturn:
    """Keeps a condemned version apart. Raises store.E030, E040; E044 where the same was discarded before."""
    rule = str(version.judgement.get("rule") or "")
    with transaction.atomic():
        feed = active(name)
        row, state, by = _newest(feed)
        known = row is not None and (row.sha256, row.judgement.get("rule")) == (version.sha256, rule)
        if not known or state not in (WAITS, DISCARDED):
            detail = {"content": version.content, "origin": public(version.origin), "rule": rule}
            decision = decide(Kind.FEED_QUARANTINE, feed, now, actor, detail=detail)
            row = Quarantine(
                feed=feed,
                decision=decision,
                at=now,
                content=version.content,
                parts=version.parts,
                counts=version.counts,
                origin=version.origin,
                sha256=version.sha256,
                judgement=version.judgement,
            )
            row.save()
            state = WAITS
    standing = newest(feed)
    until = until_text(standing)
    if state == DISCARDED and by is not None:
        raise ClearwayError.of("store.E044", name=name, decision=by.pk, until=until)
    at = stamp(standing.fetched_at) if standing is not None else "before"
    sentence = sentence_of(version.judgement)
    raise ClearwayError.of("store.E040", name=name, rule=rule, sentence=sentence, at=at, until=until)


def sentence_of(judgement: dict[str, Any]) -> str:
    """Why, in the guard's words."""
    for finding in judgement.get("findings", ()):
        seen = f"{finding['seen']}, and the limit is {finding['limit']}" if finding.get("limit") else finding["seen"]
        return f"{finding['sentence']} ({seen})"
    return "it is no list that could be enforced"


@told
def release(name: str, now: datetime, actor: str, note: str = "") -> Change:
    """Enforces what waits in quarantine of a list, without the entries that no list may hold.

    Raises store.E030, E041 (nothing waits), E042 (there is nothing in it that could be enforced).
    """
    with transaction.atomic():
        feed = active(name)
        row = _waiting(feed)
        rule = row.judgement.get("rule", "")
        if not row.content:
            raise ClearwayError.of("store.E042", name=name, rule=rule)
        detail = {"quarantine": row.decision_id, "content": row.content, "rules": _condemning(row.judgement)}
        end = now + timedelta(seconds=feed.life_s)
        decision = decide(Kind.FEED_RELEASE, feed, now, actor, until=end, note=note, detail=detail)
        version = NewVersion(row.content, row.counts, row.origin, "", "", row.parts, row.sha256, row.judgement)
        version = _released(version, _condemning(row.judgement))
        made = put_version(feed, version, now, actor, fetched_at=row.at, decision=decision)
    return Change(decision.pk, answer(feed, made), base_changed=True, versions=wanted_of(feed, made))


@told
def discard(name: str, now: datetime, actor: str, note: str = "") -> Change:
    """Takes nothing of it, and wants to hear of these bytes no more. Raises store.E030, E041."""
    with transaction.atomic():
        feed = active(name)
        row = _waiting(feed)
        decision = decide(Kind.FEED_DISCARD, feed, now, actor, note=note, detail={"quarantine": row.decision_id})
    return Change(decision.pk, about(feed, decision))


@told
def waiting(name: str | None = None) -> list[dict[str, Any]]:
    """What waits in quarantine, by list. Raises store.E030 for a `name` that is none."""
    feeds = [active(name)] if name is not None else Feed.objects.filter(removed_at__isnull=True).order_by("name")
    found = []
    for feed in feeds:
        row, state, _ = _newest(feed)
        if row is not None and state == WAITS:
            found.append(document(feed, row, state))
    return found


@told
def shown(name: str) -> dict[str, Any]:
    """The newest row of a list, however it stands, with the whole judgement. Raises store.E030, E041."""
    feed = active(name)
    row, state, by = _newest(feed)
    if row is None:
        raise ClearwayError.of("store.E041", name=name)
    decided = {"decided_by": by.actor, "decided_at": stamp(by.at), "note": by.note} if by is not None else {}
    return {**document(feed, row, state), **decided, "judgement": row.judgement, "entries_kept": bool(row.content)}


@told
def past(limit: int) -> list[dict[str, Any]]:
    """At most `limit` rows of all lists, newest first."""
    rows = Quarantine.objects.select_related("feed").order_by("-id")[:limit]
    return [document(row.feed, row, _state(row.feed, row)[0]) for row in rows]


def contents() -> set[str]:
    """Folders below feeds/ that what waits needs."""
    found: set[str] = set()
    for feed in Feed.objects.filter(removed_at__isnull=True):
        row, state, _ = _newest(feed)
        if row is not None and state == WAITS:
            found |= {content for content in (row.content, *row.parts.values()) if content}
    return found


def document(feed: Feed, row: Quarantine, state: str) -> dict[str, Any]:
    """A row of `feed quarantine list`."""
    judgement = row.judgement
    return {
        "feed": feed.name,
        "decision": row.decision_id,
        "at": stamp(row.at),
        "state": state,
        "rule": judgement.get("rule"),
        "rules": judgement.get("rules", []),
        "sentence": sentence_of(judgement),
        "content": row.content or None,
        "counts": row.counts,
        "origin": public(row.origin),
    }


def _waiting(feed: Feed) -> Quarantine:
    row, state, _ = _newest(feed)
    if row is None or state != WAITS:
        raise ClearwayError.of("store.E041", name=feed.name)
    return row


def _newest(feed: Feed) -> tuple[Quarantine | None, str, Decision | None]:
    row = Quarantine.objects.filter(feed=feed).order_by("-id").first()
    return (row, *_state(feed, row)) if row is not None else (None, "", None)


def _state(feed: Feed, row: Quarantine) -> tuple[str, Decision | None]:
    """How a row stands, and the decision about it."""
    for decision in Decision.objects.filter(target=feed.name, kind__in=list(DECIDED), pk__gt=row.decision_id):
        if decision.detail.get("quarantine") == row.decision_id:
            return DECIDED[Kind(decision.kind)], decision
    later = FeedVersion.objects.filter(feed=feed, decision_id__gt=row.decision_id)
    return (PASSED if later.order_by("-id").exists() else WAITS), None
