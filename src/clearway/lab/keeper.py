"""The process that keeps a lab: runs its servers, and takes it down at its deadline. Started by `Lab.up`.

It stays in the namespace it was born in and holds sockets that were made in others; so one loop serves all hosts.
It ends when the lab's record no longer names it. Says "ready" on standard output once every server listens.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys

from clearway.lab.topology import HOSTS, HTTP_PORT, IPERF_PORT, Host, Lab, boot_clock_s

LOOK_EVERY_S = 0.5
REQUEST_BYTES_MAX = 8192
REQUEST_S_MAX = 10.0


def listening(lab: Lab, host: Host) -> socket.socket:
    """Port 80 of a host, both families."""

    def make() -> socket.socket:
        return socket.create_server(("::", HTTP_PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)

    return lab.namespace(host.name).call(make)


def greeting(host: Host, peer: str) -> bytes:
    body = f"{host.name} answers {peer.removeprefix('::ffff:')}\n".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def serve_http(host: Host, listener: socket.socket) -> asyncio.Server:
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

    return await asyncio.start_server(answer, sock=listener, limit=REQUEST_BYTES_MAX)


def serve_iperf3(lab: Lab, host: Host) -> subprocess.Popen[bytes] | None:
    if not shutil.which("iperf3"):
        return None  # whoever wants it says so; the rest of the lab needs it not
    command = lab.namespace(host.name).command(["iperf3", "--server", "--port", str(IPERF_PORT)])
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


async def keep(lab: Lab) -> None:
    """Serves until the deadline, until the record names another, or until SIGTERM."""
    sys.stdin.read()  # ends when the record names this process
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    servers = [await serve_http(host, listening(lab, host)) for host in HOSTS if "http" in host.serves]
    children = [serve_iperf3(lab, host) for host in HOSTS if "iperf3" in host.serves]
    print("ready", flush=True)
    try:
        while not ended.is_set():
            record = lab.read_record()
            if not record or record.keeper_pid != os.getpid():
                break
            if record.until_boot_s < boot_clock_s():
                await asyncio.to_thread(lab.down)
                break
            try:
                await asyncio.wait_for(ended.wait(), LOOK_EVERY_S)
            except TimeoutError:
                continue
    finally:
        for child in children:
            if child:
                child.kill()
                child.wait()
        for server in servers:
            server.close()


if __name__ == "__main__":
    asyncio.run(keep(Lab(sys.argv[1])))
