"""What lists may not refuse by address, taken out of them before they are compiled.

    a front end       nothing that a list holds there counts
    a single tenant   single hosts count, of a list fetched within the last day; prefixes never
    a wider prefix    that reaches into either leaves its addresses out: they become exceptions

So a range that is published after a list was fetched wins with the next compile, whatever the list says. Exceptions of
lists are left as they are. The reference of this is base_rule of evaluate.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from clearway.policy.arrays import U64, split_mapped
from clearway.policy.shared import Mask, Ranges, Shared, hosts

if TYPE_CHECKING:
    from clearway.policy.compile import ListEntries

CLOUD_HOST_LIFE = timedelta(hours=24)
"""How long a host of a single-tenant cloud counts after its list was fetched: it may have another tenant by then."""
NAME = "shared ranges"
"""Of the list of exceptions that is made here."""


def masked(lists: Sequence[ListEntries], shared: Shared) -> list[ListEntries]:
    """The lists without what they may not refuse, and behind them one of exceptions where wider entries make it due."""
    if not shared:
        return list(lists)
    guarded = shared.guarded
    kept: list[ListEntries] = []
    for observe in (False, True):
        of_class = [each for each in lists if each.observe == observe]
        parts = [each if each.exception else _without(each, shared, guarded) for each in of_class]
        kept += parts
        refused = [each for each in parts if not each.exception]
        spared = _spared(refused, guarded) if refused else None
        if spared is not None:
            v4, v6 = spared
            kept.append(replace(refused[0], name=NAME, v4=v4, v6=v6, exception=True))
    return kept


def _without(entries: ListEntries, shared: Shared, guarded: Ranges) -> ListEntries:
    v4, v6 = _unmapped(entries)
    fronts, within = shared.front_ends.within(v4, v6), guarded.within(v4, v6)
    if not any(mask.any() for mask in within):
        return entries
    single = hosts(v4, v6) if entries.cloud_hosts else (np.zeros(len(v4), bool), np.zeros(len(v6), bool))
    keep4, keep6 = (
        ~inside | host & ~front for inside, host, front in zip(within, single, fronts, strict=True)
    )  # what is within both classes at once, but in neither whole, is no host
    return replace(entries, v4=v4[keep4], v6=v6[keep6])


def _spared(lists: Sequence[ListEntries], guarded: Ranges) -> tuple[U64, U64] | None:
    """The prefixes of `guarded` that a wider entry reaches over, but for hosts that a list holds there."""
    ranges4, ranges6 = guarded.prefixes()
    wide4, wide6 = _reaching(lists, guarded)
    over4, over6 = Ranges.of(wide4, wide6).within(ranges4, ranges6)
    spared4, spared6 = ranges4[over4], ranges6[over6]
    if not len(spared4) and not len(spared6):
        return None
    held4, held6 = _hosts_held(lists, spared4, spared6)
    return spared4[~np.isin(spared4, held4)], spared6[~_same_rows(spared6, held6)]


def _hosts_held(lists: Sequence[ListEntries], v4: U64, v6: U64) -> tuple[U64, U64]:
    """Those of the single addresses among these prefixes that a list holds."""
    single4, single6 = hosts(v4, v6)
    asked = Ranges.of(v4[single4], v6[single6])
    found4, found6 = [np.empty(0, dtype=np.uint64)], [np.empty((0, 3), dtype=np.uint64)]
    for each in lists if asked else ():
        held4, held6 = _unmapped(each)
        in4, in6 = asked.within(held4, held6)
        found4.append(held4[in4])
        found6.append(held6[in6])
    return np.concatenate(found4), np.concatenate(found6)


def _reaching(lists: Sequence[ListEntries], guarded: Ranges) -> tuple[U64, U64]:
    """Entries that hold some of it and more."""
    found4, found6 = [np.empty(0, dtype=np.uint64)], [np.empty((0, 3), dtype=np.uint64)]
    for each in lists:
        v4, v6 = _unmapped(each)
        single4, single6 = hosts(v4, v6)
        v4, v6 = v4[~single4], v6[~single6]
        touching4, touching6 = guarded.touching(v4, v6)
        found4.append(v4[touching4])
        found6.append(v6[touching6])
    return np.concatenate(found4), np.concatenate(found6)


def _unmapped(entries: ListEntries) -> tuple[U64, U64]:
    outer, inner = split_mapped(entries.v6)
    return (np.concatenate([entries.v4, inner]) if len(inner) else entries.v4), outer


def _same_rows(asked: U64, among: U64) -> Mask:
    rows = np.dtype([("", np.uint64)] * 3)
    found: Mask = np.isin(
        np.ascontiguousarray(asked).view(rows).reshape(-1), np.ascontiguousarray(among).view(rows).reshape(-1)
    )
    return found
