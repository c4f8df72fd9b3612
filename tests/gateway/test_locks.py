"""Locks end with their holder, name it, and a forked child can't keep one by accident."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HUNG_S

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.gateway import locks, start, state_owner
from clearway.gateway.locks import FileLock, LockHeld, holder, wait_free
from clearway.gateway.rights import FIXED_ID, Identity

_HOLD = """
import sys, time
from pathlib import Path
from clearway.gateway.locks import FileLock
lock = FileLock.take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
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
    assert wait_free(path, HUNG_S)
    with FileLock.take(path):
        assert holder(path) == os.getpid()
    assert holder(path) is None


def test_nobody_holds_a_lock_that_was_never_made(tmp_path: Path) -> None:
    assert holder(tmp_path / "none.lock") is None


def test_a_link_in_a_locks_place_is_refused_and_what_it_points_to_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    state = StateDirectory(tmp_path / "state")
    state.create()
    for path in (state.daemon_lock, state.writer_lock, state.path / "compile.lock"):
        path.symlink_to(precious)
    with pytest.raises(OSError):
        FileLock.take(state.daemon_lock)
    with pytest.raises(OSError):
        holder(state.daemon_lock)
    with pytest.raises(ClearwayError) as caught, state.writing():
        pass
    assert caught.value.id == "store.E012"
    with pytest.raises(ClearwayError), state.alone("compile.lock"):
        pass
    assert precious.read_text() == "kept"


def test_a_pipe_in_a_locks_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.lock")
    with pytest.raises(OSError, match="no regular file"):
        FileLock.take(tmp_path / "a.lock")


def test_handing_over_follows_no_link(root: None, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "file").touch()
    state = StateDirectory(tmp_path / "state")
    state.create()
    (state.keys / "link").symlink_to(outside / "folder")
    (state.path / "clock.json").symlink_to(outside / "folder" / "file")
    state.keys.rename(state.path / ".keys")
    (state.path / "keys").symlink_to(outside / "folder")
    state_owner.hand_over(state, Identity(FIXED_ID, FIXED_ID))
    with pytest.raises(OSError):
        state.adopt(state.keys / "file")
    (tmp_path / "by-link").symlink_to(state.path)
    StateDirectory(tmp_path / "by-link").remember_inside([])
    assert state.inside.stat().st_uid == FIXED_ID, "the directory itself may be named by a link"
    assert {path.stat().st_uid for path in (outside / "folder", outside / "folder" / "file")} == {0}
    assert (state.path / ".keys" / "link").lstat().st_uid == FIXED_ID


def test_a_daemon_is_told_by_its_gateways_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RUN_DIRECTORY", tmp_path)
    (tmp_path / "gone.lock").write_text("1\n")
    for name in ("port-4026531840-7", "west-2"):
        process = hold(tmp_path / f"{name}.lock")
        try:
            assert locks.name_held_by(process.pid) == (None if name.startswith("port") else name)
        finally:
            process.kill()
            process.wait()
    assert locks.name_held_by(0) is None


def test_a_full_disk_at_the_locks_is_told_as_one_and_none_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RUN_DIRECTORY", tmp_path / "run")
    state = StateDirectory(tmp_path / "state")
    state.create()

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(ClearwayError) as caught:
        patched.setattr(os, "pwrite", full)
        start._take_locks("name", state, ())  # type: ignore[arg-type]
    assert caught.value.id == "store.E002"
    assert holder(state.daemon_lock) is None
