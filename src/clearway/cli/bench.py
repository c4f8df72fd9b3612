"""bench: what the published figures come from, measured on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearway.cli import show
from clearway.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from clearway.bench.name_reader import ReaderReport
    from clearway.bench.oracle import OracleReport
    from clearway.bench.report import Run

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="What the published figures come from: the wire against its peers, the programs against the reference.",
)


OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", metavar="FIGURE", help="Only that one; may be repeated.")
]
QuickOption = Annotated[bool, typer.Option("--quick", help="A tenth of everything: a look, not a figure.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Save a picture: .png, .svg, .pdf.")]


@app.command()
def wire(
    only: OnlyOption = None,
    turns: Annotated[
        int | None,
        typer.Option("--turns", metavar="N", min=1, max=100, help="Turns of each kind, by default 5."),
    ] = None,
    quick: QuickOption = False,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> int:
    """Measure the wire: bare wire, bridge, nftables and Clearway take turns in namespaces of their own.

    Everything takes about ten minutes and wants a machine that does nothing else; --quick takes about two.

    Example: sudo clearway bench wire --only drops --only cost --plot figures.png
    """
    import dataclasses

    from clearway.bench import plan as plans
    from clearway.bench import run

    plan = plans.QUICK if quick else plans.FULL
    if turns is not None:
        plan = dataclasses.replace(plan, turns=turns, bulk_turns=turns, loads=turns)
    figures = run.chosen(only or [])
    with _Bars(not json) as bars:
        measured = run.measure(figures, plan, _command(), bars)
    return _ended(measured, plot, json)


@app.command()
def names(
    only: OnlyOption = None,
    quick: QuickOption = False,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> int:
    """Measure names: new flows, queries, first data and bulk through one gateway, its name step on and off in turns.

    With 5 million names and 10 million addresses; inspect beside ndpiReader and tshark, where they are installed.
    Everything takes about seven minutes and wants a machine that does nothing else; --quick takes about one.

    Example: sudo clearway bench names --only flows-clean --only first-data
    """
    from clearway.bench import run
    from clearway.bench.names_figures import FIGURES
    from clearway.bench.names_plan import PLANS
    from clearway.bench.names_stand import NamesStand

    figures = run.chosen(only or [], FIGURES)
    with _Bars(not json) as bars:
        measured = run.measure(figures, PLANS["quick" if quick else "full"], _command(), bars, NamesStand)
    return _ended(measured, plot, json)


@app.command()
def lists(
    only: OnlyOption = None,
    quick: QuickOption = False,
    plot: PlotOption = None,
    json: JsonOption = False,
) -> int:
    """Measure lists: 10 million addresses and 5 million names in forty of them, from files to enforced; and again.

    The same list beside nft, ipset, unbound and dnsmasq, where they are installed; the wire while lists are loaded.
    Everything takes about nine minutes and wants a machine that does nothing else; --quick takes about three.

    Example: sudo clearway bench lists --only all --only changed
    """
    from clearway.bench import run
    from clearway.bench.lists_figures import FIGURES
    from clearway.bench.lists_plan import PLANS
    from clearway.bench.lists_stand import ListsStand

    figures = run.chosen(only or [], FIGURES)
    with _Bars(not json) as bars:
        measured = run.measure(figures, PLANS["quick" if quick else "full"], _command(), bars, ListsStand)
    return _ended(measured, plot, json)


def _command() -> str:
    return " ".join(["clearway", *sys.argv[1:]])


def _ended(measured: Run, plot: Path | None, json: bool) -> int:
    """Tells a run and draws it; the exit code."""
    from clearway.bench import report

    document = report.document(measured)
    if plot is not None:
        from clearway.bench import plot as drawing

        drawing.save(document, plot)
    if json:
        show.document(document)
    else:
        _tell(measured)
        if plot is not None:
            print(f"\npicture: {plot}")
    if measured.failed:
        return max(error.exit_code for error in measured.failed.values())
    return 0 if measured.reached else 1


@app.command("list")
def list_figures(json: JsonOption = False) -> None:
    """List the figures that `bench wire`, `bench names` and `bench lists` can measure.

    Example: clearway bench list
    """
    from clearway.bench import figures, lists_figures, names_figures

    known = {"wire": figures.FIGURES, "names": names_figures.FIGURES, "lists": lists_figures.FIGURES}
    if json:
        rows = [
            {"bench": bench, "name": one.name, "sentence": one.sentence, "seconds": one.seconds}
            for bench, of in known.items()
            for one in of.values()
        ]
        show.document({"figures": rows})
        return
    table = show.table("bench", "figure", "what", "about", right=("about",))
    for bench, of in known.items():
        for figure in of.values():
            table.add_row(bench, figure.name, figure.sentence, f"{figure.seconds} s")
    show.put(table)


@app.command()
def oracle(
    cases: Annotated[int, typer.Option("--cases", metavar="N", min=1, help="Frames to judge, at least.")] = 100_000,
    seed: Annotated[str, typer.Option("--seed", metavar="TEXT", help="The same seed gives the same cases.")] = "1",
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="Default: one a core.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Hold the loaded programs to the reference: random policies, random frames, every verdict compared.

    Example: sudo clearway bench oracle --cases 10000000
    """
    import os

    from clearway.bench import oracle as cases_of

    with _Bars(not json) as bars:
        bars.begin("cases", cases)
        report = cases_of.run(cases, seed, bars.reach, processes=processes or len(os.sched_getaffinity(0)))
    if json:
        show.document(
            {
                "seed": seed,
                "cases": report.cases,
                "probes": report.probes,
                "differences": report.differences,
                "examples": [str(example) for example in report.examples],
                "seconds": round(report.seconds, 1),
                "outcomes": [
                    {"of": of, "what": what, "cases": count} for (of, what), count in sorted(report.outcomes.items())
                ],
            }
        )
    else:
        _tell_oracle(report, seed)
    return 1 if report.differences else 0


