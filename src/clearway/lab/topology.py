"""The lab: a small internet of network namespaces with real veth wires, and the gateway's place in its middle.

    home1 ─┐                                                     ┌─ web1
    home2 ─┼─ inside-switch ── inside [gateway] outside ── outside-switch ─┼─ web2
 business ─┘        └───────────────── bare ─────────────────┘   ├─ bad
                                     management                  └─ attacker
                                         │
                                       lists

Switches are kernel bridges in namespaces of their own, so the gateway's namespace holds its two ports and nothing
else. Between the switches lies a second veth pair, `bare`, joined to neither: `join("bare")` swaps it in for the
gateway without touching a link, which is what "against the bare wire" is measured on. All hosts share one Ethernet
segment and find each other by ARP and neighbour discovery; addresses are those reserved for documentation. The gateway
fetches its lists over a third wire, from a server that nobody else can reach.

A lab ends by itself: a keeper process (keeper.py) takes it down at its deadline, and any later `up` takes down what
is past its time. Its record stands in RUN_DIRECTORY.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clearway.errors import ClearwayError
from clearway.lab.namespace import CLONE_NEWNET, End, Namespace, libc, wire

RUN_DIRECTORY = Path("/run/clearway-lab")
NAME_DEFAULT = "lab"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
FOR_S_DEFAULT = 3600.0
KEEPER_READY_S_MAX = 60.0
KEEPER_END_S_MAX = 3.0

INSIDE_V4, INSIDE_V6 = "192.0.2.0/24", "2001:db8:1::/48"
BUSINESS_V4, BUSINESS_V6 = "192.0.2.64/28", "2001:db8:1:b::/64"

DNS_PORT = 53
HTTP_PORT = 80
TLS_PORT = 443
IPERF_PORT = 5201
NAMES_HOST = "web1"
"""Where every name is, as the lab's DNS says: many at one address, as on a shared server."""


@dataclass(frozen=True)
class Host:
    """One machine of the lab, with its interface eth0."""

    name: str
    side: str  # "inside", "outside" or "management"
    v4: str
    v6: str
    mac: str
    serves: tuple[str, ...]  # "http", "https", "dns", "iperf3", "lists": what the keeper runs there (servers.py)
    what: str


HOSTS = (
    Host("home1", "inside", "192.0.2.11", "2001:db8:1:a::11", "02:00:00:00:01:11", ("http",), "an ordinary host"),
    Host("home2", "inside", "192.0.2.12", "2001:db8:1:a::12", "02:00:00:00:01:12", (), "an ordinary host"),
    Host("business", "inside", "192.0.2.65", "2001:db8:1:b::65", "02:00:00:00:01:65", (), "a registered business"),
    Host(
        "web1", "outside", "198.51.100.11", "2001:db8:64::11", "02:00:00:00:02:11", ("http", "https", "iperf3"),
        "a web server with every name",
    ),
    Host(
        "web2", "outside", "198.51.100.12", "2001:db8:64::12", "02:00:00:00:02:12", ("http", "dns", "iperf3"),
        "a web and name server",
    ),
    Host("bad", "outside", "203.0.113.66", "2001:db8:cb::66", "02:00:00:00:02:66", ("http",), "a malicious host"),
    Host("attacker", "outside", "203.0.113.99", "2001:db8:cb::99", "02:00:00:00:02:99", (), "an attacker"),
)  # fmt: skip
PUBLISHER = Host("lists", "management", "198.18.0.2", "", "02:00:00:00:03:02", ("lists",), "a server of lists")
MANAGEMENT_V4 = "198.18.0.1"
"""The gateway's own address on that wire (RFC 2544's space)."""
EVERYBODY = (*HOSTS, PUBLISHER)
GATEWAY = "gateway"
SIDES = ("inside", "outside")


@dataclass
class Record:
    """What is kept of a lab that is up."""

    until_boot_s: float
    keeper_pid: int = 0
    keeper_started: int = 0  # the pid's start time in clock ticks: a pid alone may have been used again


