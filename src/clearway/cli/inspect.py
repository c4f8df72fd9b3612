"""inspect: which names the flows of a capture file show to whoever carries them, and why the others show none.

Reads a file that its user already has, never a port; stores nothing and asks no policy (that is `replay`).
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearway.cli import progress, show
from clearway.cli.options import JsonOption
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from rich.table import Table

    from clearway._engine import Found, Inspection

PROGRESS_BYTES_MIN = 200_000_000
"""Size from which a file takes so long that progress is shown: about a second."""

WIDTHS_MIN = (5, 5, 15, 15, 20)
"""Columns of the table that a narrow terminal leaves; two IPv6 addresses would take all of it."""

STANDARD_INPUT = Path("/dev/stdin")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A capture: pcap or pcapng; - for standard input.")]


def inspect(file: FileArgument, json: JsonOption = False) -> int:
    """Show the names in a capture's DNS queries, HTTP requests, TLS and QUIC hellos, each once a flow.

    A flow without a name says why. A file that ends early gives what it holds, and the command ends with 1.

    Example: clearway inspect traffic.pcapng --json
    """
    inspection = opened(file)
    if json or not sys.stdout.isatty():
        _write_lines(inspection, file, json)
    else:
        _show_tables(inspection)
    return ended(inspection, file)


def opened(file: Path, *, sums: bool = False) -> Inspection:
    """The capture, at its first frame. Raises inspect.E003."""
    from clearway._engine import Inspection

    try:
        return Inspection(STANDARD_INPUT if str(file) == "-" else file, sums)
    except OSError as error:
        raise unreadable(file, error) from None


def unreadable(file: Path, error: OSError) -> ClearwayError:
    """inspect.E003, without the number that the engine puts behind the sentence: it tells nobody more."""
    return ClearwayError.of("inspect.E003", path=file, detail=error.strerror or str(error).partition(" (os error")[0])


def ended(inspection: Inspection, file: Path) -> int:
    """The exit code. Raises for what could not be read at all; tells what ended early."""
    if inspection.trouble is None:
        if inspection.unread_frames:
            which = "an interface that it does not describe" if inspection.link is None else f"number {inspection.link}"
            unread = f"{show.count(inspection.unread_frames)} of {show.plural(inspection.frames, 'frame')}"
            print(f"{unread} in {file} are on a link layer that is not read, {which}", file=sys.stderr)
        return 0
    if inspection.trouble == "not-a-capture":
        raise ClearwayError.of("inspect.E001", path=file)
    if inspection.trouble == "link":
        raise ClearwayError.of("inspect.E002", path=file, number=inspection.link)
    id = "inspect.E004" if inspection.trouble == "truncated" else "inspect.E005"
    told = ClearwayError.of(id, path=file, frames=show.count(inspection.frames))
    sys.stdout.flush()
    show.error(told, as_json=False)  # on standard error in any case: what was found stands on the other
    return told.exit_code


def _write_lines(inspection: Inspection, file: Path, json: bool) -> None:
    size = file.stat().st_size if file.is_file() else 0
    with progress.shown(size >= PROGRESS_BYTES_MIN and not sys.stdout.isatty()) as report:
        while (lines := _read(inspection, file, json)) is not None:
            sys.stdout.buffer.write(lines)
            report("inspect", inspection.read_bytes, size)
    sys.stdout.buffer.flush()


def _read(inspection: Inspection, file: Path, json: bool) -> bytes | None:
    try:
        return inspection.json() if json else inspection.fields()
    except OSError as error:
        raise unreadable(file, error) from None


def _show_tables(inspection: Inspection) -> None:
    """A table for each part of the file that was read, and a sentence in the end."""
    counts: Counter[str] = Counter()
    while (found := inspection.findings()) is not None:
        counts.update("none" if each.name is None else each.proto for each in found)
        if found:
            show.put(_table(found))
    names = [f"{show.count(count)} {proto}" for proto, count in sorted(counts.items()) if proto != "none"]
    print()
    print(
        f"{show.plural(inspection.frames, 'frame')}; names: {', '.join(names) or 'none'}; "
        f"flows without a name: {show.count(counts['none'])}"
    )


def _table(found: list[Found]) -> Table:
    table = show.table("frame", "proto", "from", "to", "name", right=("frame",))
    for column, width in zip(table.columns, WIDTHS_MIN, strict=True):
        column.min_width, column.no_wrap, column.overflow = width, False, "fold"
    for each in found:
        notes = [*(["ech"] if each.ech else []), *([f"{each.ambiguous} bytes ambiguous"] if each.ambiguous else [])]
        name = show.plain(each.name) if each.name is not None else f"[dim]– {each.none}[/]"
        note = f"  [dim]{', '.join(notes)}[/]" if notes else ""
        table.add_row(
            str(each.frame), each.proto, endpoint(each.src, each.sport), endpoint(each.dst, each.dport), name + note
        )
    return table


def endpoint(address: str, port: int) -> str:
    """`192.0.2.1:443`, `[2001:db8::1]:443` with its bracket kept from Rich."""
    return f"\\[{address}]:{port}" if ":" in address else f"{address}:{port}"
