"""Medians, ratios and aims; how kinds take turns."""

import math

import pytest

from clearway.bench.measurement import Aim, Measurement, Result, Series, percentile
from clearway.bench.turns import Silent, interleave


def series(kind: str, *values: float, **details: float) -> Series:
    return Series(kind, tuple(Measurement(value, dict(details)) for value in values))


def result(*found: Series, base: str | None = None, aims: tuple[Aim, ...] = ()) -> Result:
    return Result("row", "a row", "Mpps", "higher", base, found, aims)


def test_kinds_take_turns_in_the_order_given() -> None:
    order: list[str] = []

    def measure(kind: str) -> Measurement:
        order.append(kind)
        return Measurement(len(order))

    found = interleave({"a": lambda: measure("a"), "b": lambda: measure("b")}, 3, Silent(), "s")
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert [(one.kind, one.values) for one in found] == [("a", [1, 3, 5]), ("b", [2, 4, 6])]


def test_a_ratio_is_that_of_medians_and_its_range_that_of_turns_side_by_side() -> None:
    found = result(series("bridge", 1, 2, 4), series("tcx", 3, 3, 4), base="bridge")
    assert found.ratio("tcx") == 1.5
    assert found.ratio_range("tcx") == (1.0, 3.0)


def test_a_kind_that_was_not_measured_reaches_no_aim() -> None:
    judged = Aim("xdp", ">=", 5, base="bridge").judge([series("bridge", 1)], "Mpps")
    assert math.isnan(judged.value)
    assert not judged.reached


@pytest.mark.parametrize(
    ("aim", "reached", "text"),
    [
        (Aim("b", ">=", 1.5, base="a"), True, "b ≥ 1.5 × a"),
        (Aim("b", ">=", 1.6, base="a"), False, "b ≥ 1.6 × a"),
        (Aim("b", "<=", 15), True, "b ≤ 15 ns"),
        (Aim("b", "<=", 1.08, base="a"), False, "b ≤ 1.08 × a"),
        (Aim("b", "<=", 1.08, base="a", or_more=5), True, "b ≤ 1.08 × a or ≤ 5 ns more"),
        (Aim("b", "<=", 1.08, base="a", or_more=4), False, "b ≤ 1.08 × a or ≤ 4 ns more"),
        (Aim("b", "<=", 250, detail="kernel_mb"), False, "b kernel_mb ≤ 250"),
    ],
)
def test_an_aim_is_judged_by_medians_and_says_what_it_asks(aim: Aim, reached: bool, text: str) -> None:
    judged = aim.judge([series("a", 9, 10, 50), series("b", 14, 15, 16, kernel_mb=251)], "ns")
    assert (judged.reached, judged.text) == (reached, text)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 1001)]
    assert percentile(values, 0.99) == 990
    assert percentile(values, 0.5) == 500
    assert percentile([7.0], 0.99) == 7
    assert math.isnan(percentile([], 0.5))