class Lab:
    """A lab by name; its namespaces are NAME-HOST."""

    def __init__(self, name: str = NAME_DEFAULT) -> None:
        if not NAME.fullmatch(name):
            raise ClearwayError.of("lab.E003", name=name)
        self.name = name
        self.record_path = RUN_DIRECTORY / f"{name}.json"

    @property
    def gateway_name(self) -> str:
        """Of a gateway in it, which so takes its pins along when the lab goes."""
        return f"lab-{self.name}"

    # ---- places ----

    def namespace(self, place: str) -> Namespace:
        """Of a host, of "gateway", or of "inside-switch" and "outside-switch"."""
        if place not in self.places():
            raise ClearwayError.of("lab.E002", place=place, places=", ".join(self.places()))
        return Namespace(f"{self.name}-{place}")

    @staticmethod
    def places() -> list[str]:
        return [*(host.name for host in EVERYBODY), GATEWAY, *(f"{side}-switch" for side in SIDES)]

    @staticmethod
    def host(name: str) -> Host:
        return next(host for host in EVERYBODY if host.name == name)

    def end(self, host: str) -> End:
        """Its end of its wire."""
        return End(self.namespace(host), "eth0")

    def port(self, side: str) -> End:
        """The gateway's port on that side; the interface is called as the side is."""
        return End(self.namespace(GATEWAY), side)

    # ---- life ----

    def up(self, for_s: float = FOR_S_DEFAULT) -> bool:
        """Builds it, or only moves its deadline when it stands. Whether it was built."""
        require_rights()
        sweep()
        with _locked(self.name):
            until_boot_s = boot_clock_s() + for_s
            record = self.read_record()
            if record and self.stands() and keeper_lives(record):
                record.until_boot_s = until_boot_s
                self._write_record(record)
                return False
            self._take_down()
            # first of all, so that whatever is made from here on is cleaned up
            self._write_record(Record(until_boot_s))
            try:
                self._build()
                self._start_keeper(until_boot_s)
            except BaseException:
                self._take_down()
                raise
        return True

    def down(self) -> bool:
        """Takes away whatever there is of it, after a crash too. Whether there was anything."""
        require_rights()
        with _locked(self.name):
            return self._take_down()

    def stands(self) -> bool:
        """All its namespaces are there."""
        return all(self.namespace(place).exists() for place in self.places())

    def require_up(self) -> None:
        if not self.stands():
            raise ClearwayError.of("lab.E004", name=self.name)

    def join(self, by: str) -> None:
        """Connects the two switches through "gateway" or "bare". No link changes state; what the switches had
        learned through the other way is forgotten with it."""
        other = {"gateway": "bare", "bare": "gateway"}[by]
        for side in SIDES:
            with self.namespace(f"{side}-switch").links() as links:
                index = {name: links.link_lookup(ifname=name)[0] for name in ("switch", by, other)}
                links.link("set", index=index[other], master=0)
                links.link("set", index=index[by], master=index["switch"])

    def until(self) -> float:
        """Seconds that it has left; 0 when it isn't up."""
        record = self.read_record()
        return max(0.0, record.until_boot_s - boot_clock_s()) if record else 0.0

    # ---- building ----

    def _build(self) -> None:
        for place in self.places():
            self.namespace(place).create()
        for side in SIDES:
            self._build_switch(side)
        for host in HOSTS:
            self._build_host(host)
        for side in SIDES:
            wire(End(self.namespace(f"{side}-switch"), "gateway"), self.port(side))
        wire(*(End(self.namespace(f"{side}-switch"), "bare") for side in SIDES))
        self._build_publisher()
        self.join("gateway")

    def _build_publisher(self) -> None:
        ends = (End(self.namespace(GATEWAY), "management"), self.end(PUBLISHER.name))
        wire(*ends)
        for end, address in zip(ends, (MANAGEMENT_V4, PUBLISHER.v4), strict=True):
            with end.namespace.links() as links:
                index = links.link_lookup(ifname=end.interface)[0]
                links.addr("add", index=index, address=address, prefixlen=30)

    def _build_switch(self, side: str) -> None:
        switch = self.namespace(f"{side}-switch")
        switch.sysctl({"ipv6/conf/default/disable_ipv6": "1", "ipv6/conf/all/disable_ipv6": "1"})
        with switch.links() as links:
            # no spanning tree and no snooping: it passes on at once, and says nothing of its own
            links.link("add", ifname="switch", kind="bridge", br_stp_state=0, br_mcast_snooping=0)
            links.link("set", index=links.link_lookup(ifname="switch")[0], state="up")

    def _build_host(self, host: Host) -> None:
        namespace = self.namespace(host.name)
        namespace.sysctl({"ipv6/conf/default/accept_dad": "0", "ipv6/conf/default/accept_ra": "0"})
        with suppress(OSError):  # a kernel without it keeps its own; BBR, the default of some, makes figures unsteady
            namespace.sysctl({"ipv4/tcp_congestion_control": "cubic"})
        end = self.end(host.name)
        switch = self.namespace(f"{host.side}-switch")
        wire(End(switch, host.name), end)
        end.set(address=host.mac)
        with switch.links() as links:
            index = links.link_lookup(ifname=host.name)[0]
            links.link("set", index=index, master=links.link_lookup(ifname="switch")[0])
        with namespace.links() as links:
            index = links.link_lookup(ifname="eth0")[0]
            links.addr("add", index=index, address=host.v4, prefixlen=32)
            links.addr("add", index=index, address=host.v6, prefixlen=128)
            links.route("add", dst="0.0.0.0/0", oif=index, scope=253)  # on the link: everybody is a neighbour
            links.route("add", family=socket.AF_INET6, dst="::/0", oif=index)

    # ---- keeper and record ----

    def _start_keeper(self, until_boot_s: float) -> None:
        command = [sys.executable, "-m", "clearway.lab.keeper", self.name]
        log = (RUN_DIRECTORY / f"{self.name}.log").open("wb")
        with log:
            keeper = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert keeper.stdout is not None and keeper.stdin is not None
        self._write_record(Record(until_boot_s, keeper.pid, start_time(keeper.pid) or 0))
        keeper.stdin.close()  # it waits for this: now the record names it
        with keeper.stdout:
            if keeper.stdout.readline() != b"ready\n":
                keeper.wait(KEEPER_READY_S_MAX)
                raise ClearwayError.of("lab.E005", log=log.name)

    def read_record(self) -> Record | None:
        try:
            return Record(**json.loads(self.record_path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # cut off by a crash: as good as none, and `up` takes the rest down

    def _write_record(self, record: Record) -> None:
        fresh = self.record_path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(record)))
        fresh.replace(self.record_path)

    def _take_down(self) -> bool:
        record = self.read_record()
        found = record is not None
        if record and keeper_lives(record) and record.keeper_pid != os.getpid():
            _end_keeper(record)
        for place in self.places():
            namespace = self.namespace(place)
            found = found or namespace.path.exists()
            namespace.remove()
        remove_pins(self.gateway_name)
        for suffix in (".json", ".new", ".log"):
            self.record_path.with_suffix(suffix).unlink(missing_ok=True)
        for folder in (self.state_directory(), self.published()):
            shutil.rmtree(folder, ignore_errors=True)
        return found

    def published(self) -> Path:
        """The folder that its server of lists serves, file by file."""
        return RUN_DIRECTORY / f"{self.name}.lists"

    def state_directory(self) -> Path:
        """Where a gateway of this lab keeps its state; goes with the lab."""
        return RUN_DIRECTORY / self.name


