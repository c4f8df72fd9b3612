"""What a server that tells of changes said last, kept in sources/ of the state, so that the next fetch asks for news.

A cache: without it, or where it is damaged, everything is fetched. It says what the server has, not what is enforced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from clearway.feeds.readers.packing import BYTES_MAX

VERSION = 1
ABOUT_BYTES_MAX = 16 << 20
UNFINISHED = ".new-"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was fetched, and what the next fetch must know of it."""

    about: dict[str, Any]
    data: bytes


def load(folder: Path | None, source: str) -> Kept | None:
    """What is kept of a source; None where nothing is, or nothing whole."""
    if folder is None:
        return None
    try:
        packed = _path(folder, source).read_bytes()
        if zstandard.frame_content_size(packed) > BYTES_MAX + ABOUT_BYTES_MAX:
            return None
        line, _, data = zstandard.ZstdDecompressor().decompress(packed).partition(b"\n")
        about = json.loads(line)
    except (OSError, ValueError, zstandard.ZstdError):
        return None
    if not isinstance(about, dict) or about.pop("version", None) != VERSION:
        return None
    return Kept(about, data)


def store(folder: Path | None, source: str, about: dict[str, Any], data: bytes) -> Path | None:
    """Keeps it in place of what was there, whole or not at all; its path. None: nowhere to keep it, or no room."""
    line = json.dumps({"version": VERSION, **about}).encode()
    if folder is None or len(data) > BYTES_MAX or len(line) > ABOUT_BYTES_MAX:
        return None
    path = _path(folder, source)
    packed = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(line + b"\n" + data)
    with contextlib.suppress(OSError):  # the next fetch is whole then
        folder.mkdir(mode=0o750, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=UNFINISHED, dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(packed)
            Path(beside).chmod(0o640)
            Path(beside).replace(path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise
        return path
    return None


def prune(folder: Path, sources: Iterable[str], before: float) -> None:
    """Removes what is kept of any other source, and what a crash left, if written before that time (seconds since
    1970): somebody may be about to add the list."""
    wanted = {_path(folder, source).name for source in sources}
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            if path.name not in wanted and path.stat().st_mtime < before:
                path.unlink()


def _path(folder: Path, source: str) -> Path:
    """The name tells nothing of the source, where a key may stand."""
    return folder / hashlib.sha256(source.encode()).hexdigest()
