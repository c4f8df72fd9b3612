"""The name step packet by packet: what passes, what is held, what is dropped, and which counters move.

Packets come in by BPF_PROG_TEST_RUN; the inspector's half of the memory is written by the test. The same with packets
that really wait: tests/wire/test_holding.py.
"""

from __future__ import annotations

import pytest
from hold_step import (
    ACK,
    CLIENT6,
    DROP,
    FAR_NS,
    HELD,
    IN,
    ISN,
    NO_ADDRESSES,
    OUT,
    PASSING,
    REDIRECT,
    REFUSED,
    SERVER6,
    SYN,
    Gateway,
    answer,
    hello,
    initial,
    query,
    syn,
    tcp,
    udp,
)

from clearway import _engine as engine
from clearway.lab.namespace import End

pytestmark = pytest.mark.kernel

LISTED = tcp(hello("a.listed.example"))
CLEAN = tcp(hello("clean.example"))


def lists(made: Gateway) -> Gateway:
    """It holds one name."""
    built, words = engine.NameSet.build([(0, engine.NameScope.SUBTREE, False, b"listed.example\n")], 1, 2)
    made.tables.fill(NO_ADDRESSES, engine.NameFilter(engine.NameSet(built), words))
    made.tables.flip()
    return made


@pytest.fixture
def gateway(outside: End) -> Gateway:
    return lists(Gateway(outside))


@pytest.fixture
def observing(outside: End) -> Gateway:
    return lists(Gateway(outside, observe=True))


@pytest.fixture
def holding(outside: End) -> Gateway:
    """As on a kernel without may_goto."""
    return lists(Gateway(outside, names_held=True))


# ---- what is read ----


def test_a_clean_name_is_decided_in_the_kernel_and_leaves_no_trace(gateway: Gateway) -> None:
    assert gateway.send(syn(), CLEAN, tcp(hello("a.listed.example"), at=518)) == [REDIRECT] * 3
    assert gateway.seen() == {"tls seen": 1}
    assert (gateway.forwarded(), gateway.facts(), gateway.slots()) == (3, {}, {})


def test_without_names_nothing_is_looked_at(gateway: Gateway) -> None:
    gateway.tables.set_names_active(False)
    gateway.send(syn(), LISTED, udp(query("a.listed.example"), 53))
    assert (gateway.forwarded(), gateway.facts(), gateway.seen()) == (3, {}, {})


def test_a_flow_that_ran_already_passes_unread(gateway: Gateway) -> None:
    gateway.send(LISTED)
    assert (gateway.forwarded(), gateway.facts(), gateway.seen()) == (1, {}, {})


def test_a_listed_name_takes_a_slot_and_is_counted_when_it_comes_back(gateway: Gateway) -> None:
    assert gateway.send(syn(), LISTED) == [REDIRECT] * 2
    slot = gateway.slot()
    assert (slot.state, slot.generation, slot.held, slot.released) == (HELD, 1, (1, 0), (0, 0))
    assert (slot.start, slot.start_known, slot.client_direction) == ((ISN + 1) & 0xFFFFFFFF, 1, OUT)
    assert (gateway.total(), gateway.marks(), gateway.facts()) == (1, 1, {"HELD": 1})
    assert (gateway.forwarded(), gateway.seen()) == (1, {})


def test_the_first_byte_is_awaited_whatever_comes_before_it(gateway: Gateway) -> None:
    gateway.send(syn(), tcp(), tcp(), CLEAN)
    assert (gateway.seen(), gateway.facts()) == ({"tls seen": 1}, {})


def test_first_data_out_of_order_is_held_unread(gateway: Gateway) -> None:
    gateway.send(syn(), tcp(b"second", at=518))
    assert (gateway.slot().start, gateway.facts()) == ((ISN + 1) & 0xFFFFFFFF, {"HELD": 1})
    gateway.send(CLEAN)
    assert (gateway.slot().held, gateway.seen()) == ((2, 0), {})


@pytest.mark.parametrize("record", [b"\x15\3\1\0\2\1\x5a", b"\x14\3\1\0\1\1"], ids=["alert", "change-cipher-spec"])
def test_a_record_that_a_hello_may_follow_is_held(gateway: Gateway, record: bytes) -> None:
    gateway.send(syn(), tcp(record), tcp(hello("a.listed.example"), at=1 + len(record)))
    assert (gateway.slot().held, gateway.seen()) == ((2, 0), {})


def test_a_part_of_a_hello_is_held(gateway: Gateway) -> None:
    gateway.send(syn(), tcp(hello("clean.example")[:200]))
    assert (gateway.slot().state, gateway.facts()) == (HELD, {"HELD": 1})


def test_data_in_the_syn_is_the_first_data(gateway: Gateway) -> None:
    gateway.send(tcp(hello("clean.example"), at=0, flags=SYN))
    assert (gateway.seen(), gateway.facts()) == ({"tls seen": 1}, {})
    gateway.send(tcp(hello("a.listed.example"), at=0, flags=SYN))
    assert (gateway.slot().start, gateway.facts()) == ((ISN + 1) & 0xFFFFFFFF, {"HELD": 1})


def test_another_protocol_passes_and_is_counted_as_that(gateway: Gateway) -> None:
    gateway.send(syn(), tcp(b"SSH-2.0-OpenSSH_9.9\r\n"), tcp(hello("a.listed.example"), at=22))
    assert (gateway.seen(), gateway.facts()) == ({"other none": 1}, {})


def test_a_client_may_be_on_either_side_and_of_either_family(gateway: Gateway) -> None:
    ends = (CLIENT6, SERVER6)
    gateway.send(syn(ends=ends), tcp(hello("a.listed.example"), ends=ends), direction=IN)
    slot = gateway.slot()
    assert (slot.held, slot.client_direction) == ((0, 1), IN)


def test_each_query_is_judged_alone_and_takes_no_slot(gateway: Gateway) -> None:
    gateway.send(*(udp(query(f"{name}.example"), 53) for name in ("clean", "listed", "clean", "a.listed")))
    assert (gateway.seen(), gateway.facts(), gateway.total()) == ({"dns seen": 2}, {"HELD": 2}, 2)
    assert (gateway.slots(), gateway.marks(), gateway.forwarded()) == ({}, 0, 2)


def test_an_answer_of_dns_is_no_query(gateway: Gateway) -> None:
    gateway.send(udp(query("a.listed.example"), 5353, source_port=53))
    assert (gateway.seen(), gateway.facts(), gateway.forwarded()) == ({}, {}, 1)


def test_dns_over_tcp_is_held_unread(gateway: Gateway) -> None:
    ports = (40000, 53)
    message = query("clean.example")
    gateway.send(syn(ports=ports), tcp(len(message).to_bytes(2, "big") + message, ports=ports))
    assert (gateway.slot().state, gateway.facts()) == (HELD, {"HELD": 1})


@pytest.mark.parametrize(
    ("payload", "is_held"),
    [
        (initial(), True),
        (initial(0x6B3343CF, 0xD3), True),
        (initial(size=1199), False),
        (initial(first=0xE3), True),  # Handshake: an Initial may stand behind it in the same datagram
        (initial(first=0xF3), False),  # Retry
        (initial(0x6B3343CF, 0xC3), False),  # Retry of version 2
        (initial(0xFF00001D), False),
        (initial(first=0x43), False),  # short header
    ],
)
def test_quic_initials_of_known_versions_are_held(gateway: Gateway, payload: bytes, is_held: bool) -> None:
    gateway.send(udp(payload, 443))
    assert gateway.facts() == ({"HELD": 1} if is_held else {})
    assert len(gateway.slots()) == is_held == gateway.marks()


