"""A decision as a row, and the row as the answer that its author gets. Called by decide.py and decide_names.py."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clearway.store.change import stamp
from clearway.store.models import Decision, Kind


def write(kind: Kind, target: str, now: datetime, actor: str, **values: Any) -> Decision:
    """The row, stored."""
    row = Decision(at=now, actor=actor or "unknown", kind=kind.value, target=target, **values)
    row.save()
    return row


def answer(row: Decision, **more: object) -> dict[str, Any]:
    """What the person is told: the row, and what is worth knowing beside it."""
    told: dict[str, Any] = {"decision": row.pk, "kind": row.kind, "at": stamp(row.at), "actor": row.actor}
    fields = {"target": row.target, "reason": row.reason, "organisation": row.organisation, "note": row.note}
    told |= {name: value for name, value in fields.items() if value}
    if row.until:
        told["until"] = stamp(row.until)
    return told | {name: value for name, value in more.items() if value not in ("", [], None)}


def named(feeds: list[str], reasons: list[str]) -> str:
    """The lists that hold something, in words."""
    return f"{'list' if len(feeds) == 1 else 'lists'} {', '.join(feeds)} ({', '.join(reasons)})"
