"""What tests of names share: certificates and names for real clients."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from certificates import make_certificates
from clients import LABELS, build_go_client
from host_pair import sweep_leftovers, write_hosts


@pytest.fixture(scope="session")
def visiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what clients and server read: certificates, names, the Go program."""
    sweep_leftovers()
    folder = tmp_path_factory.mktemp("visiting")
    make_certificates(folder)
    write_hosts(folder, LABELS)
    build_go_client(folder)
    return folder
