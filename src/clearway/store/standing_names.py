"""Names in force by the word of people: the reading of Decision that answers in a few lookups. standing.py, for names.

`put` and `lift` are called only by decide_names.py, inside the transaction of the decision they follow from.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from clearway._engine import LIMITS, NameScope
from clearway.errors import ClearwayError
from clearway.policy.model import parse_word, word
from clearway.policy.name_table import NameEntry, covers, suffixes
from clearway.store.change import StandingName
from clearway.store.models import Decision, StandingNameRow
from clearway.store.standing import BLOCK, EXCEPTION

KINDS = (BLOCK, EXCEPTION)
NAMES_MAX = LIMITS["OVERLAY_NAMES_MAX"] // 2
"""A block of a name with all below it takes two keys of the kernel's overlay of names."""


def put(kind: str, entry: NameEntry, until: datetime, decision: Decision) -> None:
    """Stands from now on in place of what stood at that name of that kind."""
    row = StandingNameRow(
        kind=kind,
        name=entry.name,
        backwards=backwards(entry.name),
        scope=word(entry.scope),
        until=until,
        decision=decision,
    )
    StandingNameRow.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["name", "kind"],
        update_fields=["scope", "until", "decision"],
    )


def backwards(name: str) -> str:
    """As the column of that name has it."""
    return name[::-1].encode().hex()


def lift(kind: str, name: str) -> None:
    """Stands no longer."""
    StandingNameRow.objects.filter(kind=kind, name=name).delete()


def make_room(name: str, now: datetime) -> None:
    """Raises store.E024 where one more name would be one too many; sweeps expired ones first."""
    rows = StandingNameRow.objects.all()
    if rows.count() < NAMES_MAX or rows.filter(name=name).exists():
        return
    rows.filter(until__lte=now).delete()
    if rows.count() >= NAMES_MAX:
        raise ClearwayError.of("store.E024", limit=NAMES_MAX)


def at(kind: str, name: str, now: datetime) -> StandingName | None:
    """The live entry at exactly that name."""
    found = _read(StandingNameRow.objects.filter(kind=kind, name=name, until__gt=now))
    return found[0] if found else None


def at_name(name: str, now: datetime) -> list[StandingName]:
    """All live entries at exactly that name."""
    return _read(StandingNameRow.objects.filter(name=name, until__gt=now).order_by("kind"))


def covering(name: str, now: datetime) -> list[StandingName]:
    """Live entries that cover the name, longest first, an exception before a block."""
    found = _read(StandingNameRow.objects.filter(name__in=suffixes(name), until__gt=now))
    about = [each for each in found if covers(each.entry, name)]
    return sorted(about, key=lambda each: (-len(each.entry.name), each.kind == BLOCK))


def within(kinds: Iterable[str], name: str, now: datetime, limit: int) -> list[StandingName]:
    """At most `limit` live entries at names below it, or about what is below it alone, in order of name."""
    first, behind = backwards(f".{name}"), backwards(f"/{name}")  # "/" is the next character after "."
    rows = StandingNameRow.objects.filter(backwards__gte=first, backwards__lt=behind)
    rows = rows.filter(kind__in=list(kinds), until__gt=now)
    below = StandingNameRow.objects.filter(kind__in=list(kinds), name=name, scope=word(NameScope.BELOW), until__gt=now)
    return [*_read(below), *_read(rows.order_by("name", "kind")[:limit])][:limit]


def live(now: datetime) -> list[StandingName]:
    """All live entries, by name."""
    return _read(StandingNameRow.objects.filter(until__gt=now).order_by("name", "kind"))


def _read(rows: Iterable[StandingNameRow]) -> list[StandingName]:
    fields = ("kind", "name", "scope", "until", "decision_id")
    of_decision = ("decision__at", "decision__actor", "decision__reason", "decision__note")
    return [
        StandingName(
            kind=kind,
            entry=NameEntry(name, parse_word(NameScope, scope)),
            since=at,
            until=until,
            actor=actor,
            reason=reason,
            note=note,
            decision_id=decision_id,
        )
        for kind, name, scope, until, decision_id, at, actor, reason, note in rows.values_list(  # type: ignore[attr-defined]
            *fields, *of_decision
        )
    ]
