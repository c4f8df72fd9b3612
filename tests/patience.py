"""How long tests wait for what takes no time on a machine at rest.

A busy machine is no failure, and how fast something is stands in `clearway bench`. So what is to happen is given
HUNG_S at least, and no test asserts that it took less: the bound is there for what hangs. Where two ways differ in
nothing but their time, as with a client that is told to stop and one that gives up, one good attempt of several is
enough.
"""

import errno
import socket
import time
from collections.abc import Callable

HUNG_S = 120.0
ENDS_SOON_S = (5, 20, 60)
"""Lives of what is to be seen before it ends by itself, the first one long enough on a machine at rest."""


def send_whole(sender: socket.socket, frame: bytes) -> None:
    """Waits for room: a wire whose far end has no core just now takes no more (ENOBUFS)."""
    deadline = time.monotonic() + HUNG_S
    while True:
        try:
            sender.send(frame)
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS or time.monotonic() > deadline:
                raise
        time.sleep(0.001)


def until(true: Callable[[], object], what: str, pause_s: float = 0.02) -> None:
    """Waits until `true()` is; fails with `what` when it doesn't become so."""
    deadline = time.monotonic() + HUNG_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(pause_s)
