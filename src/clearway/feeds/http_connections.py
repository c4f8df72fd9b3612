"""Connections of one fetch: bounded in time from start to end, with TLS that is verified, through a proxy or not.

httpx has limits for each operation alone, and a server that sends a byte now and then stays below all of them; so every
operation here gets no more than what is left. And h11 reads a body as long as was announced and says nothing of what
follows it, which is how a list comes without its end; so what was received is counted as well.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import h2.exceptions
import httpcore
import httpx

from clearway.errors import ClearwayError
from clearway.feeds.deadline import CONNECT_SECONDS_MAX, SILENCE_SECONDS_MAX, Deadline

LOOK_SECONDS = 0.05
"""How long a server is waited for that may have sent more than it announced: the rest comes right behind."""
HEAD_BYTES_MAX = 256 << 10

FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    ValueError,
    OSError,
)
"""What an operation here may raise."""


class Stream(httpcore.NetworkStream):
    """A connection that keeps to the deadline, and counts what comes behind the head of an HTTP/1 answer."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline
        self._head: bytearray | None = None
        """Of an answer whose head has not ended yet."""
        self._behind: int | None = None
        self._looked = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._inner.read(max_bytes, self._deadline.left(SILENCE_SECONDS_MAX))
        self._count(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._head, self._behind, self._looked = bytearray(), None, False
        self._inner.write(buffer, self._deadline.left(SILENCE_SECONDS_MAX))

    def close(self) -> None:
        self._look()
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.left(CONNECT_SECONDS_MAX)
        inner = self._inner.start_tls(ssl_context, server_hostname, seconds)
        connection = inner.get_extra_info("socket")
        if isinstance(connection, ssl.SSLSocket):  # an end that TLS does not vouch for may be one that somebody made
            of_python: Any = connection
            of_python.suppress_ragged_eofs = False
        return Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def body_bytes(self) -> int | None:
        """What has come behind the head of the last answer, and right after it; None where it is not HTTP/1."""
        self._look()
        return self._behind

    def _look(self) -> None:
        if self._behind is not None and not self._looked and not self._deadline.passed():
            self._looked = True
            with contextlib.suppress(httpcore.NetworkError, httpcore.TimeoutException, OSError):
                self._behind += len(self._inner.read(1 << 16, LOOK_SECONDS))

    def _count(self, data: bytes) -> None:
        if self._behind is not None:
            self._behind += len(data)
        if self._head is None:
            return
        self._head += data
        if not self._head.startswith(b"HTTP/1"[: len(self._head)]) or len(self._head) > HEAD_BYTES_MAX:
            self._head = None
            return
        end = self._head.find(b"\r\n\r\n")
        while end >= 0 and self._head[9:10] == b"1":  # an answer of 1xx comes before the one that counts
            del self._head[: end + 4]
            end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            self._behind, self._head = len(self._head) - end - 4, None


class _Network(httpcore.NetworkBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.left(CONNECT_SECONDS_MAX)
        return Stream(
            self._inner.connect_tcp(host, port, seconds, local_address, socket_options),
            self._deadline,
        )


class Transport(httpx.BaseTransport):
    """What httpx sends through: HTTP/2 where the server speaks it."""

    def __init__(self, deadline: Deadline, proxy: str | None) -> None:
        self._network = _Network(deadline)
        self._proxy = proxy
        self._pools: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        pool = self._pool(proxy_of(url.scheme, url.host, self._proxy))
        answer = pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=b"",
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _pool(self, proxy: str) -> httpcore.ConnectionPool:
        if proxy not in self._pools:
            self._pools[proxy] = self._open(proxy)
        return self._pools[proxy]

    def _open(self, proxy: str) -> httpcore.ConnectionPool:
        if not proxy:
            return httpcore.ConnectionPool(ssl_context=trusted(), http2=True, network_backend=self._network)
        url = httpx.URL(proxy)
        credentials = (url.username.encode(), url.password.encode()) if url.username else None
        return httpcore.HTTPProxy(
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
            proxy_auth=credentials,
            ssl_context=trusted(),
            proxy_ssl_context=trusted() if url.scheme == "https" else None,
            http2=True,
            network_backend=self._network,
        )


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._answer.iter_stream()
        except h2.exceptions.H2Error as error:
            raise httpcore.RemoteProtocolError(str(error)) from error

    def close(self) -> None:
        self._answer.close()


def trusted() -> ssl.SSLContext:
    """Trusts whom the system trusts, or what SSL_CERT_FILE and SSL_CERT_DIR name."""
    return ssl.create_default_context()


def proxy_of(scheme: str, host: str, setting: str | None) -> str:
    """URL of the proxy towards a host, "" for none. `setting`: of the list; None: as the environment says.

    Raises feeds.E042.
    """
    if setting == "none":
        return ""
    proxy = setting
    if proxy is None:
        if proxy_bypass(host):
            return ""
        named = getproxies()
        proxy = named.get(scheme) or named.get("all") or ""
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
    if proxy and not (proxy.lower().startswith(("http://", "https://")) and _host(proxy)):
        raise ClearwayError.of("feeds.E042", value=proxy.rpartition("@")[2])
    return proxy


def _host(url: str) -> str:
    with contextlib.suppress(ValueError):
        divided = urlsplit(url)
        return divided.hostname or "" if divided.port != 0 else ""
    return ""
