"""Where XDP forwards by itself, packets that may hold a name go up to the TCX program, which reads it; others don't."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hold_step import CLIENT, CLIENT6, FAR_NS, IN, OUT, SERVER, SERVER6, SYN, Gateway, hello, packet, syn, tcp, udp

from clearway import _engine as engine
from clearway.lab.namespace import End

pytestmark = pytest.mark.kernel

DROP, PASS, SENT_ON = 1, 2, 4
"""XDP_DROP, XDP_PASS, XDP_REDIRECT."""
ICMP = 1
MAY_HOLD_A_NAME = [
    syn(),
    tcp(hello("clean.example")),
    tcp(hello("clean.example"), ends=(CLIENT6, SERVER6)),
    tcp(b"answer", ports=(443, 40000), ends=(SERVER, CLIENT)),
    udp(b"no query", 53),
    udp(b"game", 3074),
]
HOLDS_NONE = [packet(b"\x08\x00\xf7\xfe\x00\x01\x00\x00", ICMP), bytes(12) + b"\x08\x06" + bytes(46)]


@pytest.fixture
def forwarding(outside: End) -> Gateway:
    return Gateway(outside, xdp_forward=True)


def mapped(address: str) -> tuple[bytes, int]:
    return bytes(10) + b"\xff\xff" + ip_address(address).packed, 128


def test_what_may_hold_a_name_goes_up_and_is_counted_there(forwarding: Gateway) -> None:
    assert forwarding.send(*MAY_HOLD_A_NAME, hook="xdp") == [PASS] * len(MAY_HOLD_A_NAME)
    assert (forwarding.forwarded(), forwarding.facts()) == (0, {})
    forwarding.send(*MAY_HOLD_A_NAME)
    assert (forwarding.forwarded(), forwarding.facts()) == (len(MAY_HOLD_A_NAME) - 1, {"HELD": 1})
    assert forwarding.seen() == {"tls seen": 1}


def test_packets_that_come_in_from_outside_go_up_alike(outside: End) -> None:
    gateway = Gateway(outside, xdp_forward=True, turned=True)
    assert gateway.send(*MAY_HOLD_A_NAME, direction=IN, hook="xdp") == [PASS] * len(MAY_HOLD_A_NAME)
    gateway.tables.set_names_active(False)
    assert gateway.send(*MAY_HOLD_A_NAME, direction=IN, hook="xdp") == [SENT_ON] * len(MAY_HOLD_A_NAME)
    assert {row[1] for row in gateway.tables.counters()} == {IN}


def test_what_holds_none_is_sent_on(forwarding: Gateway) -> None:
    assert forwarding.send(*HOLDS_NONE, hook="xdp") == [SENT_ON] * len(HOLDS_NONE)
    assert forwarding.forwarded() == len(HOLDS_NONE)


def test_the_green_lane_is_sent_on_unread(forwarding: Gateway) -> None:
    forwarding.tables.put_green(*mapped(CLIENT), FAR_NS)
    sent = [syn(), tcp(hello("clean.example")), udp(b"query", 53)]
    assert forwarding.send(*sent, hook="xdp") == [SENT_ON] * len(sent)
    lanes = {row[0] for row in forwarding.tables.counters()}
    assert (lanes, forwarding.forwarded()) == ({engine.Lane.GREEN}, len(sent))


def test_without_names_everything_is_sent_on(forwarding: Gateway) -> None:
    forwarding.tables.set_names_active(False)
    sent = [*MAY_HOLD_A_NAME, *HOLDS_NONE]
    assert forwarding.send(*sent, hook="xdp") == [SENT_ON] * len(sent)
    assert forwarding.forwarded() == len(sent)


def test_a_blocked_address_is_dropped_before_names_are_asked_about(forwarding: Gateway) -> None:
    forwarding.tables.put_overlay(*mapped(SERVER), FAR_NS, 0)
    assert forwarding.send(tcp(flags=SYN), udp(b"query", 53), hook="xdp") == [DROP] * 2
    assert forwarding.dropped("BLOCKED_DESTINATION") == 2


def test_where_xdp_only_drops_everything_goes_up(outside: End) -> None:
    gateway = Gateway(outside, xdp_forward=False)
    assert gateway.send(*MAY_HOLD_A_NAME, *HOLDS_NONE, direction=OUT, hook="xdp") == [PASS] * 8
    assert gateway.forwarded() == 0
