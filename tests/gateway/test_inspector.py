"""Names in a running gateway: the inspector comes with the first one, holds no right, and outlives any death."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import HUNG_S, until
from running import Running, gateway
from wires import INSIDE_ADDRESS, OUTSIDE_ADDRESS, ip
from wires import wire as make_wire

from clearway._engine import LIMITS
from clearway.gateway import inspector_names, rights

pytestmark = pytest.mark.kernel

NAME = "bad.example"
CAP_SYS_RESOURCE = 24
CLIENT = """
import socket, sys
def ask(name):
    head = bytes.fromhex("123401000001000000000001")
    body = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + bytes([0, 0, 1, 0, 1])
    options = bytes([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0])
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(float(sys.argv[3]))
    for _ in range(int(sys.argv[4])):
        s.sendto(head + body + options, (sys.argv[2], 53))
        try: return s.recv(4096)
        except TimeoutError: pass
    return b""
sys.stdout.write(ask(sys.argv[1]).hex())
"""


def answer_to(running: Running, name: str, wait_s: float = 5.0, tries: int = 12) -> bytes:
    """What a query for a name, to a host that answers none, is answered with; empty: nothing. Asked again, as any
    client does: while a busy machine keeps the inspector from its core a query passes unread."""
    ask = [sys.executable, "-c", CLIENT, name, OUTSIDE_ADDRESS, str(wait_s), str(tries)]
    command = ["ip", "netns", "exec", running.wire.inner, *ask]
    return bytes.fromhex(subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, check=True).stdout)


def is_unanswered(running: Running, name: str) -> bool:
    return answer_to(running, name, wait_s=1.0, tries=1) == b""


def unread(status: dict[str, Any]) -> int:
    """Packets that passed since the inspector was away."""
    return int(status["facts"].get("inspector-away", {"packets": 0})["packets"])


def taps(running: Running) -> list[str]:
    links = json.loads(ip("-json", "link", "show", namespace=running.wire.gateway))
    return [link["ifname"] for link in links if link["ifname"].startswith("cw")]


@pytest.fixture
def blocking(root: None, tmp_path: Path) -> Iterator[Running]:
    """A gateway of its own that blocks one name."""
    with make_wire() as made, gateway(made, tmp_path / "state") as started:
        started.start()
        assert started.pings()
        started.clearway("block", NAME, "--reason", "phishing", "--until", "1h")
        yield started


def test_the_inspector_comes_with_the_first_name_and_goes_with_detach(root: None, tmp_path: Path) -> None:
    with make_wire() as made, gateway(made, tmp_path / "state") as running:
        running.start()
        names = running.status()["names"]
        assert (names["active"], names["inspector"], taps(running)) == (False, None, [])
        running.clearway("block", NAME, "--reason", "phishing", "--until", "1h")
        names = running.status()["names"]
        assert names["active"] and names["single"] == 1
        until(lambda: running.status()["names"]["inspector"]["alive"], "its heart does not beat")
        assert len(taps(running)) == 2
        until(lambda: running.status()["health"]["ok"], "it is ill with a name in force")
        running.clearway("detach", "--name", running.name)
        assert taps(running) == []


def test_the_inspector_has_no_capability(blocking: Running) -> None:
    document = blocking.status()["names"]["inspector"]
    for pid in (document["pid"], document["keeper"]):
        rows = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert {rows[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {f"{0:016x}"}
        assert rows["Uid"].split()[0] != "0"
    assert document["nice"] == os.getpriority(os.PRIO_PROCESS, document["pid"])
    if _may_raise_limits():
        assert os.getpriority(os.PRIO_PROCESS, document["pid"]) == rights.NICE_LEAST


def _may_raise_limits() -> bool:
    rows = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(rows["CapEff"], 16) >> CAP_SYS_RESOURCE & 1)


def test_a_refused_query_is_answered_counted_and_told_of_without_the_inside_address(blocking: Running) -> None:
    assert is_unanswered(blocking, "good.example")
    answer = answer_to(blocking, f"www.{NAME}")
    assert answer[:2] == b"\x12\x34" and answer[3] & 15 == 3, answer
    status = blocking.status()
    names = status["names"]
    assert names["refused"]["dns"] == names["answered"]["dns"] == 1
    assert names["flows"]["dns"]["seen"] == 2 or unread(status)
    events = blocking.state / "eve.json"
    until(lambda: events.exists() and "rrname" in events.read_text(), "nothing is told of it")
    record = next(line for line in map(json.loads, events.read_text().splitlines()) if "dns" in line)
    assert record["dns"] == {"rrname": f"www.{NAME}"} and record["dest_ip"] == OUTSIDE_ADDRESS
    assert record["drop"] == {"reason": "refused-name", "answered": "dns"}
    assert INSIDE_ADDRESS not in events.read_text()
    (rule,) = record["clearway"]["rules"]
    assert (rule["list"], rule["reason"], rule["entry"]) == ("block", "phishing", NAME)


def test_after_a_kill_of_any_of_its_processes_names_are_enforced_again(blocking: Running) -> None:
    for victim in ("pid", "keeper", "pid"):
        document = blocking.status()["names"]["inspector"]
        os.kill(document[victim], signal.SIGKILL)

        def is_back(before: dict[str, int] = document) -> bool:
            now = blocking.status()["names"]["inspector"]
            return bool(now["alive"] and now["pid"] != before["pid"])

        until(is_back, f"the inspector is not back after its {victim} was killed")
        assert answer_to(blocking, NAME)[3] & 15 == 3
    begun_anew = blocking.said().count(
        "stands still, and is begun anew"
    )  # by the daemon, of a machine that stood still
    assert blocking.status()["names"]["inspector"]["restarts"] == 3 + begun_anew


def test_another_daemon_takes_the_taps_over(blocking: Running) -> None:
    before = taps(blocking)
    blocking.kill()
    blocking.start()
    assert taps(blocking) == before
    assert answer_to(blocking, NAME)[3] & 15 == 3
    assert blocking.stop() == 0
    blocking.start()
    assert answer_to(blocking, NAME)[3] & 15 == 3
    blocking.clearway("detach", "--name", blocking.name)
    blocking.start()
    assert answer_to(blocking, NAME)[3] & 15 == 3


def test_an_inspector_that_stands_still_is_begun_anew(blocking: Running) -> None:
    before = blocking.status()["names"]["inspector"]["pid"]
    os.kill(before, signal.SIGSTOP)
    until(lambda: blocking.status()["names"]["inspector"]["pid"] != before, "it still stands")
    assert answer_to(blocking, NAME)[3] & 15 == 3


@pytest.mark.parametrize("victims", [(0,), (1,), (0, 1)])
def test_a_tap_that_somebody_takes_away_is_made_again(blocking: Running, victims: tuple[int, ...]) -> None:
    before = taps(blocking)
    pid = blocking.status()["names"]["inspector"]["pid"]
    for victim in victims:
        ip("link", "del", before[victim], namespace=blocking.wire.gateway)

    def is_back() -> bool:
        inspector = blocking.status()["names"]["inspector"]
        stand = sorted(taps(blocking)) == sorted(before)
        return bool(stand and inspector and inspector["alive"] and inspector["pid"] != pid)

    until(is_back, "names are not enforced again")
    assert answer_to(blocking, NAME)[3] & 15 == 3
    until(lambda: blocking.status()["health"]["ok"], "it is well, and says otherwise")


def test_one_name_changes_only_its_own_keys(blocking: Running) -> None:
    others = [f"n{number}.other.example" for number in range(20)]
    for name in others:
        blocking.ask("POST", "/v1/block", {"target": name, "reason": "phishing", "until": "1h"})
    blocking.clearway("unblock", others[0])
    blocking.clearway("block", NAME, "--scope", "exact", "--reason", "phishing", "--until", "1h")
    assert is_unanswered(blocking, others[0])
    assert is_unanswered(blocking, f"www.{NAME}")
    for name in (others[1], others[-1], NAME):
        assert answer_to(blocking, name)[3] & 15 == 3, name


def test_a_name_that_is_let_go_is_answered_no_longer(blocking: Running) -> None:
    assert answer_to(blocking, NAME) != b""
    blocking.clearway("unblock", NAME)
    assert is_unanswered(blocking, NAME)
    assert not blocking.status()["names"]["active"]


def test_protocols_and_classes_are_those_of_the_programs(blocking: Running) -> None:
    flows = blocking.status()["names"]["flows"]
    assert tuple(flows) == inspector_names.PROTOCOLS
    assert all(tuple(classes) == inspector_names.CLASSES for classes in flows.values())
    assert len(inspector_names.CLASSES) == LIMITS["NAME_CLASSES"]


def test_a_name_of_a_list_is_refused_and_its_list_is_hit(root: None, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"n{number}.listed.example\n" for number in range(2000)))
    with make_wire() as made, gateway(made, tmp_path / "state") as running:
        running.start()
        assert running.pings()
        running.clearway("feed", "add", "names", str(names), "--reason", "malware")
        status = running.status()
        assert status["names"]["active"] and status["names"]["listed"] == 2000
        answer = answer_to(running, "n7.listed.example")
        assert answer[3] & 15 == 3 and b"source names; rule names" in answer, answer
        assert str(tmp_path).encode() not in answer
        assert is_unanswered(running, "n7777.listed.example")

        def hits() -> int:
            return next(int(each["hits"]) for each in running.status()["lists"] if each["feed"] == "names")

        until(lambda: hits() == 1, "the list was not hit")
        assert str(names) not in (running.state / "eve.json").read_text()
        checked = running.status()
        assert checked["wanted"] == checked["enforced"]
        running.clearway("feed", "remove", "names")
        assert not running.status()["names"]["active"]
        assert is_unanswered(running, "n7.listed.example")
