"""Break a line of the data plane, and the oracle finds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mutants import Mutant, mutants

from clearway.bench.oracle import run_group

GROUPS_MAX = 6
"""20 000 cases each; most changes are found within the first 2 000 cases."""
BREAKS_THE_ORDER = mutants("order")
OTHERS = mutants("others")
ASKED = [*BREAKS_THE_ORDER, *(OTHERS if os.environ.get("CLEARWAY_TESTS") == "all" else OTHERS[::4])]


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize("mutant", ASKED, ids=lambda mutant: mutant.name)
def test_a_broken_line_is_found(mutant: Mutant, tmp_path: Path) -> None:
    program = str(mutant.build(tmp_path))
    for group in range(GROUPS_MAX):
        if run_group("mutants", group, ("tcx",), program, until_difference=True).differences:
            return
    pytest.fail(f"not found in {GROUPS_MAX} groups: {mutant.name}")


def test_each_step_of_the_order_is_broken_once() -> None:
    assert {"green before spoofed", "block before green", "malformed after spoofed"} <= {
        m.name for m in BREAKS_THE_ORDER
    }
    assert len({m.name for m in [*BREAKS_THE_ORDER, *OTHERS]}) >= 70
