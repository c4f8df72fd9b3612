"""`clearway replay`: each flow of a capture with the rule that would have decided it, by the reference matcher.

The policy is stored by the commands that an operator uses; no gateway runs, and nothing needs rights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from capture_files import write_pcap
from patience import HUNG_S
from test_inspect_cli import query, raw, tcp

REQUEST = b"GET / HTTP/1.1\r\nHost: www.bad.example\r\n\r\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def clearway(state: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLEARWAY_")}
    command = [sys.executable, "-m", "clearway.cli.app", *map(str, arguments), "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, env=environment)


def replay(state: Path, *arguments: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    done = clearway(state, "replay", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    *flows, total = [json.loads(line) for line in done.stdout.splitlines()]
    return flows, total["sum"]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    opened = tcp(b"", sequence=0, flags=2)
    queries = [query("good.example"), query("bad.example"), query("deep.bad.example")]
    return write_pcap(tmp_path / "a.pcap", raw(opened, tcp(REQUEST), *queries, tcp(b"SSH-2.0-x\r\n", dport=22)))


def test_a_blocked_name_drops_its_flow_and_of_dns_the_queries_for_it(state: Path, capture: Path) -> None:
    assert clearway(state, "block", "bad.example", "--reason", "phishing", "--until", "1h").returncode == 0
    flows, total = replay(state, capture)
    told = {(flow["transport"], flow["dport"]): flow for flow in flows}
    http, dns, ssh = told["tcp", 80], told["udp", 53], told["tcp", 22]
    assert (http["verdict"], http["drop_reason"], http["name"]) == ("drop", "refused-name", "www.bad.example")
    assert http["rule"]["kind"] == "block"
    assert (http["rule"]["target"], http["rule"]["reason"]) == ("bad.example", "phishing")
    assert dns["refused"] == ["bad.example", "deep.bad.example"]
    assert (dns["names"], dns["names_refused"], dns["packets"]) == (3, 2, 3)
    assert (ssh["verdict"], ssh["rule"]) == ("forward", None)
    assert total["flows"] == {"refused-name": 2, "inspected": 1}
    assert total["names"] == {"seen": 4, "refused": 3}


def test_an_address_decides_before_a_name_and_says_so(state: Path, capture: Path) -> None:
    clearway(state, "block", "bad.example", "--reason", "phishing", "--until", "1h")
    clearway(state, "block", "198.51.100.0/24", "--reason", "malware", "--until", "1h")
    flows, total = replay(state, capture)
    assert {flow["drop_reason"] for flow in flows} == {"blocked-destination"}
    assert {flow["rule"]["target"] for flow in flows} == {"198.51.100.0/24"}
    assert total["packets"] == {"blocked-destination": 6}


def test_a_granted_flow_is_green_whatever_it_asks_for(state: Path, capture: Path) -> None:
    clearway(state, "block", "bad.example", "--reason", "phishing", "--until", "1h")
    granted = clearway(state, "grant", "192.0.2.0/24", "--organisation", "Clinic", "--until", "1h")
    assert granted.returncode == 0, granted.stderr
    flows, total = replay(state, capture)
    assert {flow["lane"] for flow in flows} == {"green"}
    assert {flow["rule"]["organisation"] for flow in flows} == {"Clinic"}
    assert total["names"]["refused"] == 0


def test_a_snapshot_alone_is_asked_for_its_lists(state: Path, capture: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("198.51.100.2\n")
    clearway(state, "feed", "protected", "remove", "198.51.100.0/24")  # documentation space: no list may hold it
    added = clearway(state, "feed", "add", "ours", listed, "--reason", "scanner")
    assert added.returncode == 0, added.stderr
    clearway(state, "block", "bad.example", "--reason", "phishing", "--until", "1h")
    flows, _ = replay(tmp_path / "nothing", capture, "--policy", state / "snapshots" / "current")
    assert {flow["drop_reason"] for flow in flows} == {"listed-destination"}
    assert {flow["rule"]["list"] for flow in flows} == {"ours"}


def test_a_policy_that_is_none_is_refused_by_name(state: Path, capture: Path, tmp_path: Path) -> None:
    done = clearway(state, "replay", capture, "--policy", tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path} is no compiled policy" in done.stderr and "policy.E013" in done.stderr
    assert "leave --policy out" in " ".join(done.stderr.split()).lower() and "stands" not in done.stderr


def test_where_nothing_was_stored_there_is_no_policy_to_ask(state: Path, capture: Path) -> None:
    done = clearway(state, "replay", capture)
    assert done.returncode == 1
    assert "store.E011" in done.stderr


def test_nothing_is_written_by_looking(state: Path, capture: Path) -> None:
    clearway(state, "block", "bad.example", "--reason", "phishing", "--until", "1h")
    history = clearway(state, "history", "--json").stdout
    replay(state, capture)
    assert clearway(state, "history", "--json").stdout == history


def test_people_see_dropped_flows_and_the_sum(state: Path, capture: Path) -> None:
    clearway(state, "block", "bad.example", "--reason", "phishing", "--until", "1h")
    told = clearway(state, "replay", capture).stdout
    assert "www.bad.example" in told
    assert "refused-name: bad.example (phishing" in told
    assert "inspected" in told
