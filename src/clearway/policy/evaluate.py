"""What the policy says of a packet: the slow, obvious reference that tests hold the kernel to.

The order stands once here and once in bpf/verdict.h, first match wins:

    malformed → spoofed → green grant → address block (source, then destination) → fragment of a dropped one
    → name of the flow → forward

For each address the overlay is asked first: its longest live entry decides, a block or an exception, and at one prefix
a live exception beats a live block. Only where it says nothing is the base asked: the longest prefix over all lists,
but for what they may not refuse by address (policy/shared_mask.py).
For a name likewise: what a person said decides, however long the entries of lists; within each the longest entry, at
one name an exception. A name is asked once it was read, of the flow or query that `evaluate` lets go on: evaluate_name.

Lists that are only observed drop nothing. They are a class by themselves, with exceptions of their own, asked by the
same rules of what goes on: where the overlay says nothing and the enforced lists refuse nothing. The first of source,
destination and name that they would refuse is told as the reason, and the packet is forwarded.
Pure: no clock, no kernel. Every `now_ns` is on the clock that the policy's own times are on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Protocol

from clearway._engine import LIMITS
from clearway.policy import packet as packets
from clearway.policy.model import BITS, Direction, DropReason, Entry, Fact, Lane, Prefix, Reason, Verdict, word
from clearway.policy.name_table import NO_NAMES, NameEntry, NameTable
from clearway.policy.packet import Address, FragmentKey, Malformed, Packet
from clearway.policy.prefix_table import PrefixTable
from clearway.policy.shared import NOTHING_SHARED, Shared
from clearway.policy.shared_sources import NO_RANGES, SharedRanges, SharedRule

GUARD_INSIDE, GUARD_BOGON, GUARD_LINK = 1, 2, 4
"""enum guard_flag of abi.h; the oracle holds them to it."""
FRAGMENT_LIFE_NS = LIMITS["FRAGMENT_LIFE_SECONDS"] * 1_000_000_000


class Covering(Protocol):
    """The entries of a list: prefix_table.PrefixSet, or entries.StoredEntries."""

    def covering(self, prefix: Prefix) -> Sequence[Prefix]: ...

    def within(self, prefix: Prefix, limit: int) -> Sequence[Prefix]: ...


class CoveringNames(Protocol):
    """The names of a list: name_table.NameEntries, or names.StoredNames."""

    def covering(self, name: str) -> Sequence[NameEntry]: ...


@dataclass(frozen=True, slots=True)
class ListRules:
    """One list in force. `exception`: what it holds is spared. `observe`: it is told of, and goes on."""

    name: str
    reason: Reason
    entries: Covering
    exception: bool = False
    source: str = ""
    since: datetime | None = None
    until: datetime | None = None
    names: CoveringNames = NO_NAMES
    excepted: CoveringNames = NO_NAMES
    """Names that the list spares of its own."""
    cloud_hosts: bool = True
    """As compile.ListEntries has it."""
    observe: bool = False


@dataclass(frozen=True, slots=True)
class OverlayRule:
    """One entry by a person or a detector; in force while now_ns < until_ns. `entry` says who and why."""

    prefix: Prefix
    until_ns: int
    exception: bool = False
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class NameRule:
    """One name by a person; in force while now_ns < until_ns. `entry` says who and why."""

    name: NameEntry
    until_ns: int
    exception: bool = False
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class GrantRule:
    """One green grant; in force while now_ns < until_ns."""

    prefix: Prefix
    until_ns: int
    organisation: str = ""
    since: datetime | None = None
    until: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What is set when the programs are loaded. `guard`: prefixes and their own flags; see gateway/guard.py."""

    observe: bool = False
    guard: tuple[tuple[Prefix, int], ...] = ()
    guard_inside: bool = False
    guard_bogons: bool = False


