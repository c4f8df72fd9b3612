"""What a refused query looks like through a validating resolver, and to a stub that has two: docs/decisions/0010.

The resolver and the stub stand inside; the zones' server outside, and a copy of it that no gateway stands in front of.
REFUSED in place of NXDOMAIN is tried with CLEARWAY_TESTS=all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateway_between import Between, gateway_between
from host_pair import SERVER, Finished
from patience import HUNG_S
from zone_server import ADDRESS, write_zones

from clearway.lab.namespace import Namespace

SIGNED, UNSIGNED = "signed.example", "unsigned.example"
BAD, GOOD = "bad", "good"
BESIDE = "127.0.0.2"
RESOLVER = "127.0.0.1"
ATTEMPTS_MAX = 8
ANSWERS = ("nxdomain", "refused") if os.environ.get("CLEARWAY_TESTS") == "all" else ("nxdomain",)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.namespaces,
    pytest.mark.skipif(not shutil.which("unbound"), reason="needs unbound"),
    pytest.mark.skipif(not shutil.which("dig"), reason="needs dig"),
]


@dataclass
class Asking:
    """Who asks, and how the gateway answers."""

    between: Between
    answer: str

    def refused(self) -> int:
        """Queries that the gateway refused so far."""
        count: int = self.between.names()["refused"]["dns"]
        return count

    def status(self, name: str) -> tuple[str, bool]:
        """What the resolver says of a name's address: the status's word, and whether it vouches for the answer."""
        said = self.between.pair.run(["dig", "+tries=1", "+time=60", f"@{RESOLVER}", name]).out
        head = next(line for line in said.splitlines() if "status: " in line)
        flags = next(line for line in said.splitlines() if line.startswith(";; flags:"))
        return head.split("status: ")[1].split(",")[0], " ad" in flags.split(";")[2]

    def resolved(self, name: str) -> Finished:
        """By the C library's stub, which asks the server behind the gateway first, then the one beside it."""
        settings = self.between.pair.folder / "resolv.conf"
        settings.write_text(f"options timeout:20\nnameserver {SERVER.v4}\nnameserver {BESIDE}\n")
        words = 'mount --bind "$0" /etc/resolv.conf && exec getent ahostsv4 "$1"'
        for _ in range(ATTEMPTS_MAX):
            before = self.unread()
            finished = self.between.pair.run(["unshare", "--mount", "sh", "-c", words, str(settings), name])
            if self.unread() == before:
                break
        return finished

    def unread(self) -> int:
        """Packets that were dropped since a busy machine kept the inspector from its core; a stub then asks the next
        server."""
        return sum(row["packets"] for row in self.between.status()["counters"] if row["reason"] == "not-inspected")


@contextlib.contextmanager
def started(namespace: Namespace, *command: str | Path) -> Iterator[None]:
    """A server that says that it is ready, on its first line."""
    process = subprocess.Popen(
        namespace.command([str(word) for word in command]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", process.stdout.read()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def unbound(between: Between, anchor: str) -> Iterator[None]:
    """Validating, with the server outside for both zones."""
    folder = between.pair.folder
    stubs = "".join(f'stub-zone:\n  name: "{zone}"\n  stub-addr: {SERVER.v4}\n' for zone in (SIGNED, UNSIGNED))
    (folder / "unbound.conf").write_text(
        f'server:\n  interface: {RESOLVER}\n  do-daemonize: no\n  chroot: ""\n  username: ""\n  directory: "{folder}"\n'
        f'  pidfile: "{folder}/unbound.pid"\n  use-syslog: no\n  module-config: "validator iterator"\n'
        f'  trust-anchor: "{anchor}"\n{stubs}remote-control:\n  control-enable: no\n'
    )
    with (folder / "unbound.log").open("wb") as log:
        command = ["unbound", "-d", "-c", str(folder / "unbound.conf")]
        process = subprocess.Popen(between.pair.client.namespace.command(command), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + HUNG_S
        while between.pair.run(["dig", "+tries=1", "+time=1", f"@{RESOLVER}", "version.bind", "CH", "TXT"]).code:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "unbound.log").read_text()
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=ANSWERS)
def asking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    folder: Path = tmp_path_factory.mktemp("resolvers")
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    anchor = write_zones(folder, [BAD, GOOD], SIGNED, UNSIGNED)
    server = Path(__file__).with_name("zone_server.py")
    with (
        gateway_between(folder, folder / "state", "--on-failure", "closed", "--dns-answer", request.param) as between,
        started(between.pair.server.namespace, sys.executable, server, folder, SERVER.v4),
        started(between.pair.client.namespace, sys.executable, server, folder, BESIDE),
        unbound(between, anchor),
    ):
        for zone in (SIGNED, UNSIGNED):
            between.refuse(f"{BAD}.{zone}")
        yield Asking(between, request.param)


def test_clean_names_are_resolved_and_vouched_for_where_they_are_signed(asking: Asking) -> None:
    assert asking.status(f"{GOOD}.{SIGNED}") == ("NOERROR", True)
    assert asking.status(f"{GOOD}.{UNSIGNED}") == ("NOERROR", False)
    assert ADDRESS in asking.resolved(f"{GOOD}.{UNSIGNED}").out


def test_a_refused_name_of_an_unsigned_zone_is_passed_on_and_kept(asking: Asking) -> None:
    before = asking.refused()
    expected = {"nxdomain": "NXDOMAIN", "refused": "SERVFAIL"}[asking.answer]
    assert asking.status(f"{BAD}.{UNSIGNED}") == (expected, False)
    asked = asking.refused()
    assert asked > before
    assert asking.status(f"{BAD}.{UNSIGNED}") == (expected, False)
    assert asking.answer == "refused" or asking.refused() == asked, "it did not keep the answer"


def test_a_refused_name_of_a_signed_zone_is_an_error(asking: Asking) -> None:
    assert asking.status(f"{BAD}.{SIGNED}") == ("SERVFAIL", False)


def test_a_stub_with_two_resolvers_asks_the_second_where_the_first_refuses(asking: Asking) -> None:
    finished = asking.resolved(f"{BAD}.{UNSIGNED}")
    if asking.answer == "nxdomain":
        assert (finished.code, finished.out) == (2, ""), finished.said
    else:
        assert ADDRESS in finished.out, finished.said
