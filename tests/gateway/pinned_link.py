"""bpf(2) by hand: takes a pinned program off its port, as an administrator's tool would."""

import ctypes
import os
import platform
import struct
from pathlib import Path

OBJ_GET, LINK_DETACH = 7, 34
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}[platform.machine()]
_libc = ctypes.CDLL(None, use_errno=True)


def detach(pin: Path) -> None:
    """BPF_LINK_DETACH of the link that is pinned there. OSError from the kernel."""
    path = ctypes.create_string_buffer(os.fsencode(pin))
    link = _call(OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
    try:
        _call(LINK_DETACH, struct.pack("=I", link))
    finally:
        os.close(link)


def _call(command: int, attributes: bytes) -> int:
    memory = ctypes.create_string_buffer(attributes, len(attributes))
    answer = int(_libc.syscall(SYSCALL, command, memory, len(attributes)))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
