"""What tests of the gateway share: a wire of their own, or a clear reason why there is none."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wires import Wire
from wires import wire as make_wire


@pytest.fixture(scope="session")
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces, and programs loaded into the kernel")


@pytest.fixture
def wire(root: None) -> Iterator[Wire]:
    with make_wire() as made:
        yield made
