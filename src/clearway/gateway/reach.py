"""Lets the daemon go on reading its own program and its state after it has become a plain user.

A Python below /root, or a state directory in a private temporary folder, can't be reached by anybody but root: the
folders above them are closed. The daemon then gets a mount namespace of its own where an empty folder stands in place
of the closed one, with only what it needs bound into it under the path it always had. Nothing else there becomes
visible, and nothing changes for anybody else.
"""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from clearway.errors import ClearwayError
from clearway.gateway import libc
from clearway.gateway.rights import Identity

_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000


def program_paths() -> list[Path]:
    """Folders that Python imports from, with its own installation."""
    candidates = [*sys.path, sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent)]
    return [Path(path).resolve() for path in candidates if path and Path(path).is_dir()]


def open_the_way(paths: Iterable[Path], who: Identity) -> list[Path]:
    """Makes each path reachable for `who` under its own name; the folders that had to be stood in for.

    Call as root, before any thread is started. Paths are absolute and resolved. ClearwayError gateway.E013 when a path
    is itself closed, or when no mount namespace may be made.
    """
    needed = _outermost(paths)
    closed: dict[Path, Path] = {}
    for path in needed:
        if not _may(path.stat(), who, stat.S_IROTH | stat.S_IXOTH):
            raise ClearwayError.of("gateway.E013", path=path, uid=who.uid, why="it is readable to its owner only")
        gate = _closed_folder(path, who)
        if gate is not None:
            closed[path] = gate
    gates = _outermost(closed.values())
    if not gates:
        return []
    behind = [path for path in needed if any(path.is_relative_to(gate) for gate in gates)]
    try:
        _stand_in(gates, behind)
    except OSError as error:
        raise ClearwayError.of("gateway.E013", path=behind[0], uid=who.uid, why=error.strerror) from error
    return gates


def _stand_in(gates: list[Path], behind: list[Path]) -> None:
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    # opened in the new namespace, whose mounts are others, and before anything stands over them
    descriptors = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in behind}
    try:
        for gate in gates:
            libc.mount("clearway", str(gate), "tmpfs", 0, "mode=0755,size=1m")
        for path, descriptor in descriptors.items():
            path.mkdir(parents=True, exist_ok=True)
            libc.mount(f"/proc/self/fd/{descriptor}", str(path), "", _MS_BIND | _MS_REC)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in sorted(set(paths), key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def _closed_folder(path: Path, who: Identity) -> Path | None:
    """The outermost folder above `path` that `who` may not search."""
    for folder in reversed(path.parents):
        if not _may(folder.stat(), who, stat.S_IXOTH):
            return folder
    return None


def _may(status: os.stat_result, who: Identity, bits: int) -> bool:
    """Does `who` have all of these rights, given as those of "others"? An access list may say otherwise."""
    if who.uid == 0:
        return True
    if status.st_uid == who.uid:
        bits <<= 6
    elif status.st_gid == who.gid:
        bits <<= 3
    return status.st_mode & bits == bits
