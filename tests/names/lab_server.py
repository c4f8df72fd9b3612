"""The server that clients meet: HTTP, TLS, DNS and HTTP/3, both families, in one process. Says "ready", then serves.

Run in the server's namespace as `python lab_server.py FOLDER`, with leaf.pem and leaf.key (certificates.py) in FOLDER.
Each answer tells the name that the server was asked for, so a test knows that its client really got through.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from pathlib import Path
from typing import cast

from host_pair import SERVER

HTTP_PORT, TLS_PORT, DNS_PORT = 80, 443, 53
REQUEST_S_MAX = 120.0
TYPE_A, TYPE_AAAA, TYPE_OPT = 1, 28, 41


ALTERNATIVE = f'Alt-Svc: h3=":{TLS_PORT}"; ma=86400\r\n'
"""Whoever reads this over TLS may come back over HTTP/3."""


def greeting(name: str) -> bytes:
    """An icon of its own, so that no browser asks for one."""
    icon = '<link rel="icon" href="data:,">'
    return f"<html><head>{icon}</head><body>the server greets {name}</body></html>\n".encode()


# ---- HTTP, in the clear and in TLS ----


async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests one after the other, as long as the client keeps the connection."""
    with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(REQUEST_S_MAX):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = [line.partition(":") for line in head.split("\r\n")[1:]]
                fields = {key.strip().lower(): value.strip() for key, _, value in lines}
                body = greeting(fields.get("host", "nobody"))
                ending = fields.get("connection", "").lower() == "close"
                state = "close" if ending else "keep-alive"
                words = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
                words += ALTERNATIVE if writer.get_extra_info("ssl_object") else ""
                writer.write(f"{words}Connection: {state}\r\n\r\n".encode() + body)
                await writer.drain()
                if ending:
                    break
    writer.close()


def listening(port: int, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET6, kind)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("::", port))
    return made


# ---- DNS ----


def answer_dns(query: bytes) -> bytes:
    """The server's address of the asked family; an OPT record if there was one."""
    at = 12
    while query[at]:
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack_from("!H", query, at + 1)
    address = {
        TYPE_A: socket.inet_pton(socket.AF_INET, SERVER.v4),
        TYPE_AAAA: socket.inet_pton(socket.AF_INET6, SERVER.v6),
    }.get(kind)
    answers = struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(address)) + address if address else b""
    has_edns = struct.unpack_from("!H", query, 10)[0] > 0
    opt = b"\0" + struct.pack("!HHIH", TYPE_OPT, 1232, 0, 0) if has_edns else b""
    head = query[:2] + struct.pack("!HHHHH", 0x8580, 1, bool(address), 0, has_edns)
    return head + question + answers + opt


class DnsDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(answer_dns(data), address)


async def answer_dns_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = answer_dns(await reader.readexactly(length))
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
    writer.close()


# ---- HTTP/3 ----


async def serve_http3(folder: Path) -> None:
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.asyncio.server import serve
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import ProtocolNegotiated, QuicEvent

    class Http3(QuicConnectionProtocol):
        http: H3Connection | None = None

        def quic_event_received(self, event: QuicEvent) -> None:
            if isinstance(event, ProtocolNegotiated):
                self.http = H3Connection(self._quic)
            http = self.http
            for seen in http.handle_event(event) if http else []:
                if http and isinstance(seen, HeadersReceived):
                    body = greeting(dict(seen.headers).get(b":authority", b"nobody").decode() + " over HTTP/3")
                    http.send_headers(seen.stream_id, [(b":status", b"200"), (b"content-type", b"text/html")])
                    http.send_data(seen.stream_id, body, end_stream=True)
                    self.transmit()

    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
    await serve("::", TLS_PORT, configuration=configuration, create_protocol=Http3)


async def serve_all(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
    context.set_alpn_protocols(["http/1.1"])
    stream = socket.SOCK_STREAM
    await asyncio.start_server(answer_http, sock=listening(HTTP_PORT, stream))
    await asyncio.start_server(answer_http, sock=listening(TLS_PORT, stream), ssl=context)
    await asyncio.start_server(answer_dns_stream, sock=listening(DNS_PORT, stream))
    datagrams = listening(DNS_PORT, socket.SOCK_DGRAM)
    await asyncio.get_running_loop().create_datagram_endpoint(DnsDatagrams, sock=datagrams)
    with contextlib.suppress(ImportError):  # whoever needs it says so
        await serve_http3(folder)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_all(Path(sys.argv[1])))
