"""Loading the same list elsewhere: an nftables set, an ipset, unbound, dnsmasq. Each in a namespace of its own.

Each gets what it is best at: nft and ipset one file of all entries, unbound its own zones or an RPZ file, dnsmasq its
own lines. A resolver has loaded when it answers a question about a listed name by refusing it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from clearway.bench import names_hellos
from clearway.bench.lists_memory import PeakMemory, kernel_bytes
from clearway.bench.measurement import Measurement
from clearway.bench.topology import PREFIX
from clearway.errors import ClearwayError
from clearway.lab.namespace import Namespace

LOAD_S_MAX = 120.0
ASK_EVERY_S = 0.005
PORT = 5399
NXDOMAIN = 3
_numbers = count()


@dataclass(frozen=True)
class Loader:
    """One kind: how its file is written from a list of one entry a line, and how it is started on that file."""

    name: str
    program: str
    package: str
    write: Callable[[bytes, Path], list[str]]
    """Of the list's bytes, and a folder: the command."""
    asks_version: str = "--version"
    serves: bool = False
    """It goes on running, and answers questions."""

    def version(self) -> str:
        """As the program says it, its first line."""
        done = subprocess.run(
            [self.program, self.asks_version], capture_output=True, text=True, check=False, timeout=60
        )
        return (done.stdout or done.stderr).splitlines()[0].split(" Copyright")[0].strip()

    def absent(self) -> str | None:
        """Why it cannot be measured; None: it can."""
        if shutil.which(self.program) is None:
            return f"{self.name}: not installed (package {self.package})"
        return None


def _nft(entries: bytes, folder: Path) -> list[str]:
    elements = entries.rstrip(b"\n").replace(b"\n", b", ")
    path = folder / "set.nft"
    path.write_bytes(
        b"table inet bench {\nset listed { type ipv4_addr; flags interval; elements = { " + elements + b" }\n}\n}\n"
    )
    return ["nft", "-f", str(path)]


def _ipset(entries: bytes, folder: Path) -> list[str]:
    most = max(1024, entries.count(b"\n"))
    size = 1 << (most - 1).bit_length()
    path = folder / "set.ipset"
    made = f"create listed hash:net family inet hashsize {size} maxelem {most}\n".encode()
    path.write_bytes(made + b"add listed " + entries.rstrip(b"\n").replace(b"\n", b"\nadd listed ") + b"\n")
    return ["ipset", "restore", "-file", str(path)]


_UNBOUND = """server:
 chroot: ""
 username: ""
 directory: "{folder}"
 pidfile: ""
 interface: 127.0.0.1@{port}
 do-daemonize: no
 use-syslog: no
 logfile: "{folder}/log"
 num-threads: 1
 module-config: "{modules}"
"""


def _unbound_zones(entries: bytes, folder: Path) -> list[str]:
    config = folder / "unbound.conf"
    zones = entries.rstrip(b"\n").replace(b"\n", b'" always_nxdomain\n local-zone: "')
    text = _UNBOUND.format(folder=folder, port=PORT, modules="iterator").encode()
    config.write_bytes(text + b' local-zone: "' + zones + b'" always_nxdomain\n')
    return ["unbound", "-d", "-c", str(config)]


def _unbound_rpz(entries: bytes, folder: Path) -> list[str]:
    config, zone = folder / "unbound.conf", folder / "zone"
    zone.write_bytes(
        b"$TTL 60\n@ SOA localhost. root.localhost. 1 1 1 1 1\n NS localhost.\n"
        + re.sub(rb"(.+)\n", rb"\1 CNAME .\n*.\1 CNAME .\n", entries)
    )
    text = _UNBOUND.format(folder=folder, port=PORT, modules="respip iterator")
    config.write_text(f'{text}rpz:\n name: bench.rpz\n zonefile: "{zone}"\n')
    return ["unbound", "-d", "-c", str(config)]