@dataclass(frozen=True)
class Policy:
    """Everything that is asked about a packet."""

    settings: PolicySettings = PolicySettings()
    lists: Sequence[ListRules] = ()
    overlay: Sequence[OverlayRule] = ()
    grants: Sequence[GrantRule] = ()
    bypass_until_ns: int = 0
    overlay_names: Sequence[NameRule] = ()
    shared: Shared = NOTHING_SHARED
    ranges: SharedRanges = NO_RANGES
    """Whose ranges made `shared`, for whoever asks why."""

    @cached_property
    def lists_by_class(self) -> tuple[list[ListRules], list[ListRules]]:
        """The enforced lists, and those that are only observed."""
        return [each for each in self.lists if not each.observe], [each for each in self.lists if each.observe]

    @cached_property
    def guard_table(self) -> PrefixTable[int]:
        return PrefixTable(self.settings.guard)

    @cached_property
    def overlay_table(self) -> PrefixTable[OverlayRule]:
        return PrefixTable((rule.prefix, rule) for rule in self.overlay)

    @cached_property
    def overlay_name_table(self) -> NameTable[NameRule]:
        return NameTable((rule.name, rule) for rule in self.overlay_names)

    @cached_property
    def grant_table(self) -> PrefixTable[GrantRule]:
        return PrefixTable((rule.prefix, rule) for rule in self.grants)


@dataclass
class FragmentTable:
    """What became of first fragments; the one thing that one packet leaves behind for another."""

    capacity: int = LIMITS["FRAGMENTS_MAX"]
    _seen: dict[FragmentKey, tuple[int, DropReason]] = field(default_factory=dict)

    def remember(self, key: FragmentKey, now_ns: int, drop_reason: DropReason) -> bool:
        """False: the table is full."""
        if key not in self._seen and len(self._seen) >= self.capacity:
            return False
        self._seen[key] = now_ns, drop_reason
        return True

    def first_of(self, key: FragmentKey, now_ns: int) -> DropReason | None:
        """What became of the first fragment; None: none was seen in the last 30 seconds."""
        seen_ns, drop_reason = self._seen.get(key, (0, None))
        return None if now_ns - seen_ns > FRAGMENT_LIFE_NS else drop_reason

    def sweep(self, now_ns: int) -> None:
        """Forgets those that are over."""
        self._seen = {key: (seen, r) for key, (seen, r) in self._seen.items() if now_ns - seen <= FRAGMENT_LIFE_NS}


