"""A decision about a list in a forked process that kills itself at its n-th write: before a file or folder is made,
written, synced, renamed or removed, halfway through a part, before each statement that writes to the database, and on
both sides of each commit."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from clearway import store
from clearway.config import StateDirectory
from clearway.policy import parts
from clearway.store import lists
from clearway.store.change import Change


def killed_at(step: int, state: StateDirectory, now: datetime, work: Callable[[StateDirectory], Change]) -> bool:
    """Works, and enforces what follows, in a process that kills itself at that write. True: it ended before."""
    from django.db import connections

    connections.close_all()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.setup(state.path)
            with _counted(step):
                change = work(state)
                if change.base_changed:
                    lists.enforce(state, change, now)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0, "it failed by itself"
    return True


@contextlib.contextmanager
def _counted(last: int) -> Iterator[None]:
    """Kills this process at the `last`-th write."""
    from django.db import connection

    done = 0

    def write() -> None:
        nonlocal done
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            write()
            return function(*arguments, **named)

        return called

    for name in ("fsync", "rename", "replace", "mkdir", "symlink", "unlink", "utime", "link", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    whole = parts._write_file

    def in_halves(path: Path, content: bytes | memoryview) -> None:
        write()
        if done + 1 == last:
            with path.open("xb", buffering=0) as file:
                file.write(bytes(content[: len(content) // 2]))
        write()
        whole(path, content)

    parts._write_file = in_halves
    wrapper: Any = connection
    commit = wrapper._commit

    def committed() -> None:
        write()
        commit()
        write()

    wrapper._commit = committed

    def statement(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not sql.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            write()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(statement):
        yield
