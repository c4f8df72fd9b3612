"""Who decided what, when: the rows of Decision as answers, newest first. Imported after `store.setup`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clearway.policy.model import Prefix, parse_target
from clearway.store import standing, standing_names
from clearway.store.change import stamp
from clearway.store.database import told
from clearway.store.models import Decision, Kind

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
) -> list[dict[str, Any]]:
    """At most `limit` decisions, newest first; `target` is a prefix or name as text, or a list's name."""
    rows = Decision.objects.order_by("-id")
    wanted = {"target": target, "kind": kind, "actor": actor, "at__gte": since}
    rows = rows.filter(**{field: value for field, value in wanted.items() if value is not None})
    return [as_answer(row) for row in rows[:limit]]


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
