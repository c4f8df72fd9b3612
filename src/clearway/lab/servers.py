"""What the lab's hosts serve: HTTP, TLS and DNS for every name, lists, iperf3. Started by keeper.py, which stays out.

A listening socket is made inside its host's namespace and stays there; so one loop serves all hosts.
"""

import asyncio
import contextlib
import hashlib
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import cast

from clearway.lab.topology import DNS_PORT, HTTP_PORT, IPERF_PORT, NAMES_HOST, TLS_PORT, Host, Lab

REQUEST_BYTES_MAX = 8192
REQUEST_S_MAX = 60.0
CERTIFICATE_S_MAX = 120.0
TYPE_A, TYPE_AAAA, TYPE_OPT = 1, 28, 41
ADDRESS_LIFE_S = 60


def listening(lab: Lab, host: Host, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A port of a host, both families."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET6, kind)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("::", port))
        return made

    return lab.namespace(host.name).call(make)


async def serve(lab: Lab, host: Host, tls: ssl.SSLContext | None) -> list[asyncio.AbstractServer]:
    """Everything but iperf3 that it serves; ended by closing what is returned."""
    servers: list[asyncio.AbstractServer] = []
    if "http" in host.serves:
        servers.append(await _serve_http(host, listening(lab, host, HTTP_PORT), None))
    if "https" in host.serves and tls:
        servers.append(await _serve_http(host, listening(lab, host, TLS_PORT), tls))
    if "lists" in host.serves:
        servers.append(await _serve_lists(lab.published(), listening(lab, host, HTTP_PORT)))
    if "dns" in host.serves:
        servers.append(await asyncio.start_server(_answer_dns_stream, sock=listening(lab, host, DNS_PORT)))
        datagrams = listening(lab, host, DNS_PORT, socket.SOCK_DGRAM)
        await asyncio.get_running_loop().create_datagram_endpoint(_DnsDatagrams, sock=datagrams)
    return servers


# ---- HTTP, in the clear and in TLS ----


def greeting(host: Host, peer: str) -> bytes:
    body = f"{host.name} answers {peer.removeprefix('::ffff:')}\n".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def _serve_http(host: Host, listener: socket.socket, tls: ssl.SSLContext | None) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S_MAX):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(greeting(host, writer.get_extra_info("peername")[0]))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client's affair
        finally:
            writer.close()

    return await asyncio.start_server(answer, sock=listener, limit=REQUEST_BYTES_MAX, ssl=tls, backlog=512)


async def _serve_lists(folder: Path, listener: socket.socket) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S_MAX):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(published(folder, request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client's affair
        finally:
            writer.close()

    return await asyncio.start_server(answer, sock=listener, limit=REQUEST_BYTES_MAX)


def published(folder: Path, request: bytes) -> bytes:
    """The answer to GET /NAME: a file of `folder`, by what is in it; 304 to who has it already (RFC 9110 §13)."""
    line, *fields = request.decode("latin-1").split("\r\n")
    path = folder / Path(line.split(" ")[1] if line.count(" ") == 2 else "").name
    if not path.is_file():
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    kind = "text/html" if body.startswith(b"<!doctype html") else "text/plain"
    held = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    status = "304 Not Modified" if held.get("if-none-match") == etag else "200 OK"
    body = body if status.startswith("200") else b""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nETag: {etag}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def certificate(name: str) -> ssl.SSLContext | None:
    """A fresh one by openssl, signed by itself and known to nobody. None without openssl: whoever wants it says so."""
    if not shutil.which("openssl"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        key, chain = Path(folder, "key.pem"), Path(folder, "chain.pem")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "8", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(chain)]
        subprocess.run(command, check=True, capture_output=True, timeout=CERTIFICATE_S_MAX)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        return context


# ---- DNS ----


def answer_dns(query: bytes) -> bytes:
    """Every name is at NAMES_HOST, as many are at one address of a shared server. Raises IndexError, struct.error."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    question = query[12 : end + 5]
    (kind,) = struct.unpack_from("!H", query, end + 1)
    at = Lab.host(NAMES_HOST)
    address = {
        TYPE_A: socket.inet_pton(socket.AF_INET, at.v4),
        TYPE_AAAA: socket.inet_pton(socket.AF_INET6, at.v6),
    }.get(kind)
    found = struct.pack("!HHHIH", 0xC00C, kind, 1, ADDRESS_LIFE_S, len(address)) + address if address else b""
    has_edns = struct.unpack_from("!H", query, 10)[0] > 0
    opt = b"\0" + struct.pack("!HHIH", TYPE_OPT, 1232, 0, 0) if has_edns else b""
    return query[:2] + struct.pack("!HHHHH", 0x8580, 1, bool(address), 0, has_edns) + question + found + opt


class _DnsDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(IndexError, struct.error):  # no query
            self.transport.sendto(answer_dns(data), address)


async def _answer_dns_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(REQUEST_S_MAX):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = answer_dns(await reader.readexactly(length))
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, IndexError, struct.error):
        pass  # the client's affair
    finally:
        writer.close()


# ---- bulk ----


def serve_iperf3(lab: Lab, host: Host) -> subprocess.Popen[bytes] | None:
    if not shutil.which("iperf3"):
        return None  # whoever wants it says so; the rest of the lab needs it not
    command = lab.namespace(host.name).command(["iperf3", "--server", "--port", str(IPERF_PORT)])
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
