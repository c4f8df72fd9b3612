"""Flows that are held get their slots back: also those of which nothing came, and refused ones when there are many."""

import mmap
import struct
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from bare_gateway import BareGateway
from holding import holding_gateway, inspecting, wait_for
from shortwire import LEFT, RIGHT, ShortWire

from clearway import _engine as engine
from clearway._engine import Direction, Fact
from clearway.bench.names_hellos import initials
from clearway.lab import frames
from clearway.lab.packets import BATCH_MAX, Sender

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

NAME = "bad.example"
SLOT_BYTES = 64
SLOTS = engine.LIMITS["HELD_FLOWS_MAX"]
FIRST_PORT = 20000
_SOURCE_PORT_AT = 34
BATCH_S = 0.06
"""256 Initials in so long: four thousand a second."""


def taken(gateway: BareGateway) -> int:
    """Slots that are not free."""
    with mmap.mmap(gateway.loader.map_fds()["hold_slots"], SLOT_BYTES * SLOTS, prot=mmap.PROT_READ) as slots:
        return int(np.count_nonzero(np.frombuffer(slots[:], np.uint32)[:: SLOT_BYTES // 4]))


def frame_of(protocol: int, header: bytes, payload: bytes) -> bytes:
    ether_type, packet = frames.ip(LEFT.v4, RIGHT.v4, protocol, header + payload)
    return frames.ethernet(frames.mac(RIGHT.mac), frames.mac(LEFT.mac), ether_type, packet)


def datagram(payload: bytes, port: int) -> bytes:
    return frame_of(17, struct.pack(">HHHH", port, 443, 8 + len(payload), 0), payload)


def test_a_flow_whose_first_packet_never_came_gives_its_slot_back(wire: ShortWire) -> None:
    """A test run of the program takes the slot and puts no packet into the TAP, as a TAP that is full does not."""
    initial = initials([b"clean.example"])[0]
    with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps):
        for port in range(FIRST_PORT, FIRST_PORT + 20):
            frame = datagram(initial, port)
            wire.gateway.call(partial(gateway.loader.run, Direction.OUTBOUND, frame, "tcx"))
        assert taken(gateway) == 20
        wait_for(lambda: taken(gateway) == 0, 15)
        counts = gateway.tables.inspector_counts()
        assert counts["lost"] == counts["adopted"] == 20
        state = gateway.tables.hold_state()
        assert state["held"] == state["released"] and state["live"] == 0


def test_a_flood_of_refused_initials_does_not_take_all_slots(wire: ShortWire) -> None:
    """More of them than there are slots, in a sixth of the time that a refused flow stays refused."""
    flows = SLOTS + 4 * BATCH_MAX
    until_ns = engine.boot_clock_ns() + 10**12
    with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps) as inspector:
        inspector.set_single([(NAME, ("subtree", until_ns, 0, ("decision 1", "phishing", 1, "test", "")))])
        send_initials(wire, gateway, initials([NAME.encode()])[0], flows)
        wait_for(lambda: gateway.tables.inspector_counts().get("refused-quic", 0) == flows)
        assert not {Fact.HOLD_FULL, Fact.INSPECTOR_AWAY} & gateway.tables.facts().keys()
        assert 0 < gateway.tables.hold_state()["live"] < SLOTS


def test_flows_that_keep_much_of_what_came_are_given_up_before_memory_is_full(wire: ShortWire) -> None:
    """Queries over TCP of which one byte came, far behind the start. One that holds next to nothing is still read,
    though it is older than all of them."""
    flows = 16 * BATCH_MAX
    until_ns = engine.boot_clock_ns() + 10**12
    query = message(NAME)
    begun = [segment(FIRST_PORT - 1, 1000, frames.SYN), segment(FIRST_PORT - 1, 1001, frames.ACK, query[:9])]
    with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps) as inspector:
        inspector.set_single([(NAME, ("subtree", until_ns, 0, ("decision 1", "phishing", 1, "test", "")))])
        for frame in begun:
            send_each(wire, gateway, frame, range(FIRST_PORT - 1, FIRST_PORT))
        ports = range(FIRST_PORT, FIRST_PORT + flows)
        send_each(wire, gateway, segment(0, 1000, frames.SYN), ports)
        send_each(wire, gateway, segment(0, 1001 + FAR_BYTES, frames.ACK, b"x"), ports)
        wait_for(lambda: gateway.tables.inspector_counts().get("flows-held", 0) == flows + 1)
        given_up = gateway.tables.inspector_counts()["gave-up"]
        assert flows - READING_BYTES_MAX // FAR_BYTES < given_up < flows - READING_BYTES_MAX // FLOW_BYTES_MAX
        assert not {Fact.HOLD_FULL, Fact.INSPECTOR_AWAY} & gateway.tables.facts().keys()
        rest = segment(FIRST_PORT - 1, 1010, frames.ACK, query[9:])
        send_each(wire, gateway, rest, range(FIRST_PORT - 1, FIRST_PORT))
        wait_for(lambda: gateway.tables.inspector_counts().get("refused-dns", 0) == 1)


def send_initials(wire: ShortWire, gateway: BareGateway, initial: bytes, flows: int) -> None:
    """One a flow, slower where the machine is."""
    frame = datagram(initial, 0)
    sender = Sender(wire.left, len(frame))
    sender.data[:] = np.frombuffer(frame, np.uint8)
    next_at = time.monotonic()
    for first in range(0, flows, BATCH_MAX):
        ports: Sequence[int] = range(FIRST_PORT + first, FIRST_PORT + first + BATCH_MAX)
        sender.data[:, _SOURCE_PORT_AT : _SOURCE_PORT_AT + 2] = (
            np.array(ports, ">u2").view(np.uint8).reshape(BATCH_MAX, 2)
        )
        sender.send(BATCH_MAX)
        next_at = max(next_at + BATCH_S, time.monotonic())
        time.sleep(max(0.0, next_at - time.monotonic()))
        wait_for(lambda: gateway.tables.hold_state()["held"] - gateway.tables.hold_state()["released"] < BATCH_MAX)
    sender.close()
