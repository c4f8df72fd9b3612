"""Random policies for the oracle: prefixes of every length that nest, touch and contradict each other.

All randomness comes from the generator that is handed in: the same seed gives the same policy on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clearway.gateway import guard
from clearway.policy import arrays
from clearway.policy.bogons import BOGONS
from clearway.policy.compile import CompiledBase, ListEntries, compile_base
from clearway.policy.evaluate import (
    GUARD_INSIDE,
    GrantRule,
    ListRules,
    OverlayRule,
    Policy,
    PolicySettings,
)
from clearway.policy.model import BITS, Prefix, Reason
from clearway.policy.packet import Address
from clearway.policy.prefix_table import PrefixSet

HOUR_NS = 3600 * 10**9
CLEAR_NS = 50 * 10**6
"""What is over is over by this much: the programs read the clock once a jiffy."""
CELLS_MAX = 1 << 14
"""/24s that the lists of a policy hold whole: a /10. Overlay and grants reach to /1."""
SPECIAL: tuple[Address, ...] = (
    *((4, n) for n in (0, 1, 0xFFFFFFFF, 0x7F000001, 0xE0000001, 0xA9FE0101, 0x0A000001, 0xC0A80101, 0xC0000201)),
    *((6, n) for n in (0, 1, (1 << 128) - 1, 0xFE80 << 112 | 1, 0xFF02 << 112 | 1, 0xFC00 << 112 | 7, 0xFFFE << 32)),
    (6, 0x20010DB8 << 96 | 1),
    (6, 0x0064FF9B << 96 | 0xC0000201),
    (6, 0x10000 << 32),  # just behind the IPv4-mapped range
)
_LENGTHS = {
    4: [*range(33), *range(16, 33), *range(22, 33), 24, 24, 32, 32, 32, 32],
    6: [*range(129), *[16, 32, 46, 47, 48, 48, 48, 49, 56, 63, 64, 64, 65, 95, 96, 97, 127, 128, 128, 128, 128] * 5],
}


@dataclass(frozen=True)
class Rules:
    """What changes from one moment to the next: overlay and grants, for the reference and for the kernel."""

    policy: Policy
    overlay_rows: list[tuple[bytes, int, int, int]]
    green_rows: list[tuple[bytes, int, int]]


@dataclass(frozen=True)
class Moments:
    """One base, and overlay and grants at two moments, so that a datagram's fragments may meet different rules."""

    base: CompiledBase
    moments: tuple[Rules, Rules]
    addresses: Sequence[Address]
    """Within, at the edges of and just outside of its prefixes, with others among them."""


def random_settings(rng: random.Random, group: int) -> PolicySettings:
    """Each half of the guard on or off by turns, one group in seven observes. The rows are made as the gateway does."""
    guard_inside, guard_bogons = group % 4 in (1, 3), group % 4 in (2, 3)
    anchors = _anchors(rng)
    inside = [_prefix(rng, anchors, minimum=4) for _ in range(rng.randint(1, 5))] if guard_inside else []
    if guard_inside and rng.random() < 0.3:
        inside.append(rng.choice(list(BOGONS)))  # private space inside
    rows = guard.rows(inside, guard_bogons)
    known = tuple((Prefix.from_mapped(address, length), flags) for address, length, flags in rows)
    return PolicySettings(group % 7 == 3, known, guard_inside, guard_bogons)


def random_moments(rng: random.Random, settings: PolicySettings, now_ns: int, *, bypass: bool) -> Moments:
    """A policy under those settings; `now_ns`: the boot clock, from which entries are live or over by an hour.

    `bypass`: the second moment finds a plain wire; else one that is over, or none.
    """
    anchors = _anchors(rng) + [(p.version, p.address) for p, _ in settings.guard[:3]]
    lists, entries = _lists(rng, anchors)
    inside = [prefix for prefix, flags in settings.guard if flags & GUARD_INSIDE]
    listed = [prefix for one in entries for prefix in _prefixes_of(one)]
    policy = Policy(settings, lists)
    before = _rules(rng, anchors, policy, [*listed, *inside], now_ns)
    after = _changed(rng, before, _rules(rng, anchors, policy, [*listed, *inside], now_ns))
    ends_ns = now_ns + HOUR_NS if bypass else rng.choice([0, 1, now_ns - CLEAR_NS])
    moments = (before, replace(after, policy=replace(after.policy, bypass_until_ns=ends_ns)))
    prefixes = list(listed)
    for rules in moments:
        prefixes += [rule.prefix for rule in rules.policy.overlay]
        prefixes += [rule.prefix for rule in rules.policy.grants] * 3
    prefixes += [prefix for prefix, _ in settings.guard if rng.random() < 0.5]
    addresses = _addresses(rng, prefixes)
    return Moments(compile_base(entries), moments, addresses)


def _anchors(rng: random.Random) -> list[Address]:
    """Neighbourhoods: prefixes drawn around few addresses nest and touch."""
    v4 = [(4, rng.getrandbits(32)) for _ in range(rng.randint(1, 3))]
    v6 = [(6, rng.choice([0x2001, 0x2A00, 0x3FF0]) << 112 | rng.getrandbits(112)) for _ in range(rng.randint(1, 3))]
    return v4 + v6 + rng.sample(SPECIAL, 2)


def _near(rng: random.Random, anchor: Address) -> Address:
    version, number = anchor
    bits = BITS[version]
    kind = rng.random()
    if kind < 0.3:
        return anchor
    if kind < 0.7:
        return version, number ^ rng.getrandbits(rng.randint(1, 12 if version == 4 else 80))
    return version, number ^ 1 << rng.randrange(bits)


