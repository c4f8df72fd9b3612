"""What a policy would have done to the flows of a capture, flow by flow: the reference matcher over what was inspected.

A flow is judged as the gateway judges its packets: by its addresses first, then by its names; of DNS each query is
judged by itself. It says nothing of packets that contradict themselves, of spoofed ones or of fragments: a capture does
not tell at which port of a gateway they came. No clock, no kernel; of files only a snapshot's.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from clearway._engine import FlowSum, Found
from clearway.policy import entries, snapshot
from clearway.policy.evaluate import (
    GrantRule,
    ListRules,
    NameRule,
    Outcome,
    OverlayRule,
    Policy,
    evaluate,
    evaluate_name,
    spared_rule,
)
from clearway.policy.model import Direction, Prefix, Verdict, word
from clearway.policy.shared_sources import SharedRanges, SharedRule

REFUSED_NAMES_MAX = 100
"""Refused names of one flow that are told; the others are counted."""
OUTCOMES_MAX = 65_536
"""Pairs of addresses whose outcome is remembered, about 1 kB each."""

PROTOCOLS = {"tcp": 6, "udp": 17}
Ends = tuple[str, frozenset[tuple[str, int]]]
"""What a flow is known by, whoever asks: transport and both ends."""


@dataclass(slots=True)
class Named:
    """What is known of a flow's names before it ends. `by_name`: the outcome of the first one that is refused."""

    count: int = 0
    first: str | None = None
    dns: bool = False
    refused: list[str] = field(default_factory=list)
    refused_count: int = 0
    by_name: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A flow with what would have become of it."""

    flow: FlowSum
    names: Named
    outcome: Outcome
    spared: SharedRule | None = None
    """The shared range without which a list would have refused it."""

    @property
    def dropped(self) -> bool:
        """All of it, or of DNS the refused queries."""
        return self.outcome.verdict == Verdict.DROP

    def as_json(self) -> dict[str, Any]:
        """One line of `replay --json`."""
        flow, outcome = self.flow, self.outcome
        line: dict[str, Any] = {
            "transport": flow.transport,
            "src": flow.src,
            "sport": flow.sport,
            "dst": flow.dst,
            "dport": flow.dport,
            "frame": flow.frame,
            "packets": flow.packets,
            "bytes": flow.bytes,
            "verdict": word(outcome.verdict),
            "lane": word(outcome.lane),
            "drop_reason": word(outcome.drop_reason) if self.dropped else None,
            "rule": rule_of(outcome),
            "why": outcome.why,
        }
        if self.spared is not None:
            line["spared"] = shared_rule_of(self.spared)
        if self.names.first is not None:
            line |= {"name": self.names.first, "names": self.names.count}
        if self.names.refused_count:
            line |= {"refused": self.names.refused, "names_refused": self.names.refused_count}
        return line


@dataclass
class Totals:
    """All flows of a capture in sum."""

    flows: Counter[str] = field(default_factory=Counter)
    packets: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    spared: Counter[str] = field(default_factory=Counter)
    """Flows that a shared range spares, by its source."""

    def add(self, judged: Judged) -> None:
        """One flow more."""
        outcome = judged.outcome
        key = word(outcome.drop_reason) if judged.dropped else word(outcome.lane)
        self.flows[key] += 1
        self.packets[key] += judged.flow.packets
        self.bytes[key] += judged.flow.bytes
        self.names["seen"] += judged.names.count
        self.names["refused"] += judged.names.refused_count
        if judged.dropped:
            self.rules[outcome.why] += 1
        if judged.spared is not None:
            self.spared[judged.spared.name] += 1

    def as_json(self) -> dict[str, Any]:
        """The last line of `replay --json`. Keys of flows, packets and bytes: a lane, or why dropped."""
        told = ("flows", "packets", "bytes", "names", "rules", "spared")
        return {"sum": {name: dict(getattr(self, name)) for name in told}}


class Replay:
    """A capture that is being judged. `inside`: prefixes behind the gateway; grants count for their addresses alone."""

    def __init__(self, policy: Policy, inside: Sequence[Prefix], now_ns: int) -> None:
        self.policy = policy
        self.inside = tuple(inside)
        self.now_ns = now_ns
        self.totals = Totals()
        self._named: dict[Ends, Named] = {}
        self._outcomes: dict[tuple[str, str, str], Outcome] = {}
        self._spared_by: dict[str, SharedRule | None] = {}

    def read(self, found: Iterable[Found]) -> None:
        """Names that were read; before the flows that they are of."""
        for each in found:
            if each.name is None:
                continue
            named = self._named.setdefault(_ends(each), Named())
            named.count += 1
            named.dns |= each.proto == "dns"
            named.first = named.first or each.name
            # Only DNS is judged query by query; of other flows the first name decides, as it does in the gateway.
            before = self._by_address(each.transport, each.src, each.dst)
            outcome = evaluate_name(self.policy, before, each.name, self.now_ns)
            if outcome is not before and outcome.verdict == Verdict.DROP:
                named.refused_count += 1
                named.by_name = named.by_name or outcome
                if len(named.refused) < REFUSED_NAMES_MAX:
                    named.refused.append(each.name)

    def end(self, flow: FlowSum) -> Judged:
        """A flow that ended."""
        named = self._named.pop(_ends(flow), None) or Named()
        outcome = named.by_name or self._by_address(flow.transport, flow.src, flow.dst)
        judged = Judged(flow, named, outcome, self._spared(flow, outcome))
        self.totals.add(judged)
        return judged

    def _by_address(self, transport: str, source: str, destination: str) -> Outcome:
        key = transport, source, destination
        outcome = self._outcomes.get(key)
        if outcome is None:
            if len(self._outcomes) >= OUTCOMES_MAX:
                self._outcomes.clear()
            frame = _frame(PROTOCOLS[transport], source, destination)
            outcome = evaluate(self.policy, frame, self._direction(source, destination), self.now_ns)
            self._outcomes[key] = outcome
        return outcome

    def _spared(self, flow: FlowSum, outcome: Outcome) -> SharedRule | None:
        if outcome.verdict == Verdict.DROP or outcome.decided_by is not None or not self.policy.shared:
            return None
        for address in (flow.src, flow.dst):
            if address not in self._spared_by:
                if len(self._spared_by) >= OUTCOMES_MAX:
                    self._spared_by.clear()
                self._spared_by[address] = spared_rule(self.policy, Prefix.parse(address))
            if self._spared_by[address] is not None:
                return self._spared_by[address]
        return None

    def _direction(self, source: str, destination: str) -> Direction:
        """Of the side that asks; where neither end is known to be inside, it is taken to be."""
        asks, asked = Prefix.parse(source), Prefix.parse(destination)
        inbound = any(each.covers(asked) for each in self.inside) and not any(each.covers(asks) for each in self.inside)
        return Direction.INBOUND if inbound else Direction.OUTBOUND


def lists_of(path: Path) -> tuple[list[ListRules], SharedRanges]:
    """The lists of a compiled policy with their entries, and the shared ranges that it was compiled under.

    Raises policy.E010, E011, E012, feeds.E014.
    """
    held = snapshot.load(path)
    stored = [(listed, entries.open_entries(held.feeds / listed.content, verify=False)) for listed in held.lists]
    lists = [
        ListRules(
            each.name,
            each.reason,
            of,
            each.exception,
            each.source,
            each.since,
            each.until,
            of.names,
            of.excepted,
            cloud_hosts=each.cloud_hosts,
            observe=each.observe,
        )
        for each, of in stored
    ]
    return lists, held.shared_ranges


def _ends(flow: Found | FlowSum) -> Ends:
    return flow.transport, frozenset(((flow.src, flow.sport), (flow.dst, flow.dport)))


def _frame(protocol: int, source: str, destination: str) -> bytes:
    """The smallest frame between two addresses, for `evaluate` to read."""
    ends = ip_address(source).packed + ip_address(destination).packed
    transport = struct.pack("!HHIIBBHHH", 1, 1, 0, 0, 0x50, 0x10, 0, 0, 0) if protocol == 6 else b"\0\1\0\1\0\x08\0\0"
    if len(ends) == 8:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0, 64, protocol, 0)
        return bytes(12) + b"\x08\x00" + ip + ends + transport
    ip = struct.pack("!IHBB", 6 << 28, len(transport), protocol, 64)
    return bytes(12) + b"\x86\xdd" + ip + ends + transport


def shared_rule_of(rule: SharedRule) -> dict[str, Any]:
    """A shared range as a rule."""
    return {
        "kind": "shared",
        "class": rule.shared.value,
        "target": str(rule.prefix),
        "name": rule.name,
        "vendor": rule.vendor,
        "source": rule.source,
        "since": rule.since.isoformat(timespec="seconds"),
    }


def rule_of(outcome: Outcome) -> dict[str, Any] | None:
    """The rule that decided: kind, what it says of which target, and who said it."""
    by = outcome.decided_by
    target = outcome.name.name if outcome.name else str(outcome.prefix) if outcome.prefix else None
    if isinstance(by, ListRules):
        return {"kind": "list", "list": by.name, "target": target, "reason": word(by.reason), "source": by.source}
    if isinstance(by, GrantRule):
        return {"kind": "grant", "target": target, "organisation": by.organisation}
    if isinstance(by, OverlayRule | NameRule):
        kind = "exception" if by.exception else "block"
        rule: dict[str, Any] = {"kind": kind, "target": target}
        if by.entry is None:
            return rule
        return {**rule, "reason": word(by.entry.reason), "by": by.entry.source, "decision": by.entry.evidence}
    return None
