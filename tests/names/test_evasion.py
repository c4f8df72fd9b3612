"""What docs/evasion.md claims: each way to hide a refused name from the gateway, and what becomes of it.

Raw frames through a running gateway. A test named `…_passes…` or `…_is_believed` holds the page to what it admits: a
gateway that does better one day has to say so there. Long because each row of that one page is a test here.
"""

from __future__ import annotations

import random
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gateway_between import Between, gateway_between
from host_pair import REFUSED_DOMAIN
from hostile_messages import (
    ENCRYPTED_HELLO,
    PADDING,
    VERSION_1,
    VERSION_2,
    crypto_frame,
    extension,
    handshake,
    hello,
    http2,
    initial,
    initials,
    query,
    records,
    request,
    sealed_packet,
)
from raw_flow import ADDRESSES, CLIENT_MAC, SERVER_MAC, WATCHED_S, Flow, Outcome, play

from clearway.lab import frames
from clearway.lab.frames import ACK, FIN, PSH, RST
from clearway.lab.packets import BATCH_MAX, Sender

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces]

BAD, GOOD = f"login.{REFUSED_DOMAIN}", "news.clean.example"
HELLO, CLEAN = hello(BAD), hello(GOOD)
MTU_BYTES = 1400
LONG_S = 10.0
"""More than a scenario takes that outlasts what the gateway remembers, and means to."""
DATAGRAMS_S = 0.5
"""So long after it was decided a flow of datagrams is not asked again."""
SETTLED_S = 0.3
CLOCK_S = 4.5
"""Of the table of young flows: what is older goes first."""
PUBLIC_ECH = "cloudflare-ech.com"


@pytest.fixture(scope="module")
def between(visiting: Path) -> Iterator[Between]:
    with gateway_between(visiting, visiting / "state-evasion") as made:
        yield made


def is_refused(outcome: Outcome, message: bytes = HELLO) -> None:
    """The name never reached the server whole, and the client was told."""
    assert outcome.reset, outcome
    assert message not in outcome.stream()
    assert sum(outcome.moved["refused"].values()) == 1


def passes(outcome: Outcome, message: bytes = HELLO) -> None:
    assert message in outcome.stream(), outcome
    assert not outcome.reset
    assert "refused" not in outcome.moved


# ---- cut, shuffled, doubled ----


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("size", [len(HELLO), 100, 20, 7])
def test_a_hello_in_segments_of_any_size_is_refused(between: Between, size: int, family: str) -> None:
    def scenario(flow: Flow) -> None:
        flow.open()
        for at in range(0, len(HELLO), size):
            flow.data(HELLO[at : at + size], at=at)

    is_refused(play(between, scenario, family=family))


def test_a_hello_byte_by_byte_is_refused(between: Between) -> None:
    """At a pace that leaves fewer than 64 of its packets waiting."""

    def scenario(flow: Flow) -> None:
        flow.open()
        for at in range(len(HELLO)):
            flow.data(HELLO[at : at + 1], at=at)
            time.sleep(0.001)

    is_refused(play(between, scenario))


def test_a_burst_that_is_too_large_to_hold_is_refused_when_it_comes_again(between: Between) -> None:
    """What is over the bound of a held flow is dropped, as any TCP sender is used to."""

    def scenario(flow: Flow) -> None:
        flow.open()
        for _ in range(8):
            for at in range(len(HELLO)):
                flow.data(HELLO[at : at + 1], at=at)
            time.sleep(0.1)

    is_refused(play(between, scenario, overflows=True))


@pytest.mark.parametrize("seed", range(4))
def test_a_hello_out_of_order_and_doubled_is_refused(between: Between, seed: int) -> None:
    parts = [(at, HELLO[at : at + 23]) for at in range(0, len(HELLO), 23)]
    shuffled = parts + parts[::2]
    random.Random(seed).shuffle(shuffled)

    def scenario(flow: Flow) -> None:
        flow.open()
        for at, part in shuffled:
            flow.data(part, at=at)

    is_refused(play(between, scenario))


