"""What is stored, in a few numbers and a row a list. Imported after `store.setup`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clearway.store import standing
from clearway.store.change import stamp
from clearway.store.database import told
from clearway.store.history import as_answer
from clearway.store.models import Decision, Feed, FeedVersion, StandingNameRow, StandingRow
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
    """Lists that were not removed, by name, each with its newest version; `in_force` is False once that ran out."""
    return [_feed(row, now) for row in Feed.objects.filter(removed_at__isnull=True).order_by("name")]


def _feed(row: Feed, now: datetime) -> dict[str, Any]:
    version = FeedVersion.objects.filter(feed=row).order_by("-id").first()
    assert version is not None, "a list is stored together with its first version"
    addresses, names = version.counts.get("v4", 0) + version.counts.get("v6", 0), version.counts.get("names", 0)
    return {
        "feed": row.name,
        "reason": row.reason,
        "source": public(row.source),
        "format": row.format,
        "every_s": row.every_s,
        "life_s": row.life_s,
        "added_at": stamp(row.added_at),
        "fetched_at": stamp(version.fetched_at),
        "until": stamp(version.until),
        "in_force": version.until > now,
        "entries": addresses + names,
        "addresses": addresses,
        "names": names,
        "counts": version.counts,
        "content": version.content,
    }
