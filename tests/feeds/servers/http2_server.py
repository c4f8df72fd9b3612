"""Servers that speak HTTP/2: hypercorn, as an honest one, and frames by hand, for what no honest one sends."""

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
from hypercorn.asyncio import serve
from hypercorn.config import Config

START_SECONDS = 20.0


class Hypercorn:
    """An ASGI application, by TLS, in a thread."""

    def __init__(self, application: Callable[..., Any], certificate: Path, key: Path) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(listener.getsockname()[1])
        self._application = application
        self._config = Config()
        self._config.bind = [f"fd://{listener.detach()}"]
        self._config.certfile, self._config.keyfile = str(certificate), str(key)
        self._config.errorlog = self._config.accesslog = None
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        application: Any = self._application
        self._loop.run_until_complete(serve(application, self._config, shutdown_trigger=self._ended))

    async def _ended(self) -> None:
        await self._end.wait()


Answers = Callable[[h2.connection.H2Connection, int, socket.socket], None]


def by_frames(answers: Answers) -> Callable[[socket.socket], None]:
    """A script that reads one request and does what `answers` does, which may break every rule."""

    def script(connection: socket.socket) -> None:
        config = h2.config.H2Configuration(
            client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        state = h2.connection.H2Connection(config)
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
                    answers(state, event.stream_id, connection)
                    return
            connection.sendall(state.data_to_send())

    return script
