"""What a run says of itself: the document, the lines of a table, the picture."""

import json
import math
from dataclasses import replace
from pathlib import Path

from clearway.bench import plot, report
from clearway.bench.measurement import Aim, Measurement, Result, Series
from clearway.bench.report import Run
from clearway.errors import ClearwayError


def run(*results: Result) -> Run:
    return Run(
        "clearway bench wire", "full", "2026-11-24T10:00:00Z", 12.34, {"cpu": "a CPU", "kernel": "6.18"}, results
    )


def packets(leaked: int | None = None, tcx: float = 2.0, aim: float = 1.9) -> Result:
    found = (
        Series("bridge", (Measurement(1.0), Measurement(1.1), Measurement(0.9))),
        Series("tcx", tuple(Measurement(tcx, {"gateway_busy": 0.99}) for _ in range(3))),
    )
    aims = (Aim("tcx", ">=", aim, base="bridge"),)
    return Result("packets", "packets/s", "Mpps", "higher", "bridge", found, aims, ("a note",), leaked=leaked)


def test_the_document_is_json_with_every_turn_and_null_where_there_is_no_number() -> None:
    document = report.document(run(packets(), Result("empty", "none", "s", "lower", None, ())))
    again = json.loads(json.dumps(document, allow_nan=False))
    tcx = again["figures"][0]["kinds"][1]
    assert (tcx["median"], tcx["ratio"], tcx["turns"][0]) == (2.0, 2.0, {"value": 2.0, "gateway_busy": 0.99})
    assert again["figures"][0]["aims"] == [{"text": "tcx ≥ 1.9 × bridge", "value": 2.0, "reached": True}]
    assert report.document(run(packets(tcx=math.nan)))["figures"][0]["kinds"][1]["median"] is None


def test_a_run_has_reached_its_aims_only_when_all_are_reached_and_nothing_leaked() -> None:
    assert run(packets()).reached
    assert run(packets(leaked=0)).reached
    assert not run(packets(leaked=1)).reached
    assert not run(packets(), packets(aim=2.1)).reached


def test_a_run_says_which_figures_failed_and_has_not_reached_its_aims() -> None:
    error = ClearwayError.of("bench.E004", command="nft -f", detail="no memory")
    failed = replace(run(packets()), failed={"drops": error})
    assert not failed.reached
    assert report.document(failed)["failed"] == [{"name": "drops", **error.as_json()}]
    assert report.document(run(packets()))["failed"] == []


def test_a_line_of_the_table_has_median_spread_and_ratio_with_its_own_spread() -> None:
    assert report.rows(packets()) == [
        ("bridge", "1.00 Mpps", "0.900–1.10", ""),
        ("tcx", "2.00 Mpps", "2.00–2.00", "2.00 × (1.82–2.22)"),
    ]


def test_an_aim_is_told_with_what_was_measured_in_its_own_measure() -> None:
    loading = Result(
        "loading",
        "loading",
        "s",
        "lower",
        None,
        (Series("1m", (Measurement(0.512, {"kernel_mb": 261.0}),)),),
        (Aim("1m", "<=", 0.6), Aim("1m", "<=", 250, detail="kernel_mb"), Aim("10m", "<=", 4)),
    )
    assert report.aims(packets().judged(), "Mpps") == [("aim: tcx ≥ 1.9 × bridge", "reached, 2.00 ×")]
    assert report.aims(loading.judged(), "s") == [
        ("aim: 1m ≤ 0.6 s", "reached, 0.512 s"),
        ("aim: 1m kernel_mb ≤ 250", "missed, 261"),
        ("aim: 10m ≤ 4 s", "missed, not measured"),
    ]


def test_numbers_are_short() -> None:
    assert [report.short(value) for value in (0.0, 0.0123, 1.234, 12.34, 123.4, 12345.0, 0.00001, math.nan)] == [
        "0.00",
        "0.0123",
        "1.23",
        "12.3",
        "123",
        "12 345",
        "1e-05",
        "–",
    ]


def test_the_picture_is_drawn_also_of_a_figure_with_a_kind_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "figures.png"
    plot.save(report.document(run(packets(), packets(tcx=math.nan))), path)
    assert path.read_bytes().startswith(b"\x89PNG")
