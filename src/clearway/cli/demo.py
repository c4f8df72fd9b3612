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
        show.document({**board.document(), "try": _commands() if keep else []})
        return
    console.print(f"\n  [bold green]All {board.expectations()} expected outcomes were seen.[/]")
    if keep:
        _instructions()


def _instructions() -> None:
    *first, last = _commands()
    print("\n  It stays up for an hour. Try:")
    print("\n".join(f"    {command}" for command in first))
    print(f"  and away with it:\n    {last}")


def _commands() -> list[str]:
    """What can be tried by hand in a lab that was kept; the last one takes it away."""
    from clearway.lab.topology import BUSINESS_V4, Lab

    lab = Lab(NAME)
    web, bad = (lab.host(name).v4 for name in ("web1", "bad"))
    inside = [
        f"home1 curl http://{web}/",
        f"home1 curl --max-time 2 http://{bad}/",
        f"business curl http://{bad}/",
        f"gateway clearway explain {bad}",
        f"gateway clearway revoke {BUSINESS_V4}",
        "gateway clearway status",
    ]
    return [*(f"clearway lab exec --name {NAME} {words}" for words in inside), f"clearway lab down --name {NAME}"]
