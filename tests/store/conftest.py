"""Real databases for tests: each test has a state directory of its own, with tables that were made once."""

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clearway import store
from clearway.config import StateDirectory

_TEMPLATE = Path(tempfile.mkdtemp(prefix="clearway-test-"))
store.setup(_TEMPLATE)  # before test modules import models


def pytest_unconfigure() -> None:
    shutil.rmtree(_TEMPLATE, ignore_errors=True)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    """A fresh state directory, whose database is the one in use."""
    monkeypatch.delenv("CLEARWAY_DATABASE", raising=False)
    directory = StateDirectory(tmp_path / "state")
    directory.create()
    shutil.copy(_TEMPLATE / "clearway.db", directory.database)
    store.setup(directory.path)
    return directory


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
