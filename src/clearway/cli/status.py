"""status: what the gateway does at this moment, or, where none runs, what is stored for the next one."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import ask, show
from clearway.cli.options import JsonOption, StateOption
from clearway.config import StateDirectory
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clearway.gateway.client import Gateway

WATCH_S = 1.0


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, with rates, until Ctrl-C.")] = False,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Show lanes, drops and health, what is wanted against what the kernel holds, lists, and what is hit most.

    Ends with 1 where no gateway runs, after showing what is stored.

    Example: clearway status --watch
    """
    from clearway.gateway.client import Gateway, NoGateway

    directory = ask.directory(state)
    gateway = Gateway(directory.path)
    try:
        if watch:
            with contextlib.suppress(KeyboardInterrupt):
                _watch(gateway, json)
        elif json:
            show.document(gateway.request("GET", "/v1/status"))
        else:
            from clearway.cli.status_page import page

            show.put(*page(gateway.request("GET", "/v1/status"), datetime.now(UTC)))
    except NoGateway:
        return _without_gateway(directory.path, json)
    return 0


def _watch(gateway: Gateway, as_json: bool) -> None:
    if as_json:
        while True:
            show.line(gateway.request("GET", "/v1/status"))
            time.sleep(WATCH_S)
    from rich.console import Group
    from rich.live import Live

    from clearway.cli.status_page import page

    before: tuple[float, dict[str, Any]] | None = None

    def turn() -> RenderableType:
        nonlocal before
        now, answer = time.monotonic(), gateway.request("GET", "/v1/status")
        parts = page(answer, datetime.now(UTC), (now - before[0], before[1]) if before else None)
        before = (now, answer)
        return Group(*parts)

    with Live(turn(), console=show.console(), screen=sys.stdout.isatty(), auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_S)
            live.update(turn(), refresh=True)


def _without_gateway(path: Path, as_json: bool) -> int:
    told = ClearwayError.of("cli.E002", path=path)
    try:
        now = ask.read_store(ask.directory(path))
    except ClearwayError as error:
        if error.id != "store.E011":
            raise
        stored: dict[str, Any] = {}
    else:
        from clearway.store import overview

        feeds, left = overview.feeds(now), _left_on_the_wire(path)
        stored = {
            "left_on_the_wire": left,
            "enforced_past_their_end": [row["feed"] for row in feeds if left and not row["in_force"]],
            **overview.totals(now),
            "lists": feeds,
        }
    if as_json:
        show.document({**told.as_json(), "stored": stored or None})
        return told.exit_code
    show.error(told, as_json)
    if stored:
        from clearway.cli.status_page import stored_page

        show.put(*stored_page(stored, now))
    else:
        print(f"nothing is stored in {path}")
    return told.exit_code


def _left_on_the_wire(path: Path) -> str | None:
    """Name of the gateway whose daemon ended without `clearway detach` since this machine was started."""
    from clearway.boot_clock import boot_id
    from clearway.gateway.runtime import Runtime

    runtime = Runtime.load(StateDirectory(path).runtime)
    return runtime.name if runtime is not None and runtime.boot_id == boot_id() else None
