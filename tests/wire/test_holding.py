"""Held packets keep their order, whatever happens to the inspector; without an inspector the failure policy decides."""

import os
import signal
import time

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
from shortwire import ShortWire

from clearway._engine import Fact

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

FLOWS = 10_240
DECISION_US = 200
GROUP_S = 0.006
"""16 decisions take half of it."""
SPARSE_GROUP_S = 0.03
"""The TAP is empty again and again, so that packets go direct just when others leave it."""
BATCH_FRAMES = 64
SLOW_MACHINE = 10
"""Limits of time are the design's times this: a busy machine is not what these tests are about."""


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
        traffic = HeldTraffic(wire, gateway)
        while traffic.judged()[2] == 0 and traffic.sent < FLOWS // 4 * PACKETS_A_FLOW:
            traffic.run(traffic.sent // PACKETS_A_FLOW + 160, SPARSE_GROUP_S)
        traffic.settle()
        assert traffic.judged()[2] > 0
        assert not _failure_policy_acted(gateway)
        traffic.close()


def test_a_killed_inspector_costs_at_most_a_batch_and_what_is_queued_goes_on_in_order(wire: ShortWire) -> None:
    kills = 5
    with holding_gateway(wire) as (gateway, taps), inspector_process(wire, gateway, taps) as inspector:
        traffic = HeldTraffic(wire, gateway)
        for _ in range(kills):
            traffic.run(traffic.sent // PACKETS_A_FLOW + 40 * GROUP_FLOWS, 0.003)
            killed = inspector.pid
            os.kill(killed, signal.SIGKILL)
            began = time.monotonic()
            while inspector.pid == killed or not inspector.alive:
                traffic.run(traffic.sent // PACKETS_A_FLOW + GROUP_FLOWS, 0.003)
                assert time.monotonic() - began < 1
            assert time.monotonic() - began < 0.05 * SLOW_MACHINE
        traffic.settle(1.0)
        lost, doubled, late = traffic.judged()
        counts = gateway.tables.inspector_counts()
        assert (doubled, late, _failure_policy_acted(gateway)) == (0, 0, False), counts
        assert lost <= kills * BATCH_FRAMES, counts
        assert inspector.restarts == kills
        wait_for(lambda: gateway.tables.hold_state()["live"] == 0)
        state = gateway.tables.hold_state()
        assert state["held"] == state["released"], counts
        assert gateway.tables.inspector_counts()["lost"] >= lost
        traffic.close()


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_a_stopped_inspector_brings_the_failure_policy_within_a_tenth_of_a_second(wire: ShortWire, policy: str) -> None:
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
                assert time.monotonic() - stopped < 0.1 * SLOW_MACHINE
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


def test_flips_while_packets_are_held_lose_and_reorder_nothing(wire: ShortWire) -> None:
    with holding_gateway(wire) as (gateway, taps), inspector_process(wire, gateway, taps, decision_us=100):
        traffic = HeldTraffic(wire, gateway)
        for _ in range(20):
            traffic.run(traffic.sent // PACKETS_A_FLOW + 5 * GROUP_FLOWS, 0.004)
            gateway.tables.fill(base_of(["203.0.113.0/24"]))
            gateway.tables.flip()
        traffic.settle()
        assert traffic.judged() == (0, 0, 0)
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
