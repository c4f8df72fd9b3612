"""Progress of long work, on standard error and on a terminal only; gone when the work is done."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

Report = Callable[[str, int, int | None], None]
"""Told (step, done, total), as store.lists.Progress; a step whose total is at most 1 has no length that is known."""

WORDS = {
    "lists": "reading lists",
    "fetch": "fetching",
    "read": "reading",
    "inspect": "reading frames",
    "store": "keeping the entries",
    "compile": "compiling",
    "enforce": "bringing it into force",
}


@contextlib.contextmanager
def shown(wanted: bool) -> Iterator[Report]:
    """What to tell of each step. Shows nothing where standard error is no terminal, or nobody wants it."""
    if not wanted or not sys.stderr.isatty():
        yield lambda step, done, total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from clearway.cli import show

    tasks: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        TextColumn("[dim]{task.fields[done]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=show.console(stderr=True), transient=True) as progress:

        def report(step: str, done: int, total: int | None) -> None:
            has_length = step in ("lists", "fetch", "inspect")
            if step not in tasks:
                tasks[step] = progress.add_task(WORDS[step], total=total if has_length else None, done="")
            ended = total is not None and done >= total
            length = (total if has_length else 1) if ended or has_length else None
            told = ""
            if has_length:
                in_words = str if step == "lists" else show.size
                told = in_words(done) if total is None else f"{in_words(done)} of {in_words(total)}"
            progress.update(tasks[step], total=length, completed=done if has_length else int(ended), done=told)

        yield report