def _prefix(rng: random.Random, anchors: Sequence[Address], minimum: int = 0) -> Prefix:
    version, number = _near(rng, rng.choice(anchors))
    return Prefix.cut(version, number, max(minimum, rng.choice(_LENGTHS[version])))


def _prefixes(rng: random.Random, anchors: Sequence[Address], count: int, known: Sequence[Prefix] = ()) -> list[Prefix]:
    """Some drawn anew, some the same as, or parent, child or sibling of, one that is there already or is `known`."""
    found: list[Prefix] = []
    for _ in range(count):
        near_to = known if known and rng.random() < 0.5 else found
        if not near_to or rng.random() < 0.4:
            found.append(_prefix(rng, anchors, minimum=0 if rng.random() < 0.05 else 6))
            continue
        near = rng.choice(near_to)
        length = min(max(near.length + rng.choice([0, 0, -1, 1, rng.randint(-16, 16)]), 0), BITS[near.version])
        flipped = near.address ^ 1 << rng.randrange(BITS[near.version]) if rng.random() < 0.3 else near.address
        found.append(Prefix.cut(near.version, flipped, length))
    return found


def _lists(rng: random.Random, anchors: Sequence[Address]) -> tuple[list[ListRules], list[ListEntries]]:
    rules, entries = [], []
    known: list[Prefix] = []
    room = CELLS_MAX
    for number in range(rng.randint(0, 4)):
        prefixes = []
        for prefix in _prefixes(rng, anchors, rng.choice([0, 1, 3, 10, 40]), known):
            if _cells(prefix) <= room:
                prefixes.append(prefix)
                room -= _cells(prefix)
        known += prefixes
        exception, observe = rng.random() < 0.3, rng.random() < 0.3
        reason = Reason(rng.randint(1, len(Reason) - 1))
        name = f"list-{number}"
        rules.append(ListRules(name, reason, PrefixSet(prefixes), exception, observe=observe))
        entries.append(ListEntries(name, reason, *arrays.of_prefixes(prefixes), exception, observe=observe))
    return rules, entries


def _cells(prefix: Prefix) -> int:
    """/24s that it lists whole, each of them a bitmap in the kernel."""
    return 1 << max(0, 24 - prefix.length) if prefix.version == 4 else 0


def _prefixes_of(entries: ListEntries) -> list[Prefix]:
    v4 = [Prefix(4, key >> 8, key & 0xFF) for key in entries.v4.tolist()]
    return v4 + [Prefix(6, high << 64 | low, length) for high, low, length in entries.v6.tolist()]


def _until(rng: random.Random, now_ns: int) -> int:
    return (
        now_ns + HOUR_NS if rng.random() < 0.7 else rng.choice([1, max(1, now_ns - HOUR_NS), max(1, now_ns - CLEAR_NS)])
    )


def _rules(
    rng: random.Random, anchors: Sequence[Address], policy: Policy, known: Sequence[Prefix], now_ns: int
) -> Rules:
    rows = []
    for prefix in dict.fromkeys(_prefixes(rng, anchors, rng.choice([0, 1, 5, 30]), known)):
        both = rng.random() < 0.2
        exception = both or rng.random() < 0.4
        block_until = _until(rng, now_ns) if both or not exception else 0
        rows.append((*prefix.mapped(), block_until, _until(rng, now_ns) if exception else 0))
    drawn = _prefixes(rng, anchors, rng.choice([0, 0, 1, 4, 10]), [*known, *(Prefix.from_mapped(*r[:2]) for r in rows)])
    green = [(*prefix.mapped(), _until(rng, now_ns)) for prefix in dict.fromkeys(drawn) if prefix.length]
    return _of_rows(policy, rows, green)


def _changed(rng: random.Random, before: Rules, anew: Rules) -> Rules:
    """A later moment: some entries are gone, some are new. So fragments arrive whose first was judged otherwise."""
    keep = rng.choice([0.0, 0.5, 0.9])
    rows = {row[:2]: row for row in before.overlay_rows if rng.random() < keep}
    green = {row[:2]: row for row in before.green_rows if rng.random() < keep}
    if rng.random() < 0.5:
        rows.update((row[:2], row) for row in anew.overlay_rows)
        green.update((row[:2], row) for row in anew.green_rows)
    return _of_rows(anew.policy, list(rows.values()), list(green.values()))


def _of_rows(policy: Policy, rows: list[tuple[bytes, int, int, int]], green: list[tuple[bytes, int, int]]) -> Rules:
    """Rules for the reference from the rows that the kernel is given."""
    overlay = []
    for address, length, block_until, exception_until in rows:
        prefix = Prefix.from_mapped(address, length)
        overlay += [OverlayRule(prefix, block_until)] if block_until else []
        overlay += [OverlayRule(prefix, exception_until, exception=True)] if exception_until else []
    grants = [GrantRule(Prefix.from_mapped(a, length), until, "someone") for a, length, until in green]
    return Rules(replace(policy, overlay=overlay, grants=grants), rows, green)


def _addresses(rng: random.Random, prefixes: Sequence[Prefix]) -> list[Address]:
    found: list[Address] = list(rng.sample(SPECIAL, 4))
    for prefix in rng.sample(prefixes, min(len(prefixes), 60)):
        bits = BITS[prefix.version]
        last = prefix.address | (1 << bits - prefix.length) - 1
        within = prefix.address | rng.getrandbits(bits) & last ^ prefix.address & last
        for number in (prefix.address, last, prefix.address - 1, last + 1, within):
            if 0 <= number < 1 << bits:
                found.append((prefix.version, number))
    found += [(4, rng.getrandbits(32)) for _ in range(8)] + [(6, rng.getrandbits(128)) for _ in range(8)]
    return found