def overlapping(first: bytes, second: bytes, flow: Flow) -> None:
    """Both copies of everything but the beginning, then the beginning."""
    flow.open()
    flow.data(first[20:], at=20)
    flow.data(second[20:], at=20)
    flow.data(first[:20])


SAME_LENGTH = "x" * (len(BAD) - len(".example")) + ".example"


def test_of_overlapping_segments_the_first_copy_is_believed_and_the_conflict_counted(between: Between) -> None:
    outcome = play(between, lambda flow: overlapping(HELLO, hello(SAME_LENGTH), flow))
    is_refused(outcome)
    assert outcome.moved["ambiguous"] == 1


def test_a_name_in_a_second_copy_passes_and_the_conflict_is_counted(between: Between) -> None:
    """A server that believes the later copy of bytes that it has not handed on yet was asked for the refused name."""
    outcome = play(between, lambda flow: overlapping(hello(SAME_LENGTH), HELLO, flow))
    assert not outcome.reset
    assert outcome.moved["ambiguous"] == 1


@pytest.mark.parametrize("size", [1, 5, 40, 200])
def test_a_hello_in_records_of_any_size_is_refused(between: Between, size: int) -> None:
    message = records(handshake(BAD), size)

    def scenario(flow: Flow) -> None:
        flow.open()
        for at in range(0, len(message), MTU_BYTES):
            flow.data(message[at : at + MTU_BYTES], at=at)

    is_refused(play(between, scenario), message)


@pytest.mark.parametrize("record", [b"\x15\3\1\0\2\1\x5a", b"\x14\3\1\0\1\1"], ids=["alert", "change-cipher-spec"])
@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
def test_a_record_in_front_of_a_hello_hides_nothing(between: Between, record: bytes, apart: bool) -> None:
    message = record + HELLO

    def scenario(flow: Flow) -> None:
        flow.open()
        if apart:
            flow.data(record)
        first = len(record) if apart else 0
        for at in range(first, len(message), MTU_BYTES):
            flow.data(message[at : at + MTU_BYTES], at=at)

    is_refused(play(between, scenario), message)


@pytest.mark.parametrize("first", [True, False], ids=["name-first", "name-last"])
def test_a_long_hello_is_refused_wherever_its_name_stands(between: Between, first: bool) -> None:
    filling = extension(PADDING, bytes(9000))
    message = records(handshake(BAD) if first else handshake(BAD, filling))

    def scenario(flow: Flow) -> None:
        flow.open()
        for at in range(0, len(message), MTU_BYTES):
            flow.data(message[at : at + MTU_BYTES], at=at)

    is_refused(play(between, scenario), message)


def test_a_hello_that_takes_longer_than_the_gateway_watches_passes_and_is_counted(between: Between) -> None:
    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO[:60])
        time.sleep(WATCHED_S + 0.6)
        flow.data(HELLO[60:], at=60)

    outcome = play(between, scenario, within_s=LONG_S)
    passes(outcome)
    assert outcome.moved["gave_up"] == 1


def test_a_hello_whose_last_byte_is_kept_back_is_refused(between: Between) -> None:
    """What an unfinished hello has named by then counts. No packet is at hand that could be answered."""

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO[:-1])
        time.sleep(WATCHED_S + 0.6)
        flow.data(HELLO[-1:], at=len(HELLO) - 1)

    outcome = play(between, scenario, within_s=LONG_S)
    assert HELLO not in outcome.stream()
    assert outcome.moved["refused"] == {"tls": 1}
    assert outcome.moved["not_answered"] == 1


# ---- decoys ----


def test_a_decoy_out_of_window_is_not_believed(between: Between) -> None:
    """A clean hello that no server takes, far behind and far ahead of the client's sequence; then the real one."""
    for far in (-(1 << 20), 1 << 20):

        def scenario(flow: Flow, far: int = far) -> None:
            flow.open()
            flow.data(CLEAN, at=far)
            flow.data(HELLO)

        is_refused(play(between, scenario))


