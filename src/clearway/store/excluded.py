"""False positives: what no list may refuse until a time, whichever list holds it. A person's block of it stands.

Compiled as one more list, of exceptions: what is excluded, and every entry of a list within it, since the longest entry
decides and at one entry an exception beats a block. So a prefix is spared with all in it, a name with what its scope
says. Imported after `store.setup`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from django.db import transaction

from clearway._engine import NameScope
from clearway.errors import ClearwayError
from clearway.policy import arrays
from clearway.policy.arrays import U64
from clearway.policy.entries import StoredEntries, open_entries
from clearway.policy.model import BITS, Prefix, parse_target, parse_word, until, word
from clearway.policy.name_table import NameEntry, covers
from clearway.policy.names import Blob, StoredNames
from clearway.store import list_names
from clearway.store.change import Change, ListHit, NameHit, stamp
from clearway.store.database import told
from clearway.store.decision_rows import answer, named, write
from clearway.store.models import ExcludedRow, Kind
from clearway.store.requests import ExcludeRequest, TargetRequest

LIST = "feed exclude"
"""Its name among the lists of a snapshot: no list can have it."""
EXCLUDED_MAX = 10_000
SHORTEST = {4: 8, 6: 16}
"""Shortest prefix that may be excluded, by IP version: as for single entries."""
_BELOW_KEPT = 4096

Target = Prefix | NameEntry


@dataclass(frozen=True, slots=True)
class Excluded:
    """One of them, with the decision that put it there."""

    target: Target
    since: datetime
    until: datetime
    actor: str
    note: str
    decision_id: int

    def covers(self, other: Target) -> bool:
        """Whether what `other` is about is spared wholly."""
        if isinstance(self.target, Prefix) or isinstance(other, Prefix):
            return isinstance(self.target, Prefix) and isinstance(other, Prefix) and self.target.covers(other)
        if other == self.target or (other.name == self.target.name and self.target.scope == NameScope.SUBTREE):
            return True
        return other.name != self.target.name and covers(self.target, other.name)


@dataclass(frozen=True, slots=True)
class Spared:
    """The exceptions that lists are compiled with. Arrays as in policy/arrays.py."""

    v4: U64
    v6: U64
    names: StoredNames


@told
def exclude(request: ExcludeRequest, now: datetime, actor: str, hits: Sequence[ListHit | NameHit] = ()) -> Change:
    """Spares a target from all lists. `hits`: what lists hold of it. Raises store.E020, E021, E049, policy.E…."""
    target = target_of(request.target, request.scope)
    end = until(request.until, now)
    if isinstance(target, Prefix) and target.length < SHORTEST[target.version]:
        raise ClearwayError.of("store.E021", prefix=target, shortest=SHORTEST[target.version])
    text, scope = _stored(target)
    with transaction.atomic():
        rows = ExcludedRow.objects.exclude(target=text)
        if rows.count() >= EXCLUDED_MAX:
            rows.filter(until__lte=now).delete()
        if rows.count() >= EXCLUDED_MAX:
            raise ClearwayError.of("store.E049", limit=EXCLUDED_MAX, what="excluded")
        detail = {"scope": scope} if scope else {}
        row = write(Kind.FEED_EXCLUDE, text, now, actor, until=end, note=request.note, detail=detail)
        ExcludedRow.objects.update_or_create(target=text, defaults={"scope": scope, "until": end, "decision": row})
    held = named(sorted({hit.feed for hit in hits}), sorted({hit.reason for hit in hits})) if hits else ""
    warning = "" if hits else f"no list in force holds {text} now; should one, it is spared"
    return Change(row.pk, answer(row, scope=scope, held_by=held, warning=warning), base_changed=True)


@told
def include(request: TargetRequest, now: datetime, actor: str) -> Change:
    """Lifts an exclusion. Raises store.E048."""
    text, _ = _stored(target_of(request.target, None))
    with transaction.atomic():
        rows = ExcludedRow.objects.filter(target=text)
        if not rows.filter(until__gt=now).exists():
            raise ClearwayError.of("store.E048", target=text)
        row = write(Kind.FEED_INCLUDE, text, now, actor, note=request.note)
        rows.delete()
    return Change(row.pk, answer(row), base_changed=True)


@told
def live(now: datetime) -> list[Excluded]:
    """Those in force, by target."""
    rows = ExcludedRow.objects.filter(until__gt=now).select_related("decision").order_by("target")
    return [
        Excluded(
            target_of(row.target, row.scope or None),
            row.decision.at,
            row.until,
            row.decision.actor,
            row.decision.note,
            row.decision_id,
        )
        for row in rows
    ]


@told
def listed(now: datetime) -> list[dict[str, Any]]:
    """Those in force, as `feed excluded` shows them."""
    return [
        {
            "target": _stored(each.target)[0],
            "scope": _stored(each.target)[1] or None,
            "since": stamp(each.since),
            "until": stamp(each.until),
            "by": each.actor,
            "note": each.note,
            "decision": each.decision_id,
        }
        for each in live(now)
    ]


def key(excluded: Sequence[Excluded]) -> str:
    """The same for the same targets: told in the snapshot as the source of the list of exceptions."""
    text = "\n".join(" ".join(_stored(each.target)) for each in excluded)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@told
def next_end(now: datetime) -> datetime | None:
    """When the first of them runs out."""
    return ExcludedRow.objects.filter(until__gt=now).order_by("until").values_list("until", flat=True).first()


def target_of(text: str, scope: str | None) -> Target:
    """What a person named; a name with all below it, where no scope is given. Raises policy.E…, store.E020."""
    target = parse_target(text)
    if isinstance(target, Prefix):
        if scope is not None:
            detail = "of names alone, not of addresses"
            raise ClearwayError.of("store.E020", field="scope", detail=detail, command="feed exclude")
        return target
    return NameEntry(str(target), parse_word(NameScope, scope) if scope else NameScope.SUBTREE)


def _stored(target: Target) -> tuple[str, str]:
    return (str(target), "") if isinstance(target, Prefix) else (target.name, word(target.scope))


def spared(excluded: Sequence[Excluded], lists: Sequence[StoredEntries]) -> Spared:
    """The exceptions for these lists."""
    prefixes = [each.target for each in excluded if isinstance(each.target, Prefix)]
    entries = [each.target for each in excluded if not isinstance(each.target, Prefix)]
    v4, v6 = arrays.of_prefixes(prefixes)
    four, six = [v4], [v6]
    for stored in lists:
        for prefix in prefixes:
            (four if prefix.version == 4 else six).append(_within(stored, prefix))
    lines: dict[NameScope, set[str]] = {scope: set() for scope in NameScope}
    for entry in entries:
        lines[entry.scope].add(entry.name)
    for stored in lists:
        for entry in entries if stored.names else ():
            for found in _names_below(stored.path, entry):
                lines[found.scope].add(found.name)
    names = StoredNames(**{word(scope): _blob(found) for scope, found in lines.items()})
    return Spared(arrays.merged4(four), np.unique(np.concatenate(six), axis=0), names)


def _within(stored: StoredEntries, prefix: Prefix) -> U64:
    """Entries of a list within a prefix."""
    if prefix.version == 4:
        last = prefix.address | (1 << (BITS[4] - prefix.length)) - 1
        bounds = np.array([prefix.address << 8 | prefix.length, last << 8 | 0xFF], dtype=np.uint64)
        start, end = np.searchsorted(stored.v4, bounds, side="left").tolist()
        found: U64 = stored.v4[start:end]
        return found
    rows = stored.v6
    high, low = divmod(prefix.address, 1 << 64)
    mask_high, mask_low = divmod((1 << 128) - (1 << (128 - prefix.length)), 1 << 64)
    same = (rows[:, 0] & np.uint64(mask_high) == np.uint64(high)) & (rows[:, 1] & np.uint64(mask_low) == np.uint64(low))
    inside: U64 = rows[same & (rows[:, 2] >= prefix.length)]
    return inside


@lru_cache(_BELOW_KEPT)
def _names_below(path: Path, entry: NameEntry) -> tuple[NameEntry, ...]:
    """Entries of a list that an exclusion spares, but for one at the name itself that it covers anyway. Reads every
    byte of the list's names, once: contents never change."""
    if entry.scope == NameScope.EXACT:
        return ()
    return tuple(list_names.within(open_entries(path, verify=False).names, entry.name, limit=1 << 62))


