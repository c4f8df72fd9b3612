"""The socket that requests come in by, and the HTTP server behind it.

The socket stands before the server does: who connects at `ready` waits in its queue for the moment that the server
takes to import. Only root and the daemon's group may connect.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_PEER = struct.Struct("=iII")
SHUTDOWN_S = 10
"""Requests that run when the daemon is told to end may take so long."""


class _Protocol(H11Protocol):
    """HTTP/1.1 that knows who speaks: the peer's user number stands where a network server has its address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        pid, uid, _gid = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        self.client = (f"uid {uid}", pid)


class Server(uvicorn.Server):
    """A server that leaves signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(app: Any) -> Server:
    """The server for an ASGI application; `await serve(sockets=[…])` runs it until `should_exit` is set."""
    return Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )
