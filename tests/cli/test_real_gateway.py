"""The commands beside a real gateway, in network namespaces of the test's own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import Call
from patience import HUNG_S

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces]

INSIDE, OUTSIDE, OTHER = "10.88.0.1", "10.88.1.1", "10.88.1.2"


class Wire:
    """Two hosts with a gateway between them."""

    def __init__(self, tag: str) -> None:
        self.inside, self.gateway, self.outside = (f"cw-cli-{tag}-{side}" for side in ("in", "gw", "out"))
        for name in (self.inside, self.gateway, self.outside):
            ip("netns", "add", name)
        for name, port, host in ((self.inside, "inside", "in0"), (self.outside, "outside", "out0")):
            ip("link", "add", host, "netns", name, "type", "veth", "peer", "name", port, "netns", self.gateway)
            ip("-n", name, "link", "set", host, "up")
            ip("-n", self.gateway, "link", "set", port, "up")
        ip("-n", self.inside, "addr", "add", f"{INSIDE}/16", "dev", "in0")
        for address in (OUTSIDE, OTHER):
            ip("-n", self.outside, "addr", "add", f"{address}/16", "dev", "out0")

    def reaches(self, address: str) -> bool:
        """Asked again until it is answered, for as long as a busy machine takes."""
        return self._ping(address, "-i", "0.2", "-w", "20")

    def is_cut_off_from(self, address: str) -> bool:
        return not self._ping(address, "-W", "1")

    def _ping(self, address: str, *options: str) -> bool:
        command = ["ip", "netns", "exec", self.inside, "ping", "-c", "1", *options, address]
        return subprocess.run(command, capture_output=True, timeout=HUNG_S).returncode == 0

    def status_of(self, name: str) -> int:
        """What a web server outside, or whoever answers in its place, says of a request for that name."""
        code = (
            "import http.client, sys; connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=60)\n"
            "connection.request('GET', '/', headers={'Host': sys.argv[2]}); print(connection.getresponse().status)"
        )
        command = ["ip", "netns", "exec", self.inside, sys.executable, "-c", code, OUTSIDE, name]
        return int(subprocess.run(command, capture_output=True, timeout=HUNG_S, check=True, text=True).stdout)

    def remove(self) -> None:
        for name in (self.inside, self.gateway, self.outside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=HUNG_S)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=HUNG_S)


@pytest.fixture
def wire(state: Path, program: Call, tmp_path: Path) -> Iterator[Wire]:
    """A wire with a running gateway on it."""
    tag = str(os.getpid())
    made = Wire(tag)
    name = f"cw-cli-{tag}"
    command = [sys.executable, "-m", "clearway.cli.app", "run", "--inside", "inside", "--outside", "outside"]
    # a busy machine may keep the inspector from its core: then a request is sent again instead of passing unread
    command += ["--on-failure", "closed"]
    log = tmp_path / "run.log"
    try:
        with log.open("wb") as stderr:
            daemon = subprocess.Popen(
                ["ip", "netns", "exec", made.gateway, *command, "--name", name, "--state", str(state)], stderr=stderr
            )
        try:
            deadline = time.monotonic() + HUNG_S
            while "ready" not in log.read_text().splitlines():
                assert daemon.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield made
        finally:
            detached = program("detach", "--name", name)
            daemon.wait(HUNG_S)
        assert detached.code == 0, detached.err
    finally:
        made.remove()


def test_decisions_are_in_force_when_the_command_returns(wire: Wire, cli: Call, a_list: Path) -> None:
    assert wire.reaches(OUTSIDE)
    assert "  in force\n" in cli("block", OUTSIDE, "--reason", "scanner", "--until", "1h").out
    assert wire.is_cut_off_from(OUTSIDE)
    assert cli("grant", INSIDE, "--organisation", "Example", "--until", "1h").code == 0
    assert wire.reaches(OUTSIDE)
    assert cli("revoke", INSIDE).code == 0
    assert wire.is_cut_off_from(OUTSIDE)
    assert cli("unblock", OUTSIDE).code == 0
    assert wire.reaches(OUTSIDE)
    a_list.write_text(f"{OTHER}\n185.0.2.0/24\n")
    assert cli("feed", "protected", "remove", "10.88.0.0/16", "--note", "a lab's own").code == 0
    assert "  in force\n" in cli("feed", "add", "drop", a_list, "--reason", "malware").out
    assert wire.is_cut_off_from(OTHER)
    assert cli("unblock", OTHER, "--until", "1d").code == 0
    assert wire.reaches(OTHER)
    assert cli("bypass", "on", "--for", "10m").code == 0
    assert cli("block", OTHER, "--reason", "scanner", "--until", "1h").code == 0
    assert wire.reaches(OTHER)
    assert cli("bypass", "off").code == 0
    assert wire.is_cut_off_from(OTHER)
    assert cli("feed", "remove", "drop").code == 0
    assert cli("unblock", OTHER).code == 0
    assert wire.reaches(OTHER)
    status = cli("status", "--json").json
    assert status["wanted"] == status["enforced"]
    dropped = {row["reason"] for row in status["counters"]}
    assert {"forwarded", "blocked-destination", "listed-destination"} <= dropped


@pytest.fixture
def web(wire: Wire, tmp_path: Path) -> Iterator[Wire]:
    """The same wire with a web server outside, whatever names it is asked for."""
    (tmp_path / "web").mkdir()
    command = [sys.executable, "-m", "http.server", "80", "--directory", str(tmp_path / "web")]
    with subprocess.Popen(["ip", "netns", "exec", wire.outside, *command], stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + HUNG_S
        while (
            subprocess.run(
                ["ip", "netns", "exec", wire.outside, "ss", "-Hlnt", "sport", "= :80"],
                capture_output=True,
                timeout=HUNG_S,
            ).stdout
            == b""
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield wire
        server.terminate()


def test_names_are_in_force_when_the_command_returns(web: Wire, cli: Call, state: Path, tmp_path: Path) -> None:
    assert web.status_of("bad.example") == 200
    assert "  in force\n" in cli("block", "bad.example", "--reason", "phishing", "--until", "1h").out
    assert (web.status_of("bad.example"), web.status_of("www.bad.example")) == (403, 403)
    assert (web.status_of("good.example"), web.status_of("notbad.example")) == (200, 200)
    assert cli("unblock", "bad.example").code == 0
    assert web.status_of("bad.example") == 200
    phish = tmp_path / "phish.txt"
    phish.write_text("worse.example\nwww.worse.example\n")
    assert "  in force\n" in cli("feed", "add", "phish", phish, "--reason", "phishing").out
    assert (web.status_of("worse.example"), web.status_of("other.worse.example")) == (403, 200)
    assert "  in force\n" in cli("unblock", "worse.example", "--until", "1h").out
    assert (web.status_of("worse.example"), web.status_of("www.worse.example")) == (200, 200)
    assert (
        "  in force\n"
        in cli("block", "www.worse.example", "--reason", "malware", "--until", "1h", "--scope", "exact").out
    )
    assert (web.status_of("www.worse.example"), web.status_of("worse.example")) == (403, 200)
    _told_of_names(state / "eve.json", 4)
    top = {row["entry"] for row in cli("status", "--json").json["top"]}
    assert top == {"bad.example", "worse.example", "www.worse.example"}
    assert cli("feed", "remove", "phish").code == 0
    assert web.status_of("www.worse.example") == 403
    told = _told_of_names(state / "eve.json", 5)
    assert [(row["http"]["hostname"], row["clearway"]["rules"][0]["list"]) for row in told] == [
        ("bad.example", "block"),
        ("www.bad.example", "block"),
        ("worse.example", "phish"),
        ("www.worse.example", "block"),
        ("www.worse.example", "block"),
    ]
    assert all(INSIDE not in json.dumps(row) for row in told), "an inside host is told by its pseudonym"
    status = cli("status", "--json").json
    assert status["names"]["refused"]["http"] == 5


def _told_of_names(path: Path, count: int) -> list[dict[str, Any]]:
    """The lines about names, as soon as there are so many."""
    deadline = time.monotonic() + HUNG_S
    while True:
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        told = [row for row in rows if "http" in row]
        if len(told) >= count or time.monotonic() > deadline:
            return told
        time.sleep(0.05)


def test_explain_live_agrees_with_the_kernel_and_says_when_it_does_not(wire: Wire, cli: Call, state: Path) -> None:
    assert cli("block", "192.0.2.0/24", "--reason", "scanner", "--until", "1h").code == 0
    assert cli("block", "2001:db8::/32", "--reason", "scanner", "--until", "1h").code == 0
    assert cli("grant", INSIDE, "--organisation", "Example", "--until", "1h").code == 0
    for target in ("192.0.2.9", "2001:db8::9", "198.51.100.1", INSIDE):
        told = cli("explain", target, "--live", "--json")
        assert (told.code, told.json["live"]["differs"]) == (0, False), told.out
    _store_behind_its_back(state)
    told = cli("explain", "198.51.100.1", "--live", "--json")
    assert (told.code, told.json["live"]["differs"]) == (1, True)
    assert "The kernel differs from the policy" in cli("explain", "198.51.100.1", "--live").out


def test_status_watches_as_a_stream_of_objects(wire: Wire, state: Path) -> None:
    command = [sys.executable, "-m", "clearway.cli.app", "status", "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.terminate()
    assert [line["gateway"]["state"] for line in lines] == ["serving", "serving"]


def _store_behind_its_back(state: Path) -> None:
    """A decision that no gateway heard of: what the kernel holds is now another policy than the stored one."""
    code = (
        "import sys, pathlib; from datetime import UTC, datetime; from clearway import store\n"
        "store.setup(pathlib.Path(sys.argv[1])); from clearway.store import decide\n"
        "from clearway.store.requests import BlockRequest\n"
        "request = BlockRequest(target='198.51.100.0/24', reason='malware', until='1h')\n"
        "decide.block(request, datetime.now(UTC), 'x')"
    )
    subprocess.run([sys.executable, "-c", code, str(state)], check=True, timeout=HUNG_S)
