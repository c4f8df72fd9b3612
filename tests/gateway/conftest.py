"""What tests of the gateway share: a wire of their own, or a clear reason why there is none."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from running import Running, gateway
from wires import Wire, sweep
from wires import wire as make_wire


@pytest.fixture(scope="session")
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces, and programs loaded into the kernel")
    sweep()


@pytest.fixture(scope="module")
def running(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that runs for all tests of a file that ask for it: none of them ends it, or relies on another."""
    with make_wire() as made, gateway(made, tmp_path_factory.mktemp("running") / "state") as started:
        yield started.start()


@pytest.fixture
def wire(root: None) -> Iterator[Wire]:
    with make_wire() as made:
        yield made
