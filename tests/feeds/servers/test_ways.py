"""The ways to a server: HTTP/2, proxies, keys; and that no secret of any of them is told."""

import base64
import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from http2_server import Hypercorn, by_frames
from patience import HUNG_S
from scripted_server import ScriptedServer, head_of
from web_answers import LIST, answer, by_path

from clearway.errors import ClearwayError
from clearway.feeds.fetch import fetch

SECRET = "s3cr3t"


def refused(id: str, source: str, **options: Any) -> ClearwayError:
    with pytest.raises(ClearwayError) as error:
        fetch(source, **options)
    assert error.value.id == id, error.value
    assert SECRET not in str(error.value.as_json())
    return error.value


# HTTP/2

SPOKEN: list[str] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    SPOKEN.append(scope["http_version"])
    asked = dict(scope["headers"])
    if asked.get(b"if-none-match") == b'"1"':
        await send({"type": "http.response.start", "status": 304, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body = LIST * (50_000 if scope["path"] == "/large" else 1)
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode()), (b"etag", b'"1"')]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def hypercorn(authority: Authority) -> Iterator[str]:
    with Hypercorn(application, *authority.files()) as server:
        yield f"https://localhost:{server.port}"


def test_a_server_that_speaks_http2_is_spoken_to_in_it(hypercorn: str, trusted: Authority) -> None:
    SPOKEN.clear()
    told: list[tuple[int, int | None]] = []
    fetched = fetch(f"{hypercorn}/large", progress=lambda done, total: told.append((done, total)))
    assert fetched.data == LIST * 50_000 and told[-1] == (len(fetched.data), len(fetched.data))
    assert fetch(f"{hypercorn}/list", etag=fetched.etag).unchanged
    assert SPOKEN == ["2", "2"]


def frames(*, length: int | None, body: bytes, then: Any = None) -> Any:
    def answers(state: Any, stream: int, connection: socket.socket) -> None:
        headers = [(":status", "200"), ("content-type", "text/plain")]
        state.send_headers(stream, [*headers, *([("content-length", str(length))] if length is not None else [])])
        state.send_data(stream, body, end_stream=then is None)
        connection.sendall(state.data_to_send())
        if then is not None:
            then(state, stream, connection)

    return answers


def resets(state: Any, stream: int, connection: socket.socket) -> None:
    state.reset_stream(stream)
    connection.sendall(state.data_to_send())


