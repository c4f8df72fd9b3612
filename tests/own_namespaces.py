"""Network namespaces of one test process, named by a room's prefix and the process, and swept when it is gone."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from clearway.lab.namespace import NETNS_DIRECTORY, Namespace

_numbers = itertools.count()


def sweep(prefix: str) -> None:
    """Removes namespaces of test processes that are gone. Another's that still runs are left alone."""
    for path in NETNS_DIRECTORY.glob(f"{prefix}-*") if NETNS_DIRECTORY.exists() else []:
        owner = path.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):  # another test process removes it as well
                Namespace(path.name).remove()


@contextlib.contextmanager
def fresh(prefix: str, *names: str) -> Iterator[list[Namespace]]:
    """Removed at the end whatever happens."""
    stem = f"{prefix}-{os.getpid()}-{next(_numbers)}"
    made = [Namespace(f"{stem}-{name}") for name in names]
    try:
        for namespace in made:
            namespace.create()
        yield made
    finally:
        for namespace in made:
            namespace.remove()
