"""What is stored, in a few numbers and a row a list. Imported after `store.setup`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clearway.store import quarantine, standing, subscribe
from clearway.store.change import stamp
from clearway.store.database import told
from clearway.store.history import as_answer
from clearway.store.models import Decision, Feed, FetchTrouble, StandingNameRow, StandingRow
from clearway.store.subscribe import public


@told
def totals(now: datetime) -> dict[str, Any]:
    """Live single entries, names and grants, decisions so far, and the last of them."""
    live = StandingRow.objects.filter(until__gt=now)
    names = StandingNameRow.objects.filter(until__gt=now)
    last = Decision.objects.order_by("-id").first()
    return {
        "blocks": live.filter(kind=standing.BLOCK).count(),
        "exceptions": live.filter(kind=standing.EXCEPTION).count(),
        "blocked_names": names.filter(kind=standing.BLOCK).count(),
        "spared_names": names.filter(kind=standing.EXCEPTION).count(),
        "grants": live.filter(kind=standing.GRANT).count(),
        "decisions": Decision.objects.count(),
        "last_decision": as_answer(last) if last else None,
    }


@told
def feeds(now: datetime) -> list[dict[str, Any]]:
    """Lists that were not removed, by name, each with its newest version; `in_force` is False once that ran out.

    `quarantine` is what waits for a decision, `trouble` why it could not be fetched last; both null where all is well.
    """
    troubles = {row.feed_id: row for row in FetchTrouble.objects.all()}
    waiting = {row["feed"]: row for row in quarantine.waiting()}
    rows = Feed.objects.filter(removed_at__isnull=True).order_by("name")
    return [_feed(row, now, waiting.get(row.name), troubles.get(row.pk)) for row in rows]


@told
def feed(name: str, now: datetime) -> dict[str, Any]:
    """One of them, with what its guard said of the newest version. Raises store.E030."""
    row = subscribe.active(name)
    version = subscribe.newest(row)
    trouble = FetchTrouble.objects.filter(feed=row).first()
    waiting = quarantine.waiting(name)
    judgement = version.judgement if version is not None else {}
    return {**_feed(row, now, waiting[0] if waiting else None, trouble), "judgement": judgement}


def _feed(row: Feed, now: datetime, waiting: dict[str, Any] | None, trouble: FetchTrouble | None) -> dict[str, Any]:
    version = subscribe.newest(row)
    assert version is not None, "a list is stored together with its first version"
    addresses, names = version.counts.get("v4", 0) + version.counts.get("v6", 0), version.counts.get("names", 0)
    rejected = version.judgement.get("rejected", {})
    return {
        "feed": row.name,
        "reason": subscribe.reasons_of(row),
        "source": public(row.source),
        "format": row.format,
        "every_s": row.every_s,
        "life_s": row.life_s,
        "observe": row.observe,
        "settings": row.settings,
        "added_at": stamp(row.added_at),
        "fetched_at": stamp(version.fetched_at),
        "age_s": int((now - version.fetched_at).total_seconds()),
        "until": stamp(version.until),
        "in_force": version.until > now,
        "entries": addresses + names,
        "addresses": addresses,
        "names": names,
        "counts": version.counts,
        "content": version.content,
        "parts": version.parts,
        "version": version.first or version.decision_id,
        "rejected": rejected,
        "rejected_entries": sum(rejected.values()),
        "released": version.judgement.get("released", []),
        "quarantine": waiting,
        "trouble": trouble_document(trouble) if trouble is not None else None,
    }


def trouble_document(trouble: FetchTrouble) -> dict[str, Any]:
    """When its fetches began to fail, how often they did, why, and when it is tried again."""
    return {
        "since": stamp(trouble.since),
        "at": stamp(trouble.at),
        "failures": trouble.failures,
        "error": trouble.error,
        "next_at": stamp(trouble.next_at) if trouble.next_at else None,
    }
