"""One answer of a server over HTTP, within bounds, or a refusal that says why.

Bodies are taken as they are sent (`Accept-Encoding: identity`): then a length, an ETag and a pinned hash are about the
same bytes that the publisher has, and there is one place that unpacks, with bounds (readers/packing.py). A server that
packs all the same is understood there, since gzip and zstd show by how they begin.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata
from types import TracebackType
from typing import Any, Self

import h2.exceptions
import httpcore
import httpx

from clearway.errors import ClearwayError
from clearway.feeds.access_keys import HeaderKey
from clearway.feeds.deadline import Deadline
from clearway.feeds.http_connections import FAILURES, Stream, Transport
from clearway.feeds.source_words import shown

REDIRECTS_MAX = 5
RETRY_AFTER_SECONDS_MAX = 86400
ETAG_CHARACTERS_MAX = 255
LAST_MODIFIED_CHARACTERS_MAX = 64
TELL_TOO_MUCH = ("httpx", "httpcore", "hpack", "h2")
"""Loggers of libraries that write down addresses and headers whole, and with them keys."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Where a key needs no TLS, since it never leaves the machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of status 200, or 304 where news alone was asked for."""

    status: int
    origin: str
    """Where it really came from, as `shown` has it."""
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """ "" where there is none, or one that is longer than any honest one."""
        return _at_most(self.headers.get("etag", ""), ETAG_CHARACTERS_MAX)

    @property
    def last_modified(self) -> str:
        """The same."""
        return _at_most(self.headers.get("last-modified", ""), LAST_MODIFIED_CHARACTERS_MAX)

    @property
    def content_length(self) -> int | None:
        """As announced; None where it was not."""
        return _length(self.headers)


