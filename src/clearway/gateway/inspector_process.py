"""The inspector: a process of its own, without any capability, that reads names in held packets. It imports the engine
and little else.

Run as `python -m clearway.gateway.inspector_process DESCRIPTOR` with a socket of packets to the daemon. Two processes:
the keeper holds the descriptors and does nothing but fork the inspector again when it dies, in a millisecond; the
inspector is the hold loop in the main thread, a thread that takes in what the daemon says, and one that tells what was
refused. Both end when the daemon closes the socket: what is held passes first. An inspector without its keeper
is ended, and the daemon starts both anew.

Each message is one packet of JSON. From the daemon: `do` (a key of `_Inspector.requests`) and `id`, answered with
`done` or `failed`. From here: `hello` once an inspector lives (the daemon then tells it everything anew), `refused`.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from clearway import _engine
from clearway.gateway import libc

_PR_SET_PDEATHSIG = 1
_NICE = -10
"""rights.NICE_LEAST; that module would bring more with it than is needed here."""
MESSAGE_BYTES_MAX = 1 << 18
EVENTS_A_PACKET_MAX = 64
"""Refusals told at once: they stay far below MESSAGE_BYTES_MAX."""
_DESCRIPTORS_MAX = 16
_PATIENCE_MS = 200
_LIVED_S = 1.0
_SHORT_LIVES_MAX = 8
"""So many inspectors in turn that die sooner than this are started again at once; those after them with a pause."""
_PAUSE_S = 0.2


def main() -> None:
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)  # it ends with the daemon, not beside it
    channel = socket.socket(fileno=int(sys.argv[1]))
    data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX)
    opening = json.loads(data)
    taps = (descriptors[0], descriptors[1])
    maps = dict(zip(opening["maps"], descriptors[2:], strict=True))
    number = short_lives = 0
    while True:
        number += 1
        began = time.monotonic()
        keeper, child = os.getpid(), os.fork()
        if child == 0:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)
            _live(channel, taps, maps, opening["conduct"], number)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return
        short_lives = short_lives + 1 if time.monotonic() - began < _LIVED_S else 0
        if short_lives > _SHORT_LIVES_MAX:
            time.sleep(_PAUSE_S)


def _live(
    channel: socket.socket, taps: tuple[int, int], maps: dict[str, int], conduct: dict[str, Any], number: int
) -> NoReturn:
    """The whole life of an inspector."""
    code = 1
    try:
        with contextlib.suppress(OSError):  # not allowed to: then it waits its turn like others
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)
        inspector = _engine.Inspector(taps, maps, **conduct)
        told = _Inspector(inspector, channel, number)
        told.send({"hello": os.getpid(), "number": number})
        threading.Thread(target=told.listen, daemon=True).start()
        threading.Thread(target=told.tell, daemon=True).start()
        inspector.run()
        code = 0
    except BrokenPipeError:  # the daemon has closed the socket meanwhile: no successor is needed
        code = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"clearway inspector: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


class _Inspector:
    """`requests` is the closed list of what the daemon may ask.

    What waited in the socket when its predecessor died comes first: the rest of several messages, for one.
    """

    def __init__(self, inspector: _engine.Inspector, channel: socket.socket, number: int) -> None:
        self._inspector = inspector
        self._channel = channel
        self._number = number
        self._single: list[Any] | None = None
        self._told_lists: list[Any] | None = None
        """Of messages that have begun and not ended."""
        self.requests: dict[str, Callable[..., None]] = {
            "lists": self._lists,
            "single": self._all_single,
            "some": self._some_single,
            "answering": inspector.set_answering,
            "begin": self._begin,
        }

    def listen(self) -> None:
        """Takes in what the daemon says, until it closes the socket: then the loop ends."""
        try:
            while data := self._channel.recv(MESSAGE_BYTES_MAX):
                message = json.loads(data)
                number = message.pop("id")
                try:
                    self.requests[message.pop("do")](**message)
                    self.send({"done": number})
                except Exception as error:
                    self.send({"failed": number, "why": f"{type(error).__name__}: {error}"})
        except OSError:
            pass
        finally:
            self._inspector.end()

    def tell(self) -> None:
        """Tells what was refused. What the daemon doesn't take in time is gone: eve.json is a sample."""
        while True:
            refused = [_as_json(each) for each in self._inspector.take_refused(_PATIENCE_MS)]
            for first in range(0, len(refused), EVENTS_A_PACKET_MAX):
                with contextlib.suppress(BlockingIOError):
                    self.send({"refused": refused[first : first + EVENTS_A_PACKET_MAX]}, socket.MSG_DONTWAIT)

    def send(self, message: dict[str, Any], flags: int = 0) -> None:
        self._channel.send(json.dumps(message).encode(), flags)

    def _begin(self, number: int) -> None:
        """When it knows everything: of a predecessor, it would know nothing yet."""
        if number == self._number:
            self._inspector.begin()

    def _lists(self, names: str | None, lists: list[Any], first: bool, last: bool) -> None:
        """In several messages; with the last one it judges by them."""
        told = [] if first else self._told_lists
        if told is None:
            return
        told += [tuple(each) for each in lists]
        self._told_lists = None if last else told
        if last:
            self._inspector.set_lists(names, told)

    def _all_single(self, names: list[Any], first: bool, last: bool) -> None:
        """In several messages; the last one puts them in force, together."""
        told = [] if first else self._single
        if told is None:
            return
        told += [(name, _entry(entry)) for name, entry in names]
        self._single = None if last else told
        if last:
            self._inspector.set_single(told)

    def _some_single(self, names: list[Any]) -> None:
        for name, entries in names:
            self._inspector.put_single(name, [_entry(entry) for entry in entries])


def _entry(entry: list[Any]) -> tuple[str, int, int, tuple[str, str, int, str, str]]:
    scope, block_until_ns, exception_until_ns, told = entry
    rule, reason, reason_number, source, until = told
    return scope, block_until_ns, exception_until_ns, (rule, reason, reason_number, source, until)


def _as_json(refused: _engine.RefusedName) -> dict[str, Any]:
    return {
        "boot_ns": refused.boot_ns,
        "name_protocol": refused.name_protocol,
        "name": refused.name,
        "entry": refused.entry,
        "scope": refused.scope,
        "list": refused.list,
        "rule": refused.rule,
        "reason": refused.reason,
        "source": refused.source.hex(),
        "source_port": refused.source_port,
        "destination": refused.destination.hex(),
        "destination_port": refused.destination_port,
        "protocol": refused.protocol,
        "direction": int(refused.direction),
        "answered": refused.answered,
        "observed": refused.observed,
    }


if __name__ == "__main__":
    main()
