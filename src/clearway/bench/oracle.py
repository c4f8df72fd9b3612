"""Holds the kernel to the reference: random policies × random packets through the loaded programs and through evaluate.

A case is one frame under one policy. Compared are verdict, drop reason, lane and facts; a frame that a program would
send must not be one that it drops. Cases come in groups, each with settings of its own and so a load of its own; a
group has several policies, each at two moments (fragments seen at the first come back at the second). A group follows
from the seed and its number alone, so that any difference can be run again: `run_group(seed, group, hooks)`.

Needs the rights to load programs. Prints nothing.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from clearway._engine import Capacity, Direction, Loader, ProbeOutcome, Settings, Tables, Verdict, boot_clock_ns
from clearway.bench.oracle_packets import Packets
from clearway.bench.oracle_policies import CELLS_MAX, Moments, Rules, random_moments, random_settings
from clearway.gateway import libc
from clearway.policy.evaluate import FRAGMENT_LIFE_NS, FragmentTable, Outcome, Policy, PolicySettings, evaluate
from clearway.policy.model import BITS, Fact, Prefix, word

HOOKS = ("tcx", "xdp")
POLICIES_A_GROUP = 20
FRAMES_A_MOMENT = 500
CASES_A_GROUP = POLICIES_A_GROUP * 2 * FRAMES_A_MOMENT
DIFFERENCES_KEPT_MAX = 20
PR_SET_PDEATHSIG = 1
_FORWARDING = {"tcx": {7}, "xdp": {2, 4}}
"""TCX_REDIRECT; XDP_PASS (to TCX, where XDP does not forward itself) and XDP_REDIRECT."""

Said = tuple[str, str, str, tuple[str, ...]]
"""Verdict, drop reason, lane, facts, as words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case stood: `run_group(seed, group, [hook])` comes to it again."""

    seed: str
    group: int
    number: int
    """Of the frame within its group."""
    hook: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One case in which kernel and reference do not agree, with all that is needed to see it again."""

    place: Place
    direction: Direction
    frame: str
    """Bytes in hexadecimal."""
    kernel: Said
    reference: Said
    rules: str
    """What of the policy touches the addresses."""

    def __str__(self) -> str:
        return (
            f"seed {self.place.seed!r}, group {self.place.group}, frame {self.place.number}, "
            f"{self.place.hook} {word(self.direction)}\n"
            f"  frame     {self.frame}\n  kernel    {self.kernel}\n  reference {self.reference}\n  {self.rules}"
        )


