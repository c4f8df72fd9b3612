"""Network namespaces with a gateway between two hosts, for tests: in --veth-- gw --veth-- out. Always cleaned up."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from patience import HUNG_S

from clearway.gateway import libc

_numbers = itertools.count()
INSIDE_ADDRESS, OUTSIDE_ADDRESS = "45.155.205.10", "45.155.205.20"
"""No special-use ones: a list that names them would be held back."""


@dataclass(frozen=True)
class Wire:
    """Names of the three namespaces. The gateway's ports are called `inside` and `outside`, the hosts' `eth0`."""

    inner: str
    gateway: str
    outer: str


def ip(*words: str, namespace: str | None = None) -> str:
    """Runs `ip`; its output. Fails the test with its message when it fails."""
    command = ["ip", *(["-n", namespace] if namespace else []), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def wire() -> Iterator[Wire]:
    """A bare wire: ports exist and are down, hosts have an address each in one subnet."""
    stem = f"cwg-{os.getpid()}-{next(_numbers)}"
    made = Wire(f"{stem}-in", f"{stem}-gw", f"{stem}-out")
    names = (made.inner, made.gateway, made.outer)
    try:
        for name in names:
            ip("netns", "add", name)
        for host, port, address in ((made.inner, "inside", INSIDE_ADDRESS), (made.outer, "outside", OUTSIDE_ADDRESS)):
            ip("link", "add", port, "netns", made.gateway, "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("address", "add", f"{address}/24", "dev", "eth0", namespace=host)
            ip("link", "set", "eth0", "up", namespace=host)
            ip("link", "set", "lo", "up", namespace=host)
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=HUNG_S)


def sweep() -> None:
    """Takes away what a test run that was killed has left: its namespaces, the daemons and programs in them."""
    for path in Path("/run/netns").glob("cwg-*"):
        owner = path.name.split("-")[1]
        if not owner.isdigit() or Path("/proc", owner).exists():
            continue
        if path.name.endswith("-gw"):
            words = ["-m", "clearway.cli.app", "detach", "--name", path.name, "--state", "/nonexistent"]
            subprocess.run([sys.executable, *words], capture_output=True, timeout=HUNG_S)
        subprocess.run(["ip", "netns", "del", path.name], capture_output=True, timeout=HUNG_S)


@contextlib.contextmanager
def inside_of(namespace: str) -> Iterator[None]:
    """Puts this thread into a network namespace for a while; its mounts stay the caller's."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(target, libc.CLONE_NEWNET)
        yield
    finally:
        libc.setns(before, libc.CLONE_NEWNET)
        os.close(before)
        os.close(target)
