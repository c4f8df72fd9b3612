"""A running gateway, and ranges that are published after a list and a block that hold them: it lets go at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Running, gateway
from wires import Wire

from clearway.errors import ClearwayError

INSIDE = "10.9.0.7"
RANGE, BESIDE, BLOCKED, TENANT = "195.20.5.7", "195.20.4.7", "196.40.3.3", "185.100.1.1"


def dropped(running: Running, address: str) -> bool:
    """What the loaded programs say of a packet from that address outside."""
    return running.fate(address, INSIDE, "inbound")[0] != "forwarded"


@pytest.fixture
def served(wire: Wire, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server in the gateway's namespace: its URL and its folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    subprocess.run(["ip", "-n", wire.gateway, "link", "set", "lo", "up"], check=True)
    command = ["ip", "netns", "exec", wire.gateway, sys.executable, "-u", "-m", "http.server", "8087"]
    process = subprocess.Popen(
        [*command, "--bind", "127.0.0.1", "--directory", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()  # it listens
    yield "http://127.0.0.1:8087", folder
    process.kill()
    process.wait()


def refusal(running: Running, method: str, path: str, body: dict[str, str]) -> str:
    """The id of the error that it answers."""
    with pytest.raises(ClearwayError) as told:
        running.ask(method, path, body)
    return told.value.id


def test_ranges_published_later_win_in_the_kernel(wire: Wire, tmp_path: Path, served: tuple[str, Path]) -> None:
    url, folder = served
    (folder / "bad.txt").write_text(f"195.20.0.0/20\n{RANGE}\n{TENANT}\n2a0e:b100::/32\n")
    ranges = folder / "ranges.txt"
    ranges.write_text("195.20.5.0/24\n196.40.3.0/24\n2a0e:b100:5::/48\n")
    block = {"target": "196.40.0.0/16", "reason": "malware", "until": "1h"}
    edge = {"name": "edge", "source": f"{url}/ranges.txt", "vendor": "fastly", "format": "cidr-lines"}
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        bad = {"name": "bad", "source": f"{url}/bad.txt", "reason": "malware", "format": "ip-plain"}
        running.ask("POST", "/v1/feeds", bad)
        running.ask("POST", "/v1/block", block)
        assert all(dropped(running, each) for each in (RANGE, BESIDE, BLOCKED, TENANT))
        assert running.fate("2a0e:b100:5::1", "2001:db8::7", "inbound")[0] == "listed-source"

        answer = running.ask("POST", "/v1/cdn", edge)
        assert answer["enforced"]
        assert answer["counts"]["front-end"] == 3
        assert not dropped(running, RANGE)
        assert not dropped(running, BLOCKED)
        assert running.fate("2a0e:b100:5::1", "2001:db8::7", "inbound")[0] == "forwarded"
        assert dropped(running, BESIDE)
        assert dropped(running, "195.20.6.1")

        status = running.status()
        assert status["held_back"] == ["196.40.0.0/16"]
        assert any("a front end of Fastly" in problem for problem in status["health"]["problems"])
        assert {"edge", "bundled-akamai"} <= {row["name"] for row in status["shared_ranges"]}
        assert refusal(running, "POST", "/v1/block", {**block, "target": BLOCKED}) == "feeds.E048"
        told = running.clearway("explain", RANGE)
        assert (told["outcome"], told["decided_by"]["ranges"]) == ("forwarded", "edge")

        ranges.write_text("<html>gone</html>\n")
        assert refusal(running, "POST", "/v1/cdn/edge/update", {}) == "feeds.E052"
        assert not dropped(running, RANGE)
        assert any("edge: the update of" in problem for problem in running.status()["health"]["problems"])

        (folder / "tenants.csv").write_text("185.100.1.0/24,NL,,,\n")
        running.ask("POST", "/v1/cdn", {"name": "let", "source": f"{url}/tenants.csv", "vendor": "linode"})
        assert dropped(running, TENANT), "a single host, of a list fetched today"

        running.ask("DELETE", "/v1/cdn/edge", {})
        assert dropped(running, RANGE)
        assert dropped(running, BLOCKED)
        assert running.status()["held_back"] == []
