"""Hands the state directory to the daemon's user, and refuses one that is anybody else's too.

The directory and what the gateway keeps in it change hands at each start, as a command run by root may have made some
of it. So it must be a directory of the gateway's own: `--state /etc` would otherwise end badly.
"""

import os
import stat
from pathlib import Path

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.gateway.rights import Identity

_FOLDERS = {"feeds", "sources", "snapshots", "keys"}
_FILES = ("clearway.db", "clearway.sock", "runtime.json", "inside.", "clock.json", "hits.json", "eve.json")
_LOCK = ".lock"


def check(path: Path) -> None:
    """ClearwayError gateway.E025 when the directory exists and isn't the gateway's own."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & stat.S_IWOTH:
        raise ClearwayError.of("gateway.E025", path=path, why="everybody may write there")
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink() and not _is_ours(entry):
            raise ClearwayError.of("gateway.E025", path=path, why=f"{entry.name}/ is none of the gateway's")


def hand_over(state: StateDirectory, who: Identity) -> None:
    """Gives the directory, and what the gateway keeps in it, to the daemon's user. As root."""
    os.chown(state.path, who.uid, who.gid)
    state.adopt(*(entry for entry in state.path.iterdir() if _is_ours(entry)))


def _is_ours(entry: Path) -> bool:
    name = entry.name
    return name in _FOLDERS or name.startswith((*_FILES, ".")) or name.endswith(_LOCK)
