"""How other processes speak to a running gateway: HTTP over its socket, without a heavy import."""

import http.client
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clearway.config import StateDirectory
from clearway.errors import ClearwayError

_CONNECT_S = 5.0
_LOOK_AGAIN_S = 0.01
ANSWER_S = 30.0
LIST_ANSWER_S = 900.0
"""Lists are fetched and compiled before the answer."""
_SOCKET_PATH_MAX = 107


class NoGateway(ClearwayError):
    """No daemon answers on this state directory (gateway.E015)."""

    def __init__(self, state: Path) -> None:
        told = ClearwayError.of("gateway.E015", path=state)
        super().__init__(told.id, told.message, told.fix, told.exit_code, told.retry)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("gateway", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = connect(self._path, self._timeout_s)
        self.sock.settimeout(self._timeout_s)


class Gateway:
    """The gateway of one state directory."""

    def __init__(self, state: Path) -> None:
        self._state = StateDirectory(state)

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """One request. NoGateway, the daemon's own ClearwayError, or gateway.E020 when it takes too long.

        `timeout_s`: by default 30 s, and 15 minutes for lists.
        """
        if timeout_s is None:
            timeout_s = LIST_ANSWER_S if path.startswith("/v1/feeds") else ANSWER_S
        connection = _UnixConnection(self._state.socket, timeout_s)
        try:
            data = json.dumps(body).encode() if body is not None else b""
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            document: dict[str, Any] = json.loads(response.read())
        except TimeoutError as error:
            raise ClearwayError.of("gateway.E020", seconds=f"{timeout_s:g}") from error
        except PermissionError as error:
            raise ClearwayError.of("gateway.E024", path=self._state.socket) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NoGateway(self._state.path) from error
        finally:
            connection.close()
        if "error" in document:
            raise ClearwayError.from_json(document)
        return document


def connect(path: Path, patience_s: float = _CONNECT_S) -> socket.socket:
    """A connection to a Unix socket; a path too long for one is reached through its folder's descriptor.

    TimeoutError when more wait for whoever listens than its queue holds, and go on doing so.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    channel.settimeout(patience_s)
    deadline = time.monotonic() + patience_s
    try:
        while True:
            try:
                with_folder(path, channel.connect)
                return channel
            except BlockingIOError:  # of a Unix socket the kernel says so at once, whatever the timeout
                if time.monotonic() >= deadline:
                    raise TimeoutError from None
                time.sleep(_LOOK_AGAIN_S)
    except OSError:
        channel.close()
        raise


def with_folder(path: Path, use: Callable[[str], None]) -> None:
    """Calls `use` with a name of `path` that is short enough for a socket address."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        use(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
