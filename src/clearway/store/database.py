"""Opens the database of a state directory: settings, migrations, and what a person is told when it cannot be used.

SQLite in WAL mode in the state directory, or a PostgreSQL server by CLEARWAY_DATABASE. One process uses one state
directory at a time; `setup` with another one (tests do that) points the current thread's connection there.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pkgutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from clearway.config import DATABASE, StateDirectory, storing
from clearway.errors import ClearwayError

BUSY_WAIT_S = 5.0
"""How long a locked database is waited for."""

_SCHEMES = ("postgresql", "postgres")
_MIGRATION_LOCK = 0x636C7779  # "clwy": PostgreSQL's advisory lock around migrations
_P = ParamSpec("_P")
_R = TypeVar("_R")


def setup(state: Path) -> None:
    """Makes the database of that state directory ready: settings, directory, tables. Does little when all is there.

    Raises store.E001 to E010. Call before `decide`, `wanted` or `lists` are imported.
    """
    directory = StateDirectory(state)
    address = os.environ.get(DATABASE.name, "")
    database = _postgresql(address) if address else _sqlite(directory)
    directory.create()
    if not address:
        _make_file(directory)
    _configure(database)
    with errors():
        if not _is_current():
            _migrate(directory)
    if not address:
        sidecars = (directory.path / f"{directory.database.name}{end}" for end in ("-wal", "-shm"))
        directory.adopt(*(path for path in sidecars if path.exists()))


def told(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function whose database errors reach its caller as ClearwayError."""

    @functools.wraps(function)
    def wrapped(*arguments: _P.args, **named: _P.kwargs) -> _R:
        with errors():
            return function(*arguments, **named)

    return wrapped


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Turns what the database refuses into store.E001 to E007 and E012."""
    from django.db import Error, connection

    try:
        yield
    except Error as error:
        if connection.vendor != "sqlite" and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        raise _translated(error, connection.vendor, str(connection.settings_dict["NAME"])) from error


def _translated(error: Exception, vendor: str, name: str) -> ClearwayError:
    cause = error.__cause__
    if vendor != "sqlite" or not isinstance(cause, sqlite3.Error):
        if "never changed or deleted" in str(error):
            return ClearwayError.of("store.E006", table=name)
        return ClearwayError.of("store.E007", detail=" ".join(str(error).split()))
    path, code = Path(name), getattr(cause, "sqlite_errorcode", 0)
    primary = code & 0xFF
    if code == sqlite3.SQLITE_CONSTRAINT_TRIGGER:
        return ClearwayError.of("store.E006", table=str(cause).split(":", 1)[0])
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ClearwayError.of("store.E001", path=path, seconds=f"{BUSY_WAIT_S:g}")
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return ClearwayError.of("store.E002", path=path.parent)
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH):
        from clearway.config import user_name

        return ClearwayError.of("store.E003", path=path.parent, user=user_name())
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such" in str(cause):
        return ClearwayError.of("store.E004", path=path, detail=str(cause))
    return ClearwayError.of("store.E012", path=path, detail=str(cause))


def _sqlite(directory: StateDirectory) -> dict[str, Any]:
    # synchronous=FULL: a decision outlives a power cut from the moment it is answered. Transactions begin IMMEDIATE,
    # so that two writers queue instead of failing when the second one upgrades its read.
    options = {
        "timeout": BUSY_WAIT_S,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
    }
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory.database), "OPTIONS": options}


def _postgresql(address: str) -> dict[str, Any]:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ClearwayError.of("store.E008", value=_without_password(address)) from None
    if parts.scheme not in _SCHEMES or not parts.path.strip("/"):
        raise ClearwayError.of("store.E008", value=_without_password(address))
    if not any(module.name in ("psycopg", "psycopg2") for module in pkgutil.iter_modules()):
        raise ClearwayError.of("store.E009")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port or ""),
        "OPTIONS": {"connect_timeout": 5, **dict(parse_qsl(parts.query))},
        "CONN_MAX_AGE": None,
    }


def _without_password(address: str) -> str:
    before, at, host = address.rpartition("@")
    return f"{before.split('//', 1)[0]}//…@{host}" if at else address


def _make_file(directory: StateDirectory) -> None:
    """An empty database file with the rights that it should have, before SQLite makes one with others."""
    with storing(directory.path):
        if not directory.database.exists():
            os.close(os.open(directory.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            directory.adopt(directory.database)
        elif not directory.database.is_file():
            raise ClearwayError.of("store.E004", path=directory.database, detail="not a file")


def _configure(database: dict[str, Any]) -> None:
    from django.apps import apps
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            DATABASES={"default": database},
            INSTALLED_APPS=["clearway.store.apps.StoreConfig"],
            USE_TZ=True,
            LOGGING_CONFIG=None,
        )
        apps.populate(settings.INSTALLED_APPS)  # django.setup() would import all of django.http as well
        return
    from django.db import connections

    held = connections.databases["default"]
    if any(held.get(key) != value for key, value in database.items()):
        connections.close_all()
        with contextlib.suppress(AttributeError):  # this thread has made no connection yet
            del connections["default"]
        held.clear()
        held.update(database)
        connections.configure_settings(connections.databases)


def _newest() -> str:
    from clearway.store import migrations

    return max(module.name for module in pkgutil.iter_modules(migrations.__path__))


def _is_current() -> bool:
    """The newest migration is applied. Raises store.E005 when a newer one is than this version has."""
    from django.db import DatabaseError, connection

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT max(name) FROM django_migrations WHERE app = 'store'")
            applied = cursor.fetchone()[0]
    except DatabaseError as error:
        missing = "no such table" in str(error) or getattr(error.__cause__, "sqlstate", "") == "42P01"
        if not missing:
            raise
        return False
    if applied is not None and applied > _newest():
        raise ClearwayError.of("store.E005", path=connection.settings_dict["NAME"], migration=applied)
    return bool(applied == _newest())


def _migrate(directory: StateDirectory) -> None:
    from django.core.management import call_command

    with directory.alone("migrate.lock"), _alone_on_server():
        if not _is_current():
            call_command("migrate", verbosity=0, interactive=False)


@contextlib.contextmanager
def _alone_on_server() -> Iterator[None]:
    """On a PostgreSQL server, which other machines may use, only one process at a time makes tables."""
    from django.db import connection

    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATION_LOCK])
