"""The system calls that Python 3.11 has no function for. Each raises OSError with the kernel's errno."""

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def setns(descriptor: int, kind: int) -> None:
    """Enters the namespace that the descriptor stands for."""
    _check(_libc.setns(descriptor, kind), "setns")


def unshare(kind: int) -> None:
    """Gives the calling thread a namespace of its own."""
    _check(_libc.unshare(kind), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    answer = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode() or None
    )
    _check(answer, f"mount {kind} {target}")


def prctl(option: int, value: int = 0) -> int:
    answer = _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return _check(answer, f"prctl {option}")


def capset(capabilities: int) -> None:
    """Permitted and effective set of the calling thread, as a bit mask; nothing is inheritable."""
    version_3 = 0x20080522
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.capset(header, data), "capset")


def filesystem_kind(path: str) -> int:
    """Magic number of the file system at a path (statfs.f_type)."""
    buffer = (ctypes.c_long * 32)()
    _check(_libc.statfs(os.fsencode(path), buffer), f"statfs {path}")
    return int(buffer[0])


def _check(answer: int, what: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return answer