def test_a_server_that_answers_with_initials_is_not_held(gateway: Gateway) -> None:
    gateway.send(udp(initial(), 443))
    reply = bytearray(udp(initial(), 40000, source_port=443))
    reply[26:34] = reply[30:34] + reply[26:30]
    gateway.send(bytes(reply), direction=IN)
    assert (gateway.facts(), gateway.forwarded(), gateway.slot().held) == ({"HELD": 1}, 1, (1, 0))


def test_a_name_that_a_person_blocked_is_held(gateway: Gateway) -> None:
    assert gateway.tables.set_overlay_names([("clean.example", "exact"), ("org", "below")]) == 2
    gateway.send(*(udp(query(name), 53) for name in ("clean.example", "a.clean.example", "example.com")))
    assert (gateway.seen(), gateway.facts()) == ({"dns seen": 2}, {"HELD": 1})
    assert gateway.tables.set_overlay_names([]) == 0
    gateway.send(udp(query("clean.example"), 53))
    assert gateway.seen() == {"dns seen": 3}


def test_a_flip_changes_what_is_listed(gateway: Gateway) -> None:
    gateway.tables.fill(NO_ADDRESSES)
    gateway.tables.flip()
    gateway.send(udp(query("a.listed.example"), 53))
    assert (gateway.seen(), gateway.facts()) == ({"dns seen": 1}, {})
    assert gateway.tables.compare_base(NO_ADDRESSES).wrong == 0


def test_public_names_of_encrypted_hellos_are_counted_apart(gateway: Gateway) -> None:
    built, words = engine.NameSet.build([(0, engine.NameScope.EXACT, False, b"a.example\n")], 1, 2)
    names = engine.NameFilter(engine.NameSet(built), words)
    gateway.tables.fill(NO_ADDRESSES, names, ["public.example"])
    gateway.tables.flip()
    assert gateway.tables.compare_base(NO_ADDRESSES, names, ["public.example"]).wrong == 0
    encrypted = hello("public.example").replace(b"\x00\x15\x01", b"\xfe\x0d\x01")  # the padding
    for number, payload in enumerate((hello("public.example"), encrypted)):
        ports = (40000 + number, 443)
        gateway.send(syn(ports=ports), tcp(payload, ports=ports))
    assert gateway.seen() == {"tls seen": 1, "tls public-ech": 1}


def test_a_granted_client_is_not_read(gateway: Gateway) -> None:
    gateway.tables.put_green(bytes(10) + b"\xff\xff\xc6\x33\x64\x07", 128, FAR_NS)
    gateway.send(syn(), LISTED, udp(query("a.listed.example"), 53))
    assert (gateway.facts(), gateway.seen(), gateway.forwarded()) == ({}, {}, 3)


def test_a_probe_is_neither_read_nor_held(gateway: Gateway) -> None:
    outcome = gateway.loader.probe("tcx", OUT, udp(query("a.listed.example"), 53))
    assert outcome.drop_reason == engine.DropReason.FORWARDED
    assert (gateway.facts(), gateway.seen(), gateway.total()) == ({"PROBE": 1}, {}, 0)


def test_a_kernel_without_loops_holds_what_it_would_read(holding: Gateway) -> None:
    holding.send(syn(), CLEAN, udp(query("clean.example"), 53))
    assert (holding.facts(), holding.seen(), holding.total()) == ({"HELD": 2}, {}, 2)
    assert holding.loader.names_held()


# ---- what is held ----


def test_the_client_of_a_held_flow_waits_and_its_server_does_not(gateway: Gateway) -> None:
    gateway.send(syn(), LISTED, tcp(at=518), tcp(b"more", at=518))
    gateway.send(answer(), direction=IN)
    assert (gateway.slot().held, gateway.total(), gateway.facts()) == ((3, 0), 3, {"HELD": 3})
    assert gateway.forwarded() == 2  # SYN and answer


