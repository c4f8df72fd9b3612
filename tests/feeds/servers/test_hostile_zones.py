"""Servers of zones that send half of one, another one, too much, nothing, or what nobody signed: all are refused."""

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rcode
import dns.rrset
import dns.tsig
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import HUNG_S
from scripted_server import END_SECONDS, ScriptedServer, drip, reset

from clearway.errors import ClearwayError
from clearway.feeds import zone_wire
from clearway.feeds.fetch import Fetched, fetch

ZONE = "rpz.example."
SECRET = "c2VjcmV0IG9mIGEga2V5IGZvciB0ZXN0cw=="
KEY = dns.tsig.Key("clearway.", SECRET, "hmac-sha256.")


def soa(serial: int) -> dns.rrset.RRset:
    return dns.rrset.from_text(ZONE, 60, "IN", "SOA", f"ns.example. admin.example. {serial} 1 1 1 1")


def blocked(*names: str) -> list[dns.rrset.RRset]:
    return [dns.rrset.from_text(f"{name}.{ZONE}", 60, "IN", "CNAME", ".") for name in names]


def asked(connection: socket.socket) -> dns.message.Message:
    length = struct.unpack("!H", connection.recv(2))[0]
    return dns.message.from_wire(connection.recv(length), keyring={KEY.name: KEY})


def answer(query: dns.message.Message, *rows: dns.rrset.RRset, code: int = 0) -> dns.message.Message:
    made = dns.message.Message(query.id)
    made.flags = dns.flags.Flag(0x8400)
    made.set_rcode(dns.rcode.Rcode(code))
    made.question = query.question
    made.answer = list(rows)
    return made


def send(connection: socket.socket, *messages: dns.message.Message | bytes) -> None:
    for message in messages:
        wire = message if isinstance(message, bytes) else message.to_wire(max_size=65535)
        connection.sendall(struct.pack("!H", len(wire)) + wire)


Sends = Callable[[socket.socket, dns.message.Message], None]


def fetched(sends: Sends, **options: Any) -> Fetched:
    def script(connection: socket.socket) -> None:
        sends(connection, asked(connection))

    with ScriptedServer(script) as server:
        return fetch(f"axfr://127.0.0.1:{server.port}/{ZONE}", **options)


def refused(id: str, sends: Sends, **options: Any) -> str:
    with pytest.raises(ClearwayError) as error:
        fetched(sends, **options)
    assert error.value.id == id, error.value
    assert error.value.retry or id in ("feeds.E007", "feeds.E039")
    return error.value.message


def one(*rows: dns.rrset.RRset, **how: Any) -> Sends:
    return lambda connection, query: send(connection, answer(query, *rows, **how))


FIRST = blocked("a.example")


@pytest.mark.parametrize(
    ("sends", "detail"),
    [
        (one(soa(1), *FIRST), "ended before it did, after 2 records"),
        (one(), "ended before it did, after 0 records"),
        (lambda connection, query: None, "ended before it did"),
        (one(*FIRST, soa(1), soa(1)), "does not begin with its SOA"),
        (one(soa(1), *FIRST, soa(2)), "changed on the way"),
        (one(soa(1), *FIRST, soa(1), *FIRST), "follows its end"),
        (lambda connection, query: send(connection, b"\0" * 5), "too short"),
        (lambda connection, query: send(connection, b"\0" * 12), "answers something else"),
        (lambda connection, query: send(connection, query.to_wire()), "answers something else"),
        (
            lambda connection, query: send(connection, answer(query, soa(1), *FIRST, soa(1)).to_wire()[:-9]),
            "longer than its message",
        ),
        (lambda connection, query: connection.sendall(b"\xff\xff" + b"x" * 1000), "ended before it did"),
    ],
)
def test_what_is_no_whole_zone_is_refused(sends: Sends, detail: str) -> None:
    assert detail in refused("feeds.E038", sends)


def test_a_whole_zone_is_taken_from_any_number_of_messages() -> None:
    def sends(connection: socket.socket, query: dns.message.Message) -> None:
        send(connection, answer(query, soa(1)), answer(query), answer(query, *FIRST), answer(query, soa(1)))

    assert fetched(sends).data.splitlines()[2:] == [b"a.example CNAME ."]
    assert len(fetched(one(soa(1), soa(1))).data.splitlines()) == 2


def test_a_code_is_named(tmp_path: Path) -> None:
    assert "REFUSED" in refused("feeds.E037", one(code=5))
    assert "NXDOMAIN" in refused("feeds.E037", one(code=3))


def test_a_connection_that_breaks_is_named() -> None:
    def sends(connection: socket.socket, query: dns.message.Message) -> None:
        send(connection, answer(query, soa(1), *FIRST))
        reset(connection)

    assert "reset" in refused("feeds.E010", sends)


def sends_nothing_of_it(connection: socket.socket, query: dns.message.Message) -> None:
    for _ in range(100):
        send(connection, answer(query))
        time.sleep(0.05)


@pytest.mark.parametrize(
    "sends",
    [lambda connection, query: drip(connection, b"\x40\0", 0.02), lambda connection, query: time.sleep(END_SECONDS)],
    ids=["drips", "says nothing"],
)
def test_a_server_that_takes_its_time_is_given_up(sends: Sends) -> None:
    began = time.monotonic()
    assert "too long" in refused("feeds.E010", sends, seconds_max=0.4)
    assert time.monotonic() - began < HUNG_S


