"""The file system that pins live in: PID 1's, so that pins outlive whoever made them.

`ip netns exec` gives its child a mount namespace of its own with a fresh /sys, where /sys/fs/bpf is no bpffs and one
mounted there dies with the process. So the loader process steps into PID 1's mount namespace; it stays in the caller's
network namespace, where the ports are.
"""

import os
import stat
from pathlib import Path

from clearway.errors import ClearwayError
from clearway.gateway import libc

MOUNT_POINT = Path("/sys/fs/bpf")
PINS = MOUNT_POINT / "clearway"

_BPF_MAGIC = 0xCAFE4A11
_INIT_MOUNTS = "/proc/1/ns/mnt"


def enter_init_mounts() -> None:
    """Puts this process into PID 1's mount namespace. It must be single-threaded. ClearwayError gateway.E011."""
    try:
        if Path("/proc/self/ns/mnt").stat().st_ino == Path(_INIT_MOUNTS).stat().st_ino:
            return
        descriptor = os.open(_INIT_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc.setns(descriptor, libc.CLONE_NEWNS)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ClearwayError.of("gateway.E011", why=error.strerror) from error


def mount_if_absent() -> bool:
    """Mounts a bpffs at /sys/fs/bpf where none is. True when it did. ClearwayError gateway.E011."""
    try:
        if libc.filesystem_kind(str(MOUNT_POINT)) == _BPF_MAGIC:
            return False
        libc.mount("bpf", str(MOUNT_POINT), "bpf", 0, "mode=0700")
    except OSError as error:
        raise ClearwayError.of("gateway.E011", why=error.strerror) from error
    return True


def pin_directory(name: str) -> Path:
    """Where the gateway of that name keeps its pins. Made, readable to root only, if need be."""
    PINS.mkdir(mode=0o700, exist_ok=True)
    directory = PINS / name
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def names() -> list[str]:
    """Gateways that have pins here."""
    try:
        return sorted(entry.name for entry in PINS.iterdir() if stat.S_ISDIR(entry.stat().st_mode))
    except FileNotFoundError:
        return []
