"""bpf(2) by hand: how a test falsifies a map behind the engine's back, or looks at it without the engine."""

import ctypes
import mmap
import os
import platform
import struct

LOOKUP, UPDATE, DELETE = 1, 2, 3
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}[platform.machine()]
_libc = ctypes.CDLL(None, use_errno=True)


def _element(command: int, fd: int, key: bytes, value: ctypes.Array[ctypes.c_char] | None) -> None:
    key_memory = ctypes.create_string_buffer(key, len(key))
    value_address = ctypes.addressof(value) if value is not None else 0
    attributes = struct.pack("=I4xQQQ", fd, ctypes.addressof(key_memory), value_address, 0)
    memory = ctypes.create_string_buffer(attributes, len(attributes))
    if _libc.syscall(SYSCALL, command, memory, len(attributes)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def lookup(fd: int, key: bytes, size: int) -> bytes:
    value = ctypes.create_string_buffer(size)
    _element(LOOKUP, fd, key, value)
    return value.raw


def update(fd: int, key: bytes, value: bytes) -> None:
    _element(UPDATE, fd, key, ctypes.create_string_buffer(value, len(value)))


def delete(fd: int, key: bytes) -> None:
    _element(DELETE, fd, key, None)


def index(number: int) -> bytes:
    return struct.pack("=I", number)


def memory(fd: int, length: int) -> mmap.mmap:
    """An mmapable array map, to read and write."""
    return mmap.mmap(fd, length)