def test_a_server_that_sends_nothing_on_and_on_is_given_up() -> None:
    def sends(connection: socket.socket, query: dns.message.Message) -> None:
        send(connection, answer(query, soa(1)))
        sends_nothing_of_it(connection, query)

    assert "too long" in refused("feeds.E010", sends, seconds_max=0.4)


def test_a_zone_without_an_end_is_given_up_at_its_bound() -> None:
    def sends(connection: socket.socket, query: dns.message.Message) -> None:
        send(connection, answer(query, soa(1)))
        many = answer(query, *blocked(*(f"bad{number}" for number in range(500)))).to_wire(max_size=65535)
        while True:
            send(connection, many)

    assert "1 MiB" in refused("feeds.E007", sends, bytes_max=1 << 20)


def test_names_that_unfold_are_bounded_too() -> None:
    """250 bytes of text for each record of 14 bytes."""
    long = ".".join(["x" * 60] * 3)

    def sends(connection: socket.socket, query: dns.message.Message) -> None:
        send(connection, answer(query, soa(1)))
        made = answer(query, *blocked(long)).to_wire()
        record = b"\xc0" + bytes([made.index(b"\x3c" + b"x" * 60)]) + b"\0\5\0\1\0\0\0\0\0\1\0"
        many = made[:6] + struct.pack("!H", 4000) + made[8:] + record * 3999
        while True:
            send(connection, many)

    sent: list[int] = []
    refused("feeds.E007", sends, bytes_max=4 << 20, progress=lambda done, total: sent.append(done))
    assert sent[-1] < 1 << 20


def signed(query: dns.message.Message, *rows: dns.rrset.RRset, key: dns.tsig.Key = KEY) -> dns.message.Message:
    made = answer(query, *rows)
    made.use_tsig(key)
    made.request_mac = query.mac or b""
    return made


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f'key "clearway" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    path.chmod(0o600)
    return path


def test_what_is_not_signed_with_the_key_is_refused(key_file: Path) -> None:
    rows = [soa(1), *FIRST, soa(1)]
    assert fetched(lambda connection, query: send(connection, signed(query, *rows)), key_file=key_file).data
    other = dns.tsig.Key("clearway.", "b3RoZXI=" * 4, "hmac-sha256.")
    for sends, detail in (
        (one(*rows), "not signed"),
        (lambda connection, query: send(connection, signed(query, *rows, key=other)), "not of that key"),
        (
            lambda connection, query: send(connection, signed(query, soa(1)), answer(query, *FIRST, soa(1))),
            "end is not",
        ),
        (
            lambda connection, query: send(connection, signed(query, soa(1)), *[answer(query)] * 200),
            "in a row are not signed",
        ),
    ):
        assert detail in refused("feeds.E038", sends, key_file=key_file)


def test_changes_that_do_not_fit_are_not_applied(tmp_path: Path) -> None:
    """A server that tells of changes to another zone than ours has to send all of it."""
    went = blocked("never.example")
    asked_for: list[str] = []

    def sends(connection: socket.socket, query: dns.message.Message) -> None:
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        asked_for.append(kind)
        if len(asked_for) > 1 and kind == "IXFR":
            send(connection, answer(query, soa(2), soa(1), *went, soa(2), *blocked("b.example"), soa(2)))
        else:
            send(connection, answer(query, soa(len(asked_for)), *FIRST, soa(len(asked_for))))

    def script(connection: socket.socket) -> None:
        sends(connection, asked(connection))

    with ScriptedServer(script) as server:
        source = f"axfr://127.0.0.1:{server.port}/{ZONE}"
        first = fetch(source, kept=tmp_path / "kept")
        second = fetch(source, kept=tmp_path / "kept", etag=first.etag)
    assert asked_for == ["AXFR", "IXFR", "AXFR"]
    assert (second.etag, second.data.splitlines()[2:]) == ("serial:3", [b"a.example CNAME ."])


def test_changes_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    sends = one(soa(3), soa(2), *FIRST, soa(3), soa(3))
    assert "follow" in refused("feeds.E038", sends, etag="serial:1")


WHOLE = answer(
    dns.message.make_query(ZONE, "AXFR", id=7),
    soa(1),
    *blocked("a.example", "*.a.example", "b.example"),
    dns.rrset.from_text(f"t.{ZONE}", 60, "IN", "TXT", '"x"'),
).to_wire()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6), st.data())
def test_no_message_does_more_than_be_malformed(changes: list[tuple[int, int]], data: st.DataObject) -> None:
    message = bytearray(WHOLE)
    for at, value in changes:
        message[at] = value
    cut = bytes(message[: data.draw(st.integers(0, len(message)))]) if data.draw(st.booleans()) else bytes(message)
    try:
        for record in zone_wire.records(cut, zone_wire.answers_of(cut, 7), ZONE):
            assert "\n" not in record.line and record.line.isascii()
    except zone_wire.Malformed:
        pass


def test_names_read_as_dnspython_reads_them() -> None:
    for text in ("a.b.rpz.example.", "*.x.rpz.example.", r"a\.b.rpz.example.", r"\000\255.rpz.example."):
        wire = answer(
            dns.message.make_query(ZONE, "AXFR", id=7), dns.rrset.from_text(text, 1, "IN", "CNAME", ".")
        ).to_wire()
        (record,) = zone_wire.records(wire, zone_wire.answers_of(wire, 7), ZONE)
        owner = dns.name.from_text(record.line.split(" ")[0], dns.name.from_text(ZONE))
        assert owner == dns.name.from_text(text)
