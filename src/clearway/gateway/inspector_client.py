"""The daemon's side of the inspector: starts its process, tells it what names are judged by, hears what was refused.

Remembers everything that it was told, so that an inspector that was forked anew, or a process that was started anew,
is told the same before it begins. The daemon is the second holder of the TAPs: what is queued in them survives any
death over there. Methods may be called from any thread.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.gateway.inspector_process import MESSAGE_BYTES_MAX

log = logging.getLogger(__name__)

MAPS = ("hold_control", "hold_slots", "held_flows", "held_marks", "free_slots", "inspector_counts")
"""What the inspector is given of the kernel's maps."""
ANSWER_S = 10.0
CLOSE_S = 2.0
START_AGAIN_S = 1.0
STUCK_NS = 2_000_000_000
"""A heart that has stood still for so long, and at so many looks in a row, is ended and begun anew: after a pause of
the whole machine the first look finds every heart old. The failure policy acted long before."""
STUCK_LOOKS = 3
LISTS_A_MESSAGE_MAX = 16
"""Lists told at once. A source has 2,048 characters at most, each of six bytes in JSON at most."""
SINGLE_A_MESSAGE_MAX = 200
_SEND_BYTES = 4 << 20
_LOOK_AGAIN_S = 0.001
_SO_SNDBUFFORCE = 32

Told = tuple[str, str, int, str, str]
"""Rule, reason, number of the reason, source, until."""
SingleEntry = tuple[str, int, int, Told]
"""Scope, block and exception on the boot clock in ns (0: none), what is told of the block."""


@dataclass(frozen=True)
class Answering:
    """How refused users are answered, as the inspector is told it."""

    on: bool = True
    dns: str = "nxdomain"
    contact: str | None = None
    appeal_url: str | None = None
    observe: bool = False
    public_ech: tuple[str, ...] = ()


@dataclass
class _Waiting:
    """One message without its answer yet."""

    answered: threading.Event = field(default_factory=threading.Event)
    failure: str = ""


