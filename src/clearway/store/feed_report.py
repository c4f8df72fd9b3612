"""Which list earns its place: its entries, those that no other has, what hits it, how it does. After `store.setup`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds import files
from clearway.policy.overlap import Listed, overlap
from clearway.store import overview
from clearway.store.change import stamp
from clearway.store.database import told
from clearway.store.models import Feed, Quarantine

OVERLAPS_SHOWN = 3


@told
def report(state: StateDirectory, now: datetime, hits: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """{"at", "hits_since", "lists": a row each, "overlap": {list: {other: entries}}, "top": entries hit most}.

    `hits`: Hits.answer, of a running gateway or as it was stored last; without it hits are null, for nobody counted
    them. Those of a list count from when it was added, or counting began. Lists that have run out are told with what
    they held; of those whose entries cannot be read `unique` and overlap are null.
    """
    rows = overview.feeds(now)
    opened: dict[str, Listed] = {}
    for row in rows:
        with contextlib.suppress(ClearwayError):
            stored = files.open(state.feeds, row["content"], verify=False)
            opened[row["feed"]] = Listed(stored.v4, stored.v6, stored.names)
    names = list(opened)
    compared = overlap(list(opened.values()))
    counted = (hits or {}).get("lists", {})
    lists = []
    for row in rows:
        at = names.index(row["feed"]) if row["feed"] in opened else None
        unique = int(compared.unique[at]) if at is not None else None
        hit = counted.get(row["feed"], {"hits": 0, "last_seen": None})
        lists.append(
            {
                **{key: row[key] for key in KEPT},
                "unique": unique,
                "hits": hit["hits"] if hits is not None else None,
                "last_hit": hit["last_seen"] if hits is not None else None,
                "hits_since": max(row["added_at"], hits["since"]) if hits is not None else None,
                "quarantined": Quarantine.objects.filter(feed__in=_feed(row["feed"])).count(),
                "notes": _notes(row, unique, hit["hits"] if hits is not None else None),
            }
        )
    matrix = {
        name: {other: int(compared.held_by[at, to]) for to, other in enumerate(names) if to != at}
        for at, name in enumerate(names)
    }
    return {
        "at": stamp(now),
        "hits_since": (hits or {}).get("since"),
        "lists": lists,
        "overlap": matrix,
        "top": (hits or {}).get("entries", []),
    }


@told
def added() -> dict[str, str]:
    """When each list that there is was added: a list of the same name that comes back is another."""
    rows = Feed.objects.filter(removed_at__isnull=True).values_list("name", "added_at")
    return {name: at.isoformat() for name, at in rows}


KEPT = (
    "feed",
    "reason",
    "observe",
    "in_force",
    "entries",
    "addresses",
    "names",
    "rejected_entries",
    "fetched_at",
    "age_s",
    "until",
    "quarantine",
    "trouble",
)


def _feed(name: str) -> Any:
    return Feed.objects.filter(name=name, removed_at__isnull=True)


def _notes(row: dict[str, Any], unique: int | None, hits: int | None) -> list[str]:
    """What speaks against keeping it, or for looking at it."""
    notes = []
    if unique == 0 and row["entries"]:
        notes.append("all of it stands in other lists")
    if hits == 0:
        notes.append("no hit yet")
    if not row["in_force"]:
        notes.append("it has run out")
    if row["quarantine"]:
        notes.append(f"quarantined by {row['quarantine']['rule']}")
    if row["trouble"]:
        notes.append("cannot be fetched")
    if row["observe"]:
        notes.append("observed only")
    return notes