def test_a_keep_alive_before_the_hello_changes_nothing(between: Between) -> None:
    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(b"\0", at=-1)
        flow.data(HELLO)

    is_refused(play(between, scenario))


def test_a_decoy_with_a_bad_checksum_is_believed(between: Between) -> None:
    """No checksum is computed on the way: a server drops the decoy, and is asked for the name behind it."""

    def scenario(flow: Flow) -> None:
        flow.open()
        wrong = bytearray(flow.segment(CLEAN))
        wrong[16] ^= 0xFF
        flow.wire.send(flow.ip(6, bytes(wrong)))
        time.sleep(0.05)
        flow.data(HELLO)

    outcome = play(between, scenario)
    assert not outcome.reset
    assert any(packet.payload == HELLO for packet in outcome.arrived)


def test_a_decoy_that_dies_on_the_way_is_believed(between: Between) -> None:
    """TTL 1: nobody here knows how far the server is."""

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(CLEAN, ttl=1)
        time.sleep(0.05)
        flow.data(HELLO)

    outcome = play(between, scenario)
    assert not outcome.reset
    assert any(packet.payload == HELLO for packet in outcome.arrived)


@pytest.mark.parametrize("flags", [RST, FIN | ACK], ids=["rst", "fin"])
def test_a_forged_end_between_two_halves_is_not_believed(between: Between, flags: int) -> None:
    """Far out of window: a server ignores it."""

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO[:50])
        flow.data(b"", at=1 << 24, flags=flags)
        flow.data(HELLO[50:], at=50, flags=ACK | PSH)

    is_refused(play(between, scenario))


# ---- what the flow begins with, and where it goes ----


def test_a_hello_in_the_syn_is_refused(between: Between) -> None:
    """TCP Fast Open."""
    outcome = play(between, lambda flow: flow.open(HELLO))
    assert outcome.arrived == []
    assert outcome.moved["refused"] == {"tls": 1}


@pytest.mark.parametrize("port", [53, 80, 443, 8443, 25565])
def test_a_name_is_read_at_any_port(between: Between, port: int) -> None:
    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO)

    is_refused(play(between, scenario, port=port))


def test_a_client_outside_is_refused_alike(between: Between) -> None:
    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO)

    is_refused(play(between, scenario, end="server"))


def test_a_refused_flow_stays_refused(between: Between) -> None:
    """The rest, a retransmission and a new SYN from the same port: nothing of it arrives."""

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO)
        time.sleep(0.1)
        flow.data(HELLO)
        flow.data(b"more", at=len(HELLO))
        flow.open()
        flow.data(CLEAN)

    outcome = play(between, scenario)
    assert outcome.arrived == []


TAGS = {
    "vlan": lambda frame: frames.vlan(0x8100, 5, frame),
    "qinq": lambda frame: frames.vlan(0x88A8, 7, frames.vlan(0x8100, 5, frame)),
    "pppoe": lambda frame: frame[:12] + struct.pack("!HBBHHH", 0x8864, 0x11, 0, 9, len(frame) - 12, 0x21) + frame[14:],
}


@pytest.mark.parametrize("kind", TAGS)
def test_tags_and_pppoe_hide_nothing(between: Between, kind: str) -> None:
    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO[:50])
        flow.data(HELLO[50:], at=50)

    outcome = play(between, scenario, wrap=TAGS[kind])
    assert outcome.moved["refused"] == {"tls": 1}
    assert outcome.moved["answered"] == {"reset": 1}


def test_mpls_labels_hide_nothing_but_nobody_is_told(between: Between) -> None:
    """Labels mean something in one direction alone, so no answer can be built."""

    def labelled(frame: bytes) -> bytes:
        return frame[:12] + struct.pack("!HI", 0x8847, 0x0001_0140) + frame[14:]

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(HELLO)

    outcome = play(between, scenario, wrap=labelled)
    assert outcome.moved["refused"] == {"tls": 1}
    assert outcome.moved["not_answered"] == 1
    assert outcome.answers == []


