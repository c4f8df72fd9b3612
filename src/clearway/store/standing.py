"""Single entries and grants in force, by prefix: the reading of Decision that answers in a few lookups.

`put` and `lift` are called only by decide.py, inside the transaction of the decision they follow from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from clearway.errors import ClearwayError
from clearway.policy.model import BITS, Prefix
from clearway.store.change import Standing
from clearway.store.models import Decision, StandingRow

BLOCK, EXCEPTION, GRANT = "block", "exception", "grant"
OVERLAY = (BLOCK, EXCEPTION)
_MAPPED = "ffff".rjust(24, "0")
"""How the first address of every IPv4 prefix begins, and of no IPv6 one."""


def put(kind: str, prefix: Prefix, until: datetime, decision: Decision) -> None:
    """Stands from now on in place of what stood there of that kind."""
    address, length = prefix.mapped()
    row = StandingRow(kind=kind, target=str(prefix), first=address.hex(), length=length, until=until, decision=decision)
    StandingRow.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["target", "kind"], update_fields=["until", "decision"]
    )


def lift(kind: str, prefix: Prefix) -> None:
    """Stands no longer."""
    StandingRow.objects.filter(kind=kind, target=str(prefix)).delete()


def make_room(kinds: Sequence[str], prefix: Prefix, now: datetime, limit: int, error_id: str) -> None:
    """Raises `error_id` where one more entry of `kinds` would be one too many; sweeps expired ones first."""
    if _rows_at_most() < limit:
        return
    rows = StandingRow.objects.filter(kind__in=kinds)
    if rows.filter(target=str(prefix)).exists() or rows.count() < limit:
        return
    rows.filter(until__lte=now).delete()
    if rows.count() >= limit:
        raise ClearwayError.of(error_id, limit=limit)


def _rows_at_most() -> int:
    """No fewer rows than there are: ids are given once and rise. Counting them would read the whole index."""
    ids = StandingRow.objects.values_list("pk", flat=True)
    first, last = ids.order_by("pk").first(), ids.order_by("-pk").first()
    return 0 if first is None or last is None else last - first + 1


def at(kind: str, prefix: Prefix, now: datetime) -> Standing | None:
    """The live entry at exactly that prefix."""
    found = _read(StandingRow.objects.filter(kind=kind, target=str(prefix), until__gt=now))
    return found[0] if found else None


def covering(kinds: Iterable[str], prefix: Prefix, now: datetime) -> list[Standing]:
    """Live entries whose prefix covers `prefix`, itself included; longest first."""
    bits = BITS[prefix.version]
    wider = [
        str(Prefix(prefix.version, prefix.address >> (bits - length) << (bits - length), length))
        for length in range(prefix.length + 1)
    ]
    found = _read(StandingRow.objects.filter(kind__in=list(kinds), target__in=wider, until__gt=now))
    return sorted(found, key=lambda each: -each.prefix.length)


def within(kinds: Iterable[str], prefix: Prefix, now: datetime, limit: int) -> list[Standing]:
    """At most `limit` live entries that lie within `prefix` and are longer, in order of address.

    IPv4 entries lie in no IPv6 prefix, though they are stored as ::ffff:a.b.c.d.
    """
    first, length = prefix.mapped()
    last = (int.from_bytes(first, "big") | (1 << (128 - length)) - 1).to_bytes(16, "big")
    rows = StandingRow.objects.filter(
        kind__in=list(kinds), first__gte=first.hex(), first__lte=last.hex(), length__gt=length, until__gt=now
    )
    if prefix.version == 6:
        rows = rows.exclude(first__startswith=_MAPPED)
    return _read(rows.order_by("first", "length")[:limit])


def spans(kinds: Iterable[str], now: datetime) -> list[tuple[str, Prefix, datetime]]:
    """Kind, prefix and end of all live entries, in order of address: what the kernel needs, without the decisions."""
    rows = StandingRow.objects.filter(kind__in=list(kinds), until__gt=now).order_by("first", "length", "kind")
    return [
        (kind, Prefix.from_mapped(bytes.fromhex(first), length), until)
        for kind, first, length, until in rows.values_list("kind", "first", "length", "until")
    ]


def live(kinds: Iterable[str], now: datetime) -> list[Standing]:
    """All live entries, in order of address."""
    return _read(StandingRow.objects.filter(kind__in=list(kinds), until__gt=now).order_by("first", "length", "kind"))


def _read(rows: Iterable[StandingRow]) -> list[Standing]:
    fields = ("kind", "first", "length", "until", "decision_id")
    of_decision = ("decision__at", "decision__actor", "decision__reason", "decision__note", "decision__organisation")
    return [
        Standing(
            kind=kind,
            prefix=Prefix.from_mapped(bytes.fromhex(first), length),
            since=at,
            until=until,
            actor=actor,
            reason=reason,
            note=note,
            organisation=organisation,
            decision_id=decision_id,
        )
        for kind, first, length, until, decision_id, at, actor, reason, note, organisation in rows.values_list(  # type: ignore[attr-defined]
            *fields, *of_decision
        )
    ]
