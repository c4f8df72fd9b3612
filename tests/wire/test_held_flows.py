"""Flows that are held get their slots back: also those of which nothing came, and refused ones when there are many."""

import mmap
import os
import signal
import struct
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from bare_gateway import BareGateway
from holding import holding_gateway, in_peace, inspecting, inspector_process, wait_for
from shortwire import LEFT, RIGHT, ShortWire

from clearway import _engine as engine
from clearway._engine import Direction, Fact
from clearway.bench.names_hellos import initials
from clearway.lab import frames
from clearway.lab.packets import BATCH_MAX, Sender

pytestmark = pytest.mark.kernel

NAME = "bad.example"
SLOT_BYTES = 64
SLOTS = engine.LIMITS["HELD_FLOWS_MAX"]
FIRST_PORT = 20000
_SOURCE_PORT_AT = 34
BATCH_S = 0.06
"""256 frames in so long: four thousand a second."""
FAR_BYTES = 18_000
"""So far behind its flow's start that all before it is made room for, twice: it may be another protocol than DNS."""
READING_BYTES_MAX = 128 << 20
"""As in hold_memory.rs."""


def taken(gateway: BareGateway) -> int:
    """Slots that are not free."""
    with mmap.mmap(gateway.loader.map_fds()["hold_slots"], SLOT_BYTES * SLOTS, prot=mmap.PROT_READ) as slots:
        return int(np.count_nonzero(np.frombuffer(slots[:], np.uint32)[:: SLOT_BYTES // 4]))


def frame_of(protocol: int, header: bytes, payload: bytes) -> bytes:
    ether_type, packet = frames.ip(LEFT.v4, RIGHT.v4, protocol, header + payload)
    return frames.ethernet(frames.mac(RIGHT.mac), frames.mac(LEFT.mac), ether_type, packet)


def datagram(payload: bytes, port: int) -> bytes:
    return frame_of(17, struct.pack(">HHHH", port, 443, 8 + len(payload), 0), payload)


def segment(sequence: int, flags: int, payload: bytes = b"") -> bytes:
    """Of DNS over TCP, which is held unread."""
    return frame_of(6, struct.pack(">HHIIBBHHH", 0, 53, sequence, 1, 0x50, flags, 512, 0, 0), payload)


def query_over_tcp(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\x00\x00\x01\x00\x01"
    return struct.pack(">H", len(query)) + query


def away(gateway: BareGateway) -> int:
    """Packets that were not held, since a busy machine kept the inspector from its core."""
    return int(gateway.tables.facts().get(Fact.INSPECTOR_AWAY, (0, 0))[0])


def count(gateway: BareGateway, name: str) -> int:
    return int(gateway.tables.inspector_counts().get(name, 0))


def test_a_flow_whose_first_packet_never_came_gives_its_slot_back(wire: ShortWire) -> None:
    """A test run of the program takes the slot and puts no packet into the TAP, as a TAP that is full does not."""
    initial = initials([b"clean.example"])[0]

    def attempt(_: int) -> bool:
        with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps):
            for port in range(FIRST_PORT, FIRST_PORT + 20):
                frame = datagram(initial, port)
                wire.gateway.call(partial(gateway.loader.run, Direction.OUTBOUND, frame, "tcx"))
            took = taken(gateway)
            wait_for(lambda: taken(gateway) == 0)
            if away(gateway):
                return False
            counts = gateway.tables.inspector_counts()
            assert took == counts["lost"] == counts["adopted"] == 20
            state = gateway.tables.hold_state()
            assert state["held"] == state["released"] and state["live"] == 0
            return True

    in_peace(attempt)


def test_a_flood_of_refused_initials_does_not_take_all_slots(wire: ShortWire) -> None:
    """More of them than there are slots, in a sixth of the time that a refused flow stays refused."""
    flows = SLOTS + 4 * BATCH_MAX
    until_ns = engine.boot_clock_ns() + 10**12
    with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps) as inspector:
        inspector.set_single([(NAME, ("subtree", until_ns, 0, ("decision 1", "phishing", 1, "test", "")))])
        send_initials(wire, gateway, initials([NAME.encode()])[0], flows)
        wait_for(lambda: count(gateway, "refused-quic") == flows - away(gateway))
        assert away(gateway) < flows - SLOTS, "hardly any was held: this machine is too busy"
        assert Fact.HOLD_FULL not in gateway.tables.facts()
        assert 0 < gateway.tables.hold_state()["live"] < SLOTS


def test_flows_that_keep_much_of_what_came_are_given_up_before_memory_is_full(wire: ShortWire) -> None:
    """Queries over TCP of which one byte came, far behind the start. One that holds next to nothing is still read,
    though it is older than all of them."""
    flows = 16 * BATCH_MAX
    until_ns = engine.boot_clock_ns() + 10**12
    old, query = [FIRST_PORT - 1], query_over_tcp(NAME)

    def attempt(_: int) -> bool:
        with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps) as inspector:
            inspector.set_single([(NAME, ("subtree", until_ns, 0, ("decision 1", "phishing", 1, "test", "")))])
            send_each(wire, gateway, segment(0, frames.SYN), old)
            send_each(wire, gateway, segment(1, frames.ACK, query[:9]), old)
            ports = range(FIRST_PORT, FIRST_PORT + flows)
            send_each(wire, gateway, segment(0, frames.SYN), ports)
            send_each(wire, gateway, segment(FAR_BYTES, frames.ACK, b"x"), ports)
            wait_for(lambda: count(gateway, "flows-held") == flows + 1 or away(gateway))
            kept = flows - count(gateway, "gave-up")
            send_each(wire, gateway, segment(10, frames.ACK, query[9:]), old)
            wait_for(lambda: count(gateway, "refused-dns") == 1 or away(gateway))
            assert Fact.HOLD_FULL not in gateway.tables.facts()
            if away(gateway):
                return False
            assert READING_BYTES_MAX // (4 * FAR_BYTES) < kept < READING_BYTES_MAX // (2 * FAR_BYTES), kept
            return True

    in_peace(attempt)


def test_a_query_over_tcp_whose_pieces_come_out_of_order_and_twice_is_answered(wire: ShortWire) -> None:
    """And the one before it, which passed, came so too: no reset, which says nothing to a client."""
    until_ns = engine.boot_clock_ns() + 10**12
    stream = query_over_tcp("clean.example") + query_over_tcp(NAME)
    begun = len(stream) - len(query_over_tcp(NAME))
    pieces = [(20, begun), (20, begun), (0, 9), (9, 20), (begun + 5, len(stream)), (0, begun + 1), (begun, begun + 5)]

    def attempt(_: int) -> bool:
        with holding_gateway(wire) as (gateway, taps), inspecting(wire, gateway, taps) as inspector:
            inspector.set_single([(NAME, ("subtree", until_ns, 0, ("decision 1", "phishing", 1, "test", "")))])
            send_each(wire, gateway, segment(0, frames.SYN), [FIRST_PORT])
            for start, end in pieces:
                send_each(wire, gateway, segment(1 + start, frames.ACK, stream[start:end]), [FIRST_PORT])
            wait_for(lambda: count(gateway, "refused-dns") == 1 or away(gateway))
            if away(gateway):
                return False
            assert (count(gateway, "answered-dns"), count(gateway, "answered-reset")) == (1, 0)
            return True

    in_peace(attempt)


def test_queries_on_a_connection_whose_inspector_was_killed_pass_unread_and_a_new_connection_is_read(
    wire: ShortWire,
) -> None:
    query = query_over_tcp("clean.example")

    def ask(gateway: BareGateway, port: int) -> int:
        """On a new connection, until it is held; how many packets were then."""
        before = gateway.tables.hold_state()["held"]
        send_each(wire, gateway, segment(0, frames.SYN), [port])
        send_each(wire, gateway, segment(1, frames.ACK, query), [port])
        wait_for(lambda: (gateway.tables.hold_state()["held"] > before and taken(gateway) == 1) or away(gateway))
        return int(gateway.tables.hold_state()["held"])

    def attempt(_: int) -> bool:
        with holding_gateway(wire) as (gateway, taps), inspector_process(wire, gateway, taps) as inspector:
            held = ask(gateway, FIRST_PORT)
            if away(gateway):
                return False
            os.kill(inspector.pid, signal.SIGKILL)
            wait_for(lambda: count(gateway, "adopted") == 1 and taken(gateway) == 0)
            send_each(wire, gateway, segment(1 + len(query), frames.ACK, query_over_tcp(NAME)), [FIRST_PORT])
            found = (gateway.tables.hold_state()["held"], taken(gateway))
            if away(gateway):
                return False
            assert found == (held, 0)
            ask(gateway, FIRST_PORT + 1)
            return not away(gateway)

    in_peace(attempt)


def send_initials(wire: ShortWire, gateway: BareGateway, initial: bytes, flows: int) -> None:
    send_each(wire, gateway, datagram(initial, 0), range(FIRST_PORT, FIRST_PORT + flows))


def send_each(wire: ShortWire, gateway: BareGateway, frame: bytes, ports: Sequence[int]) -> None:
    """That frame from each port, slower where the machine is."""
    sender = Sender(wire.left, len(frame))
    sender.data[:] = np.frombuffer(frame, np.uint8)
    next_at = time.monotonic()
    for first in range(0, len(ports), BATCH_MAX):
        batch = np.array(ports[first : first + BATCH_MAX], ">u2")
        sender.data[: len(batch), _SOURCE_PORT_AT : _SOURCE_PORT_AT + 2] = batch.view(np.uint8).reshape(-1, 2)
        sender.send(len(batch))
        next_at = max(next_at + BATCH_S, time.monotonic())
        time.sleep(max(0.0, next_at - time.monotonic()))
        wait_for(lambda: gateway.tables.hold_state()["held"] - gateway.tables.hold_state()["released"] < BATCH_MAX)
    sender.close()
