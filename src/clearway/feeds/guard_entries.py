"""Which entries of a list are held back, one by one: protected ones (G10), and prefixes too wide for it (G11). Pure.

All of a list at once: arrays for addresses; of names, only those that stand where something is protected are looked at.
An entry is counted under the first case that it touches, in the order of guard_rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clearway._engine import NameScope
from clearway.feeds.guard_rules import GuardRule
from clearway.feeds.name_scan import chunks_of, without
from clearway.feeds.protected import Protected
from clearway.feeds.readers.content import Entries
from clearway.policy import arrays
from clearway.policy.arrays import U64
from clearway.policy.model import BITS, Prefix
from clearway.policy.name_table import NameEntry
from clearway.policy.names import Blob, StoredNames
from clearway.policy.shared import Mask, Shared, hosts

SAMPLES_MAX = 20
"""Entries that are shown of one rule."""

ADDRESS_RULES = (
    GuardRule.OWN,
    GuardRule.ROOT_SERVER,
    GuardRule.RESOLVER,
    GuardRule.SPECIAL_USE,
    GuardRule.GRANTED,
    GuardRule.CDN,
    GuardRule.WIDE,
    GuardRule.CLOUD,
)
"""Of which prefixes are asked, in this order."""
WIDE_CODE = ADDRESS_RULES.index(GuardRule.WIDE) + 1
CLOUD_CODE = ADDRESS_RULES.index(GuardRule.CLOUD) + 1

Codes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]


class HeldBack(NamedTuple):
    """An entry that is not enforced."""

    line: int | None
    """Of the list; None where it does not stand there as it is enforced."""
    kind: str
    """name, address."""
    value: str
    scope: str | None
    rule: str
    hit: str
    """What it touches there."""


@dataclass(slots=True)
class Held:
    """What of a list is enforced, and what is not."""

    kept: Entries
    counts: dict[str, int] = field(default_factory=dict)
    """By id of the rule."""
    samples: list[HeldBack] = field(default_factory=list)
    """The first SAMPLES_MAX of each rule, their lines not yet looked for."""
    judged: int = 0
    """Entries but for those wholly inside special-use space, which count nowhere else."""
    protected: int = 0
    """Of `judged`: those that touch the protected set."""
    widest: list[Prefix] = field(default_factory=list)
    """Prefixes shorter than the limit, the first few."""
    widest_count: int = 0
    share: int = 0
    """IPv4 addresses of `judged`."""
    kept_share: int = 0
    """IPv4 addresses of `kept`."""


class Widths(NamedTuple):
    """Prefix lengths, at least: of any prefix, and of one in this list."""

    widest_v4: int
    widest_v6: int
    wide_v4: int


def hold(entries: Entries, protected: Protected, shared: Shared, widths: Widths) -> Held:
    """Looks at every entry."""
    held = Held(entries)
    v4, v6 = _hold_addresses(held, entries, protected, shared, widths)
    names = _hold_names(held, entries.names, protected)
    held.kept = Entries(v4, v6, names, entries.excepted)
    held.kept_share = addresses_of(v4)
    return held


def all_of(entries: Entries) -> Held:
    """The same where no entry is judged: lists of what is shared."""
    share = addresses_of(entries.v4)
    return Held(entries, judged=len(entries), share=share, kept_share=share)


_SIZES = np.array([1 << (32 - length) for length in range(33)], dtype=np.int64)


def addresses_of(v4: U64) -> int:
    """How many addresses prefixes hold, each once."""
    if not len(v4):
        return 0
    lengths = arrays.lengths4(v4)
    nets = np.flatnonzero(lengths < BITS[4])  # few, and nothing else can hold what follows it
    outer = nets[:-1] if len(nets) and nets[-1] == len(v4) - 1 else nets
    ends = (v4[outer] >> np.uint64(8)) + (np.uint64(1) << (np.uint64(32) - lengths[outer])) - np.uint64(1)
    if not (v4[outer + 1] >> np.uint64(8) <= ends).any():
        return int(_SIZES[lengths[nets]].sum()) + len(v4) - len(nets)
    first = v4 >> np.uint64(8)
    sizes = np.uint64(1) << (np.uint64(32) - (v4 & np.uint64(0xFF)))
    last = first + sizes - np.uint64(1)
    reached = np.maximum.accumulate(last)
    outer = np.ones(len(v4), dtype=bool)
    outer[1:] = first[1:] > reached[:-1]  # prefixes nest, or are apart
    return int(sizes[outer].sum())


def _hold_addresses(
    held: Held, entries: Entries, protected: Protected, shared: Shared, widths: Widths
) -> tuple[U64, U64]:
    whole = (entries.v4, entries.v6)
    if not len(whole[0]) and not len(whole[1]):
        return whole
    places = _to_look_at(*whole, protected, shared, widths)
    v4, v6 = whole[0][places[0]], whole[1][places[1]]
    codes = _codes(v4, v6, protected, shared)
    inside = _inside_special(v4, v6, protected)
    _count_protected(held, v4, v6, codes, inside, protected)
    held.judged += len(whole[0]) + len(whole[1])
    wide = (arrays.lengths4(v4) < widths.wide_v4) & ((codes[0] == 0) | (codes[0] == CLOUD_CODE))
    codes[0][wide] = WIDE_CODE
    held.share = addresses_of(_except(whole[0], places[0][inside[0]]))
    _measure(held, v4, v6, inside, widths)
    for number, rule in enumerate(ADDRESS_RULES, start=1):
        touched = [np.flatnonzero(code == number) for code in codes]
        count = sum(map(len, touched))
        if count:
            held.counts[rule.id] = count
            for prefix in _prefixes(v4, v6, touched, SAMPLES_MAX):
                hit = _hit_of(rule, prefix, protected, shared)
                held.samples.append(HeldBack(None, "address", str(prefix), None, rule.id, hit))
    return _except(whole[0], places[0][codes[0] > 0]), _except(whole[1], places[1][codes[1] > 0])


def _to_look_at(v4: U64, v6: U64, protected: Protected, shared: Shared, widths: Widths) -> list[Places]:
    """Where those stand that may touch something, or are wider than any limit: few of most lists."""
    near = protected.everywhere.union(shared.front_ends, shared.single_tenant).touching(v4, v6)
    wide = arrays.lengths4(v4) < max(widths.widest_v4, widths.wide_v4), v6[:, 2] < widths.widest_v6
    return [np.flatnonzero(either) for either in (near[0] | wide[0], near[1] | wide[1])]


def _except(entries: U64, places: Places) -> U64:
    """Without those at these places."""
    return np.delete(entries, places, axis=0) if len(places) else entries


def _codes(v4: U64, v6: U64, protected: Protected, shared: Shared) -> list[Codes]:
    """Of each prefix the number of the first rule that it breaks, by its place in ADDRESS_RULES from 1, or 0."""
    codes = [np.zeros(len(v4), dtype=np.uint8), np.zeros(len(v6), dtype=np.uint8)]
    for number, rule in enumerate(ADDRESS_RULES, start=1):
        ranges = shared.front_ends if rule == GuardRule.CDN else protected.ranges.get(rule)
        if ranges:
            for code, mask in zip(codes, ranges.touching(v4, v6), strict=True):
                code[(code == 0) & mask] = number
    masks = zip(codes, shared.single_tenant.touching(v4, v6), hosts(v4, v6), strict=True)
    for code, cloud, host in masks:
        code[(code == 0) & cloud & ~host] = CLOUD_CODE
    return codes


def _count_protected(
    held: Held, v4: U64, v6: U64, codes: list[Codes], inside: list[Mask], protected: Protected
) -> None:
    """Of those that may touch something: what the share of protected entries is made of."""
    for code, special, resolver in zip(codes, inside, protected.open_resolvers.within(v4, v6), strict=True):
        guarded = (code > 0) & (code < WIDE_CODE)
        held.judged -= int(np.count_nonzero(special))
        held.protected += int(np.count_nonzero((guarded | resolver) & ~special))  # a /24 holds resolvers by chance


def _inside_special(v4: U64, v6: U64, protected: Protected) -> list[Mask]:
    ranges = protected.ranges.get(GuardRule.SPECIAL_USE)
    if ranges is None:
        return [np.zeros(len(v4), dtype=bool), np.zeros(len(v6), dtype=bool)]
    return list(ranges.within(v4, v6))


def _measure(held: Held, v4: U64, v6: U64, inside: list[Mask], widths: Widths) -> None:
    """Which are wider than any may be, but for special-use space."""
    wide = [
        np.flatnonzero((arrays.lengths4(v4) < widths.widest_v4) & ~inside[0]),
        np.flatnonzero((v6[:, 2] < widths.widest_v6) & ~inside[1]),
    ]
    held.widest_count = sum(map(len, wide))
    held.widest = list(_prefixes(v4, v6, wide, SAMPLES_MAX))


def _prefixes(v4: U64, v6: U64, places: Sequence[Places], limit: int) -> list[Prefix]:
    found = [Prefix(4, key >> 8, key & 0xFF) for key in v4[places[0][:limit]].tolist()]
    rest = limit - len(found)
    return found + [_v6_prefix(*row) for row in v6[places[1][:rest]].tolist()]


def _v6_prefix(high: int, low: int, length: int) -> Prefix:
    return Prefix(6, high << 64 | low, length)


def _hit_of(rule: GuardRule, prefix: Prefix, protected: Protected, shared: Shared) -> str:
    if rule == GuardRule.WIDE:
        return f"a /{prefix.length}"
    row = protected.row_touching(rule, prefix)
    if row is not None:
        return f"{row.value} ({row.source})"
    return "a shared front end" if rule == GuardRule.CDN else "addresses that are let to many tenants"


def _hold_names(held: Held, names: StoredNames, protected: Protected) -> StoredNames:
    kept = {scope: _hold_scope(held, blob, scope, protected) for scope, blob in names.blobs().items()}
    return StoredNames(kept[NameScope.EXACT], kept[NameScope.BELOW], kept[NameScope.SUBTREE])


def _hold_scope(held: Held, blob: Blob, scope: NameScope, protected: Protected) -> Blob:
    """A list may hold millions of protected names: no more than a chunk of them is ever kept."""
    kept: list[Blob] = []
    at = 0
    was = held.protected
    for chunk in chunks_of(blob):
        refused = _refused(chunk, scope, protected)
        held.judged += chunk.count(b"\n")
        held.protected += len(refused)
        part = blob[at : at + len(chunk)]
        kept.append(without(part, refused) if refused else part)
        at += len(chunk)
        for name, (rule, hit) in refused.items():
            held.counts[rule.id] = held.counts.get(rule.id, 0) + 1
            if held.counts[rule.id] <= SAMPLES_MAX:
                told = name.decode("ascii")
                held.samples.append(HeldBack(None, "name", told, scope.name.lower(), rule.id, hit))
    return np.concatenate(kept) if held.protected > was else blob


def _refused(chunk: bytes, scope: NameScope, protected: Protected) -> dict[bytes, tuple[GuardRule, str]]:
    refused = {}
    for name in protected.wanted(scope != NameScope.EXACT).found_in(chunk):
        touched = protected.touched_by(NameEntry(name.decode("ascii"), scope))
        if touched is not None:
            refused[name] = touched
    return refused


def common(part: Entries, kept: Entries) -> Entries:
    """What of a part of a list is kept of the whole."""
    keep_names = {
        scope: _common_lines(blob, kept.names.blobs()[scope]) for scope, blob in part.names.blobs().items() if len(blob)
    }
    names = StoredNames(**{scope.name.lower(): blob for scope, blob in keep_names.items()})
    v6 = part.v6[_rows(part.v6, kept.v6)] if len(part.v6) else part.v6
    v4 = part.v4[np.isin(part.v4, kept.v4, assume_unique=True)]
    return Entries(v4, v6, names, kept.excepted if names else StoredNames())


def _rows(rows: U64, of: U64) -> Mask:
    known = set(map(tuple, of.tolist()))
    return np.fromiter((tuple(row) in known for row in rows.tolist()), dtype=bool, count=len(rows))


def _common_lines(blob: Blob, of: Blob) -> Blob:
    known = set(of.tobytes().split(b"\n"))
    kept = [line for line in blob.tobytes().split(b"\n")[:-1] if line in known]
    return np.frombuffer(b"".join(line + b"\n" for line in kept), dtype=np.uint8)
