"""How much `bench lists` measures: the sizes of bench/plan.py, and those of lists."""

from dataclasses import dataclass, field

from clearway.bench.lists_feeds import ManyPlan
from clearway.bench.plan import FULL, QUICK, SMOKE, Plan


@dataclass(frozen=True)
class ListsPlan(Plan):
    """Sizes of one run."""

    many: ManyPlan = field(default_factory=lambda: ManyPlan(10_000_000, 5_000_000))
    parse_lines: int = 1_000_000
    parse_turns: int = 5
    many_turns: int = 3
    same_turns: int = 5
    changed_turns: int = 5
    peer_prefixes: int = 1_000_000
    peer_names: int = 1_000_000
    memory_names: int = 5_000_000
    peer_turns: int = 2  # some take a quarter of a minute a turn
    wire_turns: int = 2
    wire_s: float = 2.0
    settle_s: float = 3.0
    """What a gateway is left to itself for, before it is asked for anything."""


def _lists_plan(plan: Plan, **sizes: object) -> ListsPlan:
    return ListsPlan(**{**vars(plan), **sizes})


PLANS = {
    "full": _lists_plan(FULL),
    "quick": _lists_plan(
        QUICK,
        many=ManyPlan(1_000_000, 500_000, changing=10_000),
        parse_lines=100_000,
        parse_turns=3,
        many_turns=1,
        same_turns=3,
        changed_turns=3,
        peer_prefixes=100_000,
        peer_names=100_000,
        memory_names=500_000,
        peer_turns=1,
        wire_turns=1,
        wire_s=1.0,
    ),
    "smoke": _lists_plan(
        SMOKE,
        many=ManyPlan(20_000, 10_000, address_lists=4, name_lists=3, changing=1000),
        parse_lines=1000,
        parse_turns=1,
        many_turns=1,
        same_turns=1,
        changed_turns=1,
        peer_prefixes=1000,
        peer_names=1000,
        memory_names=2000,
        peer_turns=1,
        wire_turns=1,
        wire_s=0.2,
        settle_s=0.2,
    ),
}
