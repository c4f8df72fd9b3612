"""Held packets keep their order, whatever happens to the inspector; without an inspector the failure policy decides."""

import contextlib
import itertools
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bare_gateway import BareGateway, base_of
from holding import (
    GROUP_FLOWS,
    PACKETS_A_FLOW,
    HeldTraffic,
    holding_gateway,
    inspecting,
    inspector_process,
    wait_for,
)
from running_gateway import running_gateway
from shortwire import ShortWire

from clearway import _engine as engine
from clearway._engine import Fact, NameScope

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

BPF = Path(__file__).resolve().parents[2] / "bpf"
CLANGS = ("clang-19", "clang-18", "clang-17", "clang-16", "clang")
FLOWS = 10_240
DECISION_US = 200
GROUP_S = 0.006
"""16 decisions take half of it."""
GROUPS_S = (0.006, 0.02, 0.03, 0.05, 0.08, 0.12)
OVERTAKING_TURNS_MAX = 120
QUIET_GROUP_S = 0.02
BATCH_FRAMES = 64
RESTART_MS, POLICY_MS = 50, 100
SLOW_MACHINE = 10
"""Limits of time are the design's times this: a busy machine is not what these tests are about. What was measured is
told: `pytest tests/wire/test_holding.py -rP -k 'killed or stopped' | grep measured`, on a quiet machine."""
TellMs = Callable[[str, list[float]], None]


@pytest.fixture
def tell_ms(record_property: Callable[[str, object], None]) -> TellMs:
    def tell(what: str, found: list[float]) -> None:
        record_property(what, found)
        print(f"measured: {what}: {', '.join(f'{each:.1f}' for each in found)} ms")

    return tell


def test_ten_thousand_flows_with_a_slow_decision_keep_their_order(wire: ShortWire) -> None:
    with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps, decision_us=DECISION_US):
        traffic = HeldTraffic(wire, gateway)
        traffic.run(FLOWS, GROUP_S)
        traffic.settle()
        counts = gateway.tables.inspector_counts()
        assert traffic.judged() == (0, 0, 0), counts
        assert counts["flows-held"] == FLOWS
        assert not _failure_policy_acted(gateway)
        state = gateway.tables.hold_state()
        assert state["held"] == state["released"] > FLOWS
        traffic.close()


def test_released_before_the_write_lets_packets_overtake_each_other(wire: ShortWire) -> None:
    conduct = {"decision_us": DECISION_US, "released_first": True}
    with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps, **conduct):
        assert _packets_overtake(HeldTraffic(wire, gateway))
        assert not _failure_policy_acted(gateway)


def test_a_flow_that_goes_direct_as_soon_as_it_is_decided_overtakes_itself(wire: ShortWire, tmp_path: Path) -> None:
    program = _program_with("slot->held[direction] == slot->released[direction]", "true", tmp_path)
    with (
        holding_gateway(wire, program) as (gateway, taps),
        inspecting(wire, gateway, taps, decision_us=DECISION_US),
    ):
        assert _packets_overtake(HeldTraffic(wire, gateway))
        assert not _failure_policy_acted(gateway)


