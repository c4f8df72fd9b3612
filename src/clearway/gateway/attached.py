"""Which programs stand on a port's TCX hook, and whose pins they are. Asks the kernel by bpf(2); needs rights.

The kernel takes a second gateway's program on the same port without a word, so this is asked before attaching.
"""

import ctypes
import os
import platform
from pathlib import Path

from clearway.gateway import bpffs

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_BPF_OBJ_GET, _BPF_PROG_QUERY = 7, 16
_BPF_TCX_INGRESS = 46
_PROGRAMS_MAX = 64

_libc = ctypes.CDLL(None, use_errno=True)


class _Query(ctypes.Structure):
    _fields_ = (
        ("ifindex", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("program_ids", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("program_attach_flags", ctypes.c_uint64),
        ("link_ids", ctypes.c_uint64),
        ("link_attach_flags", ctypes.c_uint64),
        ("revision", ctypes.c_uint64),
    )


class _ObjectGet(ctypes.Structure):
    _fields_ = (("path", ctypes.c_uint64), ("descriptor", ctypes.c_uint32), ("file_flags", ctypes.c_uint32))


def tcx_links(ifindex: int) -> set[int]:
    """Ids of the links at a port's TCX ingress hook, in this network namespace. Empty where the kernel has no TCX."""
    programs = (ctypes.c_uint32 * _PROGRAMS_MAX)()
    links = (ctypes.c_uint32 * _PROGRAMS_MAX)()
    query = _Query(
        ifindex=ifindex,
        attach_type=_BPF_TCX_INGRESS,
        program_ids=ctypes.addressof(programs),
        count=_PROGRAMS_MAX,
        link_ids=ctypes.addressof(links),
    )
    try:
        _bpf(_BPF_PROG_QUERY, query)
    except OSError:
        return set()
    return {links[n] for n in range(query.count) if links[n]}


def stands_elsewhere(name: str, ifindexes: list[int]) -> bool:
    """Does a program of this gateway stand on a port that is none of these? Its link would be moved without a word."""
    here = set().union(*(tcx_links(ifindex) for ifindex in ifindexes))
    pinned = [_pinned_link(pin) for pin in (bpffs.PINS / name / "links").glob("tcx-*")]
    return any(ifindex != 0 and link not in here for link, ifindex in pinned)


def other_gateway(name: str, ifindexes: list[int]) -> tuple[str, int] | None:
    """Another gateway whose pinned program stands on one of these ports: its name and that port's number."""
    standing = {ifindex: tcx_links(ifindex) for ifindex in ifindexes}
    if not any(standing.values()):
        return None
    for other in bpffs.names():
        if other == name:
            continue
        for pin in (bpffs.PINS / other / "links").glob("tcx-*"):
            link, _ = _pinned_link(pin)
            for ifindex, links in standing.items():
                if link in links:
                    return other, ifindex
    return None


def _pinned_link(pin: Path) -> tuple[int, int]:
    """Id of a pinned link, and the number of the port it is on: 0 when that is gone, or the link is none."""
    path = ctypes.create_string_buffer(os.fsencode(pin))
    try:
        descriptor = _bpf(_BPF_OBJ_GET, _ObjectGet(path=ctypes.addressof(path)))
    except OSError:
        return 0, 0
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    finally:
        os.close(descriptor)
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(fields.get("link_id", 0)), int(fields.get("ifindex", 0))


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    number = _SYSCALL[platform.machine()]
    answer = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_long(command),
        ctypes.byref(attributes),
        ctypes.c_long(ctypes.sizeof(attributes)),
    )
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(answer)