def test_extension_headers_hide_nothing(between: Between) -> None:
    """IPv6 destination options before TCP."""

    def send(flow: Flow, segment: bytes) -> None:
        options = bytes([6, 0, 1, 4, 0, 0, 0, 0])
        packet = frames.ipv6(*flow.addresses, 60, options + segment)
        flow.wire.send(flow.frame(frames.ETHER_IPV6, packet))

    def scenario(flow: Flow) -> None:
        send(flow, flow.segment(b"", at=-1, flags=frames.SYN))
        send(flow, flow.segment(HELLO))

    outcome = play(between, scenario, family="v6")
    assert outcome.moved["refused"] == {"tls": 1}


def test_ip_fragments_pass_unread(between: Between) -> None:
    sent: list[bytes] = []

    def scenario(flow: Flow) -> None:
        flow.open()
        segment = flow.segment(HELLO)
        for at, part, more in ((0, segment[:48], 0x2000), (48, segment[48:], 0)):
            packet = frames.ipv4(*flow.addresses, 6, part, fragment=at // 8 | more, identification=flow.source_port)
            sent.append(flow.frame(frames.ETHER_IPV4, packet))
            flow.wire.send(sent[-1])

    def counted() -> int:
        packets: int = between.status()["facts"].get("fragment", {"packets": 0})["packets"]
        return packets

    before = counted()
    outcome = play(between, scenario)
    assert counted() - before == len(sent), "each fragment is counted"
    assert [frame for frame in outcome.frames if frame in sent] == sent[-2:], "both arrive as they were sent, in order"
    assert "refused" not in outcome.moved and "held_packets" not in outcome.moved, outcome.moved
    assert not outcome.reset


def test_a_flow_older_than_the_gateway_passes_unread(between: Between) -> None:
    passes(play(between, lambda flow: flow.data(HELLO)))


@pytest.mark.slow
def test_a_flow_that_a_syn_flood_pushed_out_passes_unread_and_is_counted(between: Between) -> None:
    lines, each = 1 << 14, 24

    def flood(flow: Flow) -> None:
        source, destination = ADDRESSES["v4"]
        segment = frames.tcp(source, destination, (1, 1), b"", flags=frames.SYN)
        frame = frames.ethernet(SERVER_MAC, CLIENT_MAC, frames.ETHER_IPV4, frames.ipv4(source, destination, 6, segment))
        sender = Sender(flow.wire.between.pair.client, len(frame))
        sender.data[:] = np.frombuffer(frame, np.uint8)
        random_bytes = np.random.default_rng(7)
        for _ in range(lines * each // BATCH_MAX):
            sender.data[:, 28:30] = random_bytes.integers(0, 256, (BATCH_MAX, 2))  # of the source address
            sender.data[:, 34:36] = random_bytes.integers(0, 256, (BATCH_MAX, 2))  # the source port
            sender.send(BATCH_MAX)
        sender.close()

    def opened_and_flooded(flow: Flow) -> None:
        flow.open()
        time.sleep(CLOCK_S)
        flood(flow)
        time.sleep(0.5)

    outcome = play(between, lambda flow: flow.data(HELLO), opened_and_flooded)
    passes(outcome)
    assert outcome.moved["pushed_out"] > 0


# ---- HTTP ----

REQUESTS = {
    "capitals-and-port": request(f"LoGiN.{REFUSED_DOMAIN.upper()}.:80"),
    "absolute-form": request(GOOD, f"http://{BAD}/"),
    "connect": request(f"{BAD}:443", f"{BAD}:443", "CONNECT"),
    "second-host": request(GOOD, more=f"Host: {BAD}\r\n"),
    "odd-spacing": f"GET / HTTP/1.1\r\nHost:\t {BAD} \r\n\r\n".encode(),
    "bare-line-feeds": f"GET / HTTP/1.1\nHost: {BAD}\n\n".encode(),
    "empty-line-first": b"\r\n" + request(BAD),
    "folded": f"GET / HTTP/1.1\r\nHost:\r\n {BAD}\r\n\r\n".encode(),
    "behind-long-headers": f"GET / HTTP/1.1\r\nCookie: {'c' * 6000}\r\nHost: {BAD}\r\n\r\n".encode(),
    "unknown-method": request(BAD, method="BREW"),
    "method-in-small-letters": request(BAD, method="get"),
    "method-with-a-digit": request(BAD, method="G3T"),
    "method-with-punctuation": request(BAD, method="_GET!"),
    "method-of-another-version": request(BAD, method="PRI"),
    "method-of-24-bytes": request(BAD, method=24 * "A"),
    "port-by-name": request(f"{BAD}:http"),
    "upgrade-to-h2c": request(BAD, more="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
    "http2-prior-knowledge": http2(BAD),
    "http2-host-beside-authority": http2(GOOD, BAD),
    "http2-behind-a-long-integer": http2(BAD, before=b"\x3f\x80\x80\x80\0"),  # a table of 31 bytes
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_is_refused_however_it_states_its_host(between: Between, kind: str) -> None:
    message = REQUESTS[kind]

    def scenario(flow: Flow) -> None:
        flow.open()
        for at in range(0, len(message), MTU_BYTES):
            flow.data(message[at : at + MTU_BYTES], at=at)

    outcome = play(between, scenario, port=80)
    assert outcome.moved["refused"] == {"http": 1}
    assert message not in outcome.stream()


def test_a_method_of_more_than_24_bytes_passes(between: Between) -> None:
    message = request(BAD, method=25 * "A")

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(message)

    passes(play(between, scenario, port=80), message)


def test_the_second_request_on_a_connection_passes(between: Between) -> None:
    """The first name decides the flow; what follows goes by unread, which is what makes it quick."""

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(request(GOOD))
        time.sleep(0.1)
        flow.data(request(BAD), at=len(request(GOOD)))

    passes(play(between, scenario, port=80), request(BAD))


# ---- TLS that shows another name, or none ----


def test_a_hello_without_a_name_passes_and_is_counted(between: Between) -> None:
    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(hello(None))

    outcome = play(between, scenario)
    passes(outcome, hello(None))
    assert outcome.moved["flows"] == {"tls": {"none": 1}}


def test_an_encrypted_hello_passes_by_its_public_name_and_is_counted_as_such(between: Between) -> None:
    shown = hello(PUBLIC_ECH, extension(ENCRYPTED_HELLO, bytes(200)))

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(shown)

    outcome = play(between, scenario)
    passes(outcome, shown)
    assert outcome.moved["flows"] == {"tls": {"public_ech": 1}}


def test_a_hello_that_only_pretends_to_hide_its_name_is_refused(between: Between) -> None:
    """GREASE: the extension of an encrypted hello beside the real name."""
    shown = hello(BAD, extension(ENCRYPTED_HELLO, bytes(200)))

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(shown)

    is_refused(play(between, scenario), shown)


def test_another_protocol_passes_and_is_counted(between: Between) -> None:
    """SMTP before STARTTLS, SSH, or whatever else: the flow begins like none of those that are read."""
    message = b"SSH-2.0-OpenSSH_9.2\r\n"

    def scenario(flow: Flow) -> None:
        flow.open()
        flow.data(message)
        flow.data(HELLO, at=len(message))

    outcome = play(between, scenario)
    passes(outcome, HELLO)
    assert outcome.moved["flows"] == {"other": {"none": 1}}


# ---- QUIC ----


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2], ids=["v1", "v2"])
@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_a_hello_in_so_many_initials_is_refused(between: Between, count: int, version: int, family: str) -> None:
    """The one that completes the name is dropped, and so is all that follows; the client is told by ICMP."""
    sent = initials(BAD, count, version)

    def scenario(flow: Flow) -> None:
        for datagram in sent:
            flow.datagram(datagram)
        time.sleep(0.1)
        flow.datagram(sent[-1])

    outcome = play(between, scenario, family=family)
    assert [packet.payload for packet in outcome.arrived] == sent[:-1]
    assert outcome.unreachable == 1
    assert outcome.moved["refused"] == {"quic": 1}


def test_shuffled_initials_and_frames_are_refused(between: Between) -> None:
    message = handshake(BAD)
    parts = [crypto_frame(at, message[at : at + 9]) for at in range(0, len(message), 9)]
    random.Random(5).shuffle(parts)
    third = len(parts) // 3
    groups = [b"\x01".join(parts[at : at + third + 1]) for at in range(0, len(parts), third + 1)]
    sent = [initial(group, number, b"shuffled") for number, group in enumerate(groups)]
    random.Random(6).shuffle(sent)

    def scenario(flow: Flow) -> None:
        for datagram in sent:
            flow.datagram(datagram)

    outcome = play(between, scenario)
    assert outcome.moved["refused"] == {"quic": 1}
    assert len(outcome.arrived) < len(sent)


EARLY = sealed_packet("0-RTT", size=1200)
FOREIGN = initials(GOOD, 1)[0].replace(b"evasive!", b"evasion!")
"""No key opens it: the id that its keys follow from is another."""
PING = initial(b"\x01", 0, b"decoy id")
IN_FRONT = {
    "something short": (b"first of all something else", 3),
    "0-RTT": (EARLY, 14),
    "Initials that no key opens": (FOREIGN, 40),
    "Initials without a hello": (PING, 20),
}
TOO_MANY_IN_FRONT = {"0-RTT": (EARLY, 16), "Initials that no key opens": (FOREIGN, 96), "PINGs": (PING, 32)}


def in_front(flow: Flow, datagram: bytes, count: int) -> None:
    """At a pace that leaves few of them waiting."""
    for _ in range(count):
        flow.datagram(datagram)
        time.sleep(0.002)


@pytest.mark.parametrize("kind", IN_FRONT)
def test_datagrams_in_front_of_the_initial_change_nothing(between: Between, kind: str) -> None:
    def scenario(flow: Flow) -> None:
        in_front(flow, *IN_FRONT[kind])
        flow.datagram(b"something short between them")
        flow.datagram(initials(BAD, 1)[0])

    outcome = play(between, scenario)
    assert outcome.moved["refused"] == {"quic": 1}


@pytest.mark.parametrize("kind", TOO_MANY_IN_FRONT)
def test_an_initial_behind_many_datagrams_passes_and_is_counted(between: Between, kind: str) -> None:
    def scenario(flow: Flow) -> None:
        datagram, count = TOO_MANY_IN_FRONT[kind]
        few = next(few for each, few in IN_FRONT.values() if each == datagram)
        in_front(flow, datagram, few)
        began = time.monotonic()
        in_front(flow, datagram, count - few)  # it is decided with one of these
        time.sleep(0.1)
        flow.datagram(initials(BAD, 1)[0])
        flow.is_slow = time.monotonic() - began > 0.9 * DATAGRAMS_S

    outcome = play(between, scenario)
    assert outcome.arrived[-1].payload == initials(BAD, 1)[0]
    assert outcome.moved["flows"] == {"quic": {"none": 1}}


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2], ids=["v1", "v2"])
@pytest.mark.parametrize("kind", ["0-RTT", "Handshake"])
def test_an_initial_behind_other_packets_of_its_datagram_is_refused(between: Between, kind: str, version: int) -> None:
    datagram = sealed_packet(kind, version=version) * 3 + initials(BAD, 1, version)[0]
    outcome = play(between, lambda flow: flow.datagram(datagram))
    assert outcome.arrived == []
    assert outcome.unreachable == 1
    assert outcome.moved["refused"] == {"quic": 1}


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2], ids=["v1", "v2"])
def test_an_initial_without_its_fixed_bit_is_refused(between: Between, version: int) -> None:
    """RFC 9287: a client that knows its server may clear it."""
    datagram = initial(crypto_frame(0, handshake(BAD)), 0, b"evasive!", version, fixed_bit=0)
    outcome = play(between, lambda flow: flow.datagram(datagram))
    assert outcome.arrived == []
    assert outcome.moved["refused"] == {"quic": 1}


