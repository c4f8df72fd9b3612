"""What tests of every room share: what this machine lets them do, and where data lies that the project does not ship.

A test that needs the kernel says so by a mark, and is skipped with the reason where the machine cannot:
`kernel` (loads programs), `namespaces` (makes network namespaces).
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from clearway.gateway.kernel_probe import Level, judge, probe
from clearway.lab.namespace import Namespace

ROOT = Path(__file__).resolve().parents[1]


def _why_not_kernel() -> str:
    """Why no gateway can be loaded here; "" when one can."""
    return next((f"{c.name}: {c.found}" for c in judge(probe()) if c.level is Level.CANNOT), "")


def _why_not_namespaces() -> str:
    """Why no network namespace can be made here; "" when one can."""
    missing = {"sys_admin", "net_admin"} - set(probe().capabilities)
    return f"rights: needs root, and {', '.join(sorted(missing))} of it" if missing else ""


ROOMS_OF_WIRES = ("tests/bench/", "tests/gateway/", "tests/wire/")
"""Rooms whose tests time things, or watch for loss and order: two of them at once would measure each other."""
BUILDING = "tests/setup/test_wheel.py"
"""maturin keeps what it makes in one place of target/: of two at once one finds the other's half gone."""


class OneWireAtATime(LoadScopeScheduling):  # type: ignore[misc]
    """Where several processes test, one of them goes through the rooms of wires, and the others take what is left, test
    by test: each makes a file's fixtures for itself."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ROOMS_OF_WIRES):
            return "wires"
        return BUILDING if nodeid.startswith(BUILDING) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return OneWireAtATime(config, log)


# An example that takes long on a busy machine is no failure.
settings.register_profile("clearway", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clearway")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Makes the first network namespace, before several processes do at once: the mount that it brings with it, of
    /run/netns, would be made by each of them, and the last one hides the others' namespaces."""
    if not hasattr(session.config, "workerinput") and not _why_not_namespaces():
        first = Namespace(f"cw-first-{os.getpid()}")
        first.create()
        first.remove()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for mark, why_not in (("kernel", _why_not_kernel), ("namespaces", _why_not_namespaces)):
        marked = [item for item in items if item.get_closest_marker(mark)]
        why = why_not() if marked else ""
        for item in marked if why else []:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can reach, unlike tmp_path. Opening the folders above that one would open them for every
    test after it, and the next run of pytest closes them again, under gateways that then rely on them."""
    with tempfile.TemporaryDirectory(prefix="clearway-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real captures, lists and ranges beside the checkout (../shared/data). Skips the test where they are not."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return path
