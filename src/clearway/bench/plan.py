"""How much is measured: turns, seconds, sizes of lists. Everything that bounds a run in time stands here."""

from dataclasses import dataclass

from clearway.bench.lists import ListPlan


@dataclass(frozen=True)
class Plan:
    """Sizes of one run. Seconds are those of one turn of one kind."""

    name: str
    turns: int
    bulk_turns: int  # single turns of bulk TCP range over a factor of two
    bulk_s: float
    packets_s: float
    requests: int  # request/response pairs a turn
    loads: int  # turns of loading a list from file to enforced
    decisions: int  # of each kind
    standing_names: int  # blocked one by one, while decisions are timed
    commands: int  # starts of each command
    small: int  # entries: the table that costs least
    middle: int  # entries: what nft can hold beside it
    large: int  # entries: what the data plane is built for
    green_prefixes: int  # grants in force while packets are counted

    def list_plan(self, size: str, shape: str = "clustered") -> ListPlan:
        """`size`: "small", "middle" or "large"."""
        return ListPlan(getattr(self, size), "uniform" if shape == "uniform" else "clustered")


FULL = Plan(
    name="full",
    turns=5,
    bulk_turns=7,
    bulk_s=3.0,
    packets_s=1.5,
    requests=60_000,
    loads=3,
    decisions=1000,
    standing_names=10_000,
    commands=10,
    small=1000,
    middle=1_000_000,
    large=10_000_000,
    green_prefixes=1000,
)
QUICK = Plan(
    name="quick",
    turns=3,
    bulk_turns=3,
    bulk_s=1.0,
    packets_s=0.5,
    requests=10_000,
    loads=1,
    decisions=200,
    standing_names=1_000,
    commands=3,
    small=1000,
    middle=100_000,
    large=1_000_000,
    green_prefixes=1000,
)
SMOKE = Plan(
    name="smoke",
    turns=1,
    bulk_turns=1,
    bulk_s=0.2,
    packets_s=0.05,
    requests=200,
    loads=1,
    decisions=5,
    standing_names=10,
    commands=1,
    small=100,
    middle=1000,
    large=3000,
    green_prefixes=10,
)
PLANS = {plan.name: plan for plan in (FULL, QUICK, SMOKE)}
