"""An inspector that dies while it is told something: the one after it knows all of it, and nothing else. No kernel."""

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from patience import HUNG_S

from clearway import _engine
from clearway.gateway import inspector_client
from clearway.gateway.inspector_client import (
    LISTS_A_MESSAGE_MAX,
    MAPS,
    SINGLE_A_MESSAGE_MAX,
    Answering,
    InspectorClient,
    SingleEntry,
    Told,
)
from clearway.gateway.inspector_process import MESSAGE_BYTES_MAX, _Inspector

LISTS: list[Told] = [(f"list {n}", "malware", 1, "by test", "") for n in range(LISTS_A_MESSAGE_MAX + 5)]
ENTRY: SingleEntry = ("subtree", 1, 0, ("decision 1", "malware", 1, "by test", ""))
SINGLE = {f"n{n}.example": [ENTRY] for n in range(SINGLE_A_MESSAGE_MAX + 5)}


class Engine:
    """What an inspector goes by."""

    def __init__(self) -> None:
        self.lists: list[Any] = []
        self.single: set[str] = set()
        self.begun = threading.Event()

    def set_answering(self, **_: Any) -> None: ...

    def set_lists(self, _names: str | None, told: list[Any]) -> None:
        self.lists = told

    def set_single(self, told: list[Any]) -> None:
        self.single = {name for name, _ in told}

    def put_single(self, name: str, entries: list[Any]) -> None:
        self.single.add(name) if entries else self.single.discard(name)

    def begin(self) -> None:
        self.begun.set()

    def end(self) -> None: ...


class Keeper:
    """Stands in for the process that forks them: all of them have one socket, and what waits in it."""

    pid = 0
    hearing: threading.Thread

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.engine = Engine()
        self._number = 0

    def fork(self) -> None:
        """An inspector that has said hello, and takes nothing in yet."""
        self._number += 1
        self.engine = Engine()
        engine: Any = self.engine
        self.inspector = _Inspector(engine, self.theirs, self._number)
        self.inspector.send({"hello": 1, "number": self._number})

    def listen(self) -> None:
        threading.Thread(target=self.inspector.listen, daemon=True).start()

    def wait(self, _timeout: float | None = None) -> int:
        return 0


class Client(InspectorClient):
    def _start(self) -> None:
        keeper: Any = Keeper()
        self._process, self._channel = keeper, keeper.ours
        keeper.hearing = threading.Thread(target=self._hear, args=(keeper.ours,), daemon=True)
        keeper.hearing.start()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(_engine, "HoldView", lambda _: None)
    null = os.open(os.devnull, os.O_RDONLY)
    made = Client((null, null), dict.fromkeys(MAPS, null), Answering(), lambda _: None)
    os.close(null)
    yield made
    if not made._ending:
        made.close()


def begun(client: Any) -> Keeper:
    """Its first inspector, which takes in what it is told at once, and by the test from then on."""
    keeper: Keeper = client._process
    keeper.fork()
    while not keeper.engine.begun.is_set():
        take_one(keeper)
    return keeper


