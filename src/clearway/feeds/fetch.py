"""A list's bytes, from a file or a URL, within bounds of size and time. What they mean is for formats.py.

Only http, https and plain files. An origin never shows the user or query of a URL, where keys stand; Feed.source alone
keeps them, since they are needed for the next fetch.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from clearway.errors import ClearwayError
from clearway.feeds.formats import BYTES_MAX

if TYPE_CHECKING:
    import httpx

REDIRECTS_MAX = 5
CONNECT_SECONDS_MAX = 10.0
SILENCE_SECONDS_MAX = 30.0
"""Between two pieces of an answer."""
FETCH_SECONDS_MAX = 300.0
"""From start to end: connecting, redirects and headers as well."""

Progress = Callable[[int, int | None], None]
"""Told bytes so far, and in all where that is known."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source gave. `unchanged`: the server says that nothing is new, and `data` is empty."""

    data: bytes
    origin: str
    """Where the bytes really came from: an absolute path, or the URL after redirects, as `shown` has it."""
    etag: str = ""
    last_modified: str = ""
    unchanged: bool = False


def fetch(
    source: str,
    *,
    etag: str = "",
    last_modified: str = "",
    bytes_max: int = BYTES_MAX,
    seconds_max: float = FETCH_SECONDS_MAX,
    progress: Progress = lambda done, total: None,
) -> Fetched:
    """Reads a source whole. `etag`, `last_modified`: of the last answer of this source, to ask for news only.

    Raises feeds.E012 (no source), E013 (a file that cannot be read), E010 (no answer in time), E011 (status),
    E003 (a page), E007 (too large).
    """
    if is_url(source):
        return _fetch_url(source, etag, last_modified, bytes_max, seconds_max, progress)
    return _read_file(_path_of(source), bytes_max, progress)


def is_url(source: str) -> bool:
    """Whether a source is fetched over the network."""
    return source.lower().startswith(("http://", "https://"))


def shown(source: str) -> str:
    """A source as people and rows may see it: of a URL neither user, query nor fragment, which may hold a key.

    A query shows as "?…". A key in the path cannot be told from a path.
    """
    if not is_url(source):
        return source
    divided = urlsplit(source)
    bare = urlunsplit(divided._replace(netloc=divided.netloc.rpartition("@")[2], query="", fragment=""))
    return f"{bare}?…" if divided.query else bare


def _path_of(source: str) -> Path:
    if source.lower().startswith("file://"):
        divided = urlsplit(source)
        if divided.netloc not in ("", "localhost"):
            raise ClearwayError.of("feeds.E012", value=source)
        return Path(unquote(divided.path))
    if "://" in source or not source.strip() or "\0" in source:
        raise ClearwayError.of("feeds.E012", value=source)
    return Path(source).expanduser().absolute()


def _read_file(path: Path, bytes_max: int, progress: Progress) -> Fetched:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would wait for its writer
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ClearwayError.of("feeds.E013", path=path, detail="it is no plain file")
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(bytes_max + 1) if size <= bytes_max else b""  # it may grow meanwhile
    except OSError as error:
        raise ClearwayError.of("feeds.E013", path=path, detail=error.strerror or error) from None
    if size > bytes_max or len(data) > bytes_max:
        raise ClearwayError.of("feeds.E007", origin=path, limit_mib=bytes_max >> 20)
    progress(len(data), len(data))
    return Fetched(data, str(path))


def _fetch_url(
    url: str, etag: str, last_modified: str, bytes_max: int, seconds_max: float, progress: Progress
) -> Fetched:
    import httpx  # slow to import; commands that fetch nothing do without

    deadline = _Deadline(seconds_max)
    asked = {"Accept": "text/plain, */*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "clearway"}
    if etag:
        asked["If-None-Match"] = etag
    if last_modified:
        asked["If-Modified-Since"] = last_modified
    timeout = httpx.Timeout(min(SILENCE_SECONDS_MAX, seconds_max), connect=min(CONNECT_SECONDS_MAX, seconds_max))
    origin = re.split("[?#]", url)[0].rpartition("@")[2]
    try:
        origin = shown(url)
        with (
            deadline,
            httpx.Client(timeout=timeout, follow_redirects=True, max_redirects=REDIRECTS_MAX) as client,
            client.stream("GET", url, headers=asked, extensions={"trace": deadline.trace}) as answer,
        ):
            origin = shown(str(answer.url))
            if answer.status_code == 304 and (etag or last_modified):
                return Fetched(b"", origin, etag, last_modified, unchanged=True)
            _check_answer(answer, origin, bytes_max)
            data = _read_answer(answer, origin, bytes_max, progress)
            if deadline.passed():  # a body without a length ends where the connection does
                raise TimeoutError
            return Fetched(data, origin, answer.headers.get("etag", ""), answer.headers.get("last-modified", ""))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        if deadline.passed():
            raise ClearwayError.of("feeds.E010", origin=origin, detail="it takes too long") from None
        raise ClearwayError.of("feeds.E010", origin=origin, detail=str(error) or type(error).__name__) from None


def _check_answer(answer: httpx.Response, origin: str, bytes_max: int) -> None:
    if answer.status_code != 200:
        status = f"{answer.status_code} {answer.reason_phrase}".strip()
        raise ClearwayError.of("feeds.E011", origin=origin, status=status)
    if answer.headers.get("content-type", "").lower().startswith(("text/html", "application/xhtml")):
        raise ClearwayError.of("feeds.E003", origin=origin, what="a web page")
    length = answer.headers.get("content-length", "")
    if length.isdigit() and int(length) > bytes_max:
        raise ClearwayError.of("feeds.E007", origin=origin, limit_mib=bytes_max >> 20)


def _read_answer(answer: httpx.Response, origin: str, bytes_max: int, progress: Progress) -> bytes:
    """The body as it was sent: unpacking, bounded, is for formats.py. httpx refuses one shorter than announced."""
    data = bytearray()
    length = answer.headers.get("content-length", "")
    for chunk in answer.iter_raw():  # as it comes: with a size, a server that drips would be waited for
        data += chunk
        if len(data) > bytes_max:
            raise ClearwayError.of("feeds.E007", origin=origin, limit_mib=bytes_max >> 20)
        progress(len(data), int(length) if length.isdigit() else None)
    return bytes(data)


class _Deadline:
    """Ends the connections of one fetch at its time, whatever they are waiting for.

    httpx has limits for each operation only, and a server that sends a byte now and then, of a handshake or a header,
    stays below all of them. A duplicate of the descriptor is the same connection, also once TLS has taken it over.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._turn = threading.Lock()
        self._connections: list[socket.socket] = []

    def passed(self) -> bool:
        return time.monotonic() >= self._at

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore tells here what it begins and has done."""
        if event == "connection.connect_tcp.complete":
            connection = info["return_value"].get_extra_info("socket")
            with self._turn:
                self._connections.append(connection.dup())
        if self.passed():
            self._end()
            if event.endswith(".started"):
                raise TimeoutError

    def _end(self) -> None:
        with self._turn:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._turn:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
