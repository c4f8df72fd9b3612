"""Servers that lists come from: real ones where there are some, and hostile ones of our own. All on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from knot_server import Knot, why_not


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own way out."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom tests trust by SSL_CERT_FILE."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The same, trusted for this test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    return authority


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    """A Knot DNS server of this module."""
    if why := why_not():
        pytest.skip(why)
    with Knot(tmp_path_factory.mktemp("knot")) as server:
        yield server


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where what servers said last is kept."""
    return tmp_path / "sources"