def take_one(keeper: Keeper, answers: bool = True) -> None:
    """Its inspector takes in one message, as its thread does."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper.theirs.settimeout(HUNG_S)
    writer.send(keeper.theirs.recv(MESSAGE_BYTES_MAX))
    writer.shutdown(socket.SHUT_WR)
    one: Any = _Once(reader, keeper.theirs if answers else writer)
    keeper.inspector._channel = one
    keeper.inspector.listen()
    keeper.inspector._channel = keeper.theirs
    keeper.theirs.settimeout(None)
    reader.close()
    writer.close()


class _Once:
    """One message, and nothing behind it."""

    def __init__(self, reader: socket.socket, answers_to: socket.socket) -> None:
        self.recv, self.send = reader.recv, answers_to.send


def told(client: Any, keeper: Keeper, taken_in: int, answers: bool) -> Engine:
    """Tells lists and single names, in two messages each. Its inspector dies when it has taken so many of them in,
    before it answers the last of these or after; what the next one goes by."""

    def tell() -> None:
        client.publish_lists("names.bin", LISTS)
        client.replace_single(SINGLE)

    telling = threading.Thread(target=tell)
    telling.start()
    for number in range(1, taken_in + 1):
        take_one(keeper, answers or number < taken_in)
    if answers and taken_in < 4:
        keeper.theirs.recv(1, socket.MSG_PEEK)  # the message that it dies before
    keeper.fork()
    keeper.listen()
    telling.join(HUNG_S)
    assert not telling.is_alive() and keeper.engine.begun.wait(HUNG_S)
    client.put_single({"last.example": [ENTRY]})  # its answer comes after all that went before
    return keeper.engine


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("taken_in", range(1, 5))
def test_the_next_one_knows_all_of_it(client: Any, taken_in: int, answers: bool) -> None:
    engine = told(client, begun(client), taken_in, answers)
    assert len(engine.lists) == len(LISTS)
    assert engine.single == {*SINGLE, "last.example"}


def test_one_that_dies_before_it_takes_anything_in_leaves_it_to_the_next_one(client: Any) -> None:
    engine = told(client, begun(client), 0, True)
    assert (len(engine.lists), len(engine.single)) == (len(LISTS), len(SINGLE) + 1)


def test_one_that_is_told_to_begin_in_place_of_its_predecessor_does_not(client: Any) -> None:
    """It knows nothing yet, and would let everything pass."""
    keeper: Keeper = client._process
    keeper.fork()
    while json.loads(keeper.theirs.recv(MESSAGE_BYTES_MAX, socket.MSG_PEEK))["do"] != "begin":
        take_one(keeper)
    keeper.fork()
    take_one(keeper)
    assert not keeper.engine.begun.is_set()
    keeper.listen()
    assert keeper.engine.begun.wait(HUNG_S), "it is told everything, and to begin"


def test_what_is_decided_while_everything_is_told_does_not_break_it_off(client: Any) -> None:
    """A name is blocked by another thread than that which hears of a new inspector."""
    keeper = begun(client)

    class Single(dict[str, list[SingleEntry]]):
        def items(self) -> Any:
            for number, each in enumerate(super().items()):
                yield each
                if number == 0:
                    deciding.start()
                    deciding.join(0.5)

    deciding = threading.Thread(target=client.put_single, args=({"new.example": [ENTRY]},))
    client._single = Single(SINGLE)
    keeper.fork()
    keeper.listen()
    assert keeper.engine.begun.wait(HUNG_S), "it was never told to begin"
    deciding.join(HUNG_S)
    assert keeper.engine.single == {*SINGLE, "new.example"}


def test_no_process_is_started_once_it_is_closed(client: Any) -> None:
    """The process dies just when the gateway ends: what another one would be given is closed."""
    keeper = begun(client)
    dying, closed = threading.Event(), threading.Event()

    def wait(timeout: float | None = None) -> int:
        if timeout is None:  # by who hears of its end; who closes gives it some time
            dying.set()
            assert closed.wait(HUNG_S)
        return 0

    setattr(keeper, "wait", wait)  # noqa: B010 - of this keeper alone
    keeper.theirs.close()
    assert dying.wait(HUNG_S)
    client.close()
    closed.set()
    keeper.hearing.join(HUNG_S)
    assert client._process is keeper


def test_where_no_process_can_be_made_it_is_tried_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have killed the one before for its memory, and has none for another yet."""
    full_of = [OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), RuntimeError("can't start new thread")]
    start = client._start

    def full() -> None:
        if full_of:
            raise full_of.pop()
        start()

    keeper = begun(client)
    monkeypatch.setattr(inspector_client, "START_AGAIN_S", 0.01)
    monkeypatch.setattr(client, "_start", full)
    keeper.theirs.close()
    keeper.hearing.join(HUNG_S)
    assert client._process is not keeper and not full_of
    begun(client)


def test_an_inspector_is_ended_for_a_heart_that_stands_still_and_not_for_a_pause_of_the_machine(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(client)
    client._begun.wait(HUNG_S)
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    old = _engine.boot_clock_ns() - 2 * inspector_client.STUCK_NS
    for beats in range(5):  # each was long ago at the first look after a pause, and another at the next
        client.view = SimpleNamespace(heartbeat_ns=old + beats)
        for _ in range(inspector_client.STUCK_LOOKS - 1):
            client.look()
        assert not killed
    client.look()
    assert killed == [client.pid]
