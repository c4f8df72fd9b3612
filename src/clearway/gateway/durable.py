"""Small JSON files that are whole or the old ones, whatever happens in between."""

import json
import os
import threading
from pathlib import Path
from typing import Any


def write_json(path: Path, data: dict[str, Any], mode: int = 0o644) -> None:
    """Replaces the file at once: written beside it, synced, renamed. OSError (full disk): the old file stands."""
    # at the end of the daemon its last save may still be under way in another thread, and each renames its own
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w") as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """What write_json wrote; None when there is no file, or no JSON object in it."""
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) else None
