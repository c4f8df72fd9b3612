"""Decisions about names, as decide.py has them about addresses: each becomes a row and comes back as a Change.

At one name the last decision counts: a block lifts the exception that stood there, an exception the block. What people
say of a name goes before what lists say; among what people say the longest name decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from clearway._engine import NameScope
from clearway.errors import ClearwayError
from clearway.policy import name_limits
from clearway.policy.model import Entry, Name, Reason, parse_word, until, word
from clearway.policy.name_table import NameEntry
from clearway.store import decision_rows, standing_names
from clearway.store.change import Change, NameHit, StandingName
from clearway.store.models import Decision, Kind
from clearway.store.standing import BLOCK, EXCEPTION

if TYPE_CHECKING:
    from clearway.store.requests import BlockRequest, UnblockRequest

NameHolders = Callable[[NameEntry], Sequence[NameHit]]
"""Which lists in force hold a name, or something of what the entry is about: list_names.holders with the rest bound."""

NEAR_MAX = 5
"""Entries nearby that an answer names."""
DEFAULT_SCOPE = NameScope.SUBTREE


def block(request: BlockRequest, name: Name, now: datetime, actor: str) -> Change:
    """Refuses a name. Raises store.E034 (a public suffix), E035 (hides other names), E024 (full)."""
    entry = NameEntry(str(name), _scope(request.scope))
    reason = parse_word(Reason, request.reason)
    end = until(request.until, now)
    name_limits.check(name, entry.scope)
    checked = Entry(name, reason, source=actor, since=now, until=end, note=request.note)
    with transaction.atomic():
        standing_names.make_room(entry.name, now)
        spared = standing_names.within([EXCEPTION], entry.name, now, NEAR_MAX) if _reaches_below(entry) else []
        row = decision_rows.write(
            Kind.BLOCK,
            entry.name,
            now,
            actor,
            reason=word(checked.reason),
            until=checked.until,
            note=checked.note,
            detail={"scope": word(entry.scope)},
        )
        standing_names.lift(EXCEPTION, entry.name)
        standing_names.put(BLOCK, entry, end, row)
    answer = decision_rows.answer(
        row,
        scope=word(entry.scope),
        spared_within=[each.entry.name for each in spared if each.entry.name != entry.name],
    )
    return Change(row.pk, answer, names=(entry.name,))


def unblock(request: UnblockRequest, name: Name, now: datetime, actor: str, *, holders: NameHolders) -> Change:
    """Lifts a manual block, or writes an exception where a list or the block of a shorter name still holds it.

    Raises store.E026 (an exception is needed, and no `until` given), E027 (nothing blocks it), E024 (full).
    """
    entry = NameEntry(str(name), _scope(request.scope))
    end = until(request.until, now) if request.until else None
    hits = holders(NameEntry(entry.name, NameScope.EXACT))
    if not hits and _reaches_below(entry):
        hits = holders(entry)  # reads every name of every list
    with transaction.atomic():
        lifted = standing_names.at(BLOCK, entry.name, now)
        spared = standing_names.at(EXCEPTION, entry.name, now)
        holder = _holder(entry, now, hits)
        if (spared and not end) or not (lifted or holder):
            raise ClearwayError.of("store.E027", target=name)
        if holder and not end:
            raise ClearwayError.of("store.E026", target=name, holder=holder)
        rows: list[Decision] = []
        if lifted:
            detail = {"scope": word(lifted.entry.scope)}
            rows.append(decision_rows.write(Kind.UNBLOCK, entry.name, now, actor, note=request.note, detail=detail))
            standing_names.lift(BLOCK, entry.name)
        if holder and end:
            standing_names.make_room(entry.name, now)
            detail = {"held_by": holder, "scope": word(entry.scope)}
            rows.append(
                decision_rows.write(Kind.EXCEPTION, entry.name, now, actor, until=end, note=request.note, detail=detail)
            )
            standing_names.put(EXCEPTION, entry, end, rows[-1])
        blocked = standing_names.within([BLOCK], entry.name, now, NEAR_MAX) if _reaches_below(entry) else []
    unneeded = f"nothing else holds {name}: no exception was needed, and --until has no effect"
    answer = decision_rows.answer(
        rows[-1],
        scope=rows[-1].detail["scope"],
        lifted=bool(lifted),
        held_by=holder if end else "",
        blocked_within=[each.entry.name for each in blocked],
        warning=unneeded if end and not holder else "",
    )
    return Change(rows[-1].pk, answer, names=(entry.name,))


def _scope(text: str | None) -> NameScope:
    return parse_word(NameScope, text) if text else DEFAULT_SCOPE


def _reaches_below(entry: NameEntry) -> bool:
    return entry.scope != NameScope.EXACT


def _holder(entry: NameEntry, now: datetime, hits: Sequence[NameHit]) -> str:
    """What would refuse the name if nobody had said anything at it, in words; "" for nothing."""
    others: list[StandingName] = [
        each for each in standing_names.covering(entry.name, now) if each.entry.name != entry.name
    ]
    if others:  # the longest of the shorter names decides, and no list is asked
        return f"the block of {others[0].entry.name}" if others[0].kind == BLOCK else ""
    if not hits:
        return ""
    return decision_rows.named(
        list(dict.fromkeys(hit.feed for hit in hits)), list(dict.fromkeys(hit.reason for hit in hits))
    )