def boot_clock_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None when there is no such process, or it waits to be collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def keeper_lives(record: Record) -> bool:
    return record.keeper_pid > 0 and start_time(record.keeper_pid) == record.keeper_started


def _end_keeper(record: Record) -> None:
    deadline = time.monotonic() + KEEPER_END_S_MAX
    with suppress(ProcessLookupError):
        os.kill(record.keeper_pid, signal.SIGTERM)
        while keeper_lives(record):
            if time.monotonic() > deadline:
                os.kill(record.keeper_pid, signal.SIGKILL)
                return
            time.sleep(0.02)


def remove_pins(gateway_name: str) -> None:
    """Ends what a gateway of the lab left enforcing in the kernel, where no `detach` can run any more."""
    from clearway.gateway.bpffs import PINS

    directory = PINS / gateway_name
    for path in sorted(directory.rglob("*"), reverse=True) if directory.is_dir() else []:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    if directory.is_dir():
        directory.rmdir()


def known() -> list[Lab]:
    """Labs with a record, up or half built."""
    return [Lab(path.stem) for path in sorted(RUN_DIRECTORY.glob("*.json"))] if RUN_DIRECTORY.exists() else []


def sweep() -> list[str]:
    """Takes down every lab that is past its deadline; their names. For keepers that were killed."""
    gone = []
    for lab in known():
        record = lab.read_record()
        if record and record.until_boot_s < boot_clock_s():
            lab.down()
            gone.append(lab.name)
    return gone


def require_rights() -> None:
    """Namespaces can be made here, or an error that says what to do. Nothing is left of the trial."""
    refused: list[bool] = []
    thread = threading.Thread(target=lambda: refused.append(libc.unshare(CLONE_NEWNET) != 0))
    thread.start()
    thread.join()
    if refused[0]:
        raise ClearwayError.of("lab.E001", command=" ".join(["sudo", "clearway", *sys.argv[1:]]))
    RUN_DIRECTORY.mkdir(mode=0o755, exist_ok=True)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One at a time builds or takes down a lab of that name. The file goes when the lab has no record any more."""
    path = RUN_DIRECTORY / f"{name}.lock"
    lock = path.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    while not _same_file(path, lock.fileno()):
        # whoever held it has removed it meanwhile; perhaps somebody else has made a new one
        lock.close()
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        try:
            yield
        finally:
            if not path.with_suffix(".json").exists():
                path.unlink(missing_ok=True)


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