class InspectorClient:
    """`taps` by enum direction and `map_fds` are duplicated. `on_refused` hears of refusals, in a thread of its own."""

    def __init__(
        self,
        taps: tuple[int, int],
        map_fds: dict[str, int],
        answering: Answering,
        on_refused: Callable[[list[dict[str, Any]]], None],
        conduct: dict[str, Any] | None = None,
    ) -> None:
        """`conduct`: for tests, see engine/src/hold.rs."""
        self._taps = tuple(os.dup(descriptor) for descriptor in taps)
        self._maps = {name: os.dup(map_fds[name]) for name in MAPS}
        self.view = _engine.HoldView(self._maps)
        self._answering = answering
        self._on_refused = on_refused
        self._conduct = conduct or {}
        self._turn = threading.Lock()
        """Held while what it was told changes, and while it is told it."""
        self._starting = threading.Lock()
        """Held while a process is started, or no other one may be."""
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0
        self._hellos = 0
        self._lists: tuple[str | None, list[Told]] = (None, [])
        self._single: dict[str, list[SingleEntry]] = {}
        self._ending = False
        self._begun = threading.Event()
        self.pid = 0
        """Of the inspector; the process that keeps it is `keeper`."""
        self.restarts = 0
        self._last_beat, self._still = 0, 0
        """When its heart beat last, and at how many looks in a row it was that."""
        self.untaken = ""
        """Why a new inspector could not take in what it was told, while that is so."""
        self._process: subprocess.Popen[bytes]
        self._channel: socket.socket
        self._start()

    @property
    def keeper(self) -> int:
        return self._process.pid

    @property
    def heartbeat_age_ms(self) -> float | None:
        """None: there was none yet."""
        beat = self.view.heartbeat_ns
        return (_engine.boot_clock_ns() - beat) / 1e6 if beat else None

    @property
    def alive(self) -> bool:
        age = self.heartbeat_age_ms
        return age is not None and age < _engine.LIMITS["HEARTBEAT_STALE_MS"]

    @property
    def nice(self) -> int | None:
        """How far it goes before others for a core, as nice(1) counts. None: there is none just now."""
        try:
            return os.getpriority(os.PRIO_PROCESS, self.pid) if self.pid else None
        except ProcessLookupError:
            return None

    def tap_dropped(self) -> int:
        """Packets that found a TAP full. They are lost."""
        with contextlib.suppress(OSError):  # one was taken away: as long as that is so it counts nothing
            return sum(_engine.tap_dropped(descriptor) for descriptor in self._taps)
        return 0

    def taps_stand(self) -> bool:
        """False: somebody took one away, and no inspector can live."""
        return all(_engine.tap_stands(descriptor) for descriptor in self._taps)

    def wait_begun(self, patience_s: float = ANSWER_S) -> None:
        """Until its heart beats. gateway.E027."""
        deadline = time.monotonic() + patience_s
        if self._begun.wait(patience_s):
            while time.monotonic() < deadline:
                if self.alive:
                    return
                time.sleep(_LOOK_AGAIN_S)
        raise ClearwayError.of("gateway.E027", why=f"it did not begin within {patience_s:g} s")

    def publish_lists(self, names: str | None, lists: list[Told]) -> None:
        """What it judges by from now on; returns once it does. `names`: the file of the snapshot. gateway.E027."""
        with self._turn:
            self._lists = (names, lists)
            messages, hellos = self._list_messages(), self._hellos
        self._ask_all(messages, hellos)

    def replace_single(self, entries: dict[str, list[SingleEntry]]) -> None:
        """All single names. gateway.E027."""
        with self._turn:
            self._single = dict(entries)
            messages, hellos = self._single_messages(), self._hellos
        self._ask_all(messages, hellos)

    def put_single(self, names: dict[str, list[SingleEntry]]) -> None:
        """What stands at a few names from now on; empty: nothing. gateway.E027."""
        with self._turn:
            for name, entries in names.items():
                if entries:
                    self._single[name] = entries
                else:
                    self._single.pop(name, None)
        self._ask("some", names=list(names.items()))

    def look(self) -> None:
        """Ends an inspector whose heart stands still though it lives; its keeper forks another. Now and then."""
        if self._ending or not self.pid or not self._begun.is_set():
            return
        beat = self.view.heartbeat_ns
        self._still = self._still + 1 if beat == self._last_beat else 1
        self._last_beat = beat
        if beat and self._still >= STUCK_LOOKS and _engine.boot_clock_ns() - beat > STUCK_NS:
            log.error("the inspector (process %d) stands still, and is begun anew", self.pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Lets what is held pass, and ends it."""
        with self._starting:
            self._ending = True
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            if self.pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(self.pid, signal.SIGKILL)
            self._process.wait()
        self._channel.close()
        for descriptor in (*self._taps, *self._maps.values()):
            os.close(descriptor)

    def _start(self) -> None:
        """A process: keeper and first inspector."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BYTES)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clearway.gateway.inspector_process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        self._channel = ours
        opening = {"maps": list(self._maps), "conduct": self._conduct}
        socket.send_fds(ours, [json.dumps(opening).encode()], [*self._taps, *self._maps.values()])
        threading.Thread(target=self._hear, args=(ours,), name="inspector", daemon=True).start()

    def _hear(self, channel: socket.socket) -> None:
        """What comes from over there, until it ends; a process that died is started anew."""
        while True:
            try:
                data = channel.recv(MESSAGE_BYTES_MAX)
            except OSError:
                data = b""
            if not data:
                break
            try:
                self._take(json.loads(data))
            except Exception:  # a defect here must not end the only reader
                log.exception("what the inspector told")
        if self._ending:
            return
        code = self._process.wait()
        with self._starting:
            if self._ending:  # closed meanwhile: what another one would be given is gone
                return
            log.error("the inspector's process ended (%d), and is started anew", code)
            self._begun.clear()
            self.restarts += 1
            channel.close()
        while not self._started_anew():
            time.sleep(START_AGAIN_S)

    def _started_anew(self) -> bool:
        """False: the machine has no room for a process just now, as where it killed the one before for its memory."""
        with self._starting:
            if self._ending:
                return True
            try:
                self._start()
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread could be made
                log.error("the inspector cannot be started, and is tried again: %s", error)
                self._channel.close()  # what such an attempt left ends with it
                return False
        return True

    def _take(self, message: dict[str, Any]) -> None:
        if "refused" in message:
            self._on_refused(message["refused"])
        elif "hello" in message:
            if self._begun.is_set():
                log.error("the inspector died (process %d); process %d goes on", self.pid, message["hello"])
                self.restarts += 1
            self.pid = message["hello"]
            self._tell_everything(message["number"])
        else:
            number = int(message["failed" if "failed" in message else "done"])
            waiting = self._waiting.pop(number, None)
            if waiting is not None:
                waiting.failure = message.get("why", "")
                waiting.answered.set()
            elif "failed" in message:
                self.untaken = message.get("why", "")
                log.error("the inspector could not take in what it was told: %s", self.untaken)

    def _tell_everything(self, number: int) -> None:
        """To an inspector that knows nothing. Who waits for an answer of its predecessor has it with this."""
        with self._turn:
            self._hellos += 1
            waiting, self._waiting = self._waiting, {}
            self.untaken = ""
            self._post({"do": "answering", **self._answering.__dict__})
            for message in (*self._list_messages(), *self._single_messages()):
                self._post({"do": message.pop("what"), **message})
            self._post({"do": "begin", "number": number})
            self._begun.set()
        for each in waiting.values():
            each.answered.set()

    def _list_messages(self) -> list[dict[str, Any]]:
        names, lists = self._lists
        parts = [lists[first : first + LISTS_A_MESSAGE_MAX] for first in range(0, len(lists), LISTS_A_MESSAGE_MAX)]
        parts = parts or [[]]
        return [
            {"what": "lists", "names": names, "lists": part, "first": number == 0, "last": number == len(parts) - 1}
            for number, part in enumerate(parts)
        ]

    def _single_messages(self) -> list[dict[str, Any]]:
        flat = [(name, entry) for name, entries in self._single.items() for entry in entries]
        parts = [flat[first : first + SINGLE_A_MESSAGE_MAX] for first in range(0, len(flat), SINGLE_A_MESSAGE_MAX)]
        parts = parts or [[]]
        return [
            {"what": "single", "names": part, "first": number == 0, "last": number == len(parts) - 1}
            for number, part in enumerate(parts)
        ]

    def _ask_all(self, messages: list[dict[str, Any]], hellos: int) -> None:
        """Messages that say something together. `hellos`: so many there had been when they were made up."""
        for message in messages:
            self._ask(**message, hellos=hellos)

    def _ask(self, what: str, hellos: int | None = None, **values: Any) -> None:
        waiting = _Waiting()
        with self._turn:
            if not self._begun.is_set() or (hellos is not None and hellos != self._hellos):
                return  # it is told everything when it says hello, and the rest of them would be all that it goes by
            self._waiting[self._number + 1] = waiting  # before the answer can come
            self._post({"do": what, **values})
        if not waiting.answered.wait(ANSWER_S):
            raise ClearwayError.of("gateway.E027", why=f"it did not answer within {ANSWER_S:g} s")
        if waiting.failure:
            raise ClearwayError.of("gateway.E027", why=waiting.failure)

    def _post(self, message: dict[str, Any]) -> None:
        self._number += 1
        with contextlib.suppress(OSError):  # it has just died: its successor is told everything
            self._channel.send(json.dumps({**message, "id": self._number}).encode())
