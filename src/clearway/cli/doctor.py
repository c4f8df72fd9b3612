"""doctor: whether a gateway can run on this machine, and the command that mends what keeps it from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearway.cli import show
from clearway.cli.options import JsonOption, StateOption

if TYPE_CHECKING:
    from clearway.doctor import MachineAnswer


def doctor(
    answer: Annotated[
        Path | None, typer.Option("--answer", metavar="FILE", help="Judge what `doctor --json` printed elsewhere.")
    ] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Look whether a gateway can run on this machine: kernel, rights, memory, ports and the hook for each.

    Ends with 3 when it cannot. Changes nothing.

    Example: sudo clearway doctor
    """
    from clearway import config
    from clearway.doctor import can_run, diagnose, document, examine, read_answer

    found = read_answer(answer) if answer else examine(config.state_path(state))
    checks = diagnose(found)
    if json:
        show.document(document(found))
    else:
        _tell(found)
    if not can_run(checks):
        raise typer.Exit(3)


def _tell(found: MachineAnswer) -> None:
    from clearway.doctor import can_run, diagnose
    from clearway.gateway.kernel_probe import Level

    marks = {
        Level.OK: "[green]ok[/]",
        Level.NOTE: "note",
        Level.MEND: "[yellow]mend[/]",
        Level.CANNOT: "[red]cannot[/]",
    }
    checks = diagnose(found)
    table = show.table("", "what", "found", "what mends it")
    for check in checks:
        table.add_row(marks[check.level], check.name, show.plain(check.found), show.plain(check.mend))
    show.put(table)
    if found.ports:
        ports = show.table("port", "driver", "link", "MTU", "--hook auto", "why", right=("MTU",))
        for port in found.ports:
            link = "up" if port.carrier else "none"
            ports.add_row(port.name, port.driver, link, str(port.mtu), port.hook, show.plain(port.why))
        print()
        show.put(ports)
    print()
    print("a gateway can run here" if can_run(checks) else "no gateway can run here: mend what says cannot")
