"""Tells systemd how the start goes (sd_notify), if it asks. The socket is opened while the path can be reached."""

import contextlib
import os
import socket


class Notifier:
    """Messages to the service manager; does nothing without NOTIFY_SOCKET, and never fails the caller."""

    def __init__(self, address: str | None, watched: bool = False) -> None:
        """`watched`: the manager wants to hear now and then that the daemon's loop turns."""
        self._watched = watched
        self._socket: socket.socket | None = None
        if not address:
            return
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            channel.close()
            return
        channel.setblocking(False)
        self._socket = channel

    @classmethod
    def from_environment(cls) -> "Notifier":
        """Takes the address out of the environment, so that no child speaks in the daemon's name."""
        return cls(os.environ.pop("NOTIFY_SOCKET", None), bool(os.environ.pop("WATCHDOG_USEC", None)))

    def ready(self) -> None:
        self._send(f"READY=1\nMAINPID={os.getpid()}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        if self._watched:
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            self._socket.send(text.encode())
