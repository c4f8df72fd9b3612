"""Locks end with their holder, name it, and a forked child can't keep one by accident."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clearway.gateway.locks import FileLock, LockHeld, holder, wait_free

pytestmark = pytest.mark.timeout(30)

_HOLD = """
import sys, time
from pathlib import Path
from clearway.gateway.locks import FileLock
lock = FileLock.take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(20)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    process = hold(path)
    try:
        assert holder(path) == process.pid
        with pytest.raises(LockHeld) as caught:
            FileLock.take(path)
        assert caught.value.pid == process.pid
    finally:
        process.kill()
        process.wait()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    process = hold(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_free(path, 1.0)
    with FileLock.take(path):
        assert holder(path) == os.getpid()
    assert holder(path) is None


def test_nobody_holds_a_lock_that_was_never_made(tmp_path: Path) -> None:
    assert holder(tmp_path / "none.lock") is None
