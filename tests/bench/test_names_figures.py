"""Every figure of names, measured in small: it runs, its kinds are all there, what had to be held was held, and nothing
is left behind. No number is asserted: a test that shares its machine has none to offer.
"""

import math
import os
import shutil

import pytest

from clearway.bench import run
from clearway.bench.measurement import Measurement, Series
from clearway.bench.names_figures import FIGURES, over
from clearway.bench.names_plan import PLANS
from clearway.bench.names_stand import NamesStand
from clearway.bench.report import Run
from clearway.bench.topology import PREFIX
from clearway.bench.turns import Silent
from clearway.lab.namespace import NETNS_DIRECTORY

KINDS = {
    "build": {"names"},
    "reading": {"26 characters", "73 characters", "26, after a post-quantum share", "DNS, 30 characters"},
    "captures": {"inspect", *(name for name in ("ndpiReader", "tshark") if shutil.which(name))},
    "flows-clean": {"off", "clean"},
    "flows-clean-1700": {"off", "clean"},
    "flows-held-segments": {"off", "held"},
    "flows-held-hit": {"off", "held"},
    "flows-quic": {"off", "held"},
    "queries": {"off", "clean"},
    "first-data": {"clean", "held", "held, segments"},
    "gateway-cpu": {"off", "clean", "held"},
    "bulk-decided": {"bridge", "off", "names"},
    "packets-names": {"bridge", "off", "names"},
}


@pytest.fixture(scope="module")
def measured() -> Run:
    """All of them through one gateway, as a real run does."""
    return run.measure(run.chosen([], FIGURES), PLANS["smoke"], "a test", Silent(), NamesStand)


@pytest.mark.kernel
@pytest.mark.namespaces
@pytest.mark.parametrize("name", list(FIGURES))
def test_a_figure_of_names_measures_all_its_kinds(name: str, measured: Run) -> None:
    assert measured.failed == {}
    result = next(one for one in measured.results if one.name == name)
    assert {series.kind for series in result.series} == KINDS[name]
    assert all(math.isfinite(value) for series in result.series for value in series.values)
    assert sum(series.total("refused") for series in result.series) == 0
    for series in result.series:
        if series.kind == "clean":
            assert not series.total("held_share"), "a clean name went to the inspector"
        if series.kind == "held" and name.startswith("flows-"):
            assert series.detail("held_share") > 0.9


@pytest.mark.kernel
@pytest.mark.namespaces
def test_a_run_of_names_leaves_nothing_behind(measured: Run) -> None:
    assert measured.results
    assert [path.name for path in NETNS_DIRECTORY.glob(f"{PREFIX}{os.getpid()}-*")] == []


def test_a_kind_is_compared_with_the_turn_of_the_base_beside_it() -> None:
    def turns(*pairs: tuple[float, float]) -> tuple[Measurement, ...]:
        return tuple(Measurement(value, {"p99_us": p99}) for value, p99 in pairs)

    series = (Series("off", turns((10, 30), (20, 40))), Series("clean", turns((11, 33), (20.5, 47))))
    (clean,) = over(series, "off", "p99_us")
    assert clean.kind == "clean"
    assert clean.values == [1, 0.5]
    assert [turn.details["p99_us"] for turn in clean.measurements] == [3, 7]


def test_the_aims_of_the_table_are_judged() -> None:
    assert set(KINDS) == set(FIGURES)