def _dnsmasq(entries: bytes, folder: Path) -> list[str]:
    config = folder / "dnsmasq.conf"
    options = f"no-resolv\nport={PORT}\nno-hosts\nlisten-address=127.0.0.1\nbind-interfaces\nkeep-in-foreground\n"
    options += "user=root\npid-file\n"
    config.write_bytes(options.encode() + b"local=/" + entries.rstrip(b"\n").replace(b"\n", b"/\nlocal=/") + b"/\n")
    return ["dnsmasq", "-C", str(config)]


NFT = Loader("nft", "nft", "nftables", _nft)
IPSET = Loader("ipset", "ipset", "ipset", _ipset)
UNBOUND = Loader("unbound", "unbound", "unbound", _unbound_zones, "-V", serves=True)
UNBOUND_RPZ = Loader("unbound, RPZ", "unbound", "unbound", _unbound_rpz, "-V", serves=True)
DNSMASQ = Loader("dnsmasq", "dnsmasq", "dnsmasq-base", _dnsmasq, serves=True)


def load(loader: Loader, entries: bytes) -> Measurement:
    """Seconds, with `loader_mb` (its process at its peak), `kernel_mb` and `together_mb`. bench.E004 where it fails."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as text, _home() as home:
        folder = Path(text)
        command = loader.write(entries, folder)
        before = kernel_bytes()
        began = time.monotonic()
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(home.command(command), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            with PeakMemory(lambda: [process.pid]) as memory:
                name = entries[: entries.index(b"\n")]
                _wait(loader, process, lambda: home.call(lambda: _refuses(name)) if loader.serves else False)
                took = time.monotonic() - began
            if process.returncode or (loader.serves and process.returncode is not None):
                words = (folder / "said").read_text(errors="replace").strip()[:300]
                detail = words or f"exit code {process.returncode}"
                raise ClearwayError.of("bench.E004", command=" ".join(command[:2]), detail=detail)
            kernel = 0 if loader.serves else max(0, kernel_bytes() - before, _told_bytes(loader, home))
        finally:
            process.kill()
            process.wait()
    own = memory.own_peaks_bytes
    details = {"loader_mb": own / 1e6, "kernel_mb": kernel / 1e6, "together_mb": (own + kernel) / 1e6}
    return Measurement(took, details)


@contextmanager
def _home() -> Iterator[Namespace]:
    """A namespace with nothing but its loopback."""
    made = Namespace(f"{PREFIX}{os.getpid()}-{next(_numbers)}-loader")
    made.create()
    try:
        with made.links() as links:
            links.link("set", index=links.link_lookup(ifname="lo")[0], state="up")
        yield made
    finally:
        made.remove()


def _wait(loader: Loader, process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> None:
    """Until it has ended, or answers."""
    deadline = time.monotonic() + LOAD_S_MAX
    while process.poll() is None and not is_ready():
        if time.monotonic() > deadline:
            detail = f"it takes longer than {LOAD_S_MAX:.0f} s"
            raise ClearwayError.of("bench.E004", command=loader.name, detail=detail)
        time.sleep(ASK_EVERY_S)


def _told_bytes(loader: Loader, home: Namespace) -> int:
    """What the kernel itself says that a set takes; 0 where it says nothing."""
    if loader is not IPSET:
        return 0
    done = subprocess.run(home.command(["ipset", "list", "-terse"]), capture_output=True, text=True, check=False)
    found = re.search(r"^Size in memory: (\d+)$", done.stdout, re.MULTILINE)
    return int(found[1]) if found else 0


def _refuses(name: bytes) -> bool:
    """Whether the resolver at PORT of this namespace says that a name is none."""
    question = names_hellos.query(name, 7)
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(0.05)
        asked.connect(("127.0.0.1", PORT))
        asked.send(question)
        answer = asked.recv(512)
        return len(answer) > 3 and answer[3] & 15 == NXDOMAIN
    return False
