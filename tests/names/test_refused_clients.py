"""Real clients behind a gateway that refuses a name: each is told in its own way, and a clean name works throughout.

One gateway for each way of the wire. It fails closed here: a machine that runs other tests may keep the inspector from
its core for longer than a heartbeat lasts, and then a packet is sent again instead of passing unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clients import CLIENTS, Client, Visit, chromium
from gateway_between import REASON, Between, gateway_between
from host_pair import FAMILIES, MTU_DEFAULT, REFUSED_DOMAIN, SERVER, Finished, host_name, serving
from patience import HUNG_S
from recording import RST, SYN, Packet, packets, recorder

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces, pytest.mark.slow, pytest.mark.timeout(900)]

CONTACT = "noc@clients.example"
APPEAL_URL = "https://status.clients.example/appeal"
QUIC_ALONE_NS_MAX = 2_000_000_000
ATTEMPTS_MAX = 5


@dataclass(frozen=True)
class Way:
    """How frames reach the gateway."""

    word: str
    mtu: int = MTU_DEFAULT
    gro: bool = True
    vlan: bool = False


WAYS = (Way("gro"), Way("no-gro", gro=False), Way("mtu-1280", mtu=1280, gro=False), Way("vlan", vlan=True))


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.word)
def between(request: pytest.FixtureRequest, visiting: Path) -> Iterator[Between]:
    way: Way = request.param
    state = visiting / f"state-{way.word}"
    options = ["--on-failure", "closed", "--contact", CONTACT, "--appeal-url", APPEAL_URL]
    with (
        gateway_between(visiting, state, *options, mtu=way.mtu, gro=way.gro, vlan=way.vlan) as made,
        serving(made.pair),
    ):
        yield made


families = pytest.mark.parametrize("family", FAMILIES)


def client_of(label: str) -> Client:
    found = next(client for client in CLIENTS if client.label == label)
    found.require()
    return found


def refused(between: Between, label: str, family: str) -> Finished:
    """That client asks for its name in the refused domain."""
    return client_of(label).visit(between.pair, family, REFUSED_DOMAIN)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.label)
@families
def test_a_clean_name_is_reached(between: Between, client: Client, family: str) -> None:
    client.require()
    finished = client.visit(between.pair, family)
    assert client.succeeded(finished, host_name(client.label, family)), finished.said


# ---- DNS ----


@pytest.mark.parametrize("label", ["dig-udp", "dig-edns", "dig-tcp"])
@families
def test_dig_shows_the_status_and_the_reason(between: Between, label: str, family: str) -> None:
    """The extended error stands only in answers to queries with EDNS, as RFC 8914 wants."""
    said = refused(between, label, family).out
    assert "status: NXDOMAIN" in said, said
    assert "SOA" in said
    told = re.search(r"EDE: 15 \(Blocked\): \((.*)\)", said)
    if label == "dig-udp":
        assert not told and "OPT PSEUDOSECTION" not in said
    else:
        assert told and told[1].startswith(f"{REASON}; ") and "rule decision 1" in told[1], said


@families
def test_every_type_of_a_refused_name_is_refused(between: Between, family: str) -> None:
    """HTTPS and MX as well as addresses: else a browser goes round it."""
    client_of("dig-udp")
    for kind in ("A", "AAAA", "HTTPS", "MX"):
        command = ["dig", "+tries=3", "+time=5", f"@{SERVER.address(family)}", f"mail.{REFUSED_DOMAIN}", kind]
        assert "status: NXDOMAIN" in between.pair.run(command).out, kind


def test_capital_letters_do_not_hide_a_name(between: Between) -> None:
    client_of("dig-udp")
    said = between.pair.run(["dig", "+tries=3", "+time=5", f"@{SERVER.v4}", "WwW.ReFuSeD.ExAmPlE"]).out
    assert "status: NXDOMAIN" in said
    assert "WwW.ReFuSeD.ExAmPlE." in said, "the question comes back as it was asked"


# ---- HTTP ----


@families
def test_curl_gets_the_page(between: Between, family: str) -> None:
    """403, not cached; the name, the reason and the rule, whom to ask, in English and Urdu."""
    client_of("curl-http")
    name = host_name("curl-http", family, REFUSED_DOMAIN)
    finished = between.pair.run(
        ["curl", "--silent", "--show-error", "--include", "--max-time", "30", f"http://{name}/"]
    )
    head, _, page = finished.out.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 403 "), finished.said
    fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head.splitlines()[1:]}
    assert fields["cache-control"] == "no-store"
    assert fields["connection"] == "close"
    for told in (name, REASON, "decision 1", CONTACT, APPEAL_URL, 'lang="ur"', 'lang="en"'):
        assert told in page, told


@families
def test_wget_says_forbidden(between: Between, family: str) -> None:
    finished = refused(between, "wget-http", family)
    assert "403" in finished.err
    assert finished.code == 8


@families
def test_a_hand_written_request_gets_the_page(between: Between, family: str) -> None:
    assert "403" in refused(between, "nc-http", family).out.splitlines()[0]


# ---- TLS ----

RESETS = {
    "curl-tls": ("reset by peer", 35),
    "wget-tls": ("Unable to establish SSL connection", 4),
    "openssl-tls": ("write:errno=104", 1),
    "gnutls-tls": ("Error in the pull function", 1),
    "python-tls": ("ConnectionResetError", 1),
    "go-tls": ("connection reset by peer", 1),
}
"""What each says when its connection is reset, and how it ends."""


@pytest.mark.parametrize("label", RESETS)
@families
def test_a_tls_client_is_reset_before_the_server_speaks(between: Between, label: str, family: str) -> None:
    words, code = RESETS[label]
    client = client_of(label)
    with recorder(between.pair.client) as recording:
        finished = refused(between, label, family)
        seen = packets(recording.frames())
    assert words in finished.said, finished.said
    assert finished.code == code
    from_server = [packet for packet in seen if packet.source_port == client.port]
    assert any(packet.flags & RST for packet in from_server)
    assert not [packet for packet in from_server if packet.payload], "no byte of the server's came"


# ---- Chromium ----


@families
def test_chromium_shows_a_reset_connection(between: Between, family: str) -> None:
    said = refused(between, "chromium-tls", family).said
    assert "ERR_CONNECTION_RESET" in said, said
    assert "the server greets" not in said


def first(seen: list[Packet], **wanted: object) -> Packet | None:
    return next((p for p in seen if all(getattr(p, field) == value for field, value in wanted.items())), None)


@families
def test_chromium_falls_back_from_quic_to_tcp_and_stops_there(
    between: Between, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It knows from an earlier visit that the server speaks HTTP/3. How long the way to the end takes is printed."""
    client_of("chromium-quic")
    profile = between.pair.folder / f"returning-{family}-{between.gateway.name}"
    domain = f"returning-{family}.example"
    name = host_name("chromium-quic", family, domain)
    visit = Visit(name, family, between.pair.folder)
    hosts = between.pair.folder / "hosts"
    hosts.write_text(hosts.read_text() + f"{SERVER.address(family)} {name}\n")
    command = list(chromium(visit, profile=profile))
    first_visit = between.pair.run(command)
    assert "the server greets" in first_visit.out, first_visit.said
    between.refuse(name)
    with recorder(between.pair.client) as recording:
        said = between.pair.run(command).said
        seen = packets(recording.frames())
    server = SERVER.address(family)
    asked = [packet for packet in seen if packet.destination == server and packet.destination_port == 443]
    initial = first(asked, protocol="udp")
    opened = first(asked, protocol="tcp", flags=SYN)
    reset = next((p for p in seen if p.source_port == 443 and p.protocol == "tcp" and p.flags & RST), None)
    assert initial and opened and reset, f"no QUIC, no fall-back or no end: {said}"
    # over QUIC the server may have acknowledged the first part of a hello in two datagrams, and nothing else
    assert not [p for p in seen if p.source_port == 443 and p.protocol == "tcp" and p.payload]
    # it tries both at a time and tells of the one that failed last
    assert "ERR_CONNECTION_RESET" in said or "ERR_QUIC_PROTOCOL_ERROR" in said, said
    fall_back_s, end_s = ((at - initial.time_ns) / 1e9 for at in (opened.time_ns, reset.time_ns))
    assert end_s < HUNG_S
    with capsys.disabled():
        print(f"\n    QUIC Initial to TCP: {fall_back_s * 1000:.0f} ms, to the reset: {end_s * 1000:.0f} ms")


