"""Ports of loopback for servers that must be told theirs and cannot be handed a socket.

Below those that the kernel gives to whoever connects: between the look and the server's own bind it would give one of
them to somebody else's connection. Another test's server may still take the same one, but hardly ever.
"""

import contextlib
import random
import socket

FIRST, BEHIND = 15_000, 32_000
_chance = random.SystemRandom()


def free_port() -> int:
    """Free for TCP and UDP."""
    while True:
        port = _chance.randrange(FIRST, BEHIND)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                stack.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
            return port