def test_a_passing_flow_goes_direct_when_nothing_is_before_it(gateway: Gateway) -> None:
    gateway.send(syn(), LISTED)
    gateway.set_state(PASSING)
    gateway.send(tcp(b"behind", at=518))
    assert (gateway.slot().held, gateway.facts()) == ((2, 0), {"HELD": 2})
    gateway.set_slot(16, "=I", 1)
    gateway.send(tcp(b"behind", at=524))
    assert gateway.slot().held == (3, 0)
    gateway.set_slot(16, "=I", 3)
    gateway.send(tcp(b"direct", at=530))
    gateway.send(answer(), direction=IN)
    assert (gateway.slot().held, gateway.facts(), gateway.forwarded()) == ((3, 0), {"HELD": 3}, 3)


def test_a_new_flow_between_the_same_ends_is_judged_anew(gateway: Gateway) -> None:
    gateway.send(syn(), LISTED)
    gateway.set_state(PASSING)
    gateway.set_slot(16, "=I", 1)
    gateway.send(syn(), CLEAN)
    assert gateway.seen() == {"tls seen": 1}


def test_what_must_be_held_while_an_earlier_entry_of_its_ends_stands_comes_again(gateway: Gateway) -> None:
    gateway.send(syn(), LISTED)
    gateway.set_state(PASSING)
    gateway.set_slot(16, "=I", 1)
    assert gateway.send(syn(), LISTED, LISTED) == [REDIRECT, DROP, DROP]
    assert (gateway.dropped("NOT_INSPECTED"), gateway.facts(), gateway.marks()) == (2, {"HELD": 1}, 1)


@pytest.mark.parametrize(("state", "at"), [(HELD, 5000), (PASSING, 5000), (PASSING, 0)])
def test_a_later_connection_is_not_taken_for_the_one_that_still_waits(gateway: Gateway, state: int, at: int) -> None:
    """Its SYN goes behind what waits, as it has to; the inspector, which has decided, would let its hello pass."""
    listed = tcp(hello("a.listed.example"), at=at + 1)
    gateway.send(syn(), tcp(hello("clean.example")[:300]))
    gateway.set_state(state)
    assert gateway.send(tcp(at=at, flags=SYN), listed) == [REDIRECT, DROP]
    assert (gateway.slot().held, gateway.dropped("NOT_INSPECTED")) == ((2, 0), 1)
    gateway.set_state(PASSING)
    gateway.set_slot(16, "=I", 2)
    assert gateway.send(listed, tcp(hello("clean.example"), at=at + 1)) == [DROP, REDIRECT]
    assert (gateway.slot().held, gateway.seen()) == ((2, 0), {"tls seen": 1})


def test_data_in_a_later_syn_is_not_taken_for_that_of_the_one_that_waits(gateway: Gateway) -> None:
    gateway.send(syn(), tcp(hello("clean.example")[:300]))
    assert gateway.send(tcp(hello("a.listed.example"), at=5000, flags=SYN)) == [DROP]
    assert (gateway.slot().held, gateway.dropped("NOT_INSPECTED")) == ((1, 0), 1)


def test_a_syn_that_comes_again_ends_no_flow_that_waits(gateway: Gateway) -> None:
    whole = hello("clean.example")
    gateway.send(syn(), tcp(whole[:300]))
    assert gateway.send(syn(), tcp(whole[300:], at=301)) == [REDIRECT, REDIRECT]
    assert (gateway.slot().held, gateway.dropped("NOT_INSPECTED")) == ((3, 0), 0)


def test_a_refused_flow_is_dropped_both_ways_until_its_time(gateway: Gateway) -> None:
    gateway.send(syn(), LISTED)
    gateway.set_state(REFUSED, FAR_NS)
    assert gateway.send(tcp(b"again"), syn()) == [DROP] * 2
    assert gateway.send(answer(), direction=IN) == [DROP]
    assert (gateway.dropped("REFUSED_NAME"), gateway.slot().held) == (3, (1, 0))
    gateway.set_state(REFUSED, 1)
    assert gateway.send(syn(), CLEAN) == [REDIRECT] * 2
    assert (gateway.seen(), gateway.dropped("REFUSED_NAME")) == ({"tls seen": 1}, 3)


