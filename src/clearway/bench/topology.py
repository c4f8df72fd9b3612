"""One wire to measure on: two end hosts in namespaces of their own, and what stands between them.

    left a0 ── inside [gateway] outside ── b0 right        a0 ── b0: the bare wire

Generic receive offload is on at every end, since only then does a veth poll (NAPI), which threads and XDP frames need;
it is switched on after the link is up, or the driver does not offer itself as a target of XDP frames. Neighbours are
written in, so no ARP is mixed into what is counted. Both hosts have two addresses in different /24s: one that may be
granted, one that is not.
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clearway.errors import ClearwayError
from clearway.gateway import bpffs
from clearway.lab.namespace import NETNS_DIRECTORY, End, Namespace, wire

PREFIX = "cwb-"
GREEN_PREFIX = "10.9.0.0/24"
GREEN_LEFT, GREEN_RIGHT = "10.9.0.1", "10.9.0.2"
PLAIN_LEFT, PLAIN_RIGHT = "10.9.64.1", "10.9.64.2"
THREAD_S_MAX = 20.0
DETACH_S_MAX = 120.0

# the installation that this process runs from, whatever PATH says
CLEARWAY = [sys.executable, "-m", "clearway.cli.app"]

_numbers = itertools.count()


@dataclass(frozen=True)
class PortCounts:
    """Packets of one interface since it was made."""

    received: int
    received_dropped: int
    sent: int
    sent_dropped: int


class Wire:
    """Namespaces and links of one kind. `through`: there is a gateway's namespace between the hosts."""

    def __init__(self, through: bool, checksum_offload: bool = True) -> None:
        self.through = through
        self.checksum_offload = checksum_offload
        number = next(_numbers)
        # names of ports are names of kernel threads too, so they are unique on the machine
        mark = f"{os.getpid():x}{number:x}"
        stem = f"{PREFIX}{os.getpid()}-{number}"
        self.left = End(Namespace(f"{stem}-left"), f"a{mark}")
        self.right = End(Namespace(f"{stem}-right"), f"b{mark}")
        self.gateway = Namespace(f"{stem}-gateway")
        self.inside = End(self.gateway, f"i{mark}")
        self.outside = End(self.gateway, f"o{mark}")
        self._threads: list[int] = []

    # ---- life ----

    def up(self) -> None:
        """Makes everything, or leaves nothing behind."""
        try:
            self._build()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        for namespace in (self.left.namespace, self.right.namespace, self.gateway):
            namespace.remove()
        self._threads = []

    def _build(self) -> None:
        self.left.namespace.create()
        self.right.namespace.create()
        if self.through:
            self.gateway.create()
        for namespace in (self.left.namespace, self.right.namespace, *([self.gateway] if self.through else [])):
            # interfaces that speak by themselves would be counted as leaks
            namespace.sysctl({"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"})
        if self.through:
            wire(self.left, self.inside)
            wire(self.outside, self.right)
        else:
            wire(self.left, self.right)
        for end in self.ends():
            end.offload(gro=False)
            end.offload(gro=True)
        if not self.checksum_offload:
            for end in (self.left, self.right):
                end.offload(tx=False)
        self._address(self.left, (GREEN_LEFT, PLAIN_LEFT), (GREEN_RIGHT, PLAIN_RIGHT), self.right.mac())
        self._address(self.right, (GREEN_RIGHT, PLAIN_RIGHT), (GREEN_LEFT, PLAIN_LEFT), self.left.mac())

    @staticmethod
    def _address(end: End, own: tuple[str, ...], others: tuple[str, ...], other_mac: bytes) -> None:
        mac = other_mac.hex(":")
        with end.namespace.links() as links:
            index = links.link_lookup(ifname=end.interface)[0]
            for address in own:
                links.addr("add", index=index, address=address, prefixlen=24)
            for address in others:
                links.neigh("replace", dst=address, lladdr=mac, ifindex=index, state=0x80)  # NUD_PERMANENT

    def ends(self) -> tuple[End, ...]:
        middle = (self.inside, self.outside) if self.through else ()
        return (self.left, *middle, self.right)

    # ---- the gateway's core ----

    @contextmanager
    def threaded(self, cpu: int) -> Iterator[None]:
        """Polls both ports in threads of their own, pinned to one core; otherwise the sender's core does their work."""
        for port in (self.inside, self.outside):
            self._thread(port, True)
        try:
            self._threads = [pid for port in (self.inside, self.outside) for pid in self._poll_threads(port)]
            for pid in self._threads:
                os.sched_setaffinity(pid, {cpu})
            yield
        finally:
            self._threads = []
            for port in (self.inside, self.outside):
                self._thread(port, False)

    def poll_seconds(self) -> float:
        """CPU seconds that the threads of both ports have run since they began: what the gateway's core did."""
        nanoseconds = 0
        for pid in self._threads:
            nanoseconds += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def _thread(self, port: End, on: bool) -> None:
        # sysfs shows the ports of the namespace that it was mounted in: ip netns exec mounts one of its own
        path = f"/sys/class/net/{port.interface}/threaded"
        command = ["ip", "netns", "exec", port.namespace.name, "sh", "-c", f"echo {int(on)} > {path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise ClearwayError.of("bench.E003", detail=done.stderr.strip() or "no threaded NAPI")

    @staticmethod
    def _poll_threads(port: End) -> list[int]:
        stem = f"napi/{port.interface}-"
        deadline = time.monotonic() + THREAD_S_MAX
        while time.monotonic() < deadline:
            found = [pid for pid, name in _kernel_threads() if name.startswith(stem)]
            if found:
                return found
            time.sleep(0.01)
        raise ClearwayError.of("bench.E003", detail=f"no thread {stem}… appeared")

    # ---- counting ----

    def counts(self, end: End) -> PortCounts:
        """As /proc/net/dev has them: no netlink, so that looking costs little."""
        text = end.namespace.call(lambda: Path("/proc/thread-self/net/dev").read_text())
        for line in text.splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == end.interface:
                columns = [int(number) for number in numbers.split()]
                return PortCounts(columns[1], columns[3], columns[9], columns[11])
        raise ClearwayError.of("bench.E003", detail=f"{end.interface} is gone")


def _kernel_threads() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # ended meanwhile
                yield int(entry.name), (entry / "comm").read_text().strip()


def sweep() -> int:
    """Takes away what benches left behind that were killed: gateways with their pins, which hold a hundred megabytes
    and more each, and namespaces; how many of these that was."""
    for name in filter(_is_left, bpffs.names()):
        command = [*CLEARWAY, "detach", "--name", name, "--state", "/nonexistent"]
        subprocess.run(command, capture_output=True, timeout=DETACH_S_MAX, check=False)
    left = [path.name for path in sorted(NETNS_DIRECTORY.glob(f"{PREFIX}*")) if _is_left(path.name)]
    for name in left:
        Namespace(name).remove()
    return len(left)


def _is_left(name: str) -> bool:
    """Does what has this name belong to a bench that is gone?"""
    pid = name.removeprefix(PREFIX).partition("-")[0]
    return name.startswith(PREFIX) and pid.isdigit() and not Path(f"/proc/{pid}").exists()
