"""A refused user learns why: dig shows the Extended DNS Error, curl the page and the reset; clean names go through."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bare_gateway import BareGateway
from holding import holding_gateway, inspecting
from patience import HUNG_S, until
from shortwire import ShortWire

from clearway import _engine as engine
from clearway._engine import Direction

pytestmark = pytest.mark.kernel

CLIENT, SERVER = "10.77.0.1", "10.77.0.2"
FOREVER_NS = 1 << 62
PATIENT = ("+tries=3", "+time=20")
"""Of dig: it asks again only where its query was dropped, since a busy machine kept the inspector from its core."""
BLOCKED = "bad.example"
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("certificate")
    key, made = directory / "key.pem", directory / "made.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-keyout", str(key), "-out", str(made)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return made, key


@pytest.fixture
def gateway(wire: ShortWire, certificate: tuple[Path, Path]) -> Iterator[tuple[BareGateway, engine.Inspector]]:
    """bad.example and everything below it is blocked; servers run at the right end."""
    for end, address in ((wire.left, CLIENT), (wire.right, SERVER)):
        words = ["ip", "address", "add", f"{address}/24", "dev", end.interface]
        subprocess.run(end.namespace.command(words), check=True)
    for end, (address, far) in ((wire.left, (SERVER, wire.right)), (wire.right, (CLIENT, wire.left))):
        # for good: or ARP asks again while packets are counted
        words = ["ip", "neighbour", "add", address, "lladdr", far.mac().hex(":"), "dev", end.interface]
        subprocess.run(end.namespace.command([*words, "nud", "permanent"]), check=True)
    script = str(Path(__file__).with_name("name_servers.py"))
    command = wire.right.namespace.command([sys.executable, script, SERVER, *map(str, certificate)])
    servers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert servers.stdout is not None and servers.stdout.readline() == "ready\n"
        with holding_gateway(wire) as (made, taps), inspecting(wire, made, taps) as inspector:
            told = ("decision 7", "phishing", int(engine.Reason.PHISHING), "operator", "2031-01-01T00:00:00Z")
            inspector.set_single([(BLOCKED, ("subtree", FOREVER_NS, 0, told))])
            made.tables.set_overlay_names([(BLOCKED, "subtree")])
            made.tables.set_on_failure("closed")
            yield made, inspector
    finally:
        servers.kill()
        servers.wait()


@pytest.fixture
def ask(wire: ShortWire) -> Ask:
    def run(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        if shutil.which(command[0]) is None:
            pytest.skip(f"needs {command[0]}")
        inside = wire.left.namespace.command(list(command))
        return subprocess.run(inside, capture_output=True, text=True, timeout=HUNG_S, input=text)

    return run


@pytest.mark.parametrize("transport", [(), ("+tcp",)])
def test_dig_shows_why_a_name_is_refused_and_resolves_a_clean_one(
    gateway: tuple[BareGateway, engine.Inspector], ask: Ask, transport: tuple[str, ...]
) -> None:
    made, _ = gateway
    clean = ask("dig", *transport, f"@{SERVER}", "good.example", "+short", *PATIENT)
    assert clean.stdout.strip() == "192.0.2.80"
    refused = ask("dig", *transport, f"@{SERVER}", "www.bad.example", *PATIENT)
    assert "NXDOMAIN" in refused.stdout and "EDE: 15" in refused.stdout, refused.stdout
    counts = made.tables.inspector_counts()
    assert counts["refused-dns"] == counts["answered-dns"] == 1


def test_curl_shows_the_page_of_a_refused_name(gateway: tuple[BareGateway, engine.Inspector], ask: Ask) -> None:
    resolve = ("--noproxy", "*", "--max-time", "60", "-s")
    clean = ask("curl", *resolve, "--resolve", f"good.example:80:{SERVER}", "http://good.example/")
    assert clean.stdout == "welcome\n"
    refused = ask("curl", *resolve, "-i", "--resolve", f"bad.example:80:{SERVER}", "http://bad.example/")
    assert refused.stdout.startswith("HTTP/1.1 403"), refused
    assert "decision 7" in refused.stdout and "phishing" in refused.stdout


def test_tls_with_a_refused_name_is_reset_at_both_ends(gateway: tuple[BareGateway, engine.Inspector], ask: Ask) -> None:
    made, inspector = gateway
    options = ("-k", "-s", "-S", "--noproxy", "*", "--max-time", "60")
    clean = ask("curl", *options, "--resolve", f"good.example:443:{SERVER}", "https://good.example/")
    assert clean.stdout == "welcome\n", clean
    refused = ask("curl", *options, "--resolve", f"bad.example:443:{SERVER}", "https://bad.example/")
    assert refused.returncode == 35 and "reset" in refused.stderr.lower(), refused
    told = ask("openssl", "s_client", "-connect", f"{SERVER}:443", "-servername", "a.bad.example", text="")
    assert told.returncode != 0 and "errno=104" in told.stderr, told  # ECONNRESET
    assert made.tables.inspector_counts()["refused-tls"] == 2
    found: list[engine.RefusedName] = []

    def are_told() -> bool:
        found.extend(inspector.take_refused(100))
        return len(found) >= 2

    until(are_told, "it is not told of")
    assert [(each.name_protocol, each.name, each.answered) for each in found] == [
        ("tls", "bad.example", "reset"),
        ("tls", "a.bad.example", "reset"),
    ]


def test_a_request_that_never_ends_is_refused_when_its_time_is_up_and_told_of(
    gateway: tuple[BareGateway, engine.Inspector], wire: ShortWire
) -> None:
    made, inspector = gateway
    begun = f"GET / HTTP/1.1\\r\\nHost: {BLOCKED}\\r\\nX-"
    script = (
        f"import socket, sys; s = socket.create_connection(({SERVER!r}, 80)); print(s.getsockname()[1], flush=True);"
        f" s.sendall(b'{begun}'); sys.stdin.read()"
    )
    command = wire.left.namespace.command([sys.executable, "-c", script])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout
        port = int(client.stdout.readline())
        (told,) = inspector.take_refused(round(HUNG_S * 1000))
        client.kill()
    assert (told.name_protocol, told.name, told.answered, told.direction) == ("http", BLOCKED, "", Direction.OUTBOUND)
    assert (told.source[12:], told.source_port) == (socket.inet_aton(CLIENT), port)
    assert (told.destination[12:], told.destination_port) == (socket.inet_aton(SERVER), 80)
    counts = made.tables.inspector_counts()
    assert counts["refused-http"] == counts["not-answered"] == counts["gave-up"] == 1


def test_keys_of_single_names_change_by_themselves(wire: ShortWire) -> None:
    with holding_gateway(wire) as (made, _):
        tables = made.tables

        def standing() -> int:
            return int(tables.hold_state()["overlay_names"])

        tables.set_overlay_names([(f"n{number}.example", "subtree") for number in range(100)])
        assert standing() == 200
        assert tables.change_overlay_names([("bad.example", "subtree"), ("bad.example", "exact")], []) == 202
        assert tables.change_overlay_names([("bad.example", "exact")], [("bad.example", "subtree")]) == 201
        assert tables.change_overlay_names([("bad.example", "exact")], [("bad.example", "exact")]) == 201
        assert tables.change_overlay_names([], [("bad.example", "exact"), ("none.example", "subtree")]) == 200
        assert standing() == 200
        assert tables.set_overlay_names([("n7.example", "below")]) == standing() == 1
        assert tables.change_overlay_names([], [("n7.example", "below")]) == standing() == 0


def test_packets_of_a_refused_flow_are_counted_as_such_and_answers_are_not_forwarded_packets(
    gateway: tuple[BareGateway, engine.Inspector], ask: Ask
) -> None:
    made, _ = gateway
    assert "NOERROR" in ask("dig", f"@{SERVER}", "warm.example", *PATIENT).stdout
    before = made.counted()
    assert "NXDOMAIN" in ask("dig", f"@{SERVER}", "bad.example", *PATIENT).stdout
    after = made.counted()
    assert after.get("refused-name", 0) - before.get("refused-name", 0) == 1
    assert after["forwarded"] == before["forwarded"]
