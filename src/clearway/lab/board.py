"""What the demo shows: who reached what, a grant taken and given back, what it costs, what a death loses.

Only looks at values that demo.py fills in; draws the same for a terminal, live, and once at the end for a file.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clearway.lab.asked import LANE_STYLES, Asked
from clearway.lab.list_taken import ListTaken
from clearway.lab.numbered import Report

WIDTH_MAX = 116
HEAD_LINES = 6
NAME_LINES = 3  # of one that was asked for, about
NARROW = 100  # columns below which gaps are small; a pipe has 80


@dataclass
class Crossing:
    """One try of one client: what must come of it, and what did."""

    source: str
    target: str
    how: str  # the client
    lane: str  # expected
    refused: str = ""  # expected drop reason; "": it is to be reached
    note: str = ""
    # what was seen
    done: bool = False
    reached: bool = False
    seen_lane: str = ""
    seen_refused: str = ""
    why: str = ""
    ms: float = 0.0

    @property
    def as_expected(self) -> bool:
        if not self.done or self.reached is bool(self.refused):
            return False
        if self.refused:
            return self.seen_refused == self.refused
        return self.seen_lane == self.lane


@dataclass
class Moment:
    """A change of policy while the beats go on."""

    at_s: float
    what: str
    took_ms: float


@dataclass
class Timeline:
    """Beats over time, and what was changed meanwhile."""

    title: str
    answered: list[bool | None] = field(default_factory=list)
    every_s: float = 0.02
    moments: list[Moment] = field(default_factory=list)
    as_expected: bool = False


@dataclass
class Cost:
    """One figure through the bare wire, the inspected and the green lane: the turns as they came."""

    what: str
    unit: str
    more_is_better: bool
    turns: dict[str, list[float]] = field(default_factory=dict)  # by "bare", "inspected", "green"


@dataclass
class Death:
    """Numbered traffic in one lane, over the death and return of the daemon."""

    lane: str
    rate: int
    reports: tuple[Report, Report] | None = None
    sent: int = 0


@dataclass
class Board:
    """Everything on it."""

    entries: int = 0
    lists: list[ListTaken] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    names: list[Asked] = field(default_factory=list)
    timeline: Timeline | None = None
    costs: list[Cost] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    gone_s: float = 0.0  # how long there was no daemon
    facts: list[tuple[str, str]] = field(default_factory=list)  # what was built, and how long it took
    now: str = ""
    elapsed_s: float = 0.0

    def expectations(self) -> int:
        """How many outcomes were to be seen."""
        tried = len(self.lists) + len(self.crossings) + len(self.names)
        return tried + bool(self.timeline) + len(self.costs) + len(self.deaths)

    def document(self) -> dict[str, Any]:
        """Everything on it as JSON."""
        return {
            "lists": [asdict(row) for row in self.lists],
            "crossings": [{**asdict(row), "as_expected": row.as_expected} for row in self.crossings],
            "names": [{**asdict(row), "as_expected": row.as_expected} for row in self.names],
            "grant": asdict(self.timeline) if self.timeline else None,
            "costs": [asdict(cost) for cost in self.costs],
            "deaths": [asdict(death) for death in self.deaths],
            "daemon_gone_s": round(self.gone_s, 3),
            "facts": dict(self.facts),
        }

    def render(self, width: int = WIDTH_MAX, height: int = 0) -> RenderableType:
        """All of it, at most `width` columns wide; with `height`, what is newest of it and fits so many lines."""
        width, room = min(width, WIDTH_MAX), height - HEAD_LINES
        sections: list[tuple[int, Callable[[], RenderableType]]] = []  # lines that each takes, about
        if self.lists:
            sections.append((5 + len(self.lists), lambda: self._lists(width)))
        if self.crossings:
            sections.append((5 + len(self.crossings), lambda: self._crossings(width)))
        if self.names:
            shown = self.names[-max(1, room // NAME_LINES) :] if height else self.names
            sections.append((3 + NAME_LINES * len(shown), lambda: self._names(shown)))
        if self.timeline:
            line = self.timeline
            sections.append((4 + len(line.moments), lambda: self._timeline(line, width - 4)))
        if self.costs:
            sections.append((6 + len(self.costs), lambda: self._costs(width)))
        if self.deaths:
            sections.append((5 + len(self.deaths), lambda: self._deaths(width)))
        while height and len(sections) > 1 and sum(lines for lines, _ in sections) > room:
            sections.pop(0)
        parts: list[RenderableType] = [self._head(), *(draw() for _, draw in sections)]
        if self.now:
            parts.append(
                Text.assemble(("  ▸ ", "bold yellow"), self.now, (f"   {self.elapsed_s:.0f} s", "bright_black"))
            )
        return Constrain(Group(*parts), width)

    def _head(self) -> RenderableType:
        wire = Text.assemble(
            ("home1 home2 ", "white"), ("business", "bold green"), ("  ──▶ ", "bright_black"),
            (" Clearway ", "bold black on cyan"), (" ──▶  ", "bright_black"), ("web1 web2 ", "white"),
            ("bad attacker", "bold red"), justify="center",
        )  # fmt: skip
        facts = Text("  ·  ", style="bright_black", justify="center").join(
            [Text.assemble((what + " ", "bright_black"), (value, "white")) for what, value in self.facts]
        )
        facts.justify = "center"
        title = "[bold]Clearway[/] · a small internet in namespaces, a real gateway in its middle"
        return Panel(Group(wire, facts), title=title, border_style="cyan", padding=(0, 1))

    def _lists(self, width: int) -> RenderableType:
        table = _table(
            "Lists in five formats, fetched from a server in the lab, and what the guard says of them", width
        )
        for name in ("list", "format"):
            table.add_column(name, no_wrap=True)
        table.add_column("entries", justify="right", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        table.add_column("held back, and why", ratio=1, overflow="fold")
        for row in self.lists:
            table.add_row(*row.cells())
        return table

    def _crossings(self, width: int) -> RenderableType:
        table = _table("Who reached what", width)
        for name in ("from", "to", "by", "lane", "outcome"):
            table.add_column(name, no_wrap=True)
        table.add_column("why", ratio=1, overflow="fold")
        for row in self.crossings:
            table.add_row(*_crossing(row))
        return table

    def _names(self, shown: list[Asked]) -> RenderableType:
        title = "Who asked for which name: all of them at one address of one server"
        return Group(_title(title), Text(""), *(row.draw() for row in shown))

    def _timeline(self, line: Timeline, cells: int) -> RenderableType:
        strip, ticks = Text("  "), [" "] * cells
        per_cell = max(1, -(-len(line.answered) // cells))
        for start in range(0, len(line.answered), per_cell):
            strip.append(*_cell(line.answered[start : start + per_cell]))
        for number, moment in enumerate(line.moments):
            at = min(int(moment.at_s / line.every_s / per_cell), cells - 1)
            ticks[at] = "①②③④"[number]
        ticked, notes = Text("  " + "".join(ticks), style="yellow"), Table.grid(padding=(0, 1, 0, 0))
        for number, moment in enumerate(line.moments):
            took = f"enforced after {moment.took_ms:.1f} ms"
            words = Text.assemble(moment.what, (f"   {took}", "bright_black"))
            notes.add_row(Text(f"  {'①②③④'[number]}", style="yellow"), words)
        return Group(_title(line.title), strip, ticked, notes)

    def _costs(self, width: int) -> RenderableType:
        table = _table("What it costs, against the same lab joined by the bare wire", width)
        table.add_column("", no_wrap=True, ratio=1)
        for lane in ("bare", "inspected", "green"):
            header = "bare wire" if lane == "bare" else f"{lane} lane"
            table.add_column(Text(header, style=LANE_STYLES[lane]), justify="right", no_wrap=True, min_width=14)
        for cost in self.costs:
            table.add_row(
                f"{cost.what}, {cost.unit}", *(_figure(cost, lane) for lane in ("bare", "inspected", "green"))
            )
        turns = min(len(cost.turns.get("green", [])) for cost in self.costs)
        note = f"  Medians of {turns} turns in rotation, on {os.cpu_count()} cores for all of it: ratios, not speeds."
        return Group(table, Text(note if turns else "", style="bright_black"))

    def _deaths(self, width: int) -> RenderableType:
        gone = f", back after {self.gone_s:.1f} s" if self.gone_s else ""
        table = _table(f"The daemon killed with kill -9 under load{gone}: still enforced", width)
        table.add_column("numbered packets, both ways", no_wrap=True, ratio=1)
        for name in ("sent", "lost", "repeated", "reordered", "altered"):
            table.add_column(name, justify="right", no_wrap=True)
        for death in self.deaths:
            label = Text.assemble((f"{death.lane} lane", LANE_STYLES[death.lane]), f", {death.rate:,}/s each way")
            table.add_row(label, *_death(death))
        return table


def _title(text: str) -> Text:
    return Text.assemble("\n", (f"  {text}", "bold"))


def _table(title: str, width: int) -> Table:
    gap = 1 if width < NARROW else 2
    return Table(
        box=box.SIMPLE_HEAD, title=_title(title), title_justify="left", expand=True, header_style="bright_black",
        border_style="bright_black", padding=(0, gap, 0, 0), pad_edge=False,
    )  # fmt: skip


def _crossing(row: Crossing) -> tuple[RenderableType, ...]:
    if not row.done:
        faint = "bright_black"
        return tuple(Text(text, style=faint) for text in (row.source, row.target, row.how, row.lane, "…", row.note))
    lane = Text(row.seen_lane or row.lane, style=LANE_STYLES.get(row.seen_lane or row.lane, ""))
    if row.reached:
        outcome = Text.assemble(("● reached", "green"), (f" {row.ms:>5.1f} ms", "bright_black"))
    else:
        outcome = Text.assemble(("■ refused", "red"))
    why = Text(row.why or row.note)
    if not row.as_expected:
        outcome = Text("✗ " + ("reached" if row.reached else "refused"), style="bold red")
        wanted = f"expected: {row.refused or 'reached, ' + row.lane}"
        why = Text(wanted, style="bold red")
    return Text(row.source), Text(row.target), Text(row.how), lane, outcome, why


def _cell(beats: list[bool | None]) -> tuple[str, str]:
    known = [beat for beat in beats if beat is not None]
    if not known:
        return "·", "bright_black"
    if all(known):
        return "█", "green"
    return ("░", "red") if not any(known) else ("▒", "yellow")


def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _figure(cost: Cost, lane: str) -> Text:
    turns, bare = cost.turns.get(lane, []), cost.turns.get("bare", [])
    if not turns:
        return Text("…", style="bright_black")
    value = median(turns)
    shown = Text(f"{value:,.1f}")
    if lane != "bare" and bare:
        shown.append(f"  {value / median(bare):.2f} ×", style="bold")
    return shown


def _death(death: Death) -> list[Text]:
    if not death.reports:
        return [Text(f"{death.sent:,}" if death.sent else "…", style="bright_black")]
    there, back = death.reports
    shown = [Text(f"{there.sent + back.sent:,}")]
    for name in ("lost", "duplicated", "reordered", "altered"):
        count = getattr(there, name) + getattr(back, name)
        shown.append(Text(f"{count:,}", style="bold red" if count else "bold green"))
    return shown
