"""The daemon's side of the loader process: a method for each request, called from any thread, one at a time."""

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.gateway import loader_channel
from clearway.gateway.loader_process import Plan, fork

_TIMEOUT_S = 60.0
_CLOSE_S = 5.0


@dataclass(frozen=True)
class Loaded:
    """What was loaded: descriptors of the maps are the receiver's to close."""

    made: tuple[str, ...]
    """Maps that are new; the others were taken over."""
    map_fds: dict[str, int]
    capacity: tuple[int, int, int, int, int]
    inside_ifindex: int
    outside_ifindex: int
    xdp: bool
    xdp_forward: bool
    why: str
    """Why that hook."""


@dataclass(frozen=True)
class Outcome:
    """What the loaded program says of one frame."""

    verdict: _engine.Verdict
    drop_reason: _engine.DropReason
    lane: _engine.Lane
    epoch: int
    facts: frozenset[_engine.Fact]
    action: int


class LoaderProcess:
    """Started once, before threads, and closed at the end. Errors of the other side are raised here as there."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel
        self._channel.settimeout(_TIMEOUT_S)
        self._turn = threading.Lock()
        self._lost = ""
        """Why nothing can be asked any more."""

    @classmethod
    def start(cls, plan: Plan) -> "LoaderProcess":
        return cls(*fork(plan))

    def open(self) -> None:
        """Makes the place for pins ready. ClearwayError gateway.E011."""
        self._ask("open")

    def load(self, capacity: tuple[int, int, int, int, int]) -> Loaded:
        """Loads programs and maps of at least that capacity. gateway.E001 to E008, engine.E001, engine.E003."""
        with self._turn:
            self._send("load", _capacity(capacity))
            return _loaded(*self._receive())

    def begin_load(self, capacity: tuple[int, int, int, int, int]) -> None:
        """Asks for a load without waiting for it; nothing else may be asked before finish_load()."""
        self._send("load", _capacity(capacity))

    def finish_load(self) -> Loaded:
        """What begin_load asked for; errors as load()."""
        return _loaded(*self._receive())

    def attach(self) -> dict[str, str]:
        """Puts what was loaded last on both ports: link name → attached, updated, replaced."""
        answer, _ = self._ask("attach")
        return dict(answer["links"])

    def probe(self, hook: str, direction: _engine.Direction, frame: bytes) -> Outcome:
        """One frame through the loaded program; nothing is sent."""
        answer, _ = self._ask("probe", hook=hook, direction=int(direction), frame=frame.hex())
        return Outcome(
            verdict=_engine.Verdict(answer["verdict"]),
            drop_reason=_engine.DropReason(answer["drop_reason"]),
            lane=_engine.Lane(answer["lane"]),
            epoch=answer["epoch"],
            facts=frozenset(_engine.Fact(fact) for fact in answer["facts"]),
            action=answer["action"],
        )

    def links(self) -> dict[str, int]:
        """Pinned links and the interface number each is on; 0: its port is gone."""
        answer, _ = self._ask("links")
        return dict(answer["links"])

    def hold(self) -> tuple[int, int]:
        """The TAPs where packets wait, by enum direction: descriptors, the receiver's to close. gateway.E026."""
        _, descriptors = self._ask("hold")
        return descriptors[0], descriptors[1]

    def close(self) -> None:
        """Ends the loader process; what it attached stays. It sees its channel close; no signal reaches it."""
        self._channel.close()
        deadline = time.monotonic() + _CLOSE_S
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.005)

    def _ask(self, what: str, **values: Any) -> tuple[dict[str, Any], list[int]]:
        with self._turn:
            self._send(what, values)
            return self._receive()

    def _send(self, what: str, values: dict[str, Any]) -> None:
        if self._lost:
            raise ClearwayError.of("gateway.E016", why=self._lost)
        try:
            loader_channel.send(self._channel, {"ask": what, **values})
        except OSError as error:
            raise self._lose(error) from error

    def _lose(self, error: Exception) -> ClearwayError:
        """Closes the channel: an answer that comes late, or a half of one, would be taken for the next one's."""
        if isinstance(error, TimeoutError):
            self._lost = f"it did not answer within {_TIMEOUT_S:g} s, and is given up"
        else:
            self._lost = str(error) or "its channel was closed"
        self._channel.close()
        return ClearwayError.of("gateway.E016", why=self._lost)

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            answer, descriptors = loader_channel.receive(self._channel)
        except (OSError, EOFError) as error:
            raise self._lose(error) from error
        if "error" in answer:
            for descriptor in descriptors:
                os.close(descriptor)
            raise ClearwayError.from_json(answer)
        return answer, descriptors


def _capacity(capacity: tuple[int, int, int, int, int]) -> dict[str, int]:
    return dict(zip(("bitmaps", "v6_buckets", "v6_slots", "name_words", "observed"), capacity, strict=True))


def _loaded(answer: dict[str, Any], descriptors: list[int]) -> Loaded:
    bitmaps, v6_buckets, v6_slots, name_words, observed = answer["capacity"]
    return Loaded(
        made=tuple(answer["made"]),
        map_fds=dict(zip(answer["maps"], descriptors, strict=True)),
        capacity=(bitmaps, v6_buckets, v6_slots, name_words, observed),
        inside_ifindex=answer["inside"],
        outside_ifindex=answer["outside"],
        xdp=answer["xdp"],
        xdp_forward=answer["xdp_forward"],
        why=answer["why"],
    )
