"""The Unix socket of a running gateway, made before anything that answers on it."""

import contextlib
import os
import socket
from pathlib import Path

from clearway.gateway.client import with_folder

_QUEUE = 128


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, 0660. What is left there of a daemon that died is removed: call with its lock."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o117)
    try:
        with_folder(path, listener.bind)
    finally:
        os.umask(before)
    listener.listen(_QUEUE)
    listener.setblocking(False)
    return listener
