"""The loaded programs say of random packets under random policies what the reference says, and nothing is left out."""

from __future__ import annotations

import random

import pytest
from mutants import mutants

from clearway._engine import boot_clock_ns
from clearway.bench import oracle
from clearway.bench.oracle_packets import Packets
from clearway.bench.oracle_policies import random_moments, random_settings
from clearway.policy.model import DropReason, Fact, word

UNREACHABLE = {Fact.SUPER_PACKET, Fact.FRAGMENT_TABLE_FULL, Fact.PROBE}
OF_NAMES = {"refused-name", "not-inspected", "held", "inspector-away", "hold-full"}
"""No probe is ever held."""
"""A probe is one packet of the wire, and its own fact is left out; for the full table see test_fragments.py."""


@pytest.mark.kernel
@pytest.mark.slow
def test_a_hundred_thousand_cases_agree_at_both_hooks() -> None:
    """Other seeds: `clearway bench oracle`. Each drop reason and fact must have come up, or nothing is shown."""
    told: list[tuple[int, int]] = []
    report = oracle.run(100_000, "tests", lambda done, differences: told.append((done, differences)))
    assert not report.differences, "\n".join(str(example) for example in report.examples)
    assert report.cases == 100_000 == told[-1][0]
    assert report.probes > 1.95 * report.cases
    seen = {what for _, what in report.outcomes}
    reachable = {word(reason) for reason in DropReason} | {word(fact) for fact in Fact if fact not in UNREACHABLE}
    assert seen >= reachable - OF_NAMES
    assert report.outcomes["green", "forwarded"] > 1000


@pytest.mark.kernel
def test_processes_find_what_one_finds() -> None:
    alone = oracle.run(2 * oracle.CASES_A_GROUP, 5, hooks=("tcx",))
    together = oracle.run(2 * oracle.CASES_A_GROUP, 5, hooks=("tcx",), processes=2)
    assert alone.outcomes == together.outcomes
    assert (alone.differences, together.differences) == (0, 0)


@pytest.mark.kernel
def test_a_difference_names_the_case_and_comes_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    broken = next(m for m in mutants("order") if m.name == "no block").build(tmp_path_factory.mktemp("no-block"))
    report = oracle.run_group("tests", 0, ("tcx",), str(broken), until_difference=True)
    first = report.examples[0]
    again = oracle.run_group(
        first.place.seed, first.place.group, ("tcx",), str(broken), until_difference=True
    ).examples[0]
    assert (first.place, first.frame, first.kernel, first.reference) == (
        again.place,
        again.frame,
        again.kernel,
        again.reference,
    )
    assert first.frame in str(first) and "seed 'tests', group 0" in str(first)
    assert report.as_json()["differences"] == report.differences


def test_the_same_seed_draws_the_same_policies_and_frames() -> None:
    def drawn(seed: str) -> tuple[object, ...]:
        rng = random.Random(seed)
        settings = random_settings(rng, 3)
        made = random_moments(rng, settings, 10**15, bypass=False)
        packets = Packets(rng, made.addresses)
        frames = [packets.frame() for _ in range(50)] + [packets.later_part() for _ in range(5)]
        return settings, made.addresses, [m.overlay_rows for m in made.moments], made.base.v4_bitmaps.tobytes(), frames

    assert drawn("a") == drawn("a")
    assert drawn("a") != drawn("b")


def test_frames_are_long_enough_to_be_sent_and_short_enough_to_be_probed() -> None:
    rng = random.Random(1)
    made = random_moments(rng, random_settings(rng, 3), boot_clock_ns(), bypass=False)
    packets = Packets(rng, made.addresses)
    assert all(14 <= len(packets.frame()) <= 1500 for _ in range(5000))
