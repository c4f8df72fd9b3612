"""feed report: which list earns its place; with --plot, how much of each list stands in the others, as a picture."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from clearway.cli import ask, show
from clearway.cli.options import JsonOption, StateOption
from clearway.config import StateDirectory
from clearway.errors import ClearwayError

TOP_MAX = 3
"""Entries of each list that are shown with their hits."""
CELL_INCHES = 0.45
ROOM_INCHES = 2.5
NAMED_MAX = 25
"""Lists up to which each cell of the picture has its number."""


def report(
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the overlap: .png, .svg or .pdf.")
    ] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show which list earns its place: entries, those that no other list has, hits, age, what the guard had to say.

    Hits are counted since a list was added; without a gateway, those are shown that the last one stored.

    Example: clearway feed report --plot overlap.png
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import feed_report

    hits, live = _hits(directory)
    document = {**feed_report.report(directory, now, hits), "hits_live": live}
    if plot is not None:
        draw(document, plot)
    if json:
        show.document(document)
    elif not document["lists"]:
        print("there is no list yet; `clearway feed add --help` shows how one is added")
    else:
        _show(document, now)
        if plot is not None:
            print(f"\ndrawn: {plot}")


def _hits(directory: StateDirectory) -> tuple[dict[str, Any] | None, bool]:
    """What was counted, and whether a gateway says so."""
    from clearway.gateway.client import Gateway

    try:
        return Gateway(directory.path).request("GET", "/v1/hits"), True
    except ClearwayError:
        from clearway.gateway import kept_hits
        from clearway.store.feed_report import added

        stored = kept_hits.stored(directory.hits)
        if stored is None:
            return None, False
        stored.settle(added())
        return stored.answer(), False


def _show(document: dict[str, Any], now: datetime) -> None:
    columns = (
        "list",
        "entries",
        "unique",
        "",
        "hits",
        "rejected",
        "quarantined",
        "fetched",
        "most of it also in",
        "notes",
    )
    table = show.table(*columns, right=("entries", "unique", "", "hits", "rejected", "quarantined"))
    for row in sorted(document["lists"], key=lambda each: (-(each["hits"] or 0), -(each["unique"] or 0))):
        unique = f"{100 * row['unique'] / row['entries']:.0f} %" if row["unique"] is not None and row["entries"] else ""
        table.add_row(
            row["feed"],
            show.count(row["entries"]),
            show.count(row["unique"]),
            unique,
            show.count(row["hits"]),
            show.count(row["rejected_entries"]),
            str(row["quarantined"] or ""),
            show.ago(row["fetched_at"], now),
            show.plain(_nearest(document["overlap"].get(row["feed"], {}), row["entries"])),
            show.plain(", ".join(row["notes"])),
        )
    parts: list[Any] = [table]
    if document["top"]:
        top = show.table("hit most", "list", "reason", "packets", right=("packets",))
        seen: dict[str, int] = {}
        for each in document["top"]:
            seen[each["list"]] = seen.get(each["list"], 0) + 1
            if seen[each["list"]] <= TOP_MAX:
                top.add_row(
                    show.plain(each["entry"]), show.plain(each["list"]), each["reason"], show.count(each["hits"])
                )
        parts += ["", top]
    parts += ["", f"[dim]{_counted(document)}[/dim]"]
    show.put(*parts)


def _counted(document: dict[str, Any]) -> str:
    if document["hits_since"] is None:
        return "no gateway runs: nobody counts hits"
    since = f"hits since a list was added, at the earliest since {show.moment(document['hits_since'])}"
    return since if document["hits_live"] else f"{since}; no gateway runs: as the last one stored them"


def _nearest(others: dict[str, int], entries: int) -> str:
    if not entries or not others:
        return ""
    name, held = max(others.items(), key=lambda each: each[1])
    return f"{name} {100 * held / entries:.0f} %" if held else ""


def draw(document: dict[str, Any], path: Path) -> None:
    """The part of each list (row) that each other (column) holds too."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    entries = {row["feed"]: row["entries"] for row in document["lists"]}
    names = list(document["overlap"])
    parts = [
        [
            math.nan if other == name else 100 * document["overlap"][name][other] / max(entries[name], 1)
            for other in names
        ]
        for name in names
    ]
    size = ROOM_INCHES + CELL_INCHES * max(len(names), 1)
    drawing, panel = pyplot.subplots(figsize=(size, size), layout="constrained")
    try:
        panel.set_facecolor("#e5e7eb")
        picture = panel.imshow(parts or [[0.0]], vmin=0, vmax=100, cmap="Blues")
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        panel.set_yticks(range(len(names)), names, fontsize=8)
        if len(names) <= NAMED_MAX:
            for row, values in enumerate(parts):
                for column, value in enumerate(values):
                    if not value > 0:  # nothing, or the list itself
                        continue
                    colour = "white" if value > 60 else "#111827"
                    panel.text(
                        column,
                        row,
                        f"{value:.0f}" if value >= 1 else "<1",
                        ha="center",
                        va="center",
                        fontsize=7,
                        color=colour,
                    )
        panel.set_title("% of the entries of a list (row) that another holds too (column)", fontsize=9, loc="left")
        drawing.colorbar(picture, ax=panel, shrink=0.6).ax.tick_params(labelsize=8)
        try:
            drawing.savefig(path, dpi=130)
        except (OSError, ValueError) as error:
            raise ClearwayError.of("store.E054", path=path, detail=error) from None
    finally:
        pyplot.close(drawing)
