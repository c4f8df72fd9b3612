"""Counters, facts, events, fragments, probes: what was counted is told, and a probe is counted nowhere else."""

import struct
import threading
import time

import pytest
from bases import ask, base, frame, mapped
from loaded_gateway import Gateway
from raw_maps import update

from clearway import _engine as engine

pytestmark = pytest.mark.kernel

INBOUND = engine.Direction.INBOUND


def dropped(gateway: Gateway, times: int = 3) -> None:
    """Unmarked packets of a listed source, through the program as packets are."""
    gateway.tables.fill(base("192.0.2.0/24"))
    gateway.tables.flip()
    gateway.loader.cost_ns("tcx", INBOUND, frame("192.0.2.7", "203.0.113.9"), times)


def test_counters_sum_over_cpus_and_leave_out_what_is_0(gateway: Gateway) -> None:
    assert gateway.tables.counters() == []
    dropped(gateway, 1000)
    (row,) = gateway.tables.counters()
    # both ports are lo here: what comes in there is outbound
    assert row == (engine.Lane.INSPECTED, engine.Direction.OUTBOUND, engine.DropReason.LISTED_SOURCE, 1000, 42_000)
    assert gateway.tables.observed() == []


def test_a_probe_is_counted_as_a_probe_only(gateway: Gateway) -> None:
    ask(gateway.loader, "192.0.2.7")
    assert gateway.tables.counters() == []
    assert gateway.tables.facts() == {engine.Fact.PROBE: (1, 42)}


@pytest.mark.parametrize("hook", ["tcx", "xdp"])
def test_many_probes_answer_each_in_its_place(gateway: Gateway, hook: str) -> None:
    gateway.tables.fill(base("192.0.2.0/24"))
    gateway.tables.flip()
    frames = [frame(source, "203.0.113.9") for source in ("192.0.2.7", "198.51.100.7")] * 50
    outcomes = gateway.loader.probe_many(hook, bytes([0, 1] * 50), frames)
    reasons = [outcome.drop_reason for outcome in outcomes]
    assert reasons == [engine.DropReason.LISTED_SOURCE, engine.DropReason.FORWARDED] * 50
    assert {outcome.facts for outcome in outcomes} == {frozenset({engine.Fact.PROBE})}
    assert {outcome.epoch for outcome in outcomes} == {1}
    with pytest.raises(ValueError, match="1 directions for 2 frames"):
        gateway.loader.probe_many("tcx", bytes(1), frames[:2])


def test_a_probe_that_cannot_be_is_refused(gateway: Gateway) -> None:
    with pytest.raises(ValueError, match="14 bytes at least"):
        gateway.loader.probe("tcx", INBOUND, bytes(13))
    with pytest.raises(ValueError, match='"tcx" or "xdp"'):
        gateway.loader.probe("tc", INBOUND, bytes(60))
    gateway.tables.set_probe_nonce(0)
    with pytest.raises(ValueError, match="nonce is 0"):
        gateway.loader.probe("tcx", INBOUND, bytes(60))


def test_control_words_are_written_each_by_itself(gateway: Gateway) -> None:
    gateway.tables.set_bypass_until(1 << 63)
    gateway.tables.beat(42)
    assert (gateway.tables.bypass_until(), gateway.tables.heartbeat(), gateway.tables.epoch) == (1 << 63, 42, 0)
    dropped(gateway)
    outcome = gateway.loader.probe("tcx", INBOUND, frame("192.0.2.7", "203.0.113.9"))
    assert engine.Fact.BYPASSED in outcome.facts
    assert gateway.tables.facts()[engine.Fact.BYPASSED][0] == 3


def test_events_tell_who_was_dropped_why_and_in_which_epoch(gateway: Gateway) -> None:
    events = engine.Events(gateway.loader.map_fds()["events"])
    assert events.poll(0) == []
    before = engine.boot_clock_ns()
    dropped(gateway, 1)
    (event,) = events.poll(1000)
    assert before < event.boot_ns < engine.boot_clock_ns()
    assert (event.source, event.destination) == (mapped("192.0.2.7/32")[0], mapped("203.0.113.9/32")[0])
    assert (event.source_port, event.destination_port, event.protocol, event.ip_version) == (1000, 2000, 17, 4)
    assert (event.drop_reason, event.direction) == (engine.DropReason.LISTED_SOURCE, engine.Direction.OUTBOUND)
    assert (event.lane, event.epoch, event.weight, event.ttl) == (engine.Lane.INSPECTED, 1, 1, 64)
    assert (event.length, event.vlan, event.observed) == (42, 0, False)


def test_a_flood_of_drops_is_sampled_and_weighs_what_it_was(gateway: Gateway) -> None:
    events = engine.Events(gateway.loader.map_fds()["events"])
    dropped(gateway, 100_000)
    time.sleep(0.05)
    gateway.loader.cost_ns("tcx", INBOUND, frame("192.0.2.7", "203.0.113.9"), 1)
    found = []
    while batch := events.poll(0):
        found += batch
    assert len(found) < 50_000, "8 a jiffy, however long it takes"
    # the test may have changed CPU, whose skipped drops then wait for its next event
    assert sum(event.weight for event in found) <= 100_001
    assert max(event.weight for event in found) > 1


def test_a_poll_waits_for_the_first_event_and_lets_others_run(gateway: Gateway) -> None:
    events = engine.Events(gateway.loader.map_fds()["events"])
    threading.Timer(0.1, lambda: dropped(gateway, 1)).start()
    begun = time.monotonic()
    assert len(events.poll(120_000)) == 1
    assert time.monotonic() - begun > 0.05
    begun = time.monotonic()
    assert events.poll(50) == []
    assert time.monotonic() - begun >= 0.049


def test_a_ring_is_asked_for_by_its_own_descriptor(gateway: Gateway) -> None:
    with pytest.raises(ValueError, match="not a ring"):
        engine.Events(gateway.loader.map_fds()["facts"])
    with pytest.raises(ValueError, match="no descriptor"):
        engine.Events(-1)


def test_fragments_are_swept_when_their_life_is_over(gateway: Gateway) -> None:
    fd = gateway.loader.map_fds()["fragments"]
    life_ns = engine.LIMITS["FRAGMENT_LIFE_SECONDS"] * 10**9
    for n in range(3000):
        key = bytes(32) + struct.pack("=IB3x", n, 17)
        update(fd, key, struct.pack("=QII", 10**9 if n % 3 else 2 * 10**9, 0, 0))
    assert gateway.tables.sweep_fragments(10**9 + life_ns) == 0
    assert gateway.tables.sweep_fragments(10**9 + life_ns + 1) == 2000
    assert gateway.tables.sweep_fragments(10**9 + life_ns + 1) == 0
    assert gateway.tables.sweep_fragments(10**11) == 1000
