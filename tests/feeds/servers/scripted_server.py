"""A TCP server that does what it is told for each connection, with TLS or without, however wrong."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Self

from patience import HUNG_S

Script = Callable[[socket.socket], None]
END_SECONDS = 2 * HUNG_S
"""No script goes on longer, whatever its client does."""


class ScriptedServer:
    """Runs `script` with each connection, in a thread of its own, and closes it then."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else the thread that waits takes one more
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(END_SECONDS)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self._tls is not None:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
            self._script(connection)
            with contextlib.suppress(OSError, ValueError):
                if isinstance(connection, ssl.SSLSocket):
                    connection = connection.unwrap()  # says that this is the end
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)


def reset(connection: socket.socket) -> None:
    """Ends it so that the other side is told of an error."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def drip(connection: socket.socket, data: bytes, pause_s: float) -> None:
    """Sends byte by byte, again and again."""
    until = time.monotonic() + END_SECONDS
    while time.monotonic() < until:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause_s)


def head_of(connection: socket.socket) -> bytes:
    """A request of HTTP/1.1 without a body."""
    head = b""
    while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
        head += data
    return head
