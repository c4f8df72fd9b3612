"""`clearway demo` shows what it promises, says so by its exit code, and takes everything away again."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from patience import HUNG_S
from rich.console import Console

from clearway._engine import Inspection
from clearway.errors import ClearwayError
from clearway.gateway.bpffs import PINS
from clearway.gateway.locks import FileLock
from clearway.lab import demo, generated_list, recorded, topology
from clearway.lab.asked import LANE_STYLES, REFUSED_NAME, Asked
from clearway.lab.board import Board, Cost, Crossing, Death, Moment, Timeline
from clearway.lab.demo import clear_away, held, seen
from clearway.lab.gateway import CLEARWAY, GatewayProcess
from clearway.lab.namespace import NETNS_DIRECTORY
from clearway.lab.numbered import Report
from clearway.lab.topology import Lab
from clearway.policy.model import word

DEMO_S_MAX = 900.0
"""It takes one minute on a machine at rest; this is for what hangs."""


def clearway(*words: str, timeout_s: float = HUNG_S) -> subprocess.CompletedProcess[str]:
    command = [*CLEARWAY, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    Lab("demo").down()


def remains() -> list[Path]:
    return [*NETNS_DIRECTORY.glob("demo-*"), *PINS.glob(Lab("demo").gateway_name)]


def test_a_second_one_at_once_is_refused_and_touches_nothing_of_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(topology, "RUN_DIRECTORY", tmp_path)
    monkeypatch.setattr(demo, "require_rights", lambda: None)
    monkeypatch.setattr(Lab, "down", lambda lab: pytest.fail("it takes the first one's lab away"))
    with FileLock.take(tmp_path / "demo.demo"), pytest.raises(ClearwayError) as refused:
        demo.run("demo", False, Console(quiet=True))
    assert (refused.value.id, f"process {os.getpid()}" in refused.value.message) == ("lab.E011", True)


@pytest.mark.kernel
@pytest.mark.namespaces
@pytest.mark.slow
@pytest.mark.timeout(2 * DEMO_S_MAX)
def test_everything_that_it_promises_is_seen_and_what_it_keeps_can_be_tried(nothing_left: None) -> None:
    done = clearway("demo", "--keep", "--json", timeout_s=DEMO_S_MAX)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert all(crossing["as_expected"] for crossing in shown["crossings"])
    assert {crossing["seen_lane"] for crossing in shown["crossings"]} == {"green", "inspected"}
    assert all(asked["as_expected"] for asked in shown["names"])
    assert {asked["refused"] for asked in shown["names"]} == {True, False}
    assert shown["grant"]["as_expected"]
    for death in shown["deaths"]:
        for report in death["reports"]:
            assert report["sent"] > 0
            assert (report["lost"], report["duplicated"], report["reordered"], report["altered"]) == (0, 0, 0, 0)
    for cost in shown["costs"]:
        assert set(cost["turns"]) == {"bare", "inspected", "green"}
    for command in shown["try"]:
        words = command.split()[1:]
        tried = clearway(*words)
        gives_up = "--max-time" in words  # curl, on the malicious host
        assert tried.returncode == (28 if gives_up else 0), (command, tried.stdout, tried.stderr)
    assert remains() == []


@pytest.mark.kernel
@pytest.mark.namespaces
def test_what_is_not_kept_is_taken_away_with_everything_in_the_kernel(nothing_left: None) -> None:
    lab = Lab("demo")
    lab.up(600)
    gateway = GatewayProcess.of(lab)
    gateway.start()
    assert len(remains()) > 1
    clear_away(lab, gateway)
    assert remains() == []


def test_a_generated_list_of_names_has_as_many_as_it_says_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    assert generated_list.write_names(path, 10_000, ["wanted.example"]) == 10_000
    head, *names = path.read_text().splitlines()
    assert head == "# generated: 10000 names"
    assert len(names) == len(set(names)) == 10_000
    assert "wanted.example" in names[1000:-1000]


DNS_TELLS = "NXDOMAIN · EDE 15: phishing; rule names"


@pytest.mark.parametrize(
    ("asked", "as_expected"),
    [
        (Asked("a", "dig b", "inspected", done=True, reached=True, seen_lane="inspected"), True),
        (Asked("a", "dig b", "green", done=True, reached=True, seen_lane="inspected"), False),
        (Asked("a", "dig b", "inspected", done=True, reached=False, seen_refused=REFUSED_NAME), False),
        (Asked("a", "dig b", "inspected", True, done=True, reached=True, seen_lane="inspected"), False),
        (Asked("a", "dig b", "inspected", True, ("EDE",), done=True, seen_refused=REFUSED_NAME, told=DNS_TELLS), True),
        (Asked("a", "dig b", "inspected", True, ("EDE",), done=True, seen_refused=REFUSED_NAME), False),
        (
            Asked("a", "dig b", "inspected", True, ("EDE",), done=True, seen_refused="listed-source", told=DNS_TELLS),
            False,
        ),
        (Asked("a", "dig b", "inspected"), False),
    ],
)
def test_a_refused_name_is_as_expected_only_if_the_user_was_told(asked: Asked, as_expected: bool) -> None:
    assert asked.as_expected is as_expected


def report(lost: int) -> Report:
    return Report(100, 100 - lost, lost, 0, 0, 0, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("crossing", "as_expected"),
    [
        (Crossing("a", "b", "curl", "green", done=True, reached=True, seen_lane="green"), True),
        (Crossing("a", "b", "curl", "green", done=True, reached=True, seen_lane="inspected"), False),
        (Crossing("a", "b", "curl", "green", done=True, reached=False), False),
        (Crossing("a", "b", "curl", "inspected", "listed-source", done=True, seen_refused="listed-source"), True),
        (Crossing("a", "b", "curl", "inspected", "listed-source", done=True, seen_refused="blocked-source"), False),
        (Crossing("a", "b", "curl", "inspected", "listed-source", done=True), False),
        (Crossing("a", "b", "curl", "inspected", "listed-source", done=True, reached=True), False),
        (Crossing("a", "b", "curl", "inspected"), False),
    ],
)
def test_a_crossing_is_as_expected_by_outcome_and_lane_or_reason(crossing: Crossing, as_expected: bool) -> None:
    assert crossing.as_expected is as_expected


REVOKED, RESTORED = Moment(1.0, "revoke", 30.0), Moment(2.0, "grant", 30.0)


@pytest.mark.parametrize(
    ("answered", "as_promised"),
    [
        (lambda at: not 1.03 <= at < 2.0, True),
        (lambda at: not 1.0 <= at < 2.03, True),  # while a request is under way, either may be
        (lambda at: True, False),
        (lambda at: False, False),
        (lambda at: not 1.03 <= at < 1.9, False),
        (lambda at: not 1.03 <= at < 2.2, False),
        (lambda at: at < 1.03, False),
        (lambda at: at < 0.5 or at >= 2.0, False),
    ],
)
def test_a_grant_counts_as_revoked_and_restored_only_if_every_beat_says_so(
    answered: Callable[[float], bool], as_promised: bool
) -> None:
    at = [n * 0.02 for n in range(150)]
    assert held([5 + s for s in at], [answered(s) for s in at], 5.0, [REVOKED, RESTORED]) is as_promised


def test_a_phase_without_beats_proves_nothing() -> None:
    assert not held([5.1], [True], 5.0, [REVOKED, RESTORED])


def test_lane_and_reason_are_told_from_what_the_counters_moved() -> None:
    before = {("inspected", "outbound", "forwarded"): 7, ("inspected", "inbound", "listed-source"): 3}
    late = {**before, ("inspected", "inbound", "listed-source"): 4}
    assert seen(before, before, "") == ("inspected", "")
    assert seen(before, {**before, ("green", "outbound", "forwarded"): 1}, "") == ("green", "")
    assert seen(before, late, "") == ("inspected", "listed-source")
    assert (
        seen(before, {**late, ("inspected", "inbound", "spoofed-inside"): 1}, "spoofed-inside")[1] == "spoofed-inside"
    )
    assert seen(before, late, "spoofed-inside")[1] == "listed-source"


def test_the_board_can_be_drawn_at_any_time_and_size() -> None:
    """Empty, half filled and full; in a low terminal the newest part is what is seen."""
    from rich.console import Console

    board = Board(now="something")
    console = Console(width=120, height=20, force_terminal=True)
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: board.crossings.append(Crossing("a", "b", "curl", "green")),
        lambda: board.names.append(Asked("a", "dig b", "green", done=True, reached=True, seen_lane="green")),
        lambda: board.names.append(Asked("a", "curl http://b/", "inspected", True, done=True, told="403 " * 60)),
        lambda: setattr(board, "timeline", Timeline("beats")),
        lambda: setattr(board, "timeline", Timeline("beats", [*[True] * 300, False, None])),
        lambda: board.deaths.append(Death("green", 100)),
        lambda: board.deaths.append(Death("inspected", 100, (report(0), report(3)))),
    ]
    for change in changes:
        change()
        for height in (0, 20):
            with console.capture() as drawn:
                console.print(board.render(120, height))
            assert "something" in drawn.get()
    assert "kill -9" in drawn.get()


def test_nothing_is_cut_in_a_pipe() -> None:
    """Where it has 80 columns: every value is whole, folded at most."""
    from rich.console import Console

    from clearway.lab import demo_names

    board = Board(
        crossings=[
            Crossing("attacker", "home1", "spoof", "inspected", "listed-destination", done=True, seen_lane="inspected",
                     seen_refused="listed-destination", why="listed-destination · botnet-c2, list million", ms=1234.5),
            Crossing("home2", "web2 (v6)", "curl", "inspected", done=True, reached=True, seen_lane="inspected",
                     why="nothing lists it", ms=1234.5),
        ],
        names=[*demo_names.listed_questions(), *demo_names.blocked_questions()],
        costs=[Cost("bulk TCP, one stream", "Gbit/s", True, {lane: [1234.5] for lane in LANE_STYLES})],
        deaths=[Death("inspected", 5000, (report(12_345), report(3)), 1_234_567)],
    )  # fmt: skip
    for asked in board.names:
        asked.done, asked.reached, asked.seen_lane = True, not asked.refused, "inspected"
        asked.ms, asked.seen_refused, asked.told = 1234.5, REFUSED_NAME, " · ".join(asked.must_say)
    console = Console(width=80, no_color=True)
    with console.capture() as drawn:
        console.print(board.render(80))
    said = drawn.get()
    assert "…" not in said
    for asked in board.names:
        assert asked.asks in said
    assert max(map(len, said.splitlines())) <= 80


X25519_MLKEM768_SHARE = b"\x11\xec\x04\xc0"  # group and length in a hello's key shares
WITHOUT_RIGHTS = {
    "root of a container": ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"],
    "root that may load no programs": ["setpriv", "--bounding-set", "-bpf", "--inh-caps", "-bpf"],
    "nobody": ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"],
}


@pytest.mark.namespaces
@pytest.mark.parametrize("dropped", WITHOUT_RIGHTS.values(), ids=WITHOUT_RIGHTS)
def test_where_no_lab_can_be_built_it_replays_a_recording_and_says_why(dropped: list[str]) -> None:
    done = subprocess.run([*dropped, *CLEARWAY, "demo"], capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No lab can be built here: ")
    assert "a replay, and nothing is enforced" in done.stdout
    assert "refused-name: free-prize.example in list names (phishing)" in done.stdout


def test_the_recording_holds_every_protocol_with_a_clean_and_a_refused_name() -> None:
    flows, judging = recorded.replayed(datetime.now(UTC))
    became: dict[str, set[str]] = {}
    for each in flows:
        lane = "refused" if each.dropped else word(each.outcome.lane)
        became.setdefault(recorded.SPOKEN[each.flow.transport, each.flow.dport], set()).add(lane)
    assert became == {
        "DNS": {"inspected", "refused"},
        "HTTP": {"inspected", "refused"},
        "TLS": {"inspected", "refused", "green"},
        "QUIC": {"inspected", "refused"},
    }
    assert {each.names.first for each in flows} == {*recorded.NAMES, None}
    assert judging.totals.flows["refused-name"] == 6


def test_a_hello_of_the_recording_is_post_quantum_in_two_segments() -> None:
    """One that a reader of single packets misses: the name is whole with the second packet that has a payload."""
    content = recorded.CAPTURE.read_bytes()
    assert X25519_MLKEM768_SHARE in content
    assert len(content) < 25_000
    inspection = Inspection(recorded.CAPTURE, True)
    found = {each.sport: each.frame for each in inspection.findings() or [] if each.proto == "tls" and each.name}
    firsts = {flow.sport: flow.frame for flow in inspection.sums()}
    after_syn = {frame - firsts[port] for port, frame in found.items()}
    assert 4 in after_syn, "SYN, its answer, ACK, one segment, and the second"
