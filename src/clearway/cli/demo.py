"""demo: the lab with a real gateway in its middle, and everything that it promises, in under two minutes."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from clearway.cli import show
from clearway.cli.options import JsonOption
from clearway.policy.model import word

NAME = "demo"


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave lab and gateway up for an hour, to try things.")] = False,
    json: JsonOption = False,
) -> None:
    """Build a small internet on this machine, put a gateway in its middle, and show what it does.

    Namespaces, lists of a million generated addresses and a million names, dig, curl, ping and iperf3 across it, a
    grant revoked and restored, the daemon killed under load. Takes about a minute, and takes everything away again.
    Needs root and a kernel that it can load programs into; where it has not, it says so and replays a recording.

    Example: clearway demo
    """
    from rich.console import Console

    from clearway.lab import demo as play
    from clearway.lab.recorded import why_no_lab

    why = why_no_lab()
    if why and not keep:
        _replay(why, json)
        return
    console = Console(file=sys.stderr) if json else Console(highlight=False)
    board = play.run(NAME, keep, console)
    if json:
        show.document({**board.document(), "try": _commands() if keep else []})
        return
    console.print(f"\n  [bold green]All {board.expectations()} expected outcomes were seen.[/]")
    if keep:
        _instructions()


def _replay(why: str, json: bool) -> None:
    """The recording in the lab's stead."""
    from datetime import UTC, datetime

    from clearway.lab import recorded

    flows, judging = recorded.replayed(datetime.now(UTC))
    totals = judging.totals
    if json:
        told = {"replayed": str(recorded.CAPTURE), "why": why, "policy": list(recorded.WORDS)}
        show.document({**told, "flows": [each.as_json() for each in flows], **totals.as_json()})
        return
    print(f"No lab can be built here: {why}.\n")
    print(
        "So this is a replay, and nothing is enforced: a capture that the project recorded of dig,\n"
        "curl and Chromium, judged flow by flow by the reference matcher, under a small policy:\n"
    )
    print("".join(f"  clearway {words}\n" for words in recorded.WORDS))
    table = show.table("from", "by", "name", "lane", "would have been")
    for each in flows:
        flow, lane = each.flow, "" if each.dropped else word(each.outcome.lane)
        became = each.outcome.why if each.dropped or lane == "green" else "forwarded"
        spoken = recorded.SPOKEN[flow.transport, flow.dport]
        table.add_row(flow.src, spoken, show.plain(each.names.first or "–"), lane, show.plain(became))
    show.put(table)
    refused = sum(each.dropped for each in flows)
    flows_in_all = show.plural(len(flows), "flow")
    print(f"\n{flows_in_all}, {refused} refused by name. One that shows no name passes, and is counted.")
    print(f"The names that it shows: clearway inspect {recorded.CAPTURE}")
    print("Any capture, under your own policy: clearway replay FILE. The lab itself: sudo clearway demo")


def _instructions() -> None:
    *first, last = _commands()
    print("\n  It stays up for an hour. Try:")
    print("\n".join(f"    {command}" for command in first))
    print(f"  and away with it:\n    {last}")


def _commands() -> list[str]:
    """What can be tried by hand in a lab that was kept; the last one takes it away."""
    from clearway.lab.demo_names import LISTED, NAME_SERVER
    from clearway.lab.topology import BUSINESS_V4, NAMES_HOST, Lab

    lab = Lab(NAME)
    web, bad, name_server = (lab.host(name).v4 for name in (NAMES_HOST, "bad", NAME_SERVER))
    inside = [
        f"home1 curl http://{web}/",
        f"home1 curl --max-time 2 http://{bad}/",
        f"business curl http://{bad}/",
        *([f"home1 dig @{name_server} {LISTED}"] if shutil.which("dig") else []),
        f"home1 curl --resolve {LISTED}:80:{web} http://{LISTED}/",
        f"gateway clearway explain {bad}",
        f"gateway clearway explain {LISTED}",
        f"gateway clearway revoke {BUSINESS_V4}",
        "gateway clearway status",
    ]
    return [*(f"clearway lab exec --name {NAME} {words}" for words in inside), f"clearway lab down --name {NAME}"]
