"""Every figure, measured in small: it runs, its kinds are all there, nothing leaks, and nothing is left behind.

No number is asserted: a test that shares its machine has none to offer.
"""

import math
import os
from pathlib import Path

import pytest

from clearway.bench import run
from clearway.bench.daemon import Daemon
from clearway.bench.figures import FIGURES
from clearway.bench.generator import frame
from clearway.bench.plan import SMOKE
from clearway.bench.topology import PREFIX, Wire, sweep
from clearway.bench.turns import Silent
from clearway.errors import ClearwayError
from clearway.gateway import bpffs
from clearway.lab.namespace import NETNS_DIRECTORY, Namespace

KINDS = {
    "bulk-green": {"wire", "bridge", "green"},
    "bulk-inspected": {"bridge", "nft 1k", "inspected"},
    "packets-green": {"bridge", "tcx", "xdp", "tcx, one address", "xdp, one address"},
    "packets-inspected": {"bridge", "nft 1k", "tcx", "xdp", "tcx, source too", "xdp, source too"},
    "drops": {"nft 1k", "tcx", "xdp"},
    "request-response": {"wire", "bridge", "nft 1k", "green", "inspected"},
    "request-response-tcp": {"wire", "bridge", "nft 1k", "green", "inspected"},
    "cost": {"tcx 100", "tcx 3k", "tcx 3k-uniform"},
    "loading": {"1k", "3k", "nft 1k"},
    "decisions": {"grant", "revoke", "block", "unblock", "block NAME", "unblock NAME"},
    "commands": {"clearway --help", "clearway status"},
}


def ours() -> list[str]:
    return [path.name for path in NETNS_DIRECTORY.glob(f"{PREFIX}{os.getpid()}-*")]


@pytest.mark.kernel
@pytest.mark.namespaces
@pytest.mark.parametrize("name", list(FIGURES))
def test_a_figure_measures_all_its_kinds_and_leaves_nothing_behind(name: str) -> None:
    measured = run.measure(run.chosen([name]), SMOKE, "a test", Silent())
    assert measured.failed == {}
    (result,) = measured.results
    assert {series.kind for series in result.series} == KINDS[name]
    assert all(math.isfinite(value) and value > 0 for series in result.series for value in series.values)
    assert not result.leaked
    assert ours() == []


@pytest.mark.kernel
@pytest.mark.namespaces
def test_a_drop_test_counts_what_arrives_as_leaked() -> None:
    """Sources of a list that the gateways do not hold: every packet leaks, and the run has not reached its aims."""
    from clearway.bench import figures, lists, machine
    from clearway.bench.stand import Stand

    with Stand(SMOKE, machine.cpus(), Silent()) as stand:
        result = figures.drops(stand, lists.make(lists.ListPlan(1000, "uniform", seed=99)))
    assert all(series.total("arrived") > 0 for series in result.series)
    assert result.leaked == sum(series.total("arrived") for series in result.series)


def test_an_unknown_figure_is_refused_with_those_there_are() -> None:
    with pytest.raises(ClearwayError) as refused:
        run.chosen(["drops", "speed"])
    assert refused.value.id == "bench.E001"
    assert "packets-green" in refused.value.fix


def test_figures_are_measured_in_the_order_of_the_table() -> None:
    assert [figure.name for figure in run.chosen(["drops", "bulk-green"])] == ["bulk-green", "drops"]
    assert [figure.name for figure in run.chosen([])] == list(FIGURES) == list(KINDS)


@pytest.mark.namespaces
def test_what_a_killed_bench_left_behind_is_swept_and_a_living_one_is_left_alone() -> None:
    pid = next(number for number in range(4_000_000, 4_100_000) if not Path(f"/proc/{number}").exists())
    left, living = Namespace(f"{PREFIX}{pid}-0-left"), Namespace(f"{PREFIX}{os.getpid()}-0-living")
    try:
        left.create()
        living.create()
        assert sweep() >= 1
        assert (left.exists(), living.exists()) == (False, True)
    finally:
        left.remove()
        living.remove()


@pytest.mark.kernel
def test_a_gateway_whose_daemon_was_killed_is_taken_off_by_close_and_by_the_next_bench() -> None:
    for left_by in ("close", "sweep"):
        pid = next(number for number in range(4_100_000, 4_190_000) if not Path(f"/proc/{number}").exists())
        wire = Wire(through=True)
        wire.up()
        try:
            daemon = Daemon(wire)
            daemon.name = f"{PREFIX}{pid}-0-gateway" if left_by == "sweep" else daemon.name
            daemon.start()
            process = daemon._process
            assert process is not None and daemon.name in bpffs.names()
            process.kill()
            process.wait()
            assert daemon.name in bpffs.names(), "it enforces on"
            if left_by == "sweep":
                sweep()
            else:
                daemon.close()
            assert daemon.name not in bpffs.names()
            daemon.close()
        finally:
            wire.down()


@pytest.mark.namespaces
def test_ports_are_polled_by_threads_of_the_core_asked_for_and_their_time_is_told() -> None:
    wire = Wire(through=True)
    wire.up()
    try:
        with wire.threaded(0):
            assert len(wire._threads) == 2
            assert {frozenset(os.sched_getaffinity(pid)) for pid in wire._threads} == {frozenset({0})}
            assert wire.poll_seconds() >= 0
    finally:
        wire.down()


def test_a_frame_has_64_bytes_on_the_wire_and_a_right_checksum() -> None:
    built = frame(bytes(6), b"\xff" * 6, "192.0.2.1", "198.51.100.2")
    words = [int.from_bytes(built[at : at + 2], "big") for at in range(14, 34, 2)]
    assert len(built) == 60
    assert sum(words) % 0xFFFF == 0
    assert int.from_bytes(built[16:18], "big") == 46
