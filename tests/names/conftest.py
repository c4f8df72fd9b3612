"""What tests of names share: certificates and names for real clients.

With CLEARWAY_TESTS=all every client is refused over every way of the wire in both families; else all of them over one
way, and some over each of the others.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import own_namespaces
import pytest

from clearway.lab.namespace import End, wire

sys.path.insert(0, str(Path(__file__).parent))

from certificates import make_certificates
from clients import LABELS, build_go_client
from host_pair import sweep_leftovers, write_hosts


@pytest.fixture(scope="module")
def outside() -> Iterator[End]:
    """A port for programs that are run by test and never get a packet."""
    with own_namespaces.fresh("cws", "near", "far") as (near, far):
        port = End(near, "outside")
        wire(port, End(far, "far"), index=100)
        yield port


@pytest.fixture(scope="session")
def visiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what clients and server read: certificates, names, the Go program."""
    sweep_leftovers()
    folder = tmp_path_factory.mktemp("visiting")
    make_certificates(folder)
    write_hosts(folder, LABELS)
    build_go_client(folder)
    return folder


ONE_FAMILY = {"no-gro": "v4", "mtu-1280": "v6", "vlan": "v4"}
"""Ways that one family is enough for, since the other differs in nothing that the way changes."""
SOME_CLIENTS = ("curl", "dig-edns", "openssl", "chromium-tls")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("CLEARWAY_TESTS") == "all":
        return
    left_out = [item for item in items if item.path.name == "test_refused_clients.py" and _said_elsewhere(item)]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


def _said_elsewhere(item: pytest.Item) -> bool:
    values = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    family = ONE_FAMILY.get(getattr(values.get("between"), "word", ""))
    if family is None:
        return False
    client = values.get("client")
    return values.get("family", family) != family or not getattr(client, "label", "curl").startswith(SOME_CLIENTS)
