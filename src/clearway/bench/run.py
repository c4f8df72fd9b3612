"""One run: checks that this machine can, measures the figures that were asked for, and leaves nothing behind."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from clearway.bench import machine
from clearway.bench.figures import FIGURES, Figure
from clearway.bench.measurement import Result
from clearway.bench.plan import Plan
from clearway.bench.report import Run
from clearway.bench.stand import Stand
from clearway.bench.topology import sweep
from clearway.bench.turns import Progress
from clearway.errors import ClearwayError
from clearway.lab.topology import require_rights

AnyPlan = TypeVar("AnyPlan", bound=Plan)

PACKAGES = {"iperf3": "iperf3", "ss": "iproute2", "ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}


def chosen(names: Sequence[str], known: Mapping[str, Figure] = FIGURES) -> list[Figure]:
    """Figures by name, in the order of the table; none named: all. bench.E001 for an unknown one."""
    for name in names:
        if name not in known:
            raise ClearwayError.of("bench.E001", value=name, known=", ".join(known))
    return [figure for figure in known.values() if not names or figure.name in names]


def measure(
    figures: Sequence[Figure],
    plan: AnyPlan,
    command: str,
    progress: Progress,
    stand_of: Callable[[AnyPlan, machine.Cpus, Progress], Stand] = Stand,
) -> Run:
    """Measures them one after another; one that fails is told in the run, and the others are measured all the same.

    `stand_of`: the stand that these figures want.
    """
    require_rights()
    for tool in ("ip", "nsenter", *(tool for figure in figures for tool in figure.tools)):
        if shutil.which(tool) is None:
            raise ClearwayError.of("lab.E006", program=tool, package=PACKAGES[tool])
    cpus = machine.cpus()
    sweep()
    started, began = datetime.now(UTC), time.monotonic()
    facts = machine.facts()
    results: list[Result] = []
    failed: dict[str, ClearwayError] = {}
    with stand_of(plan, cpus, progress) as stand:
        for figure in figures:
            figure_began = time.monotonic()
            try:
                result = figure.measure(stand)
            except ClearwayError as error:
                failed[figure.name] = error
                progress.say(f"{figure.name} failed: {error.message}")
            else:
                results.append(dataclasses.replace(result, seconds=time.monotonic() - figure_began))
    stamp = started.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Run(command, plan.name, stamp, time.monotonic() - began, facts, results, failed)
