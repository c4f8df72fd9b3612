"""What the tests of the wire share: their own namespaces, swept of what a killed run left behind."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from shortwire import ShortWire, short_wire, sweep_leftovers


@pytest.fixture(scope="session", autouse=True)
def leftovers() -> None:
    sweep_leftovers()


@pytest.fixture
def wire() -> Iterator[ShortWire]:
    """Bare: both ports are up, nothing is attached."""
    with short_wire() as made:
        yield made