@dataclass
class OracleReport:
    """What a run found. 0 differences is the claim."""

    cases: int = 0
    probes: int = 0
    """Frames through a program: cases × hooks."""
    differences: int = 0
    examples: list[Difference] = field(default_factory=list)
    """The first DIFFERENCES_KEPT_MAX."""
    seconds: float = 0.0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Cases by lane and drop reason, and by ("fact", name): what the run has touched at all."""

    def as_json(self) -> dict[str, Any]:
        """One document; examples as text."""
        return {
            "cases": self.cases,
            "probes": self.probes,
            "differences": self.differences,
            "seconds": round(self.seconds, 3),
            "outcomes": {f"{lane} {what}": count for (lane, what), count in sorted(self.outcomes.items())},
            "examples": [str(example) for example in self.examples],
        }

    def add(self, other: OracleReport) -> None:
        self.cases += other.cases
        self.probes += other.probes
        self.differences += other.differences
        self.examples += other.examples[: DIFFERENCES_KEPT_MAX - len(self.examples)]
        self.outcomes += other.outcomes


def run(
    cases: int,
    seed: str | int,
    progress: Callable[[int, int], None] = lambda done, differences: None,
    *,
    processes: int = 1,
    hooks: Sequence[str] = HOOKS,
    tcx_object: str | None = None,
) -> OracleReport:
    """At least `cases` cases, whole groups. `progress` is told cases done and differences so far.

    `tcx_object`: a program of a test's own in place of the built-in one (then only the hook tcx can be asked).
    Raises KernelRefused where programs cannot be loaded.
    """
    start = time.monotonic()
    report = OracleReport()
    groups = range(-(-cases // CASES_A_GROUP))
    for found in _groups(str(seed), groups, processes, tuple(hooks), tcx_object):
        report.add(found)
        progress(report.cases, report.differences)
    report.seconds = time.monotonic() - start
    return report


def _groups(
    seed: str, groups: range, processes: int, hooks: tuple[str, ...], tcx_object: str | None
) -> Iterator[OracleReport]:
    if processes <= 1:
        for group in groups:
            yield run_group(seed, group, hooks, tcx_object)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        submitted = [pool.submit(run_group, seed, group, hooks, tcx_object) for group in groups]
        try:
            for done in as_completed(submitted):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next group for good."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_group(
    seed: str,
    group: int,
    hooks: Sequence[str] = HOOKS,
    tcx_object: str | None = None,
    *,
    until_difference: bool = False,
) -> OracleReport:
    """One load of the programs, POLICIES_A_GROUP policies, FRAMES_A_MOMENT frames at each of their two moments.

    `until_difference`: ends with the first policy that shows one.
    """
    rng = random.Random(f"{seed}/{group}")
    report = OracleReport()
    settings = random_settings(rng, group)
    gateway = Gateway(settings, xdp="xdp" in hooks, tcx_object=tcx_object)
    with_bypass = rng.randrange(POLICIES_A_GROUP)
    for number in range(POLICIES_A_GROUP):
        now_ns = boot_clock_ns()
        made = random_moments(rng, settings, now_ns, bypass=number == with_bypass)
        packets = Packets(rng, made.addresses)
        drawn = [
            [(packets.later_part() if rng.random() < returning else packets.frame(), Direction(rng.getrandbits(1)))
             for _ in range(FRAMES_A_MOMENT)]
            for returning in (0.02, 0.15)
        ]  # fmt: skip
        expected = _expected(made, drawn, now_ns)
        for hook in hooks:
            said = gateway.ask(hook, made, drawn)
            for at, (outcome, kernel) in enumerate(zip(expected, said, strict=True)):
                if kernel and differs(outcome, kernel, hook):
                    moment, within = divmod(at, FRAMES_A_MOMENT)
                    place = Place(seed, group, report.cases + at, hook)
                    _note(report, place, drawn[moment][within], outcome, kernel, made.moments[moment])
            report.probes += sum(kernel is not None for kernel in said)
        report.cases += len(expected)
        report.outcomes.update((word(o.lane), word(o.drop_reason)) for o in expected)
        report.outcomes.update(("fact", word(fact)) for o in expected for fact in o.facts)
        if until_difference and report.differences:
            break
    return report


def _expected(made: Moments, drawn: Sequence[Sequence[tuple[bytes, Direction]]], now_ns: int) -> list[Outcome]:
    fragments = FragmentTable()
    return [
        evaluate(rules.policy, frame, direction, now_ns, fragments=fragments)
        for rules, frames in zip(made.moments, drawn, strict=True)
        for frame, direction in frames
    ]


class Gateway:
    """Loaded programs and their maps, on no port, with nothing pinned."""

    def __init__(self, settings: PolicySettings, *, xdp: bool, tcx_object: str | None = None) -> None:
        self._loader = Loader(None, tcx_object=tcx_object)
        guard = [(*prefix.mapped(), flags) for prefix, flags in settings.guard]
        self._loader.load(
            Settings(
                inside_ifindex=1,
                outside_ifindex=1,
                observe=settings.observe,
                xdp_forward=True,
                guard=guard,
                guard_inside=settings.guard_inside,
                guard_bogons=settings.guard_bogons,
            ),
            Capacity(bitmaps=2 * CELLS_MAX, v6_buckets=1024, v6_slots=2048, observed=2 * CELLS_MAX),
            xdp=xdp,
        )
        self._tables = Tables(self._loader.map_fds(), self._loader.capacity())

    def ask(
        self, hook: str, made: Moments, drawn: Sequence[Sequence[tuple[bytes, Direction]]]
    ) -> list[ProbeOutcome | None]:
        """What the program says of every frame, in order, from an empty table of fragments on."""
        self._tables.sweep_fragments(boot_clock_ns() + 2 * FRAGMENT_LIFE_NS)
        self._tables.fill(made.base.for_engine())
        self._tables.flip(grace=False)  # no packet runs meanwhile
        said: list[ProbeOutcome | None] = []
        for rules, frames in zip(made.moments, drawn, strict=True):
            self._tables.reconcile(rules.overlay_rows, rules.green_rows)
            self._tables.set_bypass_until(rules.policy.bypass_until_ns)
            asked = [(frame, direction) for frame, direction in frames if can_probe(hook, frame)]
            answers = iter(self._loader.probe_many(hook, bytes(d for _, d in asked), [frame for frame, _ in asked]))
            said += [next(answers) if can_probe(hook, frame) else None for frame, _ in frames]
        return said


def can_probe(hook: str, frame: bytes) -> bool:
    """BPF_PROG_TEST_RUN makes no skb of a frame that names IP and ends within its header; below a tag it does, and for
    XDP. Such frames are malformed, so they leave no fragment behind either."""
    return hook != "tcx" or len(frame) >= _LEAST_TO_PROBE.get(frame[12:14], 15)


_LEAST_TO_PROBE = {b"\x08\x00": 34, b"\x86\xdd": 54}


def differs(reference: Outcome, kernel: ProbeOutcome, hook: str) -> bool:
    """Whether the kernel says or does anything else than the reference."""
    forwards = kernel.action in _FORWARDING[hook]
    return (
        kernel.verdict != reference.verdict
        or kernel.drop_reason != reference.drop_reason
        or kernel.lane != reference.lane
        or kernel.facts - {Fact.PROBE} != reference.facts
        or forwards != (reference.verdict == Verdict.FORWARD)
    )


def _said(outcome: Outcome | ProbeOutcome) -> Said:
    facts = sorted(word(fact) for fact in outcome.facts if fact != Fact.PROBE)
    return word(outcome.verdict), word(outcome.drop_reason), word(outcome.lane), tuple(facts)


def _note(
    report: OracleReport,
    place: Place,
    drawn: tuple[bytes, Direction],
    reference: Outcome,
    kernel: ProbeOutcome,
    rules: Rules,
) -> None:
    report.differences += 1
    if len(report.examples) < DIFFERENCES_KEPT_MAX:
        frame, direction = drawn
        touching = _touching(rules.policy, reference)
        report.examples.append(Difference(place, direction, frame.hex(), _said(kernel), _said(reference), touching))


def _touching(policy: Policy, reference: Outcome) -> str:
    """Rules about the two addresses, for a person who looks for the reason."""
    lines = [f"reference {reference.why}; {reference.packet}"]
    for address in (reference.packet.source, reference.packet.destination):
        if address is not None:
            host = Prefix(*address, BITS[address[0]])
            guard = [f"{prefix} flags {flags}" for prefix, flags in policy.guard_table.covering(host)]
            overlay = [str(rules) for _, rules in policy.overlay_table.covering(host)]
            grants = [str(rules) for _, rules in policy.grant_table.covering(host)]
            base = [
                f"{r.name}{' spares' if r.exception else ''}{' only observed' if r.observe else ''} "
                f"{r.entries.covering(host)}"
                for r in policy.lists
            ]
            lines.append(f"{host}: guard {guard}, overlay {overlay}, grants {grants}, base {base}")
    settings = policy.settings
    lines.append(
        f"observe {settings.observe}, guard_inside {settings.guard_inside}, guard_bogons {settings.guard_bogons}"
    )
    return "\n  ".join(lines)
