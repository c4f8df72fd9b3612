"""The same tables on a PostgreSQL server of the test's own. Skipped where there is no server or no driver."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, connections, transaction
from patience import HUNG_S

from clearway import store
from clearway.errors import ClearwayError
from clearway.policy.model import Prefix
from clearway.store import decide, history, trouble, wanted
from clearway.store.change import NewVersion
from clearway.store.models import Decision, FetchTrouble
from clearway.store.requests import BlockRequest, FeedAddRequest, GrantRequest, UnblockRequest

pytestmark = [
    pytest.mark.skipif(find_spec("psycopg") is None, reason="no driver: pip install 'clearway[postgresql]'"),
    pytest.mark.skipif(shutil.which("initdb") is None, reason="no PostgreSQL server: apt install postgresql"),
]


class Server:
    """A PostgreSQL server on a Unix socket in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.address = f"postgresql://clearway@%2F{str(folder)[1:].replace('/', '%2F')}/postgres"

    def command(self, *command: str) -> None:
        """As an ordinary user: a PostgreSQL server refuses to be root."""
        as_user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        subprocess.run([*as_user, *command], check=True, capture_output=True, timeout=HUNG_S, cwd=self.folder)

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self.command("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self.command("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="clearway-pg-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        made = Server(folder)
        made.command("initdb", "-D", str(made.data), "-U", "clearway", "-A", "trust", "-E", "UTF8")
        made.start()
        yield made
        connections.close_all()
        made.stop()


@pytest.fixture(autouse=True)
def tables(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty tables: the schema is dropped, since rows cannot be."""
    monkeypatch.setenv("CLEARWAY_DATABASE", server.address)
    store.setup(tmp_path / "state")
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    store.setup(tmp_path / "state")
    assert connection.vendor == "postgresql"


def test_setup_is_idempotent_and_leaves_no_sqlite_file(tmp_path: Path) -> None:
    store.setup(tmp_path / "state")
    assert Decision.objects.count() == 0
    assert not (tmp_path / "state" / "clearway.db").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decision SET actor = 'mallory'",
        "DELETE FROM decision",
        "TRUNCATE decision CASCADE",
        "UPDATE feed_version SET content = 'x'",
        "DELETE FROM feed_version",
        "TRUNCATE feed_version",
    ],
)
def test_the_server_refuses_to_change_rows(now: datetime, statement: str) -> None:
    request = FeedAddRequest(name="drop", source="/lists/drop.txt", reason="malware")
    decide.feed_add(request, "ip-plain", NewVersion("ab" * 32, {"v4": 1}, "/lists/drop.txt"), now, "alice")
    before = list(Decision.objects.values_list("id", "actor").order_by("id"))
    with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic():
        connection.cursor().execute(statement)
    assert list(Decision.objects.values_list("id", "actor").order_by("id")) == before


def test_decisions_mean_the_same_as_on_sqlite(now: datetime) -> None:
    decide.block(BlockRequest(target="192.0.2.0/24", reason="malware", until="2h"), now, "alice")
    decide.unblock(UnblockRequest(target="192.0.2.7", until="1h"), now, "alice", holders=lambda _: [])
    decide.grant(GrantRequest(prefix="2001:db8::/32", organisation="o", until="1h"), now, "bob")
    touched = wanted.touching(Prefix.parse("192.0.2.7"), now)
    assert [(each.kind, str(each.prefix)) for each in touched] == [
        ("exception", "192.0.2.7"),
        ("block", "192.0.2.0/24"),
    ]
    assert [str(each.prefix) for each in wanted.grants(now)] == ["2001:db8::/32"]
    assert wanted.overlay(now + timedelta(hours=3)) == []
    assert [row["kind"] for row in history.decisions(limit=9)] == ["grant", "exception", "block"]


def test_a_server_that_is_gone_is_told_and_found_again(server: Server, now: datetime) -> None:
    server.stop()
    try:
        with pytest.raises(ClearwayError) as raised:
            decide.block(BlockRequest(target="192.0.2.7", reason="malware", until="2h"), now, "alice")
        assert (raised.value.id, raised.value.retry, raised.value.exit_code) == ("store.E007", True, 3)
    finally:
        server.start()
    decide.block(BlockRequest(target="192.0.2.7", reason="malware", until="2h"), now, "alice")
    assert Decision.objects.count() == 1


def test_a_server_that_is_not_there_is_told_at_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWAY_DATABASE", f"postgresql://clearway@%2F{str(tmp_path)[1:].replace('/', '%2F')}/db")
    with pytest.raises(ClearwayError) as raised:
        store.setup(tmp_path / "state")
    assert raised.value.id == "store.E007"


def test_a_list_that_fails_for_several_at_once_fails_for_each_of_them(now: datetime) -> None:
    request = FeedAddRequest(name="drop", source="/lists/drop.txt", reason="malware")
    decide.feed_add(request, "ip-plain", NewVersion("ab" * 32, {"v4": 1}, "/lists/drop.txt"), now, "alice")
    together = threading.Barrier(4)

    def fails(_: int) -> None:
        try:
            for _ in range(10):
                trouble.waiting(now)  # its connection
                together.wait(HUNG_S)
                trouble.failed("drop", ClearwayError.of("feeds.E002", origin="drop", lines=0), now, None)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(fails, range(4)))
    assert FetchTrouble.objects.get().failures == 40
