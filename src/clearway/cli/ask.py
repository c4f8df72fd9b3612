"""How a command reaches what it is about: the running gateway over its socket, else the database.

A request to a gateway is sent as it was typed and checked there. Without one it is checked and stored here, under the
writer lock, and enforced at the gateway's next start.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearway.config import DATABASE, StateDirectory, state_path
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from clearway.gateway.client import NoGateway
    from clearway.policy.model import Prefix
    from clearway.store.change import Change

TURNS_MAX = 5
"""Times that a gateway may come and go between looking for it and writing, before that counts as a defect."""


def actor() -> str:
    """Who asks: the login behind sudo, else that of this process. A claim of the caller's, as in any log of root's."""
    behind = os.environ.get("SUDO_USER")
    if behind and os.geteuid() == 0:
        return behind
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return f"uid {os.getuid()}"


def directory(option: Path | None) -> StateDirectory:
    """The state directory that a command is about."""
    return StateDirectory(state_path(option))


def gateway_runs(state: StateDirectory) -> bool:
    """Whether a daemon answers on the socket of that state directory; one that is too busy to is there as well."""
    from clearway.gateway.client import connect

    try:
        connect(state.socket).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def change(
    state: StateDirectory,
    method: str,
    path: str,
    body: dict[str, Any],
    store: Callable[[datetime, list[Prefix]], Change],
) -> dict[str, Any]:
    """Brings a decision into force. `store(now, inside)` stores it, and is called when no gateway runs.

    The answer carries `enforced`: by a gateway, or only stored. Raises what either of them refuses.
    """
    from clearway.gateway.client import Gateway, NoGateway

    gateway = Gateway(state.path)
    body = {"actor": actor(), **{name: value for name, value in body.items() if value is not None}}
    for _ in range(TURNS_MAX):
        if gateway_runs(state):
            try:
                return gateway.request(method, path, body)
            except NoGateway as error:
                if not unheard(error):
                    raise ClearwayError.of("cli.E005", path=state.path) from error
        state.create()
        with state.writing():
            if not gateway_runs(state):
                now = open_store(state)
                return {**store(now, inside(state)).answer, "enforced": False}
    raise ClearwayError.of("cli.E004", detail="a gateway comes and goes too fast to be asked")


def unheard(error: NoGateway) -> bool:
    """It has ended before it could hear of the request; else nobody knows what it did of it."""
    return isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)


def open_store(state: StateDirectory) -> datetime:
    """Makes the database ready. The time by the gateway's clock, which is never set back."""
    from clearway import store
    from clearway.gateway.clock import Clock

    store.setup(state.path)
    return Clock(state.clock).now()


def read_store(state: StateDirectory) -> datetime:
    """The same for a command that only looks. Raises store.E011 where nothing was ever stored."""
    if not state.exists() and not os.environ.get(DATABASE.name):
        raise ClearwayError.of("store.E011", path=state.path)
    return open_store(state)


def inside(state: StateDirectory) -> list[Prefix]:
    """The inside prefixes of the last `run`."""
    from clearway.policy.model import Prefix

    return [Prefix.parse(text) for text in state.inside_prefixes()]
