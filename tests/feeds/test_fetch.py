"""A source is read within bounds or refused; what a server says about news is kept and used."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clearway.errors import ClearwayError
from clearway.feeds.fetch import fetch, shown

LIST = b"192.0.2.1\n192.0.2.2\n"


class Answers(BaseHTTPRequestHandler):
    """One path an answer; what a hostile or broken server does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answer = getattr(self, "answer_" + self.path.strip("/").partition("/")[0].replace("-", "_"))
        answer()

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "text/plain", **named}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_list(self) -> None:
        if self.headers.get("If-None-Match") == '"v1"':
            self.send_response(304)
            self.end_headers()
        else:
            self.send(LIST, ETag='"v1"', Last_Modified="Thu, 31 Jan 2030 12:00:00 GMT")

    def answer_moved(self) -> None:
        self.send(b"", 302, Location="/list")

    def answer_loop(self) -> None:
        self.send(b"", 302, Location="/loop")

    def answer_away(self) -> None:
        self.send(b"", 302, Location="file:///etc/passwd")

    def answer_missing(self) -> None:
        self.send(b"gone", 404)

    def answer_page(self) -> None:
        self.send(b"please log in", Content_Type="text/html; charset=utf-8")

    def answer_announced_large(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()

    def answer_large(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + b"1" * 65536 + b"\r\n")

    def answer_short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(LIST)
        self.close_connection = True

    def answer_slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"1")
            self.wfile.flush()
            time.sleep(0.05)

    def answer_slow_headers(self) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"1" * 100:
            self.wfile.write(bytes([letter]))
            self.wfile.flush()
            time.sleep(0.05)

    def answer_slow_without_length(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(LIST)
            self.wfile.flush()
            time.sleep(0.05)

    def answer_moved_slowly(self) -> None:
        time.sleep(0.2)
        self.send(b"", 302, Location=f"/moved-slowly/{int(self.path.rpartition('/')[2]) + 1}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    served.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def refused(source: str, id: str, **options: Any) -> ClearwayError:
    with pytest.raises(ClearwayError) as error:
        fetch(source, **options)
    assert error.value.id == id, error.value
    return error.value


def test_a_url_gives_its_bytes_and_what_the_server_says_about_news(server: str) -> None:
    told: list[tuple[int, int | None]] = []
    fetched = fetch(f"{server}/list", progress=lambda done, total: told.append((done, total)))
    assert (fetched.data, fetched.origin) == (LIST, f"{server}/list")
    assert (fetched.etag, fetched.last_modified) == ('"v1"', "Thu, 31 Jan 2030 12:00:00 GMT")
    assert told[-1] == (len(LIST), len(LIST))


def test_a_list_that_has_not_changed_is_not_sent_again(server: str) -> None:
    fetched = fetch(f"{server}/list", etag='"v1"')
    assert (fetched.unchanged, fetched.data, fetched.etag) == (True, b"", '"v1"')


def test_the_origin_is_where_redirects_led(server: str) -> None:
    assert fetch(f"{server}/moved").origin == f"{server}/list"


@pytest.mark.parametrize(
    ("path", "id", "detail"),
    [
        ("missing", "feeds.E011", "404 Not Found"),
        ("page", "feeds.E003", "a web page"),
        ("announced-large", "feeds.E007", "1 MiB"),
        ("large", "feeds.E007", "1 MiB"),
        ("short", "feeds.E033", "announced 1000 bytes and sent 20"),
        ("loop", "feeds.E010", "redirects"),
        ("away", "feeds.E030", "no address on the web"),
    ],
)
def test_an_answer_that_is_no_list_is_refused(server: str, path: str, id: str, detail: str) -> None:
    assert detail in refused(f"{server}/{path}", id, bytes_max=1 << 20).message


@pytest.mark.parametrize("path", ["slow", "slow-headers", "slow-without-length", "moved-slowly/0"])
def test_a_server_that_drips_is_given_up(server: str, path: str) -> None:
    assert "too long" in refused(f"{server}/{path}", "feeds.E010", seconds_max=0.5).message


def test_a_server_that_is_not_there_is_named() -> None:
    error = refused("http://someone:secret@127.0.0.1:9/list", "feeds.E010")
    assert "127.0.0.1:9" in error.message and "secret" not in str(error)


@pytest.mark.parametrize("source", ["ftp://example.org/x", "", " ", "gopher://x", "file://elsewhere/x", "a\0b"])
def test_what_is_no_source_is_refused(source: str) -> None:
    refused(source, "feeds.E012")


@pytest.mark.parametrize("source", ["http://", "https://exa mple/", "http://[::1/x", "http://127.0.0.1:99999/"])
def test_a_url_that_is_none_is_refused(source: str) -> None:
    refused(source, "feeds.E010")


def test_a_file_is_read_by_path_or_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a list.txt"
    path.write_bytes(LIST)
    monkeypatch.chdir(tmp_path)
    for source in (str(path), "a list.txt", f"file://{tmp_path}/a%20list.txt"):
        fetched = fetch(source)
        assert (fetched.data, fetched.origin) == (LIST, str(path))


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(LIST)
    assert fetch(str(path)).etag == "", "it was written just now, and could be once more"
    monkeypatch.setattr("clearway.feeds.fetch.FILE_SETTLED_NS", 0)
    etag = fetch(str(path)).etag
    again = fetch(str(path), etag=etag)
    assert (again.unchanged, again.data, again.etag, again.origin) == (True, b"", etag, str(path))
    stood = path.stat()
    path.write_bytes(LIST[:-2] + b"3\n")
    os.utime(path, ns=(stood.st_atime_ns, stood.st_mtime_ns))
    assert fetch(str(path), etag=etag).data.endswith(b"3\n"), "of the same length, and dated back"


def test_what_is_pinned_is_that_or_nothing(server: str, tmp_path: Path) -> None:
    found = hashlib.sha256(LIST).hexdigest()
    path = tmp_path / "list.txt"
    path.write_bytes(LIST)
    for source in (f"{server}/list", str(path)):
        assert fetch(source, sha256=found.upper()).sha256 == found
        assert fetch(source, sha256=found, etag='"v1"').data == LIST, "all of it is checked each time"
        assert found in refused(source, "feeds.E032", sha256="0" * 64).message


def test_standard_input_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    gives(LIST)
    fetched = fetch("-")
    assert (fetched.data, fetched.origin) == (LIST, "standard input")
    gives(b"1" * (3 << 20))
    refused("-", "feeds.E007", bytes_max=1 << 20)


def test_what_a_server_says_of_its_answer_is_handed_on(server: str) -> None:
    fetched = fetch(f"{server}/list")
    assert (fetched.status, fetched.content_type, fetched.content_length) == (200, "text/plain", len(LIST))
    assert fetched.sha256 == hashlib.sha256(LIST).hexdigest()
    assert fetch(f"{server}/list", etag='"v1"').status == 304


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "No such file" in refused(str(tmp_path / "none"), "feeds.E013").message
    assert "no plain file" in refused(str(tmp_path), "feeds.E013").message
    assert "no plain file" in refused("/dev/zero", "feeds.E013").message
    os.mkfifo(tmp_path / "fifo")
    assert "no plain file" in refused(str(tmp_path / "fifo"), "feeds.E013").message
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(2 << 20)
    refused(str(large), "feeds.E007", bytes_max=1 << 20)


def test_credentials_are_never_part_of_an_origin() -> None:
    assert shown("https://user:key@example.org:8443/x?y=1#z") == "https://example.org:8443/x?…"
    assert shown("https://example.org/x?key=a@b") == "https://example.org/x?…"
    assert shown("https://example.org/x") == "https://example.org/x"
    assert shown("axfr://key:secret@[2001:db8::1]:5353/rpz.example") == "axfr://[2001:db8::1]:5353/rpz.example"
    assert shown("taxii+https://user:key@example.org/x/collections/1/") == "taxii+https://example.org/x/collections/1/"
    assert shown("misp+https://user:key@example.org/x/?key=1") == "misp+https://example.org/x/?…"
    assert shown("https://user:se/cret@example.org/x") == "https://…"
    assert "secret" not in shown("ftp://user:secret@example.org/x")
    assert shown("/lists/a?b@c.txt") == "/lists/a?b@c.txt"
