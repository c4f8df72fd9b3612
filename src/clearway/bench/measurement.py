"""What is measured, and what may be said of it: turns, medians, ratios to a base of the same run, aims. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Measurement:
    """One turn of one kind. `details` hold whatever else was counted in it, by name with its unit last."""

    value: float
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """All turns of one kind, in the order they were measured."""

    kind: str
    measurements: tuple[Measurement, ...]

    @property
    def values(self) -> list[float]:
        return [measurement.value for measurement in self.measurements]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)

    def detail(self, name: str) -> float:
        """Median of a detail over the turns that have it; NaN where none has."""
        found = [m.details[name] for m in self.measurements if name in m.details]
        return statistics.median(found) if found else math.nan

    def total(self, name: str) -> float:
        """Sum of a detail over all turns."""
        return sum(m.details.get(name, 0.0) for m in self.measurements)


@dataclass(frozen=True)
class Aim:
    """What a figure should reach: the median of `kind`, or its ratio to that of `base`.

    `or_more`: also reached when the median is at most that far above the base's, in the figure's unit.
    """

    kind: str
    comparison: Literal[">=", "<="]
    bound: float
    base: str | None = None
    or_more: float | None = None
    detail: str | None = None  # judge this detail's median in place of the value's

    def judge(self, series: Sequence[Series], unit: str) -> "Judged":
        """Holds it against what was measured; a kind that was not measured reaches nothing."""
        by_kind = {one.kind: one for one in series}
        measured = self._median(by_kind.get(self.kind))
        value = measured
        if self.base is not None:
            value = measured / self._median(by_kind.get(self.base))
        reached = value >= self.bound if self.comparison == ">=" else value <= self.bound
        if self.base is not None and self.or_more is not None:
            reached = reached or measured - self._median(by_kind.get(self.base)) <= self.or_more
        return Judged(self.text(unit), value, bool(reached))

    def _median(self, series: Series | None) -> float:
        if series is None:
            return math.nan
        return series.detail(self.detail) if self.detail else series.median

    def text(self, unit: str) -> str:
        """As a person reads it: "green ≥ 1.25 × bridge"."""
        sign = {">=": "≥", "<=": "≤"}[self.comparison]
        what = f"{self.kind} {self.detail}" if self.detail else self.kind
        if self.base is None:
            return f"{what} {sign} {self.bound:g} {'' if self.detail else unit}".rstrip()
        more = "" if self.or_more is None else f" or ≤ {self.or_more:g} {unit} more"
        return f"{what} {sign} {self.bound:g} × {self.base}{more}"


@dataclass(frozen=True)
class Judged:
    """An aim, and what came of it. `value` is NaN where nothing was measured."""

    text: str
    value: float
    reached: bool


@dataclass(frozen=True)
class Result:
    """One row of the table: its series, and what is to be known with them."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    base: str | None  # kind that ratios are to
    series: tuple[Series, ...]
    aims: tuple[Aim, ...] = ()
    notes: tuple[str, ...] = ()
    leaked: int | None = None  # packets that should have been dropped and arrived; None: no drop test
    seconds: float = 0.0

    def judged(self) -> list[Judged]:
        return [aim.judge(self.series, self.unit) for aim in self.aims]

    def ratio(self, kind: str) -> float:
        """Ratio of medians, this kind's to the base's; NaN without a base."""
        by_kind = {one.kind: one for one in self.series}
        if self.base is None or self.base not in by_kind or not by_kind[self.base].median:
            return math.nan
        return by_kind[kind].median / by_kind[self.base].median

    def ratio_range(self, kind: str) -> tuple[float, float]:
        """Least and largest ratio of single turns, each to the base's turn beside it."""
        by_kind = {one.kind: one for one in self.series}
        if self.base is None or self.base not in by_kind:
            return math.nan, math.nan
        pairs = zip(by_kind[kind].values, by_kind[self.base].values, strict=False)
        ratios = [value / base for value, base in pairs if base]
        return (min(ratios), max(ratios)) if ratios else (math.nan, math.nan)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least `share` (0 to 1) of them do not exceed. NaN for none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
