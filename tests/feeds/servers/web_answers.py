"""What a server of lists may answer, by path: right, wrong, and on purpose."""

import gzip
import itertools
import socket
import time
from collections.abc import Callable

from scripted_server import END_SECONDS, drip, head_of, reset

LIST = b"192.0.2.1\n192.0.2.2\n"
PAGE = b"<!doctype html><html><body>Sign in</body></html>"
BOMB = gzip.compress(b"192.0.2.1\n" * (4 << 20), 1)
"""A hundredth of what it unpacks to."""


def answer(body: bytes = b"", status: str = "200 OK", **headers: str | int | None) -> bytes:
    """Headers by name, _ for -; None leaves one of those out that are there otherwise."""
    said = {"Content-Type": "text/plain", "Content-Length": str(len(body))}
    said |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def endless(connection: socket.socket) -> None:
    """A body without a length that goes on as long as somebody reads."""
    connection.sendall(answer(Content_Length=None))
    until = time.monotonic() + END_SECONDS
    while time.monotonic() < until:
        connection.sendall(LIST * 5000)


def endless_head(connection: socket.socket) -> None:
    """Headers without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        connection.sendall(f"X-{number}: {'x' * 1000}\r\n".encode())


def longer_late(connection: socket.socket) -> None:
    """More than announced, and the rest a moment later."""
    connection.sendall(answer(LIST[:10], Content_Length=10))
    time.sleep(0.02)
    connection.sendall(LIST[10:])


def reset_midway(connection: socket.socket) -> None:
    """Half of a body, then an error."""
    connection.sendall(answer(LIST, Content_Length=1000))
    time.sleep(0.05)
    reset(connection)


def cut_off(connection: socket.socket) -> None:
    """A body without a length that ends as if somebody on the way had ended it."""
    connection.sendall(answer(LIST, Content_Length=None))
    time.sleep(0.05)
    socket.socket(fileno=connection.detach()).close()


def slow_body(connection: socket.socket) -> None:
    """A byte now and then."""
    connection.sendall(answer(Content_Length=100_000))
    drip(connection, b"1", 0.02)


FIXED: dict[str, bytes] = {
    "/list": answer(LIST, ETag='"1"'),
    "/gzip": answer(gzip.compress(LIST), Content_Encoding="gzip"),
    "/brotli": answer(b"\x0b\x02\x80", Content_Encoding="br"),
    "/bomb": answer(BOMB),
    "/page": answer(PAGE, Content_Type="text/html; charset=utf-8"),
    "/page-as-text": answer(PAGE),
    "/empty": answer(),
    "/short": answer(LIST, Content_Length=1000),
    "/long": answer(LIST, Content_Length=10),
    "/no-length": answer(LIST, Content_Length=None),
    "/chunked": answer(b"14\r\n" + LIST + b"\r\n0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked"),
    "/cut-chunk": answer(b"1000\r\n" + LIST, Content_Length=None, Transfer_Encoding="chunked"),
    "/two-lengths": answer(LIST, content_length=10),
    "/loop": answer(status="302 Found", Location="/loop"),
    "/away": answer(status="302 Found", Location="file:///etc/passwd"),
    "/busy": answer(status="429 Too Many Requests", Retry_After="120"),
    "/busy-for-ever": answer(status="429 Too Many Requests", Retry_After="99999999999999999999"),
    "/busy-until": answer(
        status="503 Service Unavailable",
        Date="Thu, 31 Jan 2030 12:00:00 GMT",
        Retry_After="Thu, 31 Jan 2030 12:05:00 GMT",
    ),
    "/busy-before": answer(status="503 Service Unavailable", Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
    "/busy-somehow": answer(status="503 Service Unavailable", Retry_After="soon"),
    "/down": answer(status="503 Service Unavailable"),
    "/gone": answer(status="404 Not Found", Retry_After="60"),
    "/nonsense": b"220 mail.example ESMTP\r\n",
}
ACTING: dict[str, Callable[[socket.socket], None]] = {
    "/endless": endless,
    "/endless-head": endless_head,
    "/longer-late": longer_late,
    "/reset": reset_midway,
    "/cut-off": cut_off,
    "/silent": lambda connection: time.sleep(END_SECONDS),
    "/drip": slow_body,
    "/drip-head": lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"1" * 1000, 0.02),
}


def by_path(connection: socket.socket) -> None:
    """A script: one answer, as the path of the request asks for."""
    path = head_of(connection).decode("latin-1").split(" ")[1].partition("?")[0]
    if path.startswith("/further/"):
        number = int(path.rpartition("/")[2])
        connection.sendall(answer(status="302 Found", Location=f"/further/{number + 1}"))
    elif path in ACTING:
        ACTING[path](connection)
    else:
        connection.sendall(FIXED[path])
