"""What the daemon may do once everything is loaded: CAP_NET_ADMIN, for port settings, and nothing else.

It may go on writing and mapping the maps whose descriptors it holds; it may make no map, load no program, and open no
pin. Capabilities belong to threads: drop before the first one is started.
"""

import contextlib
import os
import pwd
import resource
from dataclasses import dataclass
from pathlib import Path

from clearway.errors import ClearwayError
from clearway.gateway import libc

ACCOUNT = "clearway"
FIXED_ID = 63987
"""User and group number where no account `clearway` exists; above what distributions give out, below 65534."""

NICE_LEAST = -10
"""For the inspector, which packets wait for: on a machine that is busy otherwise it must have its turn within 80 ms."""

CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF = 12, 38, 39

_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 8, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


@dataclass(frozen=True)
class Identity:
    uid: int
    gid: int


def identity(user: str | None) -> Identity:
    """Whom the daemon becomes. ClearwayError gateway.E012 for a name that nobody has."""
    try:
        entry = pwd.getpwnam(user or ACCOUNT)
    except KeyError:
        if user is not None:
            raise ClearwayError.of("gateway.E012", user=user) from None
        return Identity(FIXED_ID, FIXED_ID)
    return Identity(entry.pw_uid, entry.pw_gid)


def keep_only(capabilities: frozenset[int]) -> None:
    """Gives up every other capability for good, for this process and what it starts. It stays the user it is."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        if capability not in capabilities:
            libc.prctl(_PR_CAPBSET_DROP, capability)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    libc.capset(sum(1 << capability for capability in capabilities))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop(to: Identity) -> None:
    """Becomes `to` with CAP_NET_ADMIN alone, and can't come back. What it starts may take NICE_LEAST."""
    with contextlib.suppress(ValueError, OSError):  # without CAP_SYS_RESOURCE: then nothing is
        resource.setrlimit(resource.RLIMIT_NICE, (20 - NICE_LEAST, 20 - NICE_LEAST))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        if capability != CAP_NET_ADMIN:
            libc.prctl(_PR_CAPBSET_DROP, capability)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    libc.prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(to.gid, to.gid, to.gid)
    os.setresuid(to.uid, to.uid, to.uid)
    libc.prctl(_PR_SET_KEEPCAPS, 0)
    libc.capset(1 << CAP_NET_ADMIN)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