def _packets_overtake(traffic: HeldTraffic) -> bool:
    """Whether any packet comes late, at one of several rates: how fast a TAP drains is the machine's business."""
    for pause_s in itertools.islice(itertools.cycle(GROUPS_S), OVERTAKING_TURNS_MAX):
        traffic.run(traffic.sent // PACKETS_A_FLOW + 2 * GROUP_FLOWS, pause_s)
        if traffic.judged()[2]:
            break
    traffic.settle()
    late = traffic.judged()[2]
    traffic.close()
    return late > 0


def _program_with(old: str, new: str, directory: Path) -> Path:
    """The gateway's program with one expression changed."""
    copy, made = directory / "bpf", directory / "tcx.bpf.o"
    shutil.copytree(BPF, copy)
    text = (copy / "hold.h").read_text()
    assert text.count(old) == 1
    (copy / "hold.h").write_text(text.replace(old, new))
    clang = next(name for name in CLANGS if shutil.which(name))
    built = BPF.parent.glob("target/*/build/libbpf-sys-*/out/include")
    headers = next((path for path in (Path("/usr/include"), *built) if (path / "bpf/bpf_endian.h").exists()), None)
    if headers is None:
        pytest.skip("needs the headers of libbpf")
    system = [f"-isystem/usr/include/{platform.machine()}-linux-gnu", f"-isystem{headers}"]
    flags = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", *system]
    subprocess.run([clang, *flags, "-c", copy / "tcx.bpf.c", "-o", made], check=True, timeout=60)
    return made


def test_a_killed_inspector_costs_at_most_a_batch_and_what_is_queued_goes_on_in_order(
    wire: ShortWire, tell_ms: TellMs
) -> None:
    kills = 5
    with holding_gateway(wire) as (gateway, taps), inspector_process(wire, gateway, taps) as inspector:
        traffic = HeldTraffic(wire, gateway)
        away_ms: list[float] = []
        for _ in range(kills):
            traffic.run(traffic.sent // PACKETS_A_FLOW + 40 * GROUP_FLOWS, 0.003)
            killed = inspector.pid
            os.kill(killed, signal.SIGKILL)
            began_ns = engine.boot_clock_ns()
            while inspector.pid == killed or inspector.view.heartbeat_ns < began_ns:
                traffic.run(traffic.sent // PACKETS_A_FLOW + GROUP_FLOWS, 0.003)
                assert engine.boot_clock_ns() - began_ns < 1e9
            away_ms.append((engine.boot_clock_ns() - began_ns) / 1e6)
        tell_ms("another inspector's heart beats after a kill", away_ms)
        assert max(away_ms) < RESTART_MS * SLOW_MACHINE
        traffic.settle(1.0)
        lost, doubled, late = traffic.judged()
        counts = gateway.tables.inspector_counts()
        assert doubled == 0, counts
        # On a machine so busy that another one comes late the failure policy lets packets past those that wait
        if max(away_ms) < engine.LIMITS["HEARTBEAT_STALE_MS"]:
            assert (late, _failure_policy_acted(gateway)) == (0, False), counts
        assert lost <= kills * BATCH_FRAMES, counts
        assert inspector.restarts == kills
        wait_for(lambda: gateway.tables.hold_state()["live"] == 0)
        state = gateway.tables.hold_state()
        assert state["held"] == state["released"], counts
        assert gateway.tables.inspector_counts()["lost"] >= lost
        traffic.close()


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_a_stopped_inspector_brings_the_failure_policy_within_a_tenth_of_a_second(
    wire: ShortWire, policy: str, tell_ms: TellMs
) -> None:
    with holding_gateway(wire) as (gateway, taps), inspector_process(wire, gateway, taps) as inspector:
        gateway.tables.set_on_failure(policy)
        traffic = HeldTraffic(wire, gateway)
        traffic.run(20 * GROUP_FLOWS, 0.003)
        traffic.settle(0.1)
        os.kill(inspector.pid, signal.SIGSTOP)
        try:
            stopped = time.monotonic()
            while not _failure_policy_acted(gateway):
                traffic.run(traffic.sent // PACKETS_A_FLOW + GROUP_FLOWS, 0.003)
                assert time.monotonic() - stopped < POLICY_MS * SLOW_MACHINE / 1000
            tell_ms(f"the failure policy ({policy}) acts after a stop", [(time.monotonic() - stopped) * 1000])
            traffic.settle(0.1)
            before, first = len(traffic.numbers), traffic.sent
            traffic.run(traffic.sent // PACKETS_A_FLOW + 10 * GROUP_FLOWS, 0.003)
            traffic.settle(0.1)
            arrived = len(traffic.numbers) - before
            sent = traffic.sent - first
            assert arrived == (sent if policy == "open" else sent // PACKETS_A_FLOW)  # a SYN has no name to be read
        finally:
            os.kill(inspector.pid, signal.SIGCONT)
        wait_for(lambda: inspector.alive)
        counted = gateway.counted()
        assert (counted.get("not-inspected", 0) > 0) == (policy == "closed")
        traffic.close()


def _failure_policy_acted(gateway: BareGateway) -> bool:
    return bool({Fact.INSPECTOR_AWAY, Fact.HOLD_FULL} & gateway.tables.facts().keys())


def test_flips_of_lists_and_names_while_packets_are_held_lose_and_reorder_nothing(
    wire: ShortWire, tmp_path: Path
) -> None:
    with holding_gateway(wire) as (gateway, taps), inspector_process(wire, gateway, taps, decision_us=100) as inspector:

        def flip(turn: int, names: str) -> None:
            """The inspector first, then the kernel's filter, as a snapshot is published."""
            built, words = engine.NameSet.build([(0, NameScope.SUBTREE, False, names.encode())], 1 + turn, 2)
            path = tmp_path / f"names-{turn}"
            path.write_bytes(built)
            inspector.publish_lists(str(path), [("list", "malware", 1, "test", "")])
            listed = engine.NameFilter(engine.NameSet(built), words)
            gateway.tables.fill(base_of([f"203.0.113.{turn}/32"]), listed)
            gateway.tables.flip()

        traffic = HeldTraffic(wire, gateway)
        for turn in range(20):
            traffic.run(traffic.sent // PACKETS_A_FLOW + 5 * GROUP_FLOWS, 0.004)
            flip(turn, f"n{turn}.listed.example\n")
        traffic.settle()
        assert traffic.judged() == (0, 0, 0)
        assert gateway.tables.inspector_counts()["refused-http"] == 0
        before = len(traffic.numbers)
        flip(20, "clean.example\nlisted.example\n")
        traffic.run(traffic.sent // PACKETS_A_FLOW + GROUP_FLOWS, 0.02)
        traffic.settle()
        assert set(traffic.numbers[before:] % PACKETS_A_FLOW) == {0}, "more than the SYN of a refused flow has come"
        assert gateway.tables.inspector_counts()["refused-http"] == GROUP_FLOWS
        traffic.close()


def test_an_inspector_that_ends_lets_what_it_holds_pass(wire: ShortWire) -> None:
    with holding_gateway(wire) as (gateway, taps):
        traffic = HeldTraffic(wire, gateway)
        with inspector_process(wire, gateway, taps):
            traffic.run(40 * GROUP_FLOWS, 0.003)
            traffic.send_group()
        traffic.settle()
        assert traffic.judged() == (0, 0, 0)
        assert gateway.tables.hold_state()["heartbeat_ns"] == 0
        traffic.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_another_daemon_takes_over_while_packets_are_held(wire: ShortWire, tmp_path: Path, how: str) -> None:
    for port in (wire.inside, wire.outside):
        port.offload(gro=False)
    with running_gateway(wire, tmp_path / "state") as gateway:
        gateway.command("block", "bad.example", "--reason", "phishing", "--until", "1h")
        traffic = HeldTraffic(wire, None)
        traffic.run(20 * GROUP_FLOWS, QUIET_GROUP_S)
        again = threading.Thread(target=lambda: (getattr(gateway, how)(), gateway.start()))
        again.start()
        while again.is_alive():
            traffic.run(traffic.sent // PACKETS_A_FLOW + GROUP_FLOWS, QUIET_GROUP_S)
        traffic.run(traffic.sent // PACKETS_A_FLOW + 20 * GROUP_FLOWS, QUIET_GROUP_S)
        traffic.settle()
        names = gateway.ask("GET", "/v1/status")["names"]
        assert traffic.judged() == (0, 0, 0), names
        assert names["inspector"]["alive"] and names["held_flows"] > 0
        traffic.close()


def test_with_daemon_and_inspector_killed_at_once_the_failure_policy_acts_and_is_counted(
    wire: ShortWire, tmp_path: Path, tell_ms: TellMs
) -> None:
    """Nobody is left to begin another: packets pass by the program alone until somebody starts the gateway again."""
    for port in (wire.inside, wire.outside):
        port.offload(gro=False)
    with running_gateway(wire, tmp_path / "state") as gateway:
        gateway.command("block", "bad.example", "--reason", "phishing", "--until", "1h")
        traffic = HeldTraffic(wire, None)
        traffic.run(20 * GROUP_FLOWS, QUIET_GROUP_S)
        traffic.settle(0.1)
        status = gateway.ask("GET", "/v1/status")
        inspector = status["names"]["inspector"]
        assert status["facts"].get("inspector-away", {"packets": 0})["packets"] == 0
        for pid in (inspector["keeper"], inspector["pid"], status["gateway"]["pid"]):
            with contextlib.suppress(ProcessLookupError):  # the inspector ends with its keeper
                os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        gateway.kill()
        while True:
            first, whole = traffic.sent, GROUP_FLOWS * PACKETS_A_FLOW
            traffic.send_group(0.003)
            if np.count_nonzero(traffic.numbers >= first) == whole:
                break
            assert time.monotonic() - killed < POLICY_MS * SLOW_MACHINE / 1000
        tell_ms("the failure policy acts after both were killed", [(time.monotonic() - killed) * 1000])
        gateway.start()
        status = gateway.ask("GET", "/v1/status")
        # a queue that nobody reads may be full before the heartbeat is stale: either way they pass, and are counted
        passed = sum(status["facts"].get(why, {"packets": 0})["packets"] for why in ("inspector-away", "hold-full"))
        assert passed >= GROUP_FLOWS, status["facts"]
        wait_for(lambda: gateway.ask("GET", "/v1/status")["names"]["inspector"]["alive"])
        held = gateway.ask("GET", "/v1/status")["names"]["held_flows"]
        traffic.run(traffic.sent // PACKETS_A_FLOW + 10 * GROUP_FLOWS, QUIET_GROUP_S)
        traffic.settle(0.1)
        assert gateway.ask("GET", "/v1/status")["names"]["held_flows"] > held, "names are read again"
        traffic.close()