@app.command()
def reader(
    cases: Annotated[int, typer.Option("--cases", metavar="N", min=1, help="First packets to read.")] = 1_000_000,
    seed: Annotated[str, typer.Option("--seed", metavar="TEXT", help="The same seed gives the same packets.")] = "1",
    json: JsonOption = False,
) -> int:
    """Hold the kernel's reader of names to the inspector's: generated hellos, requests and queries, read by both.

    What the kernel reads must be what the inspector reads; what it leaves to the inspector is no difference.

    Example: sudo clearway bench reader --cases 10000
    """
    from clearway.bench import name_reader

    with _Bars(not json) as bars:
        bars.begin("packets", cases)
        report = name_reader.run(cases, seed, bars.reach)
    if json:
        show.document({**vars(report), "seconds": round(report.seconds, 1)})
    else:
        _tell_reader(report)
    return 1 if report.differences else 0


class _Bars:
    """Progress on standard error, where that is a terminal; one line a step elsewhere would drown a log."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted and sys.stderr.isatty()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> _Bars:
        if self._wanted:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[said]}"),
            )
            self._progress = Progress(*columns, console=show.console(stderr=True), transient=False)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, title: str, steps: int) -> None:
        if self._progress is not None:
            self._task = self._progress.add_task(show.plain(title), total=steps, said="")

    def step(self, text: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, said=show.plain(text))

    def reach(self, done: int, differences: int) -> None:
        """As clearway.bench.oracle and name_reader tell it."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, said=f"{differences} differences")

    def say(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(f"[dim]{show.plain(text)}")


def _tell_oracle(report: OracleReport, seed: str) -> None:
    """What the cases touched, and each difference with all that is needed to see it again."""
    table = show.table("", "what came of it", "cases", right=("cases",))
    for (of, what), count in sorted(report.outcomes.items()):
        table.add_row(of, what, show.count(count))
    show.put(table)
    for example in report.examples:
        print(f"\n{example}")
    print(
        f"\n{show.count(report.cases)} cases, {show.count(report.probes)} probes of the loaded programs, seed {seed}, "
        f"{report.seconds:.0f} s: {show.count(report.differences)} differences"
    )


def _tell_reader(report: ReaderReport) -> None:
    """What the kernel said, and each difference with the bytes to see it again."""
    from clearway.bench.name_reader import ANSWERS

    table = show.table("the kernel said", "packets", right=("packets",))
    for answer in ANSWERS:
        table.add_row(answer, show.count(report.answers[answer]))
    show.put(table)
    for example in report.examples:
        print(f"\n{example}")
    print(
        f"\n{show.count(report.cases)} packets, seed {report.seed}, {report.seconds:.0f} s: "
        f"{show.count(report.differences)} differences"
    )


def _tell(measured: Run) -> None:
    """Machine, then each figure as a table with its aims and notes."""
    from clearway.bench import report

    facts = show.table("machine", "")
    for name, value in measured.machine.items():
        facts.add_row(name, show.plain(value))
    facts.add_row("plan", f"{measured.plan}, {measured.seconds:.0f} s in all, {measured.started}")
    facts.add_row("command", show.plain(measured.command))
    show.put(facts)
    for result in measured.results:
        table = show.table("", "median", "over turns", "against the base", right=("median",), title=result.title)
        for kind, median, spread, ratio in report.rows(result):
            table.add_row(show.plain(kind), median, spread, f"{ratio} {result.base}" if ratio else "")
        print()
        show.put(table)
        if result.leaked is not None:
            print(f"leaked: {show.count(result.leaked)} packets")
        for aim, told in report.aims(result.judged(), result.unit):
            print(f"{aim}: {told}")
        for note in result.notes:
            print(f"  {note}")
    for name, error in measured.failed.items():
        print(f"\n{name} was not measured")
        show.error(error, False)