def _blob(names: set[str]) -> Blob:
    lines = sorted(name.encode("ascii") for name in names)
    return np.frombuffer(b"".join(line + b"\n" for line in lines), dtype=np.uint8)


class SparedRules:
    """The same exceptions as `spared`, asked one address or name at a time: for explain. What lists hold is asked of
    `lists`."""

    def __init__(self, excluded: Sequence[Excluded], lists: Sequence[StoredEntries]) -> None:
        self._excluded = excluded
        self._lists = lists

    def over(self, target: Target) -> Excluded | None:
        """What spares a target wholly; the longest, where several do."""
        found = [each for each in self._excluded if each.covers(target)]
        return max(found, key=lambda each: _size(each.target), default=None)

    def covering(self, prefix: Prefix) -> list[Prefix]:
        own = [e.target for e in self._excluded if isinstance(e.target, Prefix) and e.target.covers(prefix)]
        held = [entry for stored in self._lists for entry in stored.covering(prefix) if self.over(entry)]
        return sorted({*own, *held}, key=lambda entry: -entry.length)

    def within(self, prefix: Prefix, limit: int) -> list[Prefix]:
        inside = [e.target for e in self._excluded if isinstance(e.target, Prefix) and prefix.covers(e.target)]
        return sorted(entry for entry in inside if entry != prefix)[:limit]

    @property
    def names(self) -> _SparedNames:
        return _SparedNames(self, self._excluded, self._lists)


class _SparedNames:
    def __init__(self, rules: SparedRules, excluded: Sequence[Excluded], lists: Sequence[StoredEntries]) -> None:
        self._rules, self._excluded, self._lists = rules, excluded, lists

    def covering(self, name: str) -> list[NameEntry]:
        own = [e.target for e in self._excluded if not isinstance(e.target, Prefix) and covers(e.target, name)]
        held = [entry for stored in self._lists for entry in stored.names.covering(name) if self._rules.over(entry)]
        return sorted({*own, *held}, key=lambda entry: (-len(entry.name), -entry.scope))


def _size(target: Target) -> int:
    return target.length if isinstance(target, Prefix) else len(target.name)
