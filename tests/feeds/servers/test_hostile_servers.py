"""Servers that are slow, endless, wrong about their length, or not who they say: refused with a clear error, in bounded
time and memory."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from authority import Authority
from patience import HUNG_S
from scripted_server import END_SECONDS, ScriptedServer, head_of
from web_answers import LIST, answer, by_path

from clearway.errors import ClearwayError
from clearway.feeds import http_connections
from clearway.feeds.fetch import fetch
from clearway.feeds.readers import table

SECONDS_MAX = 0.6
SECRET = "s3cr3t-of-a-url"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits longer for what may follow: a busy machine is slow to send it."""
    monkeypatch.setattr(http_connections, "LOOK_SECONDS", 2.0)


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """Without TLS."""
    with ScriptedServer(by_path) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[str]:
    """With TLS, of the authority that `trusted` trusts."""
    with ScriptedServer(by_path, authority.server()) as server:
        yield f"https://127.0.0.1:{server.port}"


def refused(id: str, source: str, **options: Any) -> ClearwayError:
    """Long before the server would end by itself."""
    began = time.monotonic()
    with pytest.raises(ClearwayError) as error:
        fetched = fetch(source, **options)
        table.read(fetched.data, "ip-plain", origin=fetched.origin)
    assert time.monotonic() - began < HUNG_S
    assert error.value.id == id, error.value
    assert SECRET not in str(error.value.as_json())
    return error.value


@pytest.mark.parametrize(
    ("path", "id", "detail"),
    [
        ("endless", "feeds.E007", "1 MiB"),
        ("endless-head", "feeds.E010", ""),
        ("bomb", "feeds.E008", "unpacks to more than"),
        ("page", "feeds.E003", "a web page"),
        ("page-as-text", "feeds.E003", "page"),
        ("short", "feeds.E033", "announced 1000 bytes and sent 20"),
        ("long", "feeds.E033", "announced 10 bytes and sent more"),
        ("longer-late", "feeds.E033", "announced 10 bytes and sent more"),
        ("cut-chunk", "feeds.E010", ""),
        ("two-lengths", "feeds.E010", ""),
        ("reset", "feeds.E010", "reset"),
        ("loop", "feeds.E010", "redirects more than 5 times"),
        ("further/0", "feeds.E010", "redirects more than 5 times"),
        ("away", "feeds.E030", "no address on the web"),
        ("brotli", "feeds.E034", "br"),
        ("gone", "feeds.E011", "404 Not Found"),
        ("nonsense", "feeds.E010", ""),
    ],
)
def test_what_is_no_list_is_refused(web: str, path: str, id: str, detail: str) -> None:
    source = f"{web}/{path}?key={SECRET}"
    assert detail in refused(id, source, bytes_max=1 << 20).message


@pytest.mark.parametrize("path", ["short", "long", "longer-late", "endless"])
def test_tls_hides_none_of_it(secure: str, trusted: Authority, path: str) -> None:
    refused("feeds.E007" if path == "endless" else "feeds.E033", f"{secure}/{path}", bytes_max=1 << 20)


def test_an_end_that_tls_does_not_vouch_for_is_none(web: str, secure: str, trusted: Authority) -> None:
    assert "cut off after 20 bytes" in refused("feeds.E010", f"{secure}/cut-off").message
    assert fetch(f"{web}/cut-off").data == LIST, "without TLS nobody can tell"


@pytest.mark.parametrize("path", ["list", "gzip", "no-length", "chunked"])
def test_what_is_one_is_taken(web: str, secure: str, trusted: Authority, path: str) -> None:
    for server in (web, secure):
        fetched = fetch(f"{server}/{path}")
        assert len(table.read(fetched.data, "ip-plain").content.blocked.v4) == 2


def test_an_answer_without_a_body_is_an_empty_list(web: str) -> None:
    """Which the guard refuses, since it says nothing."""
    assert fetch(f"{web}/empty").data == b""


