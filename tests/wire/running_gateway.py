"""`clearway run` on a short wire, as its own process with its own state; taken off and ended whatever happens."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from shortwire import PREFIX, ShortWire

from clearway.errors import ClearwayError
from clearway.lab.gateway import GatewayProcess

_numbers = itertools.count()


@contextlib.contextmanager
def running_gateway(wire: ShortWire, state: Path, *options: str, start: bool = True) -> Iterator[GatewayProcess]:
    """`options`: further ones of `run`. `start`: packets cross already when the block begins."""
    name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
    gateway = GatewayProcess(wire.gateway, state, name, options)
    try:
        if start:
            gateway.start()
        yield gateway
    finally:
        gateway.kill()
        with contextlib.suppress(ClearwayError):
            gateway.detach()