class Http:
    """Requests of one fetch: one deadline, one key, connections kept between them. A context manager."""

    def __init__(self, seconds_max: float, *, proxy: str | None = None, key: HeaderKey | None = None) -> None:
        self.deadline = Deadline(seconds_max)
        self._key = key
        self._proxy = proxy
        self._client: httpx.Client

    def __enter__(self) -> Self:
        for name in TELL_TOO_MUCH:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.Client(transport=Transport(self.deadline, self._proxy), trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(
        self,
        url: str,
        *,
        bytes_max: int,
        headers: Mapping[str, str] | None = None,
        whole: bool = False,
        progress: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> Answer:
        """GET, with at most REDIRECTS_MAX redirects. `whole`: also wait a moment for more than was announced.

        Raises feeds.E003, E007, E010, E011, E030, E031, E033, E034, E036, E042.
        """
        asked = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": f"clearway/{metadata.version('clearway')}",
        }
        asked |= headers or {}
        progressed = _Progress(shown(url))
        try:
            request = self._client.build_request("GET", url, headers=asked)
            self._add_key(request, progressed.origin)
            for _ in range(REDIRECTS_MAX + 1):
                progressed.origin = shown(str(request.url))
                answer = self._client.send(request, stream=True)
                try:
                    if answer.next_request is None:
                        return self._read(answer, progressed, bytes_max, whole, progress)
                    request = self._next(request, answer.next_request, progressed.origin)
                finally:
                    answer.close()
            raise ClearwayError.of(
                "feeds.E010", origin=progressed.origin, detail=f"it redirects more than {REDIRECTS_MAX} times"
            )
        except FAILURES as error:
            raise self._refusal(error, progressed) from None

    def _add_key(self, request: httpx.Request, origin: str) -> None:
        if self._key is None:
            return
        if request.url.scheme != "https" and request.url.host not in LOOPBACK:
            raise ClearwayError.of("feeds.E036", origin=origin)
        request.headers[self._key.name] = self._key.value

    def _next(self, before: httpx.Request, after: httpx.Request, origin: str) -> httpx.Request:
        """The request that a redirect asks for: never out of TLS, and the key with it only to the same server."""
        target = shown(str(after.url))
        if after.url.scheme not in ("http", "https"):
            raise ClearwayError.of("feeds.E030", origin=origin, target=target, why="which is no address on the web")
        if before.url.scheme == "https" and after.url.scheme != "https":
            raise ClearwayError.of("feeds.E030", origin=origin, target=target, why="where nothing proves who answers")
        if self._key is not None and _server(before.url) != _server(after.url):
            after.headers.pop(self._key.name, None)
        return after

    def _read(
        self,
        answer: httpx.Response,
        progressed: _Progress,
        bytes_max: int,
        whole: bool,
        progress: Callable[[int, int | None], None],
    ) -> Answer:
        headers = dict(answer.headers)
        if answer.status_code == 304 and {"if-none-match", "if-modified-since"} & set(answer.request.headers):
            return Answer(304, progressed.origin, b"", headers)
        _check(answer, progressed.origin)
        announced = progressed.announced = _length(headers)
        too_large = {"origin": progressed.origin, "limit_mib": bytes_max >> 20}
        if announced is not None and announced > bytes_max:
            raise ClearwayError.of("feeds.E007", **too_large)
        data = bytearray()  # pieces may be of a byte each, so they are not kept as such
        for piece in answer.iter_raw():  # as it comes: with a size, a server that drips would be waited for
            progressed.received += len(piece)
            if progressed.received > bytes_max:
                raise ClearwayError.of("feeds.E007", **too_large)
            data += piece
            progress(progressed.received, announced)
        if self.deadline.passed():  # a body without a length ends where the connection does
            raise TimeoutError
        _check_length(answer, progressed, whole)
        return Answer(200, progressed.origin, bytes(data), headers)

    def _refusal(self, error: Exception, progressed: _Progress) -> ClearwayError:
        origin = progressed.origin
        if self.deadline.passed():
            return ClearwayError.of("feeds.E010", origin=origin, detail="it takes too long")
        announced, received = progressed.announced, progressed.received
        tls = _tls_error(error)
        if tls and not received:
            return ClearwayError.of("feeds.E031", origin=origin, detail=tls)
        for each in _causes(error):
            if isinstance(each, h2.exceptions.InvalidBodyLengthError):
                lengths = {"announced": each.expected_length, "sent": each.actual_length}
                return ClearwayError.of("feeds.E033", origin=origin, **lengths)
        closed = isinstance(error, httpcore.RemoteProtocolError) or tls
        if announced is not None and received < announced and closed:
            return ClearwayError.of("feeds.E033", origin=origin, announced=announced, sent=received)
        if tls:
            return ClearwayError.of("feeds.E010", origin=origin, detail=f"it was cut off after {received} bytes")
        if isinstance(error, httpx.InvalidURL):  # it says a piece of it, which may be one of a password
            return ClearwayError.of("feeds.E010", origin=origin, detail="it is no valid address")
        return ClearwayError.of("feeds.E010", origin=origin, detail=str(error) or type(error).__name__)


@dataclass(slots=True)
class _Progress:
    """How far a request came, for what is told should it fail."""

    origin: str
    announced: int | None = None
    received: int = 0


def _check(answer: httpx.Response, origin: str) -> None:
    """Raises feeds.E011 (status), E003 (a page), E034 (encoding)."""
    if answer.status_code != 200:
        status = f"{answer.status_code} {answer.reason_phrase}".strip()
        retry_after_s = _retry_after(answer.headers) if answer.status_code in (429, 503) else None
        if retry_after_s is not None:
            status += f" and wants to be left alone for {retry_after_s:.0f} seconds"
        error = ClearwayError.of("feeds.E011", origin=origin, status=status)
        error.retry_after_s = retry_after_s
        raise error
    if answer.headers.get("content-type", "").lower().startswith(("text/html", "application/xhtml")):
        raise ClearwayError.of("feeds.E003", origin=origin, what="a web page")
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "zstd"):
        raise ClearwayError.of("feeds.E034", origin=origin, encoding=ascii(encoding[:40])[1:-1])


def _check_length(answer: httpx.Response, progressed: _Progress, whole: bool) -> None:
    """Raises feeds.E033 where another number of bytes came than was announced."""
    announced, sent = progressed.announced, progressed.received
    stream: Any = answer.extensions.get("network_stream")
    if announced is not None and whole and isinstance(stream, Stream):
        sent = max(sent, stream.body_bytes() or 0)
    if announced is not None and sent != announced:
        shown_sent = sent if sent < announced else f"more ({sent})"
        raise ClearwayError.of("feeds.E033", origin=progressed.origin, announced=announced, sent=shown_sent)


def _tls_error(error: Exception) -> str:
    """What is wrong with who the server says it is; "" where something else is."""
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message or "its certificate is not valid"
        if isinstance(each, ssl.SSLError):
            return f"TLS fails ({(each.reason or 'no reason is given').lower().replace('_', ' ')})"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, at most RETRY_AFTER_SECONDS_MAX; None where the server does not say (RFC 9110, 10.2.3)."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(min(int(said[:9]), RETRY_AFTER_SECONDS_MAX))
    try:
        until = parsedate_to_datetime(said)
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        seconds = (until - now).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        return None
    return min(max(seconds, 0.0), float(RETRY_AFTER_SECONDS_MAX))


def _length(headers: Mapping[str, str]) -> int | None:
    said = headers.get("content-length", "")
    plain = said.isascii() and said.isdigit() and "transfer-encoding" not in headers
    return int(said[:18]) if plain else None


def _server(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _at_most(text: str, characters: int) -> str:
    return text if len(text) <= characters else ""