Decider = ListRules | OverlayRule | NameRule | GrantRule | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens to a packet, and which rule says so."""

    verdict: Verdict
    drop_reason: DropReason
    lane: Lane
    facts: frozenset[Fact]
    packet: Packet
    decided_by: Decider = None
    prefix: Prefix | None = None
    """Of the rule that decided, or that it decided by name:"""
    name: NameEntry | None = None

    @property
    def why(self) -> str:
        """One line for a person."""
        if isinstance(self.decided_by, GrantRule):
            return f"granted: {self.prefix} ({self.decided_by.organisation})"
        what = word(self.drop_reason)
        target = self.name.name if self.name else self.prefix
        if isinstance(self.decided_by, ListRules):
            listed = "observed list" if self.decided_by.observe else "list"
            return f"{what}: {target} in {listed} {self.decided_by.name} ({word(self.decided_by.reason)})"
        if isinstance(self.decided_by, OverlayRule | NameRule):
            entry = self.decided_by.entry
            return f"{what}: {target}" + (f" ({word(entry.reason)}, by {entry.source})" if entry else "")
        return what


def evaluate(
    policy: Policy,
    frame: bytes,
    direction: Direction,
    now_ns: int,
    *,
    fragments: FragmentTable | None = None,
    super_packet: bool = False,
) -> Outcome:
    """What happens to a frame. `fragments` remembers first fragments from call to call; None: none was seen."""
    if now_ns < policy.bypass_until_ns:
        return _forward(Packet(facts={Fact.BYPASSED}))
    try:
        packet = packets.read(frame, super_packet=super_packet)
    except Malformed as malformed:
        return _drop(policy, malformed.packet, malformed.reason)
    if packet.source is None or packet.destination is None:
        return _forward(packet)
    source, destination = _host(packet.source), _host(packet.destination)
    spoofed = _spoofed(policy, source, direction)
    if spoofed:
        return _drop(policy, packet, spoofed)
    grant = _granted(policy, source if direction == Direction.OUTBOUND else destination, now_ns)
    if grant:
        return _forward(packet, Lane.GREEN, grant, grant.prefix)
    outcome = _blocked(policy, packet, source, destination, now_ns)
    if outcome is None and packet.fragment and not packet.first:
        first = fragments.first_of(packet.fragment, now_ns) if fragments else None
        if first is None:
            packet.facts.add(Fact.FRAGMENT_WITHOUT_FIRST)
        elif first != DropReason.FORWARDED:
            outcome = _drop(policy, packet, DropReason.FRAGMENT_OF_DROPPED)
    if packet.fragment and packet.first and fragments is not None:
        became = outcome.drop_reason if outcome else DropReason.FORWARDED
        if not fragments.remember(packet.fragment, now_ns, became):
            packet.facts.add(Fact.FRAGMENT_TABLE_FULL)
    return outcome or _observed(policy, packet, source, destination, now_ns) or _forward(packet)


def evaluate_name(policy: Policy, before: Outcome, name: str | None, now_ns: int) -> Outcome:
    """What happens to a flow, or a query, whose name was read. `before`: what `evaluate` said of the packet.

    Asked only of what goes on in the inspected lane. `name`: as the inspector has it; None: there is none, which is no
    reason to drop anything.
    """
    asked = before.verdict == Verdict.FORWARD and before.lane == Lane.INSPECTED
    told = isinstance(before.decided_by, ListRules) and before.decided_by.observe
    settled = before.drop_reason != DropReason.FORWARDED and not told
    if name is None or not asked or settled or Fact.BYPASSED in before.facts:
        return before
    by_person = overlay_name_rule(policy, name, now_ns)
    found = by_person or list_name_rule(policy, name)
    if found is not None and not found[0].exception:
        return replace(_drop(policy, before.packet, DropReason.REFUSED_NAME, found[0]), name=found[1])
    observed = None if by_person or told else list_name_rule(policy, name, observe=True)
    if observed is None or observed[0].exception:
        return before
    return replace(_tell(before.packet, DropReason.REFUSED_NAME, observed[0]), name=observed[1])


def _host(address: Address) -> Prefix:
    version, number = address
    return Prefix(version, number, BITS[version])


def _forward(packet: Packet, lane: Lane = Lane.INSPECTED, by: Decider = None, prefix: Prefix | None = None) -> Outcome:
    return Outcome(Verdict.FORWARD, DropReason.FORWARDED, lane, frozenset(packet.facts), packet, by, prefix)


def _drop(
    policy: Policy, packet: Packet, reason: DropReason, by: Decider = None, prefix: Prefix | None = None
) -> Outcome:
    """Dropped; or, observed only, forwarded with the reason it would have been dropped for."""
    facts = frozenset(packet.facts)
    if policy.settings.observe:
        return Outcome(Verdict.FORWARD, reason, Lane.INSPECTED, facts | {Fact.OBSERVED}, packet, by, prefix)
    return Outcome(Verdict.DROP, reason, Lane.INSPECTED, facts, packet, by, prefix)


def _tell(packet: Packet, reason: DropReason, by: ListRules, prefix: Prefix | None = None) -> Outcome:
    """Forwarded, with the reason that an observed list would have it dropped for."""
    facts = frozenset(packet.facts) | {Fact.OBSERVED}
    return Outcome(Verdict.FORWARD, reason, Lane.INSPECTED, facts, packet, by, prefix)


def _spoofed(policy: Policy, source: Prefix, direction: Direction) -> DropReason | None:
    flags = 0
    for _, standing in policy.guard_table.covering(source):
        for flag in standing:
            flags |= flag
    if flags & GUARD_LINK:
        return None
    if direction == Direction.OUTBOUND:
        foreign = policy.settings.guard_inside and not flags & GUARD_INSIDE
        return DropReason.SPOOFED_FOREIGN if foreign else None
    if policy.settings.guard_inside and flags & GUARD_INSIDE:
        return DropReason.SPOOFED_INSIDE
    if policy.settings.guard_bogons and flags & GUARD_BOGON:
        return DropReason.SPOOFED_BOGON
    return None


def _granted(policy: Policy, inside: Prefix, now_ns: int) -> GrantRule | None:
    for _, standing in policy.grant_table.covering(inside):
        for grant in standing:
            if now_ns < grant.until_ns:
                return grant
    return None


def _blocked(policy: Policy, packet: Packet, source: Prefix, destination: Prefix, now_ns: int) -> Outcome | None:
    for address, blocked, listed in (
        (source, DropReason.BLOCKED_SOURCE, DropReason.LISTED_SOURCE),
        (destination, DropReason.BLOCKED_DESTINATION, DropReason.LISTED_DESTINATION),
    ):
        rule = overlay_rule(policy, address, now_ns)
        if rule and not rule.exception:
            return _drop(policy, packet, blocked, rule, rule.prefix)
        if rule is None:
            found = base_rule(policy, address)
            if found and not found[0].exception:
                return _drop(policy, packet, listed, *found)
    return None


def _observed(policy: Policy, packet: Packet, source: Prefix, destination: Prefix, now_ns: int) -> Outcome | None:
    for address, listed in ((source, DropReason.LISTED_SOURCE), (destination, DropReason.LISTED_DESTINATION)):
        found = base_rule(policy, address, observe=True) if overlay_rule(policy, address, now_ns) is None else None
        if found and not found[0].exception:
            return _tell(packet, listed, *found)
    return None


def overlay_rule(policy: Policy, address: Prefix, now_ns: int) -> OverlayRule | None:
    """The overlay's answer for an address: its longest live entry, an exception before a block."""
    for _, standing in policy.overlay_table.covering(address):
        live = [rule for rule in standing if now_ns < rule.until_ns]
        if live:
            return next((rule for rule in live if rule.exception), live[0])
    return None


