"""Byte code of the programs that a run starts: kept, as an installation keeps it, whatever the environment says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from clearway.bench.topology import PREFIX


@contextmanager
def kept() -> Iterator[None]:
    """Programs that are started meanwhile write it into a folder of their own, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        Path(folder).chmod(0o755)  # a gateway has no rights of root
        words = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": folder}
        before = {word: os.environ.get(word) for word in words}
        try:
            _set_environment(words)
            yield
        finally:
            _set_environment(before)


def _set_environment(words: Mapping[str, str | None]) -> None:
    for word, value in words.items():
        os.environ.pop(word, None)
        if value is not None:
            os.environ[word] = value
