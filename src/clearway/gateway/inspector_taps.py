"""The two TAPs that held packets wait in, one a direction. Made by the loader process, removed by detach.

They are persistent: what is queued outlives the inspector, as long as somebody keeps the descriptor. Their names come
from the gateway's name and its network namespace, so that several gateways live on one machine. Everything happens in
the caller's network namespace.
"""

import errno
import hashlib
import os
import time
from pathlib import Path

from clearway import _engine
from clearway.errors import ClearwayError, KernelRefused
from clearway.gateway import locks, netlink

_BUSY_WAIT_S = 3.0
"""How long the processes of a gateway that has just ended may keep its TAPs."""
_LOOK_AGAIN_S = 0.01


def names(gateway: str) -> tuple[str, str]:
    """Of the TAP where outbound packets wait, and of the other: by enum direction."""
    digest = hashlib.sha256(f"{gateway}\0{locks.network_namespace()}".encode()).hexdigest()[:6]
    return f"cw{digest}o", f"cw{digest}i"


def open_both(gateway: str, mtu: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Makes them or takes them over, and brings them up: descriptors, interface numbers. gateway.E026."""
    first, second = names(gateway)
    outbound = _make(first, mtu)
    try:
        inbound = _make(second, mtu)
    except ClearwayError:
        os.close(outbound[0])
        raise
    return (outbound[0], inbound[0]), (outbound[1], inbound[1])


def remake_gone(
    gateway: str, mtu: int, descriptors: tuple[int, int], numbers: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """As open_both, where these were open: one that somebody took away is made anew, with the same descriptor; what
    waits in the other stays. gateway.E026."""
    found = list(numbers)
    for direction, (name, descriptor) in enumerate(zip(names(gateway), descriptors, strict=True)):
        if not _engine.tap_stands(descriptor):
            made, found[direction] = _make(name, mtu)
            os.dup2(made, descriptor, inheritable=False)
            os.close(made)
    return descriptors, (found[0], found[1])


def remove_both(gateway: str) -> list[str]:
    """Takes away what there is of them; which. KernelRefused while somebody holds one."""
    removed = []
    for name in names(gateway):
        deadline = time.monotonic() + _BUSY_WAIT_S
        while True:
            try:
                if _engine.remove_tap(name):
                    removed.append(name)
                break
            except KernelRefused:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_LOOK_AGAIN_S)
    return removed


def _make(name: str, mtu: int) -> tuple[int, int]:
    try:
        descriptor = _open(name, mtu)
        try:
            _keep_silent(name)
            link = netlink.link_by_name(name)
            if link is None:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            netlink.set_flags(link.index, netlink.IFF_UP, netlink.IFF_UP)
        except (OSError, KernelRefused):
            os.close(descriptor)
            raise
    except (OSError, KernelRefused) as error:
        raise ClearwayError.of("gateway.E026", name=name, why=str(error)) from error
    return descriptor, link.index


def _open(name: str, mtu: int) -> int:
    deadline = time.monotonic() + _BUSY_WAIT_S
    while True:
        try:
            return _engine.open_tap(name, mtu)
        except KernelRefused as error:
            if os.strerror(errno.EBUSY) not in str(error) or time.monotonic() >= deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _keep_silent(name: str) -> None:
    """IPv6 off before it comes up: it would speak by itself."""
    switch = Path("/proc/sys/net/ipv6/conf") / name / "disable_ipv6"
    if switch.exists():
        switch.write_text("1\n")