def test_a_refused_name_that_comes_again_before_its_entry_is_swept_does_not_pass(gateway: Gateway) -> None:
    gateway.send(syn(), LISTED)
    gateway.set_state(REFUSED, 1)
    assert gateway.send(syn(), LISTED, LISTED) == [REDIRECT, DROP, DROP]
    assert (gateway.dropped("REFUSED_NAME"), gateway.facts(), gateway.marks()) == (2, {"HELD": 1}, 1)


def test_an_initial_that_comes_again_before_its_entry_is_swept_does_not_pass(gateway: Gateway) -> None:
    gateway.send(udp(initial(), 443))
    gateway.set_state(REFUSED, 1)
    assert gateway.send(udp(initial(), 443)) == [DROP]
    assert (gateway.dropped("REFUSED_NAME"), gateway.facts()) == (1, {"HELD": 1})


def test_a_refused_name_is_told_by_the_inspector_alone(gateway: Gateway) -> None:
    events = engine.Events(gateway.maps["events"])
    gateway.send(syn(), LISTED)
    gateway.set_state(REFUSED, FAR_NS)
    gateway.send(tcp(b"again"))
    assert events.poll(0) == []


def test_observing_refuses_nothing(observing: Gateway) -> None:
    observing.send(syn(), LISTED)
    observing.set_state(REFUSED, FAR_NS)
    assert observing.send(tcp(b"again")) == [REDIRECT]
    assert (observing.dropped("REFUSED_NAME"), observing.facts()) == (0, {"HELD": 1, "OBSERVED": 1})


# ---- when it can't be held ----


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_without_an_inspector_the_failure_policy_decides(gateway: Gateway, policy: str) -> None:
    gateway.tables.set_on_failure(policy)
    gateway.die()
    action = REDIRECT if policy == "open" else DROP
    assert gateway.send(syn(), LISTED) == [REDIRECT, action]
    assert gateway.send(udp(query("a.listed.example"), 53), udp(initial(), 443)) == [action] * 2
    assert (gateway.facts(), gateway.slots(), gateway.total()) == ({"INSPECTOR_AWAY": 3}, {}, 0)
    assert gateway.dropped("NOT_INSPECTED") == (0 if policy == "open" else 3)
    assert gateway.send(udp(query("clean.example"), 53)) == [REDIRECT]  # needs none


def test_what_was_dropped_for_want_of_an_inspector_is_held_when_it_comes_again(gateway: Gateway) -> None:
    gateway.tables.set_on_failure("closed")
    gateway.die()
    gateway.send(syn(), LISTED)
    gateway.beat()
    gateway.send(LISTED)
    assert (gateway.slot().state, gateway.facts()) == (HELD, {"INSPECTOR_AWAY": 1, "HELD": 1})


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_a_held_flow_follows_it_too_when_the_inspector_dies(gateway: Gateway, policy: str) -> None:
    gateway.tables.set_on_failure(policy)
    gateway.send(syn(), LISTED)
    gateway.die()
    assert gateway.send(tcp(b"more", at=518)) == [REDIRECT if policy == "open" else DROP]
    assert gateway.facts() == {"HELD": 1, "INSPECTOR_AWAY": 1}


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_one_flow_has_so_many_packets_in_the_tap(gateway: Gateway, policy: str) -> None:
    most = engine.LIMITS["FLOW_PACKETS_MAX"]
    gateway.tables.set_on_failure(policy)
    gateway.send(syn(), LISTED, *[tcp(b"more", at=518)] * (most - 1))
    assert (gateway.slot().held, gateway.facts()) == ((most, 0), {"HELD": most})
    assert gateway.send(tcp(b"more", at=518)) == [DROP]  # it comes again
    gateway.set_state(PASSING)
    assert gateway.send(tcp(b"more", at=518)) == [REDIRECT if policy == "open" else DROP]
    assert (gateway.slot().held, gateway.facts()) == ((most, 0), {"HELD": most, "HOLD_FULL": 2})
    assert gateway.dropped("NOT_INSPECTED") == (1 if policy == "open" else 2)
    gateway.set_slot(16, "=I", 1)
    gateway.send(tcp(b"more", at=518))
    assert gateway.slot().held == (most + 1, 0)


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_datagrams_over_the_bound_follow_the_failure_policy(gateway: Gateway, policy: str) -> None:
    most = engine.LIMITS["FLOW_PACKETS_MAX"]
    gateway.tables.set_on_failure(policy)
    assert gateway.send(*[udp(initial(), 443)] * (most + 1))[-1] == (REDIRECT if policy == "open" else DROP)
    assert gateway.facts() == {"HELD": most, "HOLD_FULL": 1}


