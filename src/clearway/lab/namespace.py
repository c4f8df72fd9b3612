"""Network namespaces: make, enter, remove; the wires between them.

Entered by setns() alone, never by `ip netns exec`, which remounts /sys and so hides the bpffs that a gateway pins to.
setns() moves one thread: `call` uses a thread of its own, so that its caller stays where it is.
"""

import array
import ctypes
import fcntl
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NETNS_DIRECTORY = Path("/run/netns")
CLONE_NEWNET = 0x40000000
END_PROCESSES_S_MAX = 20.0

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Namespace:
    """A named network namespace, whether or not it exists yet."""

    name: str

    @property
    def path(self) -> Path:
        return NETNS_DIRECTORY / self.name

    def exists(self) -> bool:
        return os.path.ismount(self.path)

    def create(self) -> None:
        """Makes it, with its loopback up. A leftover of that name must have been removed."""
        from pyroute2 import netns  # type: ignore[import-untyped]  # 0.17 s, and most processes only enter

        netns.create(self.name)
        with self.links() as links:
            links.link("set", index=1, state="up")

    def remove(self) -> None:
        """Ends the processes in it, deletes its links, then its name. One that isn't there is removed already."""
        if self.exists():
            self.end_processes()
            from pyroute2 import netns

            self._delete_links()
            netns.remove(self.name)
        elif self.path.exists():
            self.path.unlink()  # made by a process that died before it was mounted over

    def _delete_links(self) -> None:
        # the namespace itself goes later, by a worker of the kernel: names on the far ends must be free at once
        with self.links() as links:
            for link in list(links.get_links()):
                if link["index"] != 1:
                    with suppress(Exception):  # a bridge or peer took it along
                        links.link("del", index=link["index"])

    def processes(self) -> list[int]:
        """Pids of the processes in it, but this one."""
        found = []
        inode = self.path.stat().st_ino
        for entry in Path("/proc").iterdir():
            with suppress(OSError):  # ended meanwhile
                if entry.name.isdigit() and (entry / "ns/net").stat().st_ino == inode:
                    found.append(int(entry.name))
        return [pid for pid in found if pid != os.getpid()]

    def end_processes(self) -> None:
        """SIGTERM, then SIGKILL: whatever runs in a namespace of the lab was started for the lab."""
        deadline = time.monotonic() + END_PROCESSES_S_MAX
        for pid in self.processes():
            _signal(pid, signal.SIGTERM)
        while remaining := self.processes():
            if time.monotonic() > deadline:
                for pid in remaining:
                    _signal(pid, signal.SIGKILL)
                return
            time.sleep(0.02)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The same command, run inside: nsenter is setns() and exec(), nothing more."""
        return ["nsenter", f"--net={self.path}", "--", *arguments]

    def enter(self) -> None:
        """Moves the calling thread in, for good."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns to {self.name}: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(descriptor)

    def call(self, function: Callable[[], T]) -> T:
        """Runs it inside, in a thread of its own; its result, or its exception. A socket made there stays inside."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                self.enter()
                outcome.append(function())
            except BaseException as error:  # carried to the caller's thread
                failure.append(error)

        thread = threading.Thread(target=run, name=f"in {self.name}")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def sysctl(self, settings: dict[str, str]) -> None:
        """Writes keys below net., with slashes ("ipv4/tcp_congestion_control")."""

        def write() -> None:
            for key, value in settings.items():
                Path("/proc/sys/net", key).write_text(value)

        self.call(write)

    @contextmanager
    def links(self) -> Iterator[Any]:
        """Netlink inside it: a pyroute2 IPRoute."""
        from pyroute2 import IPRoute

        route = IPRoute(netns=self.name)
        try:
            yield route
        finally:
            route.close()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass(frozen=True)
class End:
    """One end of a wire: an interface in a namespace."""

    namespace: Namespace
    interface: str

    def index(self) -> int:
        return self.namespace.call(lambda: socket.if_nametoindex(self.interface))

    def mac(self) -> bytes:
        return self.namespace.call(lambda: _interface_address(self.interface))

    def set(self, **attributes: Any) -> None:
        """As `ip link set`: state="up", mtu=…, master=…, address=…."""
        with self.namespace.links() as links:
            links.link("set", index=links.link_lookup(ifname=self.interface)[0], **attributes)

    def offload(self, **switches: bool) -> None:
        """As `ethtool -K`: gro=True, tso=False, …; the names are those of OFFLOAD_COMMANDS."""

        def change() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                for word, on in switches.items():
                    _ethtool(control, self.interface, OFFLOAD_COMMANDS[word], int(on))

        self.namespace.call(change)

    def offloads(self) -> dict[str, bool]:
        """What is switched on, by the names of OFFLOAD_COMMANDS."""

        def ask() -> dict[str, bool]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                return {
                    word: bool(_ethtool(control, self.interface, set_command - 1, 0))
                    for word, set_command in OFFLOAD_COMMANDS.items()
                }

        return self.namespace.call(ask)


def wire(one: End, other: End, **attributes: Any) -> None:
    """A veth pair between two namespaces, both ends up. `attributes` as `ip link add`, for both: mtu=9000."""
    descriptor = os.open(other.namespace.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with one.namespace.links() as links:
            peer = {"ifname": other.interface, "net_ns_fd": descriptor, **attributes}
            links.link("add", ifname=one.interface, kind="veth", peer=peer, **attributes)
    finally:
        os.close(descriptor)
    one.set(state="up")
    other.set(state="up")


# ethtool's "set" commands of struct ethtool_value; "get" is one less (include/uapi/linux/ethtool.h)
OFFLOAD_COMMANDS = {"rx": 0x15, "tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
SIOCETHTOOL = 0x8946
SIOCGIFHWADDR = 0x8927


def _ethtool(control: socket.socket, interface: str, command: int, value: int) -> int:
    argument = array.array("I", [command, value])
    request = struct.pack("16sP16x", interface.encode(), argument.buffer_info()[0])
    fcntl.ioctl(control, SIOCETHTOOL, request)
    return argument[1]


def _interface_address(interface: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
    return answer[18:24]
