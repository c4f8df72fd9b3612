"""A client and a server in network namespaces of their own, one veth apart.

Both families, one Ethernet segment. Programs of the client find names in a hosts file of their own, so that no query
is needed before the conversation that a test is about. Names of the namespaces begin with cwn-.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearway.lab.namespace import End, Namespace, wire

sys.path.insert(0, str(Path(__file__).parents[1]))  # for programs that are started here by themselves

import own_namespaces
from patience import HUNG_S

PREFIX = "cwn"
DOMAIN = "clients.example"
REFUSED_DOMAIN = "refused.example"
"""What the gateway of a test is told to refuse, with everything below it."""
MTU_DEFAULT = 1500
CLIENT_END_S = HUNG_S


@dataclass(frozen=True)
class Host:
    mac: str
    v4: str
    v6: str

    def address(self, family: str) -> str:
        return self.v4 if family == "v4" else self.v6


CLIENT = Host("02:c1:ea:00:00:11", "192.0.2.11", "2001:db8:1::11")
SERVER = Host("02:c1:ea:00:00:22", "192.0.2.22", "2001:db8:1::22")
FAMILIES = ("v4", "v6")


@dataclass
class Pair:
    """The two ends, and the folder of what the client's programs read: `hosts`, certificates."""

    client: End
    server: End
    folder: Path

    def run(self, command: Sequence[str], given: bytes = b"", timeout_s: float = CLIENT_END_S) -> Finished:
        """The client's program, to its end; killed when it takes longer."""
        # a mount namespace of its own, so that /etc/hosts is ours for it alone
        words = 'mount --bind "$0" /etc/hosts && exec "$@"'
        whole = ["unshare", "--mount", "sh", "-c", words, str(self.folder / "hosts"), *command]
        environment = {**os.environ, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environment.pop(name, None)
        # a session of its own: a browser is many processes
        process = subprocess.Popen(
            self.client.namespace.command(whole),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        try:
            said, complained = process.communicate(given, timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            said, complained = process.communicate()
            return Finished(124, _text(said), f"no end within {timeout_s} s\n{_text(complained)}")
        return Finished(process.returncode, _text(said), _text(complained))


@dataclass(frozen=True)
class Finished:
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def _text(words: bytes) -> str:
    return words.decode(errors="replace")


def host_name(label: str, family: str, domain: str = DOMAIN) -> str:
    """A name of the server that has an address of that family alone."""
    return f"{label}-{family}.{domain}"


def write_hosts(folder: Path, labels: Sequence[str]) -> None:
    """Each label's names of both families and domains, at the server."""
    rows = [
        f"{SERVER.address(family)} {host_name(label, family, domain)}"
        for label in labels
        for family in FAMILIES
        for domain in (DOMAIN, REFUSED_DOMAIN)
    ]
    (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *rows]) + "\n")


def sweep_leftovers() -> None:
    """Removes namespaces of test processes that are gone."""
    own_namespaces.sweep(PREFIX)


def fresh_namespaces(*names: str) -> contextlib.AbstractContextManager[list[Namespace]]:
    """Removed at the end whatever happens."""
    return own_namespaces.fresh(PREFIX, *names)


@contextlib.contextmanager
def serving(pair: Pair) -> Iterator[None]:
    """lab_server.py runs at the pair's server, and listens when the block begins."""
    command = [sys.executable, str(Path(__file__).with_name("lab_server.py")), str(pair.folder)]
    complaints = (pair.folder / "server.log").open("ab")
    process = subprocess.Popen(pair.server.namespace.command(command), stdout=subprocess.PIPE, stderr=complaints)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", (pair.folder / "server.log").read_text()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        complaints.close()


@contextlib.contextmanager
def host_pair(folder: Path, *, mtu: int = MTU_DEFAULT) -> Iterator[Pair]:
    """One wire apart, up and addressed."""
    with fresh_namespaces("client", "server") as (client, server):
        pair = Pair(End(client, "eth0"), End(server, "eth0"), folder)
        wire(pair.client, pair.server, mtu=mtu)
        address_hosts(pair)
        yield pair


def address_hosts(pair: Pair) -> None:
    """What both hosts are called, in one segment; usable at once."""
    for end, host in ((pair.client, CLIENT), (pair.server, SERVER)):
        end.namespace.sysctl(
            {f"ipv6/conf/{end.interface}/accept_dad": "0", f"ipv6/conf/{end.interface}/accept_ra": "0"}
        )
        end.set(state="down")
        end.set(address=host.mac)
        end.set(state="up")
        with end.namespace.links() as links:
            index = links.link_lookup(ifname=end.interface)[0]
            links.addr("add", index=index, address=host.v4, prefixlen=24)
            links.addr("add", index=index, address=host.v6, prefixlen=64)


def set_port(end: End, setting: str, value: int) -> None:
    """Writes /sys/class/net/PORT/SETTING, which shows only the ports of the namespace that sysfs was mounted in."""
    words = 'mount -t sysfs sysfs /sys && echo "$1" >"/sys/class/net/$0"'
    command = ["unshare", "--mount", "sh", "-c", words, f"{end.interface}/{setting}", str(value)]
    subprocess.run(end.namespace.command(command), check=True, timeout=HUNG_S)
