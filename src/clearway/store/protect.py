"""What an operator protects from all lists, and what of the bundled set is not protected here. Decided, then done.

It holds for every list that is judged from then on: lists in force keep what they have until they are fetched again,
and then are judged anew, also where their source says that nothing changed.
Imported after `store.setup`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import datetime
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from django.db import transaction

from clearway._engine import NameScope
from clearway.config import TOP_SITES
from clearway.errors import ClearwayError
from clearway.feeds import protected, top_sites
from clearway.feeds.guard_rules import GuardRule
from clearway.feeds.protected import Protected, Removal, Row
from clearway.policy.model import Prefix, parse_target
from clearway.policy.name_table import NameEntry
from clearway.store import wanted
from clearway.store.change import Change, ListHit, NameHit, stamp
from clearway.store.database import told
from clearway.store.decision_rows import answer, named, write
from clearway.store.models import Kind, ProtectedRow
from clearway.store.requests import TargetRequest

PROTECTED_MAX = 10_000
SHORTEST = {4: 8, 6: 16}


@told
def protect(request: TargetRequest, now: datetime, actor: str, hits: Sequence[ListHit | NameHit] = ()) -> Change:
    """No list that is judged from now on may hold it. `hits`: what lists in force hold of it.

    Raises store.E021 (too wide), E049 (too many), E051 (it is protected so already), policy.E001 to E003, E008.
    """
    target = parse_target(request.target)
    if isinstance(target, Prefix) and target.length < SHORTEST[target.version]:
        raise ClearwayError.of("store.E021", prefix=target, shortest=SHORTEST[target.version])
    with transaction.atomic():
        row = ProtectedRow.objects.filter(target=str(target)).first()
        if row is not None and not row.removed:
            raise ClearwayError.of("store.E051", target=target, decision=row.decision.pk)
        if row is None and ProtectedRow.objects.count() >= PROTECTED_MAX:
            raise ClearwayError.of("store.E049", limit=PROTECTED_MAX, what="protected")
        decision = write(Kind.PROTECT, str(target), now, actor, note=request.note)
        if row is not None:  # it was taken out of the bundled set: now it is in it again
            row.delete()
        else:
            ProtectedRow.objects.create(target=str(target), decision=decision)
    held = named(sorted({hit.feed for hit in hits}), sorted({hit.reason for hit in hits})) if hits else ""
    until = "hold it until they are" if held.startswith("lists ") else "holds it until it is"
    warning = f"{held} {until} fetched again; `clearway feed exclude` spares it now" if held else ""
    return Change(decision.pk, answer(decision, held_by=held, warning=warning))


@told
def unprotect(request: TargetRequest, now: datetime, actor: str) -> Change:
    """Lists may hold it: an addition is lifted, what comes with the package is taken out, a prefix with all within it.

    Raises store.E050 where it is neither.
    """
    target = parse_target(request.target)
    with transaction.atomic():
        row = ProtectedRow.objects.filter(target=str(target)).first()
        if row is not None and row.removed:
            raise ClearwayError.of("store.E050", target=target, near="; it was taken out already")
        bundled = [] if row is not None else _bundled_at(target)
        if row is None and not bundled:
            raise ClearwayError.of("store.E050", target=target, near=", and no row of the bundled set touches it")
        decision = write(Kind.UNPROTECT, str(target), now, actor, note=request.note)
        if row is not None:
            row.delete()
        else:
            ProtectedRow.objects.create(target=str(target), removed=True, decision=decision)
    return Change(decision.pk, answer(decision, taken_out=[protected.shown(each.value) for each in bundled]))


def _bundled_at(target: Any) -> list[Row]:
    """Rows of the bundled set that a removal would free, in part or wholly."""
    if isinstance(target, Prefix):
        return [
            row
            for row in protected.bundled_rows()
            if isinstance(row.value, Prefix) and (row.value.covers(target) or target.covers(row.value))
        ]
    return [
        row for row in protected.bundled_rows() if isinstance(row.value, NameEntry) and row.value.name == str(target)
    ]


@told
def in_force(now: datetime, inside: Sequence[Prefix] = ()) -> Protected:
    """The protected set, as lists are judged by: what is bundled, the operator's word, this network, and its grants.

    Raises what feeds.top_sites.read raises of the operator's list of sites.
    """
    rows = list(ProtectedRow.objects.select_related("decision").order_by("target"))
    return _made(
        tuple(inside),
        tuple(grant.prefix for grant in wanted.grants(now)),
        tuple(Row(_value(row.target), GuardRule.OWN, _source(row)) for row in rows if not row.removed),
        tuple(Removal(_value(row.target), _source(row)) for row in rows if row.removed),
        _top_sites(),
    )


def _top_sites() -> tuple[str, ...]:
    path = os.environ.get(TOP_SITES.name, "")
    return top_sites.kept(path, top_sites.in_one_word(path)) if path else ()


@told
def in_one_word(now: datetime, inside: Sequence[Prefix] = ()) -> str:
    """The same for another protected set, another word: what was judged by one need not hold by the other."""
    rows = [f"{target} {removed:d}" for target, removed in ProtectedRow.objects.values_list("target", "removed")]
    granted = [str(grant.prefix) for grant in wanted.grants(now)]
    path = os.environ.get(TOP_SITES.name, "")
    sites = top_sites.in_one_word(path) if path else ""
    said = [_version(), sorted(map(str, inside)), sorted(granted), sorted(rows), sites]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@cache
def _version() -> str:
    """Of the package, which what is bundled comes with; looked for in files."""
    return version("clearway")


@lru_cache(maxsize=2)
def _made(
    own: tuple[Prefix, ...],
    granted: tuple[Prefix, ...],
    additions: tuple[Row, ...],
    removals: tuple[Removal, ...],
    sites: tuple[str, ...],
) -> Protected:
    """Kept, since a set draws tables up for what lists are asked: a tenth of a second each time."""
    return protected.of(own=own, granted=granted, additions=additions, removals=removals, top_sites=sites)


@told
def listed(now: datetime, inside: Sequence[Prefix] = ()) -> list[dict[str, Any]]:
    """All of it, a row each: value, case (a rule of the guard), source; what was taken out is `removed`."""
    held = in_force(now, inside)
    rows: list[dict[str, Any]] = [
        {"value": protected.shown(row.value), "case": row.case.id, "source": row.source, "removed": False}
        for row in held.rows
    ]
    rows += [
        {"value": protected.shown(each.value), "case": None, "source": each.source, "removed": True}
        for each in held.removals
    ]
    return rows


def _value(text: str) -> Prefix | NameEntry:
    target = parse_target(text)
    return target if isinstance(target, Prefix) else NameEntry(str(target), NameScope.SUBTREE)


def _source(row: ProtectedRow) -> str:
    note = f": {row.decision.note}" if row.decision.note else ""
    return f"decision {row.decision.pk} by {row.decision.actor} at {stamp(row.decision.at)}{note}"
