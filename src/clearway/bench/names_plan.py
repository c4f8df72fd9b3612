"""How much `bench names` measures: the sizes of bench/plan.py, and those of names."""

from dataclasses import dataclass

from clearway.bench.plan import FULL, QUICK, SMOKE, Plan


@dataclass(frozen=True)
class NamesPlan(Plan):
    """Sizes of one run. Seconds are those of one turn of one kind."""

    names: int = 5_000_000
    payloads: int = 4096  # first bytes of flows, each with another name
    flow_turns: int = 11  # ratios of a hundredth want many short turns
    flow_s: float = 0.5
    first_data: int = 1500  # flows a turn of which each is timed
    first_data_turns: int = 9
    cost_repeat: int = 400_000
    cost_turns: int = 5
    capture_hellos: int = 150_000
    capture_turns: int = 3
    build_turns: int = 3


def _names_plan(plan: Plan, **sizes: float) -> NamesPlan:
    return NamesPlan(**{**vars(plan), **sizes})


PLANS = {
    "full": _names_plan(FULL, bulk_turns=9, bulk_s=2.0),
    "quick": _names_plan(
        QUICK,
        names=500_000,
        flow_turns=3,
        flow_s=0.25,
        first_data=300,
        first_data_turns=3,
        cost_repeat=50_000,
        cost_turns=3,
        capture_hellos=20_000,
        capture_turns=1,
        build_turns=1,
    ),
    "smoke": _names_plan(
        SMOKE,
        names=3000,
        payloads=64,
        flow_turns=1,
        flow_s=0.1,
        first_data=20,
        first_data_turns=1,
        cost_repeat=1000,
        cost_turns=1,
        capture_hellos=500,
        capture_turns=1,
        build_turns=1,
    ),
}
