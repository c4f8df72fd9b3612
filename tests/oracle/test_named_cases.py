"""The answers of named_cases.py are the reference's, and those of the loaded programs at both hooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from named_cases import CASES, Case

from clearway._engine import boot_clock_ns
from clearway.bench.oracle import HOOKS, Gateway, can_probe, differs
from clearway.bench.oracle_policies import Moments, Rules
from clearway.gateway import guard
from clearway.policy import arrays
from clearway.policy.compile import ListEntries, compile_base
from clearway.policy.evaluate import (
    FragmentTable,
    GrantRule,
    ListRules,
    Outcome,
    OverlayRule,
    Policy,
    PolicySettings,
    evaluate,
)
from clearway.policy.model import DropReason, Prefix, Reason, Verdict
from clearway.policy.prefix_table import PrefixSet


def settings_of(case: Case) -> PolicySettings:
    rows = guard.rows([Prefix.parse(text) for text in case.inside], case.bogons)
    known = tuple((Prefix.from_mapped(address, length), flags) for address, length, flags in rows)
    return PolicySettings(case.observe, known, bool(case.inside), case.bogons)


def policy_of(case: Case, now_ns: int) -> Policy:
    def until(live: bool) -> int:
        return now_ns + 10**12 if live else max(1, now_ns - 10**10)

    lists = [
        ListRules(name, Reason.MALWARE, PrefixSet(map(Prefix.parse, texts)), exception)
        for name, texts, exception in (("listed", case.listed, False), ("spared", case.spared, True))
    ]
    overlay = [OverlayRule(Prefix.parse(text), until(live)) for text, live in case.blocked.items()]
    overlay += [OverlayRule(Prefix.parse(text), until(live), True) for text, live in case.exceptions.items()]
    grants = [GrantRule(Prefix.parse(text), until(live), "someone") for text, live in case.granted.items()]
    return Policy(settings_of(case), lists, overlay, grants)


def answer(case: Case, now_ns: int) -> Outcome:
    policy, fragments = policy_of(case, now_ns), FragmentTable()
    return [evaluate(policy, frame, case.direction, now_ns, fragments=fragments) for frame in case.frames][-1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_the_reference_says_so(case: Case) -> None:
    outcome = answer(case, 10**15)
    said = outcome.drop_reason, outcome.facts, outcome.lane
    assert said == (case.drop_reason, case.facts, case.lane), outcome.packet
    dropped = case.drop_reason != DropReason.FORWARDED and not case.observe
    assert outcome.verdict == (Verdict.DROP if dropped else Verdict.FORWARD)
    assert outcome.why


def moments_of(case: Case, policy: Policy) -> Moments:
    """The case as the oracle takes it: everything at the first moment."""
    entries = [
        ListEntries(name, Reason.MALWARE, *arrays.of_prefixes(map(Prefix.parse, texts)), exception)
        for name, texts, exception in (("listed", case.listed, False), ("spared", case.spared, True))
    ]
    rows: dict[tuple[bytes, int], list[int]] = {}
    for rule in policy.overlay:
        rows.setdefault(rule.prefix.mapped(), [0, 0])[rule.exception] = rule.until_ns
    overlay = [(address, length, *untils) for (address, length), untils in rows.items()]
    green = [(*grant.prefix.mapped(), grant.until_ns) for grant in policy.grants]
    rules = Rules(policy, overlay, green)  # type: ignore[arg-type]
    return Moments(compile_base(entries), (rules, rules), [])


@pytest.fixture(scope="module")
def gateways() -> Iterator[dict[PolicySettings, Gateway]]:
    """Loaded programs by their settings, made when first asked for."""
    yield {}


@pytest.mark.kernel
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
def test_the_kernel_says_so(case: Case, gateways: dict[PolicySettings, Gateway]) -> None:
    settings, now_ns = settings_of(case), boot_clock_ns()
    if settings not in gateways:
        gateways[settings] = Gateway(settings, xdp=True)
    made = moments_of(case, policy_of(case, now_ns))
    for hook in HOOKS:
        if not all(can_probe(hook, frame) for frame in case.frames):
            continue
        said = gateways[settings].ask(hook, made, [[(frame, case.direction) for frame in case.frames], []])
        outcome = answer(case, now_ns)
        assert said[-1] is not None and not differs(outcome, said[-1], hook), (hook, said[-1], outcome)