def test_a_clean_initial_in_a_small_datagram_is_not_believed(between: Between) -> None:
    """RFC 9000 section 14.1: a server throws it away, and believes the one behind."""

    def scenario(flow: Flow) -> None:
        flow.datagram(PING)
        flow.datagram(initial(crypto_frame(0, handshake(GOOD)), 0, b"evasive!", size=600))
        flow.datagram(initials(BAD, 1)[0])

    outcome = play(between, scenario)
    assert outcome.moved["refused"] == {"quic": 1}


def test_quic_of_another_version_passes_unread(between: Between) -> None:
    datagram = initials(BAD, 1)[0]
    unknown = datagram[:1] + b"\xfa\xce\xb0\x0c" + datagram[5:]
    outcome = play(between, lambda flow: flow.datagram(unknown))
    assert [packet.payload for packet in outcome.arrived] == [unknown]


def test_an_initial_to_the_port_of_dns_passes_unread(between: Between) -> None:
    datagram = initials(BAD, 1)[0]
    outcome = play(between, lambda flow: flow.datagram(datagram), port=53)
    assert [packet.payload for packet in outcome.arrived] == [datagram]


def test_a_forged_initial_ends_the_flow_of_another(between: Between) -> None:
    """Whoever sends it: a datagram proves no sender."""
    clean, forged = initials(GOOD, 1, connection=b"honest!!")[0], initials(BAD, 1)[0]
    data, more = b"\x40" + bytes(range(60)), b"\x41" + bytes(range(60))

    def scenario(flow: Flow) -> None:
        flow.datagram(clean)
        time.sleep(2 * DATAGRAMS_S)
        flow.datagram(data)
        flow.datagram(forged)
        time.sleep(SETTLED_S)
        flow.datagram(more)

    outcome = play(between, scenario, within_s=LONG_S)
    assert [packet.payload for packet in outcome.arrived] == [clean, data], outcome
    assert outcome.moved["refused"] == {"quic": 1} and outcome.unreachable == 1