def base_rule(policy: Policy, address: Prefix, *, observe: bool = False) -> tuple[ListRules, Prefix] | None:
    """The base's answer for an address: the longest entry over all lists of one class, an exception before a block.

    None at a shared front end, whatever lists say; in a single-tenant cloud single hosts alone are heard.
    """
    entries = [
        (rules, held) for rules in policy.lists_by_class[observe] for held in rules.entries.covering(address)[:1]
    ]
    if not entries or policy.shared.front_ends.covers(address):  # what costs more is asked of few addresses
        return None
    in_cloud = policy.shared.single_tenant.covers(address)
    found: tuple[ListRules, Prefix] | None = None
    for rules, prefix in entries:
        if in_cloud and not (prefix.is_host and (rules.cloud_hosts or rules.exception)):
            continue
        if found is None or (prefix.length, rules.exception) > (found[1].length, found[0].exception):
            found = rules, prefix
    return found


def spared_rule(policy: Policy, address: Prefix) -> SharedRule | None:
    """The shared range that keeps an address from being refused by a list; None where no list would refuse it."""
    if base_rule(policy, address) is not None:
        return None
    listed = base_rule(Policy(lists=policy.lists), address)
    return policy.ranges.rule(address) if listed is not None and not listed[0].exception else None


def name_rule(policy: Policy, name: str, now_ns: int) -> tuple[NameRule | ListRules, NameEntry] | None:
    """The rule that decides about a name: what a person said of it, else what lists say."""
    return overlay_name_rule(policy, name, now_ns) or list_name_rule(policy, name)


def overlay_name_rule(policy: Policy, name: str, now_ns: int) -> tuple[NameRule, NameEntry] | None:
    """What people say of a name: the longest live entry, an exception before a block."""
    live = [rule for _, rule in policy.overlay_name_table.covering(name) if now_ns < rule.until_ns]
    longest = [rule for rule in live if rule.name.name == live[0].name.name]
    decides = next((rule for rule in longest if rule.exception), longest[0] if longest else None)
    return (decides, decides.name) if decides else None


def list_name_rule(policy: Policy, name: str, *, observe: bool = False) -> tuple[ListRules, NameEntry] | None:
    """What lists of one class say of a name: the longest entry, an exception before a block, then the first list.

    A list says nothing where it spares what it blocks itself.
    """
    found: tuple[ListRules, NameEntry] | None = None
    for rules in policy.lists_by_class[observe]:
        for entry in rules.names.covering(name)[:1]:
            if any(len(own.name) >= len(entry.name) for own in rules.excepted.covering(name)[:1]):
                continue
            if found is None or (len(entry.name), rules.exception) > (len(found[1].name), found[0].exception):
                found = rules, entry
    return found
