"""Locks held for life, or briefly, with the holder's pid inside: by flock, so they end with it however it ends.

The kernel takes a second TCX program on a port without a word; only these refuse a second daemon.
"""

import errno
import fcntl
import os
import re
import time
from pathlib import Path
from types import TracebackType

from clearway.config import open_lock_file

RUN_DIRECTORY = Path("/run/clearway")
_POLL_S = 0.01
_BRIEFLY = "briefly"
_PORT_LOCK = re.compile(r"port-\d+-\d+\.lock")


class LockHeld(Exception):
    """Somebody else holds the lock; `pid` is theirs, 0 when they wrote none."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"{path} is held by process {pid}")
        self.path = path
        self.pid = pid


class FileLock:
    """An flock on a file that stays there. Not inherited by programs started from here; a forked child closes it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, timeout_s: float = 0.0, briefly: bool = False) -> "FileLock":
        """Takes the lock, waiting up to `timeout_s`; LockHeld with the holder's pid after that, OSError of the disk.

        `briefly`: gives it back by itself, see is_brief().
        """
        descriptor = _open(path)
        try:
            _wait(path, descriptor, timeout_s)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}{f' {_BRIEFLY}' if briefly else ''}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release(self) -> None:
        """Gives the lock back. The file stays: removing it would let two holders have two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(path: Path) -> int | None:
    """Pid of the process that holds the lock, 0 when it wrote none; None when nobody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def is_brief(path: Path) -> bool:
    """Whether who holds the lock, or held it last, is no daemon: it is waited for, and never told to end."""
    try:
        return path.read_text().split()[1:] == [_BRIEFLY]
    except OSError:
        return False


def wait_free(path: Path, timeout_s: float) -> bool:
    """Waits until nobody holds the lock. False when it is still held after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while holder(path) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def network_namespace() -> int:
    """Inode of this process's network namespace: its identity while it exists."""
    return Path("/proc/self/ns/net").stat().st_ino


def name_lock(name: str) -> Path:
    return RUN_DIRECTORY / f"{name}.lock"


def name_held_by(pid: int) -> str | None:
    """Name of the gateway that this process is the daemon of; None when it is of none."""
    for path in RUN_DIRECTORY.glob("*.lock"):
        if pid and not _PORT_LOCK.fullmatch(path.name) and holder(path) == pid:
            return path.stem
    return None


def state_of_name(name: str) -> Path:
    """Tells where the gateway of that name keeps its state, {"state": path}; written at each start, by root."""
    return RUN_DIRECTORY / f"{name}.json"


def port_lock(namespace: int, ifindex: int) -> Path:
    return RUN_DIRECTORY / f"port-{namespace}-{ifindex}.lock"


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open_lock_file(path, 0o644)


def _wait(path: Path, descriptor: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() >= deadline:
            raise LockHeld(path, _pid(descriptor))
        time.sleep(_POLL_S)


def _pid(descriptor: int) -> int:
    words = os.pread(descriptor, 32, 0).split()
    return int(words[0]) if words and words[0].isdigit() else 0
