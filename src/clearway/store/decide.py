"""Decisions: each is checked, becomes a row, and comes back as the Change that the kernel has yet to see.

Pure of kernel and network. A refusal raises and stores nothing. At one prefix the last decision counts: a block lifts
the exception that stood there, an exception the block. Names: decide_names.py. Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from clearway._engine import LIMITS
from clearway.errors import ClearwayError
from clearway.policy.model import Entry, Name, Prefix, Reason, duration, parse_target, parse_word, until, word
from clearway.policy.shared import SharedClass
from clearway.policy.shared_mask import CLOUD_HOST_LIFE
from clearway.policy.shared_sources import NO_RANGES, SharedRanges
from clearway.store import decide_names, shared_words, standing
from clearway.store.change import Change, ListHit
from clearway.store.database import told
from clearway.store.decide_names import NameHolders
from clearway.store.decision_rows import answer as _answer
from clearway.store.decision_rows import named
from clearway.store.decision_rows import write as _write
from clearway.store.models import Decision, Kind
from clearway.store.subscribe import feed_add, feed_remove, feed_version

if TYPE_CHECKING:
    from clearway.store.requests import BlockRequest, BypassRequest, GrantRequest, RevokeRequest, UnblockRequest

__all__ = ["block", "bypass", "feed_add", "feed_remove", "feed_version", "grant", "revoke", "unblock"]

Holders = Callable[[Prefix], Sequence[ListHit]]
"""Which lists in force hold an address or prefix: lists.holders with its other arguments bound."""

SHORTEST = {4: 8, 6: 16}
"""Shortest prefix that a single entry or grant may have, by IP version."""
OVERLAY_ENTRIES_MAX = LIMITS["OVERLAY_ENTRIES_MAX"]
GREEN_ENTRIES_MAX = LIMITS["GREEN_ENTRIES_MAX"]
NEAR_MAX = 5
"""Entries nearby that an answer names."""


@told
def block(
    request: BlockRequest,
    now: datetime,
    actor: str,
    *,
    inside: Sequence[Prefix] = (),
    shared: SharedRanges = NO_RANGES,
) -> Change:
    """Refuses a prefix or name. Raises store.E021 (too wide), E022 (covers the inside), E024 (full), E034 and E035;
    feeds.E048 (a shared front end), E049 (more than a host, or for longer than a day, in a cloud that is let)."""
    prefix = parse_target(request.target)
    if isinstance(prefix, Name):
        return decide_names.block(request, prefix, now, actor)
    _check_scope(request.scope, "block")
    reason = parse_word(Reason, request.reason)
    end = until(request.until, now)
    _check_width(prefix)
    for covered in inside:
        if prefix.covers(covered):
            raise ClearwayError.of("store.E022", prefix=prefix, inside=covered)
    check_not_shared(prefix, end, now, shared)
    entry = Entry(prefix, reason, source=actor, since=now, until=end, note=request.note)
    with transaction.atomic():
        standing.make_room(standing.OVERLAY, prefix, now, OVERLAY_ENTRIES_MAX, "store.E024")
        spared = standing.within([standing.EXCEPTION], prefix, now, NEAR_MAX)
        row = _write(
            Kind.BLOCK, str(entry.target), now, actor, reason=word(entry.reason), until=entry.until, note=entry.note
        )
        standing.lift(standing.EXCEPTION, prefix)
        standing.put(standing.BLOCK, prefix, end, row)
    answer = _answer(row, spared_within=[str(each.prefix) for each in spared])
    return Change(row.pk, answer, overlay=(prefix,))


@told
def unblock(
    request: UnblockRequest, now: datetime, actor: str, *, holders: Holders, name_holders: NameHolders = lambda _: ()
) -> Change:
    """Lifts a manual block, or writes an exception where a list or a wider block still holds the target.

    Raises store.E026 (an exception is needed, and no `until` given), E027 (nothing blocks it).
    """
    prefix = parse_target(request.target)
    if isinstance(prefix, Name):
        return decide_names.unblock(request, prefix, now, actor, holders=name_holders)
    _check_scope(request.scope, "unblock")
    _check_width(prefix)
    end = until(request.until, now) if request.until else None
    hits = holders(prefix)
    with transaction.atomic():
        lifted = standing.at(standing.BLOCK, prefix, now)
        spared = standing.at(standing.EXCEPTION, prefix, now)
        holder = _holder(prefix, now, hits)
        if (spared and not end) or not (lifted or holder):
            raise ClearwayError.of("store.E027", target=prefix)
        if holder and not end:
            raise ClearwayError.of("store.E026", target=prefix, holder=holder)
        rows: list[Decision] = []
        if lifted:
            rows.append(_write(Kind.UNBLOCK, str(prefix), now, actor, note=request.note))
            standing.lift(standing.BLOCK, prefix)
        if holder and end:
            standing.make_room(standing.OVERLAY, prefix, now, OVERLAY_ENTRIES_MAX, "store.E024")
            detail = {"held_by": holder}
            rows.append(_write(Kind.EXCEPTION, str(prefix), now, actor, until=end, note=request.note, detail=detail))
            standing.put(standing.EXCEPTION, prefix, end, rows[-1])
        blocked = standing.within([standing.BLOCK], prefix, now, NEAR_MAX)
    unneeded = f"nothing else holds {prefix}: no exception was needed, and --until has no effect"
    answer = _answer(
        rows[-1],
        lifted=bool(lifted),
        held_by=holder if end else "",
        blocked_within=[str(each.prefix) for each in blocked],
        warning=unneeded if end and not holder else "",
    )
    return Change(rows[-1].pk, answer, overlay=(prefix,))


@told
def grant(request: GrantRequest, now: datetime, actor: str, *, inside: Sequence[Prefix] = ()) -> Change:
    """Puts a prefix into the green lane. Raises store.E021 (too wide), E025 (full).

    The answer warns where inside prefixes are known and the grant touches none of them: it would change nothing.
    """
    prefix = Prefix.parse(request.prefix)
    end = until(request.until, now)
    _check_width(prefix)
    with transaction.atomic():
        standing.make_room([standing.GRANT], prefix, now, GREEN_ENTRIES_MAX, "store.E025")
        row = _write(
            Kind.GRANT, str(prefix), now, actor, until=end, note=request.note, organisation=request.organisation
        )
        standing.put(standing.GRANT, prefix, end, row)
    touches = not inside or any(each.covers(prefix) or prefix.covers(each) for each in inside)
    warning = "" if touches else f"{prefix} lies in no inside prefix of this gateway: the grant changes nothing here"
    return Change(row.pk, _answer(row, warning=warning), green=(prefix,))


@told
def revoke(request: RevokeRequest, now: datetime, actor: str) -> Change:
    """Takes a prefix out of the green lane. Raises store.E028 (no grant at exactly that prefix), E031 (not theirs)."""
    prefix = Prefix.parse(request.prefix)
    with transaction.atomic():
        held = standing.at(standing.GRANT, prefix, now)
        near = [
            *standing.covering([standing.GRANT], prefix, now),
            *standing.within([standing.GRANT], prefix, now, NEAR_MAX),
        ]
        if held and request.organisation and request.organisation != held.organisation:
            raise ClearwayError.of("store.E031", prefix=prefix, organisation=held.organisation)
        if not held:
            text = f"; near it: {', '.join(str(each.prefix) for each in near)}" if near else ""
            raise ClearwayError.of("store.E028", prefix=prefix, near=text)
        row = _write(Kind.REVOKE, str(prefix), now, actor, note=request.note, organisation=held.organisation)
        standing.lift(standing.GRANT, prefix)
    others = [str(each.prefix) for each in near if each.prefix != prefix]
    return Change(row.pk, _answer(row, grants_near=others), green=(prefix,))


@told
def bypass(request: BypassRequest, now: datetime, actor: str) -> Change:
    """A plain wire until now + duration, or no longer; Change.bypass_until."""
    end = now + duration(request.duration) if request.on and request.duration else None
    row = _write(Kind.BYPASS, "", now, actor, until=end, note=request.note, detail={"on": request.on})
    return Change(row.pk, _answer(row, on=request.on), bypass_until=end or now)


def check_not_shared(prefix: Prefix, end: datetime, now: datetime, shared: SharedRanges) -> None:
    """Raises feeds.E048, E049."""
    rule = shared.rule(prefix)
    if rule is None:
        return
    words = {"target": prefix, **shared_words.of_rule(rule, now)}
    if rule.shared is SharedClass.FRONT_END:
        raise ClearwayError.of("feeds.E048", **words)
    if not prefix.is_host:
        raise ClearwayError.of("feeds.E049", detail="a prefix would refuse them all", **words)
    if end - now > CLOUD_HOST_LIFE:
        raise ClearwayError.of("feeds.E049", detail="in a day it may be another's", **words)


def _check_scope(scope: str | None, command: str) -> None:
    if scope is not None:
        raise ClearwayError.of("store.E020", field="scope", detail="of names alone, not of addresses", command=command)


def _check_width(prefix: Prefix) -> None:
    if prefix.length < SHORTEST[prefix.version]:
        raise ClearwayError.of("store.E021", prefix=prefix, shortest=SHORTEST[prefix.version])


def _holder(prefix: Prefix, now: datetime, hits: Sequence[ListHit]) -> str:
    """What would refuse `prefix` if no single entry stood at it, in words; "" for nothing."""
    for each in standing.covering(standing.OVERLAY, prefix, now):
        if each.prefix != prefix:  # the longest of the wider ones decides, and no list is asked
            return f"the block of {each.prefix}" if each.kind == standing.BLOCK else ""
    if not hits:
        return ""
    names = list(dict.fromkeys(hit.feed for hit in hits))
    reasons = list(dict.fromkeys(hit.reason for hit in hits))
    return named(names, reasons)