def test_all_flows_together_have_so_many(gateway: Gateway) -> None:
    most = engine.LIMITS["TAP_PACKETS_MAX"]
    asked = udp(query("a.listed.example"), 53)
    gateway.send(*[asked] * most)
    assert gateway.facts() == {"HELD": most}
    gateway.send(asked, syn(), LISTED)
    assert (gateway.facts(), gateway.total(), gateway.slots()) == ({"HELD": most, "HOLD_FULL": 2}, most, {})
    gateway.release(1)
    gateway.send(asked)
    assert gateway.total() == most + 1


def test_without_a_free_slot_the_failure_policy_decides(gateway: Gateway) -> None:
    most = engine.LIMITS["HELD_FLOWS_MAX"]
    for first in range(0, most, 1024):
        gateway.send(*(udp(initial(), 20000 + number) for number in range(first, first + 1024)))
        gateway.release(gateway.total())
    assert (gateway.total(), gateway.facts()) == (most, {"HELD": most})
    gateway.send(udp(initial(), 65000))
    assert (gateway.total(), gateway.facts()) == (most, {"HELD": most, "HOLD_FULL": 1})


def test_young_flows_that_are_pushed_out_are_counted(gateway: Gateway) -> None:
    room = engine.LIMITS["YOUNG_LINES"] * engine.LIMITS["YOUNG_SLOTS"]
    gateway.send(*(syn(ports=(number & 0xFFFF, 443 + (number >> 16))) for number in range(room)))
    pushed = gateway.tables.names_pushed_out()
    assert room / 20 < pushed < room / 5
    assert (gateway.facts(), gateway.forwarded()) == ({}, room)


def test_a_full_table_of_young_flows_keeps_the_youngest(gateway: Gateway) -> None:
    """However many came at once: what is pushed out is the oldest of a line."""
    room, last = engine.LIMITS["YOUNG_LINES"] * engine.LIMITS["YOUNG_SLOTS"], 4096
    gateway.send(*(syn(ports=(number & 0xFFFF, 443 + (number >> 16))) for number in range(3 * room // 2)))
    gateway.send(*(syn(ports=(number, 9000)) for number in range(1, last + 1)))
    gateway.send(*(tcp(hello("clean.example"), ports=(number, 9000)) for number in range(1, last + 1)))
    assert gateway.seen() == {"tls seen": last}


def test_a_syn_that_comes_twice_leaves_one_trace(gateway: Gateway) -> None:
    gateway.send(*(syn(ports=(number, 443)) for number in range(1, 12_001)))
    gateway.send(*(tcp(hello("clean.example"), ports=(number, 443)) for number in range(6001, 12_001)))
    gateway.send(*(syn(ports=(number, 443)) for number in range(1, 2001)))
    gateway.send(*(tcp(hello("clean.example"), ports=(number, 443)) for number in range(1, 2001)))
    gateway.send(*(tcp(hello("clean.example"), at=518, ports=(number, 443)) for number in range(1, 2001)))
    assert (gateway.facts(), gateway.seen()) == ({}, {"tls seen": 8000})


def test_the_acknowledgement_of_a_syn_begins_nothing(gateway: Gateway) -> None:
    gateway.send(tcp(at=0, flags=SYN | ACK), LISTED)
    assert (gateway.seen(), gateway.facts(), gateway.forwarded()) == ({}, {}, 2)