@families
def test_a_client_of_quic_alone_stops_when_it_is_told(between: Between, family: str) -> None:
    """Port unreachable ends the attempt at once; a client that hears nothing sends its Initials for four seconds."""
    client = client_of("chromium-quic")
    took_ns = []
    for _ in range(ATTEMPTS_MAX):
        with recorder(between.pair.client) as recording:
            said = refused(between, client.label, family).said
            seen = packets(recording.frames())
        sent = [p for p in seen if p.protocol == "udp" and p.destination_port == client.port]
        assert "ERR_QUIC_PROTOCOL_ERROR" in said, said
        assert sent
        took_ns.append(sent[-1].time_ns - sent[0].time_ns)
        if took_ns[-1] < QUIC_ALONE_NS_MAX:  # else a busy machine: it was told late
            break
    assert took_ns[-1] < QUIC_ALONE_NS_MAX, took_ns


# ---- what is counted ----


def test_status_counts_refusals_by_protocol_and_answer(between: Between) -> None:
    """As many more as were asked for since."""
    client_of("dig-udp")
    client_of("curl-http")
    before = between.names()
    for family in FAMILIES:
        refused(between, "dig-edns", family)
        refused(between, "curl-http", family)
        refused(between, "curl-tls", family)
    after = between.names()
    for kind in ("dns", "http", "tls"):
        assert after["refused"][kind] - before["refused"][kind] >= 2, kind
    for kind in ("dns", "http", "reset"):
        assert after["answered"][kind] - before["answered"][kind] >= 2, kind
    assert after["tap_dropped"] == before["tap_dropped"] == 0
