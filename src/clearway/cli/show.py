"""How answers look: errors, JSON, tables, times and numbers. Colour only on a terminal; nothing is cut in a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

PIPE_WIDTH = 4000
"""Columns where the output goes into a file or another program: nothing is folded there."""


def colours(stream: TextIO) -> bool:
    """Whether that stream wants colour."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def error(told: ClearwayError, as_json: bool) -> None:
    """An error: two lines on standard error, or one document on standard output."""
    if as_json:
        document(told.as_json())
        return
    red, dim, end = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if colours(sys.stderr) else ("", "", "")
    print(f"{red}error:{end} {told.message} {dim}[{told.id}]{end}", file=sys.stderr)
    print(f"  fix: {told.fix}", file=sys.stderr)


def document(answer: Mapping[str, Any]) -> None:
    """One JSON document. On a terminal it is indented."""
    print(json.dumps(answer, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def line(answer: Mapping[str, Any]) -> None:
    """One JSON object of a stream, on one line, at once."""
    print(json.dumps(answer, ensure_ascii=False), flush=True)


def console(stderr: bool = False) -> Console:
    """A Rich console that guesses nothing from what it prints."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=True, soft_wrap=False)


def table(*columns: str, right: tuple[str, ...] = (), title: str = "") -> Table:
    """A table without lines: names of columns dim, those in `right` right-aligned; only the last column is folded."""
    from rich.table import Table

    made = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0), title_justify="left")
    made.title, made.title_style = title or None, "bold"
    for column in columns:
        last = column == columns[-1]
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    return made


def put(*parts: RenderableType) -> None:
    """Prints tables and text with markup; without the spaces that tables end their lines with."""
    printer = console()
    with printer.capture() as capture:
        printer.print(*parts, sep="\n")
    print("\n".join(text.rstrip() for text in capture.get().splitlines()))


def plain(text: str) -> str:
    """Text from elsewhere, in which Rich must see no markup."""
    return text.replace("[", "\\[")


def parse_stamp(text: str) -> datetime:
    """The opposite of store.change.stamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def moment(text: str | None, zone: bool = True) -> str:
    """A stamp for people: `2026-11-24 09:36 UTC`."""
    return f"{parse_stamp(text).astimezone(UTC):%Y-%m-%d %H:%M}{' UTC' if zone else ''}" if text else ""


def span(length: timedelta) -> str:
    """About how long: `45 s`, `12 min`, `5 h`, `9 days`."""
    seconds = abs(length.total_seconds())
    for unit, size, above in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 129_600)):
        if seconds < above:
            return f"{round(seconds / size)} {unit}"
    days = round(seconds / 86400)
    return f"{days} day{'s' if days > 1 else ''}"


def ago(text: str | None, now: datetime) -> str:
    """How long since a stamp."""
    return f"{span(now - parse_stamp(text))} ago" if text else ""


def left(text: str | None, now: datetime) -> str:
    """How long until a stamp: `in 2 h`, or `expired`."""
    if not text:
        return ""
    rest = parse_stamp(text) - now
    return f"in {span(rest)}" if rest > timedelta(0) else "expired"


def every(seconds: int | None) -> str:
    """How often, in the largest unit that divides it: `24h` is `1d`; `–` for never."""
    if not seconds:
        return "–"
    unit, size = next(
        (unit, size) for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if not seconds % size
    )
    return f"{seconds // size}{unit}"


def count(number: int | None) -> str:
    """1 234 567 with narrow spaces kept plain, `–` for unknown."""
    return "–" if number is None else f"{number:,}".replace(",", " ")


def plural(number: int | None, noun: str) -> str:
    """`1 grant`, `2 grants`, `2 addresses`."""
    return f"{count(number)} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def held(addresses: int, names: int) -> str:
    """`1 address, 12 names`, without what there is none of; `nothing`."""
    parts = [plural(addresses, "address")] if addresses else []
    return ", ".join([*parts, plural(names, "name")] if names else parts) or "nothing"


def size(number: int | None) -> str:
    """Bytes in decimal units: `1.2 GB`."""
    if number is None:
        return "–"
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit has no end")
