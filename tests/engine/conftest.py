"""What the engine's tests share: a loaded gateway that nothing else knows of, a bpffs of their own, a pair of ports.

Nothing here touches the host's bpffs or a port of the host.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from loaded_gateway import Gateway, load

from clearway import _engine as engine
from clearway.lab.namespace import End, Namespace, wire

MOUNT, UMOUNT_DETACH = ctypes.CDLL(None, use_errno=True), 2


@pytest.fixture
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """Attached to nothing, pinned nowhere; with the XDP program for a test that has a `hook`."""
    return load(engine.Loader(None), xdp="hook" in request.fixturenames)


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A bpffs that is gone after the test, whatever was pinned in it."""
    path = tmp_path / "bpffs"
    path.mkdir()
    if MOUNT.mount(b"clearway-test", os.fsencode(path), b"bpf", 0, None):
        raise OSError(ctypes.get_errno(), f"mount a bpffs at {path}")
    yield path
    MOUNT.umount2(os.fsencode(path), UMOUNT_DETACH)


@pytest.fixture
def ports() -> Iterator[tuple[End, End]]:
    """Two ports of one namespace, each with its far end in another."""
    near, far = (Namespace(f"cwe-{os.getpid()}-{side}") for side in ("near", "far"))
    try:
        near.create()
        far.create()
        made = End(near, "inside"), End(near, "outside")
        for number, port in enumerate(made, start=100):
            wire(port, End(far, f"far-{port.interface}"), index=number)
        yield made
    finally:
        near.remove()
        far.remove()