def pings(state: Any, stream: int, connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for _ in range(200):
            state.ping(b"12345678")
            connection.sendall(state.data_to_send())
            time.sleep(0.02)


def goes_on(state: Any, stream: int, connection: socket.socket) -> None:
    connection.settimeout(HUNG_S)
    while True:
        while state.local_flow_control_window(stream) > 4096:
            state.send_data(stream, b"1" * 4096)
        connection.sendall(state.data_to_send())
        state.receive_data(connection.recv(65536))


@pytest.mark.parametrize(
    ("answers", "id"),
    [
        (frames(length=1000, body=LIST), "feeds.E033"),
        (frames(length=10, body=LIST), "feeds.E033"),
        (frames(length=1000, body=LIST, then=resets), "feeds.E033"),
        (frames(length=None, body=LIST, then=resets), "feeds.E010"),
        (frames(length=None, body=LIST, then=goes_on), "feeds.E007"),
        (lambda state, stream, connection: connection.sendall(b"\0\0\5\0\0\0\0\0\1abcde"), "feeds.E010"),
        (lambda state, stream, connection: None, "feeds.E010"),
    ],
    ids=["short", "long", "reset", "reset without length", "endless", "no headers", "nothing"],
)
def test_http2_hides_nothing(authority: Authority, trusted: Authority, answers: Any, id: str) -> None:
    with ScriptedServer(by_frames(answers), authority.server(http2=True)) as server:
        refused(id, f"https://127.0.0.1:{server.port}/list", bytes_max=1 << 20, seconds_max=15.0)


def test_a_server_that_only_pings_is_given_up(authority: Authority, trusted: Authority) -> None:
    answers = frames(length=1000, body=LIST, then=pings)
    with ScriptedServer(by_frames(answers), authority.server(http2=True)) as server:
        assert "too long" in refused("feeds.E010", f"https://127.0.0.1:{server.port}/list", seconds_max=0.6).message


# Proxies


class Proxy:
    """An HTTP proxy that notes what it is asked for, and wants a password or not."""

    def __init__(self, password: str = "") -> None:
        self.asked: list[str] = []
        self._wanted = base64.b64encode(f"user:{password}".encode()).decode() if password else ""
        self._server = ScriptedServer(self._script)

    def __enter__(self) -> "Proxy":
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    def _script(self, connection: socket.socket) -> None:
        head = head_of(connection)
        method, target = head.decode().split(" ")[:2]
        self.asked.append(f"{method} {target}")
        if self._wanted and f"Proxy-Authorization: Basic {self._wanted}" not in head.decode():
            connection.sendall(answer(status="407 Proxy Authentication Required"))
            return
        found = re.match(r"(?:http://)?([^/:]+):(\d+)(.*)", target)
        assert found
        with socket.create_connection((found[1], int(found[2]))) as onward:
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                onward.sendall(head.replace(target.encode(), found[3].encode(), 1))
            threading.Thread(target=_pass_on, args=(connection, onward), daemon=True).start()
            _pass_on(onward, connection)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    with ScriptedServer(by_path) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[str]:
    with ScriptedServer(by_path, authority.server()) as server:
        yield f"https://127.0.0.1:{server.port}"


def test_a_proxy_is_gone_through(plain: str, secure: str, trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy() as proxy:
        for server in (plain, secure):
            assert fetch(f"{server}/list", proxy=f"http://{proxy.address}").data == LIST
        assert proxy.asked == [f"GET {plain}/list", f"CONNECT {secure.removeprefix('https://')}"]
        proxy.asked.clear()
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        monkeypatch.setenv("http_proxy", proxy.address)
        for server in (plain, secure):
            assert fetch(f"{server}/list").data == LIST
        assert len(proxy.asked) == 2
        for server in (plain, secure):
            assert fetch(f"{server}/list", proxy="none").data == LIST
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert fetch(f"{plain}/list").data == LIST
        assert len(proxy.asked) == 2, "none of these went through it"


def test_http2_is_spoken_through_a_proxy_too(hypercorn: str, trusted: Authority) -> None:
    SPOKEN.clear()
    with Proxy() as proxy:
        assert fetch(f"{hypercorn}/list", proxy=f"http://{proxy.address}").data == LIST
    assert SPOKEN == ["2"] and proxy.asked[0].startswith("CONNECT localhost:")


def test_a_proxy_proves_who_the_server_is_as_little_as_anybody(secure: str) -> None:
    with Proxy() as proxy:
        refused("feeds.E031", f"{secure}/list", proxy=f"http://{proxy.address}")


def test_the_password_of_a_proxy_is_not_told(secure: str, trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(SECRET) as proxy:
        assert fetch(f"{secure}/list", proxy=f"http://user:{SECRET}@{proxy.address}").data == LIST
        assert "407" in refused("feeds.E010", f"{secure}/list", proxy=f"http://{proxy.address}").message
        assert "407" in refused("feeds.E010", f"{secure}/list", proxy=f"http://{SECRET}:x@{proxy.address}").message
    gone = f"http://user:{SECRET}@{proxy.address}"
    monkeypatch.setenv("all_proxy", gone)
    refused("feeds.E010", f"{secure}/list")
    for bad in (f"socks5://user:{SECRET}@127.0.0.1:1", f"http://user:{SECRET}@", f"user:{SECRET}@127.0.0.1"):
        refused("feeds.E042", f"{secure}/list", proxy=bad)
    refused("feeds.E042", "axfr://127.0.0.1/rpz.example", proxy=gone)


# Keys


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"Auth-Key: {SECRET}\n")
    path.chmod(0o600)
    return path


def heads(status: str = "200 OK", **headers: str) -> tuple[list[str], Any]:
    """A script that answers so, and the heads of the requests it was sent."""
    seen: list[str] = []

    def script(connection: socket.socket) -> None:
        seen.append(head_of(connection).decode())
        connection.sendall(answer(LIST, status, **headers))

    return seen, script


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (f"Auth-Key: {SECRET}\n", f"auth-key: {SECRET}"),
        (f"# of abuse.ch\n{SECRET}\n", f"authorization: bearer {SECRET}"),
        (f"user:{SECRET}", "authorization: basic dXNlcjpzM2NyM3Q="),
    ],
)
def test_a_key_goes_to_the_server(
    authority: Authority, trusted: Authority, key_file: Path, text: str, header: str
) -> None:
    key_file.write_text(text)
    seen, script = heads()
    with ScriptedServer(script, authority.server()) as server:
        fetch(f"https://127.0.0.1:{server.port}/list", key_file=key_file)
    assert header.lower() in seen[0].lower()
    assert re.search(r"user-agent: clearway/\d", seen[0].lower()) and "accept-encoding: identity" in seen[0].lower()


