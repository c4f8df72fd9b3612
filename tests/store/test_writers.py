"""Several processes write at once, and one of them dies in between: what was answered is stored, whole."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from patience import HUNG_S

from clearway.config import StateDirectory
from clearway.store import decide, history, wanted
from clearway.store.models import Decision, StandingRow
from clearway.store.requests import BlockRequest

WRITER = """
import pathlib, sys
from datetime import UTC, datetime
from clearway import store
from clearway.store import database
database.BUSY_WAIT_S = 100.0  # they wait for each other, which may take long on a slow disk
store.setup(pathlib.Path(sys.argv[1]))
from clearway.store import decide
from clearway.store.requests import BlockRequest
for n in range(int(sys.argv[3])):
    request = BlockRequest(target=f"10.{sys.argv[2]}.{n // 250}.{n % 250}", reason="scanner", until="1h")
    print(decide.block(request, datetime.now(UTC), f"writer {sys.argv[2]}").decision_id, flush=True)
"""


def writer(state: StateDirectory, number: int, count: int) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", WRITER, str(state.path), str(number), str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_writers_at_once_lose_nothing_and_share_no_id(state: StateDirectory) -> None:
    started = [writer(state, number, 50) for number in range(4)]
    outputs = [process.communicate(timeout=HUNG_S) for process in started]
    assert [error for _, error in outputs] == [""] * 4
    ids = [int(line) for output, _ in outputs for line in output.split()]
    assert sorted(ids) == list(range(1, 201))
    assert Decision.objects.count() == StandingRow.objects.count() == 200


def test_what_was_answered_before_a_kill_is_stored_and_nothing_is_half(state: StateDirectory) -> None:
    process = writer(state, 1, 100_000)
    assert process.stdout
    answered = [int(process.stdout.readline()) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    process.wait(HUNG_S)
    rows = list(Decision.objects.order_by("id").values_list("id", flat=True))
    assert set(answered) <= set(rows)
    assert len(wanted.overlay(datetime.now(UTC))) == len(rows), "each row with what follows from it"


def test_a_row_without_its_kernel_is_wanted_at_the_next_start(state: StateDirectory, now: datetime) -> None:
    """The row is written first. Whoever dies before the kernel changes leaves a wish that the next start fulfils."""
    pid = os.fork()
    if pid == 0:
        from django.db import connections

        connections.close_all()
        decide.block(BlockRequest(target="192.0.2.7", reason="malware", until="1h"), now, "alice")
        os._exit(9)  # before anybody told the kernel
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert [str(each.prefix) for each in wanted.overlay(now)] == ["192.0.2.7"]


def test_history_shows_the_newest_first_and_can_be_narrowed(state: StateDirectory, now: datetime) -> None:
    for n, who in enumerate(("alice", "bob", "alice")):
        decide.block(BlockRequest(target=f"192.0.2.{n}", reason="scanner", until="1h", note=f"n{n}"), now, who)
    assert [row["note"] for row in history.decisions(limit=10)] == ["n2", "n1", "n0"]
    assert [row["note"] for row in history.decisions(limit=1)] == ["n2"]
    assert [row["note"] for row in history.decisions(limit=10, actor="alice")] == ["n2", "n0"]
    assert [row["note"] for row in history.decisions(limit=10, target="192.0.2.1", kind="block")] == ["n1"]
    assert history.decisions(limit=10, kind="grant") == []


@pytest.mark.usefixtures("state")
def test_a_decision_says_whether_it_still_stands(now: datetime) -> None:
    first = decide.block(BlockRequest(target="192.0.2.7", reason="scanner", until="1h"), now, "a").decision_id
    second = decide.block(BlockRequest(target="192.0.2.7", reason="scanner", until="2h"), now, "a").decision_id
    stands = [(history.decision(number, now) or {})["stands"] for number in (first, second)]
    assert stands == [False, True]
    assert history.decision(99, now) is None
