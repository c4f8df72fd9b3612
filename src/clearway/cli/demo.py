"""demo: the lab with a real gateway in its middle, and everything that it promises, in under two minutes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from clearway.cli import show
from clearway.cli.options import JsonOption

NAME = "demo"


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave lab and gateway up for an hour, to try things.")] = False,
    json: JsonOption = False,
) -> None:
    """Build a small internet on this machine, put a gateway in its middle, and show what it does.

    Namespaces, a list of a million generated addresses, curl, ping and iperf3 across it, a grant revoked and restored,
    the daemon killed under load. Takes about a minute, and takes everything away again. Needs root.

    Example: clearway demo
    """
    from rich.console import Console

    from clearway.lab import demo as play

    console = Console(file=sys.stderr) if json else Console(highlight=False)
    board = play.run(NAME, keep, console)
    if json:
        show.document(board.document())
        return
    console.print(f"\n  [bold green]All {board.expectations()} expected outcomes were seen.[/]")
    if keep:
        _instructions()


def _instructions() -> None:
    from clearway.lab.topology import BUSINESS_V4, Lab

    lab = Lab(NAME)
    run = f"clearway lab exec --name {NAME}"
    web, bad = (lab.host(name).v4 for name in ("web1", "bad"))
    print(f"""
  It stays up for an hour. Try:
    {run} home1 curl http://{web}/
    {run} home1 curl --max-time 2 http://{bad}/
    {run} business curl http://{bad}/
    {run} gateway clearway explain {bad}
    {run} gateway clearway revoke {BUSINESS_V4}
    {run} gateway clearway status
  and away with it:
    clearway lab down --name {NAME}""")