def test_no_log_tells_a_key(
    hypercorn: str, trusted: Authority, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fetch(f"{hypercorn}/list?key={SECRET}", key_file=key_file)
    fetch(f"{hypercorn.replace('//', f'//user:{SECRET}@')}/list")
    assert SECRET not in caplog.text and base64.b64encode(f"user:{SECRET}".encode()).decode() not in caplog.text


def test_a_key_does_not_follow_a_redirect_elsewhere(authority: Authority, trusted: Authority, key_file: Path) -> None:
    seen, script = heads()
    with ScriptedServer(script, authority.server()) as other:
        first, redirects = heads("302 Found", Location=f"https://127.0.0.1:{other.port}/list")
        with ScriptedServer(redirects, authority.server()) as server:
            fetch(f"https://127.0.0.1:{server.port}/list", key_file=key_file)
            fetch(f"https://user:{SECRET}@127.0.0.1:{server.port}/list")
    assert SECRET in first[0] and "authorization" in first[1].lower()
    assert len(seen) == 2 and SECRET not in seen[0] and "authorization" not in seen[1].lower()


def test_a_key_does_not_leave_the_machine_in_clear(key_file: Path) -> None:
    for source in (
        "http://lists.example/x",
        "taxii+http://lists.example/r/collections/1/",
        "misp+http://lists.example/",
    ):
        refused("feeds.E036", source, key_file=key_file)


@pytest.mark.parametrize(
    ("text", "mode", "detail"),
    [
        (SECRET, 0o644, "chmod"),
        ("", 0o600, "empty"),
        (f"{SECRET}\n{SECRET}", 0o600, "one line"),
        (f"{SECRET}\x01", 0o600, "visible"),
        (f"Schlüssel: {SECRET}", 0o600, "no text"),
    ],
)
def test_a_file_that_holds_no_key_is_named(key_file: Path, text: str, mode: int, detail: str) -> None:
    key_file.write_text(text)
    key_file.chmod(mode)
    error = refused("feeds.E035", "https://127.0.0.1:1/x", key_file=key_file)
    assert detail in error.message and str(key_file) in error.message
    refused("feeds.E035", "https://127.0.0.1:1/x", key_file=key_file.parent)
    refused("feeds.E035", "https://127.0.0.1:1/x", key_file=key_file / "none")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (f'key "a" {{ algorithm hmac-md5; secret "{SECRET}"; }};', "algorithm"),
        ('key "a" { algorithm hmac-sha256; secret "?"; };', "base64"),
        ('key "a" { algorithm hmac-sha256; };', "one key"),
        (SECRET, "one key"),
        (
            'key "a" { algorithm hmac-sha256; secret "eHg="; }; key "b" { algorithm hmac-sha256; secret "eHg="; };',
            "one key",
        ),
    ],
)
def test_a_file_that_holds_no_key_of_a_zone_is_named(key_file: Path, text: str, detail: str) -> None:
    key_file.write_text(text)
    assert detail in refused("feeds.E035", "axfr://127.0.0.1:1/rpz.example", key_file=key_file).message
