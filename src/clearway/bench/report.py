"""What a run says: tables for people, one document for programs. Pure; `document` is what the plot is drawn from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from clearway.bench.measurement import Judged, Result, Series
from clearway.errors import ClearwayError

DOCUMENT_VERSION = 1


@dataclass(frozen=True)
class Run:
    """All that was measured in one run, and on what."""

    command: str
    plan: str
    started: str  # RFC 3339
    seconds: float
    machine: Mapping[str, str]
    results: Sequence[Result]
    failed: Mapping[str, ClearwayError] = field(default_factory=dict)  # figures that could not be measured, and why

    @property
    def reached(self) -> bool:
        """Every figure was measured, every aim reached, and nothing leaked."""
        judged = [one for result in self.results for one in result.judged()]
        leaked = any(result.leaked for result in self.results)
        return not self.failed and not leaked and all(one.reached for one in judged)


def document(run: Run) -> dict[str, Any]:
    """One JSON document. Numbers that don't exist are null."""
    return {
        "version": DOCUMENT_VERSION,
        "command": run.command,
        "plan": run.plan,
        "started": run.started,
        "seconds": round(run.seconds, 1),
        "machine": dict(run.machine),
        "reached": run.reached,
        "figures": [_figure(result) for result in run.results],
        "failed": [{"name": name, **error.as_json()} for name, error in run.failed.items()],
    }


def _figure(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "title": result.title,
        "unit": result.unit,
        "better": result.better,
        "base": result.base,
        "seconds": round(result.seconds, 1),
        "leaked": result.leaked,
        "notes": list(result.notes),
        "aims": [{**asdict(judged), "value": _number(judged.value)} for judged in result.judged()],
        "kinds": [_kind(result, series) for series in result.series],
    }


def _kind(result: Result, series: Series) -> dict[str, Any]:
    least, most = result.ratio_range(series.kind)
    return {
        "kind": series.kind,
        "median": _number(series.median),
        "lowest": _number(series.lowest),
        "highest": _number(series.highest),
        "ratio": _number(result.ratio(series.kind)),
        "ratio_lowest": _number(least),
        "ratio_highest": _number(most),
        "turns": [
            {"value": _number(one.value), **{name: _number(value) for name, value in one.details.items()}}
            for one in series.measurements
        ],
    }


def _number(value: float) -> float | None:
    """Six digits: more would be noise."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def rows(result: Result) -> list[tuple[str, str, str, str]]:
    """Kind, median with unit, spread over turns, ratio to the base with its own spread."""
    found = []
    for series in result.series:
        ratio, (least, most) = result.ratio(series.kind), result.ratio_range(series.kind)
        told = ""
        if math.isfinite(ratio) and series.kind != result.base:
            told = f"{ratio:.2f} ×"
            if len(series.values) > 1:
                told += f" ({least:.2f}–{most:.2f})"
        spread = f"{short(series.lowest)}–{short(series.highest)}" if len(series.values) > 1 else ""
        found.append((series.kind, f"{short(series.median)} {result.unit}", spread, told))
    return found


def aims(judged: Sequence[Judged], unit: str) -> list[tuple[str, str]]:
    """An aim's text, and what was measured."""
    found = []
    for one in judged:
        mark = "reached" if one.reached else "missed"
        measured = "not measured" if not math.isfinite(one.value) else f"{short(one.value)}{_measure(one, unit)}"
        found.append((f"aim: {one.text}", f"{mark}, {measured}"))
    return found


def _measure(judged: Judged, unit: str) -> str:
    if "×" in judged.text:
        return " ×"
    return f" {unit}" if judged.text.endswith(f" {unit}") else ""


def short(value: float) -> str:
    """Three digits, as precise as a median of a few turns deserves."""
    if not math.isfinite(value):
        return "–"
    if value == 0 or 0.001 <= abs(value) < 1000:
        digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.2g}"