# ---- DNS ----


def over_tcp(*names: str) -> bytes:
    return b"".join(struct.pack("!H", len(query(name))) + query(name) for name in names)


def test_every_question_of_a_query_is_asked(between: Between) -> None:
    outcome = play(between, lambda flow: flow.datagram(query(GOOD, BAD)), port=53)
    assert outcome.arrived == []
    assert outcome.moved["refused"] == {"dns": 1}


def test_every_query_of_a_tcp_connection_is_asked(between: Between) -> None:
    """Unlike other flows, which their first name decides; here each query is answered for itself."""

    def scenario(flow: Flow) -> None:
        flow.open()
        first = over_tcp(GOOD)
        flow.data(first)
        time.sleep(0.1)
        flow.data(over_tcp(BAD), at=len(first))

    outcome = play(between, scenario, port=53)
    assert outcome.stream() == over_tcp(GOOD)
    assert outcome.moved["refused"] == {"dns": 1}


@pytest.mark.parametrize("size", [1, 2, 9])
def test_a_query_over_tcp_in_pieces_is_refused(between: Between, size: int) -> None:
    message = over_tcp(BAD)

    def scenario(flow: Flow) -> None:
        flow.open()
        for at in range(0, len(message), size):
            flow.data(message[at : at + size], at=at)

    outcome = play(between, scenario, port=53)
    assert outcome.moved["refused"] == {"dns": 1}
    assert message not in outcome.stream()


def test_dns_at_another_port_passes_unread(between: Between) -> None:
    outcome = play(between, lambda flow: flow.datagram(query(BAD)), port=5353)
    assert [packet.payload for packet in outcome.arrived] == [query(BAD)]


def test_the_page_names_each_of_these_tests_and_no_other(root: Path) -> None:
    page = (root / "docs" / "evasion.md").read_text()
    named = {f"test_{word}" for word in re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", page)}
    assert named == {name for name in globals() if name.startswith("test_")} - {
        "test_the_page_names_each_of_these_tests_and_no_other"
    }
