"""lab: the small internet of network namespaces, for hands. The demo runs in one of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import show
from clearway.cli.options import JsonOption, StateOption
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from clearway.lab.topology import Lab

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)

NAME_DEFAULT = "lab"
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="Which lab, where there are several.")]
FOR_MAX_S = 7 * 86400


@app.callback()
def lab() -> None:
    """A small internet in network namespaces: hosts, switches, and a place for a gateway."""


@app.command()
def up(
    lasts: Annotated[
        str, typer.Option("--for", metavar="D", help="It takes itself down after that: 30m, 2h; 7d at most.")
    ] = "1h",
    name: NameOption = NAME_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Build the lab; where it stands already, only move its end.

    Example: clearway lab up --for 2h
    """
    from clearway.lab.topology import Lab
    from clearway.policy.model import duration

    made = Lab(name)
    for_s = duration(lasts).total_seconds()
    if not 0 < for_s <= FOR_MAX_S:
        raise ClearwayError.of("lab.E009", value=lasts)
    built = made.up(for_s)
    if json:
        show.document({"name": name, "built": built, "for_s": round(made.until()), "hosts": _hosts(made)})
    else:
        _tell(made, built)


@app.command()
def down(name: NameOption = NAME_DEFAULT, json: JsonOption = False) -> None:
    """Take the lab away, with everything that runs in it; also what a crash left of one.

    Example: clearway lab down
    """
    from clearway.lab.topology import Lab

    found = Lab(name).down()
    if json:
        show.document({"name": name, "found": found})
    else:
        print(f"{name} is gone" if found else f"there was nothing of {name}")


@app.command(
    name="exec",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def execute(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="home1, home2, business, gateway, web1, …")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="A program and its arguments.")],
    name: NameOption = NAME_DEFAULT,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Run a command inside a host of the lab, or in the gateway's place. Options of exec stand before PLACE.

    CLEARWAY_STATE names the lab's own state directory there, so `clearway status` speaks of the lab's gateway. With
    --json an error of exec itself is a document; what the command prints is its own.

    Example: clearway lab exec home1 curl http://198.51.100.11/
    """
    from clearway.lab.topology import Lab, require_rights

    made = Lab(name)
    namespace = made.namespace(place)
    require_rights()
    made.require_up()
    directory = state or made.state_directory()
    directory.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CLEARWAY_STATE": str(directory)}
    # sudo's PATH may know nothing of the installation that this is
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', os.defpath)}"
    namespace.enter()
    try:
        os.execvpe(command[0], command, environment)
    except FileNotFoundError:
        raise ClearwayError.of("lab.E010", program=command[0]) from None


def _hosts(made: Lab) -> list[dict[str, Any]]:
    from clearway.lab.topology import EVERYBODY

    return [
        {"name": host.name, "side": host.side, "v4": host.v4, "v6": host.v6, "namespace": f"{made.name}-{host.name}"}
        for host in EVERYBODY
    ]


def _tell(made: Lab, built: bool) -> None:
    from clearway.lab.topology import EVERYBODY

    minutes = made.until() / 60
    print(f"{made.name} {'is up' if built else 'stands already'}, for {minutes:.0f} min\n")
    for host in EVERYBODY:
        print(f"  {host.side:10} {host.name:9} {host.v4:15} {host.v6:18} {host.what}")
    option = "" if made.name == NAME_DEFAULT else f"--name {made.name} "
    run = f"clearway lab exec {option}"
    web, bad = made.host("web1").v4, made.host("bad").v4
    print(f"""
Nothing crosses yet. A gateway in its middle:
  {run}gateway clearway run --inside inside --outside outside --name {made.gateway_name}
then, elsewhere:
  {run}home1 curl http://{web}/
  {run}gateway clearway block {bad} --reason malware --until 1h
  {run}home1 curl --max-time 2 http://{bad}/
  {run}gateway clearway status
and away with it:
  clearway lab down{" " + option.strip() if option else ""}""")