@pytest.mark.parametrize("path", ["drip", "drip-head", "silent"])
def test_a_slow_server_is_given_up_in_time(web: str, secure: str, trusted: Authority, path: str) -> None:
    for server in (web, secure):
        assert "too long" in refused("feeds.E010", f"{server}/{path}", seconds_max=SECONDS_MAX).message


@pytest.mark.parametrize("begins", [b"", b"\x16\3\3\x40\0" + b"x" * 99], ids=["silent", "begun"])
def test_a_handshake_without_an_end_is_given_up_in_time(begins: bytes) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(begins)
        time.sleep(END_SECONDS)

    with ScriptedServer(script) as server:
        refused("feeds.E010", f"https://127.0.0.1:{server.port}/list", seconds_max=SECONDS_MAX)


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("busy", 120),
        ("busy-for-ever", 86400),
        ("busy-until", 300),
        ("busy-before", 0),
        ("busy-somehow", None),
        ("down", None),
        ("gone", None),
    ],
)
def test_when_to_come_again_is_handed_on(web: str, path: str, seconds: float | None) -> None:
    error = refused("feeds.E011", f"{web}/{path}")
    assert error.retry_after_s == seconds and error.retry
    assert ClearwayError.from_json(error.as_json()).retry_after_s == seconds


def test_who_does_not_prove_its_name_is_not_read(authority: Authority, trusted: Authority) -> None:
    kinds: list[tuple[dict[str, Any], str]] = [
        ({"self_signed": True}, "self-signed"),
        ({"expired": True}, "expired"),
        ({"name": "elsewhere.example"}, "IP address mismatch"),
    ]
    for how, detail in kinds:
        with ScriptedServer(by_path, authority.server(**how)) as server:
            error = refused("feeds.E031", f"https://127.0.0.1:{server.port}/list?key={SECRET}")
            assert detail in error.message
    with ScriptedServer(lambda connection: connection.sendall(answer(status="400 Bad Request"))) as server:
        assert "TLS fails" in refused("feeds.E031", f"https://127.0.0.1:{server.port}/list").message


def test_an_authority_that_this_machine_does_not_know_proves_nothing(secure: str) -> None:
    assert "unable to get local issuer" in refused("feeds.E031", f"{secure}/list").message


def test_no_redirect_leads_out_of_tls(authority: Authority, trusted: Authority, web: str) -> None:
    def script(connection: Any) -> None:
        path = head_of(connection).decode().split(" ")[1]
        target = f"{web}/list?key={SECRET}" if path == "/out" else "/list" if path == "/in" else ""
        connection.sendall(answer(status="302 Found", Location=target) if target else answer(LIST))

    with ScriptedServer(script, authority.server()) as server:
        base = f"https://127.0.0.1:{server.port}"
        assert f"leads on to {web}/list?…" in refused("feeds.E030", f"{base}/out").message
        assert fetch(f"{base}/in").origin == f"{base}/list"

        with ScriptedServer(
            lambda connection: connection.sendall(answer(status="302 Found", Location=f"{base}/in"))
        ) as up:
            assert fetch(f"http://127.0.0.1:{up.port}/").origin == f"{base}/list", "into TLS it may"


MEMORY = """
import resource, sys
from clearway.errors import ClearwayError
from clearway.feeds.fetch import fetch
from clearway.feeds.readers import table
try:
    fetch(sys.argv[1] + "/list")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = fetch(sys.argv[1] + sys.argv[2], bytes_max=8 << 20).data
    table.read(data, "ip-plain")
except ClearwayError as error:
    print(error.id, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("path", "id"), [("/endless", "feeds.E007"), ("/bomb", "feeds.E008")])
def test_memory_is_bounded(web: str, path: str, id: str) -> None:
    """By its limit of 8 MiB, by what a small list may unpack to (16 MiB), and by what reading takes beside."""
    done = subprocess.run([sys.executable, "-c", MEMORY, web, path], capture_output=True, text=True, check=True)
    found, kib = done.stdout.split()
    assert found == id and int(kib) < 64 << 10, done.stdout
