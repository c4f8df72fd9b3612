"""What `detach` puts back is what the daemon last knew, and nothing of another gateway's. No kernel here."""

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from patience import HUNG_S

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.gateway import detach, locks
from clearway.gateway.locks import FileLock
from clearway.gateway.ports import SIDES, PortSettings
from clearway.gateway.runtime import PortRecord, Runtime

NAME = "it"
PORTS = {side: PortRecord(side, number, PortSettings()) for number, side in enumerate(SIDES, 2)}
FIRST = Runtime(NAME, "this boot", 1, False, PORTS)
UNDONE: dict[str, Any] = {"links": [], "restored": {}, "notes": []}


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / "state")
    directory.create()
    FIRST.save(directory.runtime)
    return directory


@pytest.fixture
def taken_off(
    tmp_path: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], None]], list[Runtime | None]]:
    """Detaches, while the daemon does that at its end; what was undone."""
    undone: list[Runtime | None] = []

    def undo(_name: str, runtime: Runtime | None) -> dict[str, Any]:
        undone.append(runtime)
        return UNDONE

    monkeypatch.setattr(locks, "RUN_DIRECTORY", tmp_path / "run")
    monkeypatch.setattr(detach, "_require_rights", lambda: None)
    monkeypatch.setattr(detach, "_undo", undo)
    monkeypatch.setattr(detach, "_in_child", lambda work: work())

    def detached(at_its_end: Callable[[], None]) -> list[Runtime | None]:
        monkeypatch.setattr(detach, "_stop", lambda *_: at_its_end())
        detach.detach(NAME, state.path)
        return undone

    return detached


def test_what_the_daemon_wrote_at_its_end_is_what_is_undone(state: StateDirectory, taken_off: Any) -> None:
    """A port may come back under another number while the daemon is told to end."""
    last = replace(FIRST, xdp=True)
    assert taken_off(lambda: last.save(state.runtime)) == [last]
    assert not state.runtime.exists()


def test_what_another_gateway_wrote_there_meanwhile_is_left_to_it(state: StateDirectory, taken_off: Any) -> None:
    other = replace(FIRST, name="other")
    assert taken_off(lambda: other.save(state.runtime)) == [None]
    assert Runtime.load(state.runtime) == other


def test_another_detach_is_waited_for_and_not_told_to_end(tmp_path: Path) -> None:
    """It may be in the middle of putting the ports back."""
    path = tmp_path / "it.lock"
    words = f"FileLock.take(Path({str(path)!r}), briefly=True); print('held', flush=True); sys.stdin.read()"
    imports = "import sys; from pathlib import Path; from clearway.gateway.locks import FileLock"
    command = [sys.executable, "-c", f"{imports}; held = {words}"]
    another = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert another.stdin is not None and another.stdout is not None and another.stdout.readline() == "held\n"
    assert locks.holder(path) == another.pid
    threading.Timer(0.5, another.stdin.close).start()
    assert detach._stop([path], NAME) is None
    assert another.wait(HUNG_S) == 0


def test_nothing_is_undone_beside_another_gateway_that_starts_there(state: StateDirectory, taken_off: Any) -> None:
    held: list[FileLock] = []
    with pytest.raises(ClearwayError) as raised:
        taken_off(lambda: held.append(FileLock.take(state.daemon_lock)))
    assert raised.value.id == "gateway.E007"
    held[0].release()
    assert Runtime.load(state.runtime) == FIRST


def test_a_disk_that_takes_no_writes_keeps_no_wire(state: StateDirectory, taken_off: Any, tmp_path: Path) -> None:
    state.daemon_lock.unlink(missing_ok=True)
    state.daemon_lock.symlink_to(tmp_path / "elsewhere")  # refused, as a disk is that became read-only
    assert taken_off(lambda: None) == [FIRST]
    assert detach._forget(tmp_path) and tmp_path.is_dir(), "what cannot be removed is told"
