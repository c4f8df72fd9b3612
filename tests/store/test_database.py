"""What a person is told when the database cannot be used, each with an id and the way out."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from patience import HUNG_S

from clearway import store
from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.store import database, decide
from clearway.store.models import Decision
from clearway.store.requests import BlockRequest

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, other users")


def block(now: datetime, target: str = "192.0.2.7") -> None:
    decide.block(BlockRequest(target=target, reason="malware", until="1h"), now, "alice")


def fill(path: Path) -> None:
    """Leaves no space where `path` is."""
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"\0" * 4096):
            pass


def setup_refused(path: Path) -> ClearwayError:
    with pytest.raises(ClearwayError) as raised:
        store.setup(path)
    return raised.value


def test_setup_makes_the_tables_once_and_then_does_nothing(tmp_path: Path) -> None:
    store.setup(tmp_path / "new")
    before = (tmp_path / "new" / "clearway.db").stat().st_mtime_ns
    store.setup(tmp_path / "new")
    assert (tmp_path / "new" / "clearway.db").stat().st_mtime_ns == before
    assert Decision.objects.count() == 0


def test_the_database_is_closed_to_others_and_in_wal_mode(state: StateDirectory, now: datetime, tmp_path: Path) -> None:
    store.setup(tmp_path / "new")
    path = tmp_path / "new" / "clearway.db"
    assert path.stat().st_mode & 0o777 == 0o640
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_tables_are_those_of_the_models(state: StateDirectory) -> None:
    from django.core.management import call_command

    call_command("makemigrations", "store", check=True, dry_run=True, verbosity=0)


def test_several_processes_may_set_up_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from clearway import store; from clearway.store import database\n"
        f"database.BUSY_WAIT_S = {HUNG_S}; store.setup(pathlib.Path(sys.argv[1]))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new")], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [(process.wait(HUNG_S), process.stderr and process.stderr.read()) for process in started] == [(0, "")] * 4


def test_a_locked_database_is_waited_for_then_told(
    state: StateDirectory, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_WAIT_S", 0.2)
    store.setup(state.path)
    with sqlite3.connect(state.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(ClearwayError) as raised:
            block(now)
        assert time.monotonic() - started > 0.15
        other.execute("ROLLBACK")
    assert (raised.value.id, raised.value.retry, raised.value.exit_code) == ("store.E001", True, 3)
    assert str(state.database) in raised.value.fix
    block(now)
    assert Decision.objects.count() == 1


def test_a_lock_that_ends_in_time_is_not_noticed(
    state: StateDirectory, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_WAIT_S", HUNG_S)
    store.setup(state.path)
    other = sqlite3.connect(state.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
    timer.start()
    block(now)
    timer.join()
    assert Decision.objects.count() == 1


def test_a_locked_database_is_told_at_setup_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_WAIT_S", 0.2)
    state = StateDirectory(tmp_path / "new")
    state.create()
    with sqlite3.connect(state.database, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert setup_refused(state.path).id == "store.E001"
        other.execute("ROLLBACK")
    store.setup(state.path)


@pytest.mark.parametrize("content", [b"not a database at all\n" * 400, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path, content: bytes) -> None:
    state = StateDirectory(tmp_path / "new")
    state.create()
    state.database.write_bytes(content)
    error = setup_refused(state.path)
    assert (error.id, error.exit_code) == ("store.E004", 3)
    assert state.database.read_bytes() == content


def test_a_damaged_page_is_told(state: StateDirectory, now: datetime) -> None:
    for n in range(200):
        block(now, f"192.0.2.{n}")
    from django.db import connection

    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(state.database.read_bytes())
    for at in range(8192, len(content), 4096):
        content[at : at + 512] = b"\xa5" * 512
    state.database.write_bytes(content)
    with pytest.raises(ClearwayError) as raised:
        store.setup(state.path)
        block(now, "192.0.2.250")
    assert raised.value.id == "store.E004"


def test_a_folder_in_place_of_the_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "new" / "clearway.db").mkdir(parents=True)
    assert setup_refused(tmp_path / "new").id == "store.E004"


def test_a_database_of_a_newer_version_is_left_alone(state: StateDirectory) -> None:
    with sqlite3.connect(state.database) as other:
        other.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('store', '9999_later', '2026-01-01')")
    error = setup_refused(state.path)
    assert error.id == "store.E005"
    assert "9999_later" in error.message


@ROOT_ONLY
def test_a_read_only_folder_is_told(state: StateDirectory) -> None:
    subprocess.run(["mount", "--bind", state.path, state.path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", state.path], check=True)
        code = "import sys, pathlib; from clearway import store; store.setup(pathlib.Path(sys.argv[1]))"
        done = subprocess.run([sys.executable, "-c", code, state.path], capture_output=True, text=True, timeout=HUNG_S)
        assert "store.E003" in done.stderr
    finally:
        subprocess.run(["umount", state.path], check=True)


@ROOT_ONLY
def test_a_folder_of_somebody_else_is_told_with_who_asks(open_folder: Path) -> None:
    code = (
        "import sys, pathlib, os\nfrom clearway import store\nfrom clearway.errors import ClearwayError\n"
        "import clearway.store.database, django.db\nos.setgid(65534); os.setuid(65534)\n"
        "try:\n store.setup(pathlib.Path(sys.argv[1]))\nexcept ClearwayError as error:\n print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, open_folder / "x"], capture_output=True, text=True, timeout=HUNG_S
    )
    assert "the state directory cannot be read and written by nobody" in done.stdout, done.stderr
    assert "[store.E003]" in done.stdout


@ROOT_ONLY
def test_a_full_disk_is_told_and_what_was_stored_stands(tmp_path: Path, now: datetime) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], check=True)
    try:
        store.setup(disk / "state")
        block(now)
        fill(disk / "filler")
        with pytest.raises(ClearwayError) as raised:
            for n in range(2000):
                block(now, f"198.51.{n // 250}.{n % 250}")
        assert (raised.value.id, raised.value.retry) == ("store.E002", True)
        stored = Decision.objects.count()
        (disk / "filler").unlink()
        block(now, "203.0.113.1")
        assert Decision.objects.count() == stored + 1
    finally:
        from django.db import connections

        connections.close_all()
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("address", ["mysql://h/db", "postgresql://", "nonsense", "postgresql://u:secret@h:x/db"])
def test_a_database_address_that_is_none_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CLEARWAY_DATABASE", address)
    error = setup_refused(tmp_path)
    assert (error.id, error.exit_code) == ("store.E008", 2)
    assert "secret" not in str(error)


def test_importing_the_store_opens_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, clearway.store, clearway.store.change, clearway.store.requests; print('django.db' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=HUNG_S)
    assert (done.stdout, list(tmp_path.iterdir())) == ("False\n", [])
