"""The table of fragments: its bound, and its clock. What the random oracle does not reach."""

from __future__ import annotations

import pytest
from frames import ethernet, ipv4, udp

from clearway._engine import LIMITS
from clearway.bench.oracle import HOOKS, Gateway
from clearway.bench.oracle_policies import Moments, Rules
from clearway.policy.compile import compile_base
from clearway.policy.evaluate import FRAGMENT_LIFE_NS, FragmentTable, Policy, PolicySettings, evaluate
from clearway.policy.model import Direction, DropReason, Fact

FRAGMENTS_MAX = LIMITS["FRAGMENTS_MAX"]
PER_CPU_SLACK = 64
"""The kernel's hash keeps a few elements a CPU aside, so that it is full a little before or behind its limit."""
IN = Direction.INBOUND


def first(number: int) -> bytes:
    return ethernet(ipv4(udp(b"x" * 8), source=f"203.0.{number >> 16}.1", identification=number & 0xFFFF, more=True))


def later(number: int) -> bytes:
    return ethernet(ipv4(b"x" * 8, source=f"203.0.{number >> 16}.1", identification=number & 0xFFFF, offset=800))


def test_the_reference_forgets_after_thirty_seconds() -> None:
    fragments = FragmentTable()
    evaluate(Policy(), first(1), IN, 10**12, fragments=fragments)
    for after, known in ((FRAGMENT_LIFE_NS, True), (FRAGMENT_LIFE_NS + 1, False)):
        facts = evaluate(Policy(), later(1), IN, 10**12 + after, fragments=fragments).facts
        assert (Fact.FRAGMENT_WITHOUT_FIRST not in facts) == known
    fragments.sweep(10**12 + FRAGMENT_LIFE_NS + 1)
    assert fragments == FragmentTable()


def test_a_full_table_of_the_reference_lets_pass_and_counts() -> None:
    fragments = FragmentTable(capacity=2)
    facts = [evaluate(Policy(), first(n), IN, 10**12, fragments=fragments).facts for n in (1, 2, 3, 2)]
    assert [Fact.FRAGMENT_TABLE_FULL in each for each in facts] == [False, False, True, False]


@pytest.mark.kernel
@pytest.mark.parametrize("hook", HOOKS)
def test_a_full_table_of_the_kernel_lets_pass_and_counts(hook: str) -> None:
    gateway = Gateway(PolicySettings(), xdp=True)
    rules = Rules(Policy(), [], [])
    made = Moments(compile_base([]), (rules, rules), [])
    frames = [(first(number), IN) for number in range(FRAGMENTS_MAX + PER_CPU_SLACK)]
    said = gateway.ask(hook, made, [frames, [(later(3), IN), (later(FRAGMENTS_MAX + PER_CPU_SLACK - 1), IN)]])
    full = [outcome is not None and Fact.FRAGMENT_TABLE_FULL in outcome.facts for outcome in said[:-2]]
    assert not any(full[: FRAGMENTS_MAX - PER_CPU_SLACK]) and full[-1]
    assert all(outcome is not None and outcome.drop_reason == DropReason.FORWARDED for outcome in said)
    known = [outcome is not None and Fact.FRAGMENT_WITHOUT_FIRST not in outcome.facts for outcome in said[-2:]]
    assert known == [True, False]
