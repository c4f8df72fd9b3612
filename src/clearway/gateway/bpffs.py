"""The file system that pins live in: PID 1's, so that pins outlive whoever made them.

`ip netns exec` gives its child a mount namespace of its own with a fresh /sys, where /sys/fs/bpf is no bpffs and one
mounted there dies with the process. So the loader process steps into PID 1's mount namespace; it stays in the caller's
network namespace, where the ports are.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from clearway.errors import ClearwayError
from clearway.gateway import libc

MOUNT_POINT = Path("/sys/fs/bpf")
PINS = MOUNT_POINT / "clearway"

_BPF_MAGIC = 0xCAFE4A11


def enter_init_mounts() -> None:
    """Puts this process into PID 1's mount namespace. It must be single-threaded. ClearwayError gateway.E011."""
    wanted = _root_mount("1")
    if wanted == _root_mount("self"):
        return
    refused = OSError(0, "no process shows the mounts of process 1")
    for process in _with_those_mounts(wanted):
        try:
            descriptor = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            refused = error
            continue
        try:
            libc.setns(descriptor, libc.CLONE_NEWNS)
            return
        except OSError as error:
            refused = error
        finally:
            os.close(descriptor)
    raise ClearwayError.of("gateway.E011", why=refused.strerror) from refused


def _with_those_mounts(wanted: str) -> Iterator[str]:
    """Processes of the mount namespace whose root mount is `wanted`: 1 itself, and others in case it may not be
    opened, as where it holds a capability that we lack. Kernel threads (2 and on) live there as well."""
    others = sorted((path.name for path in Path("/proc").iterdir() if path.name.isdigit()), key=int)
    return (process for process in others if _root_mount(process) == wanted)


def _root_mount(process: str) -> str:
    """Number of the mount at "/" as that process sees it, "" unknown; no two namespaces have a mount in common."""
    try:
        rows = (line.split() for line in Path(f"/proc/{process}/mountinfo").read_text().splitlines())
    except OSError:
        return ""
    return next((row[0] for row in rows if row[4] == "/"), "")


def mount_if_absent() -> bool:
    """Mounts a bpffs at /sys/fs/bpf where none is. True when it did. ClearwayError gateway.E011."""
    try:
        if _is_mounted():
            return False
        folder = os.open(MOUNT_POINT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if _is_mounted():  # by another gateway just now: one over it would hide what that has pinned
                return False
            libc.mount("bpf", str(MOUNT_POINT), "bpf", 0, "mode=0700")
        finally:
            os.close(folder)
    except OSError as error:
        raise ClearwayError.of("gateway.E011", why=error.strerror) from error
    return True


def _is_mounted() -> bool:
    return libc.filesystem_kind(str(MOUNT_POINT)) == _BPF_MAGIC


def pin_directory(name: str) -> Path:
    """Where the gateway of that name keeps its pins. Made, readable to root only, if need be."""
    PINS.mkdir(mode=0o700, exist_ok=True)
    directory = PINS / name
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def names() -> list[str]:
    """Gateways that have pins here."""
    try:
        return sorted(entry.name for entry in PINS.iterdir() if _is_folder(entry))
    except FileNotFoundError:
        return []


def _is_folder(path: Path) -> bool:
    """False of one that was detached just now: the others are there still."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False
