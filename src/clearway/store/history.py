"""Who decided what, when: the rows of Decision as answers, newest first. Imported after `store.setup`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from clearway.policy.model import Prefix, parse_target
from clearway.store import standing, standing_names
from clearway.store.change import stamp
from clearway.store.database import told
from clearway.store.models import Decision, Kind

FOLDED_MAX = 10_000
"""Decisions that are looked at to count the renewals of a list, where fewer would do for the lines that are wanted."""
HELD = {Kind.FEED_VERSION.value: ("content", "parts"), Kind.CDN_VERSION.value: ("contents",)}
"""What the version held that was taken, in the detail of a decision."""
STANDS_AS = {Kind.BLOCK: standing.BLOCK, Kind.EXCEPTION: standing.EXCEPTION, Kind.GRANT: standing.GRANT}
"""Kinds of decision that put something in force until it is lifted or runs out."""


@told
def decisions(
    *,
    limit: int,
    target: str | None = None,
    kind: str | None = None,
    actor: str | None = None,
    since: datetime | None = None,
    folded: bool = False,
) -> list[dict[str, Any]]:
    """At most `limit` decisions, newest first; `target` is a prefix or name as text, or a list's name.

    `folded`: those by which somebody took the same version of a list again and again are one, the newest, with
    `renewals`, how many more there were, and `renewed_since`. Past FOLDED_MAX decisions it ends with `limit` of them.
    """
    rows = Decision.objects.order_by("-id")
    wanted = {"target": target, "kind": kind, "actor": actor, "at__gte": since}
    rows = rows.filter(**{field: value for field, value in wanted.items() if value is not None})
    return _folded(rows.iterator(), limit) if folded else [as_answer(row) for row in rows[:limit]]


def _folded(rows: Iterable[Decision], limit: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    last: dict[str, dict[str, Any]] = {}
    for looked_at, row in enumerate(rows):
        if looked_at >= FOLDED_MAX and len(lines) >= limit:
            break
        line = last.get(row.target)
        if line is not None and _renews(line, row):
            line["renewals"] += 1
            line["renewed_since"] = stamp(row.at)
            continue
        last[row.target] = as_answer(row) | {"renewals": 0}
        lines.append(last[row.target])  # more than `limit`, so that the runs of those are counted to their ends
    return lines[:limit]


def _renews(line: dict[str, Any], before: Decision) -> bool:
    """Whether the decision of that line took what stood already, by the one about the same list before it."""
    kind = line["kind"]
    if kind not in HELD or (before.kind, before.actor) != (kind, line["actor"]):
        return False
    return all(line["detail"].get(key) == before.detail.get(key) for key in HELD[kind])


@told
def decision(number: int, now: datetime) -> dict[str, Any] | None:
    """One decision, with `stands`: whether it is what is in force at its target now (None: it puts nothing there)."""
    row = Decision.objects.filter(pk=number).first()
    if row is None:
        return None
    stands: bool | None = None
    if row.kind in STANDS_AS:
        target, kind = parse_target(row.target), STANDS_AS[Kind(row.kind)]
        held = (
            standing.at(kind, target, now) if isinstance(target, Prefix) else standing_names.at(kind, str(target), now)
        )
        stands = held is not None and held.decision_id == row.pk
    return as_answer(row) | {"stands": stands}


def as_answer(row: Decision) -> dict[str, Any]:
    """A decision in JSON."""
    return {
        "decision": row.pk,
        "at": stamp(row.at),
        "actor": row.actor,
        "kind": row.kind,
        "target": row.target,
        "reason": row.reason,
        "until": stamp(row.until) if row.until else None,
        "organisation": row.organisation,
        "note": row.note,
        "detail": row.detail,
    }
