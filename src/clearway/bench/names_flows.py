"""New flows through a wire: how many a second, what each costs all processes together, how long their first data takes.

Client and server have a core each and sleep while they have nothing to do; the gateway's work falls to whichever of
them has sent, and the inspector runs where there is room: so a flow's cost shows in the sum of all, and nowhere alone.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from clearway.bench.machine import Cpus
from clearway.bench.measurement import Measurement, percentile
from clearway.bench.peers import Peer
from clearway.bench.topology import PLAIN_LEFT, PLAIN_RIGHT

CONCURRENT = 32
"""Flows at a time."""
BACKLOG = 1024
DATAGRAM_BUFFER_BYTES = 4 << 20
WARM_UP = 50
"""Timed flows that are not counted: caches, and the server's first wake-up."""
SETTLE_S = 0.02

Protocol = Literal["tls", "quic", "dns"]
_PORTS: dict[Protocol, int] = {"tls": 443, "quic": 443, "dns": 53}
_SERVER_INITIAL = b"\xc3\x00\x00\x00\x01" + bytes(1195)
"""What a server answers a client's Initial with, as far as a gateway looks."""


@dataclass(frozen=True)
class Load:
    """First bytes of flows, all of one length but for DNS."""

    protocol: Protocol
    payloads: Sequence[bytes]
    first: int = 0  # which of them begins

    @property
    def is_tcp(self) -> bool:
        return self.protocol == "tls"


def flows(
    peer: Peer, cpus: Cpus, load: Load, seconds: float, inspectors: Callable[[], Sequence[int]] = tuple
) -> Measurement:
    """Answered flows a second. Beside it microseconds that all processes ran a flow, and flows that failed.

    `inspectors`: processes of the gateway whose time is counted in.
    """
    from clearway import _engine as engine

    kind = "tcp" if load.is_tcp else "udp"
    port = _PORTS[load.protocol]
    payloads = list(load.payloads)
    busy = {"left": 0.0, "right": 0.0}

    def dial() -> tuple[int, int, float]:
        os.sched_setaffinity(0, {cpus.generator})
        began = time.thread_time()
        try:
            return engine.dial_flows(
                kind,
                PLAIN_LEFT,
                PLAIN_RIGHT,
                port,
                payloads,
                first=load.first,
                concurrent=CONCURRENT,
                stays=load.protocol == "dns",
                seconds=seconds,
            )
        finally:
            busy["left"] = time.thread_time() - began

    before = _run_seconds(inspectors())
    with _server(peer, load, port) as listening, _stop() as (stopped, stop):

        def serve() -> None:
            os.sched_setaffinity(0, {cpus.gateway})
            began = time.thread_time()
            answer = _SERVER_INITIAL if load.protocol == "quic" else b""
            request_bytes = len(payloads[0])
            engine.serve_flows(kind, listening.fileno(), stopped, request_bytes=request_bytes, answer=answer)
            busy["right"] = time.thread_time() - began

        with _beside(serve, stop):
            answered, failed, took = peer.wire.left.namespace.call(dial)
    time.sleep(SETTLE_S)  # the inspector gives back what it has
    spent = sum(busy.values()) + _run_seconds(inspectors()) - before
    details = {"failed": float(failed), "flows": float(answered), "cpu_us": spent / max(1, answered) * 1e6}
    return Measurement(answered / took, details)


def first_data(peer: Peer, cpus: Cpus, payloads: Sequence[bytes], count: int) -> Measurement:
    """Median microseconds from the client's send() until the server has it all; p99 beside it."""
    from clearway import _engine as engine

    total = count + WARM_UP
    arrived: list[bytes] = []

    def dial() -> bytes:
        os.sched_setaffinity(0, {cpus.generator})
        return engine.dial_first_data(PLAIN_LEFT, PLAIN_RIGHT, _PORTS["tls"], list(payloads), total)

    with _server(peer, Load("tls", payloads), _PORTS["tls"]) as listening:

        def serve() -> None:
            os.sched_setaffinity(0, {cpus.gateway})
            arrived.append(engine.serve_first_data(listening.fileno(), total, len(payloads[0])))

        with _beside(serve, lambda: None):
            sent = peer.wire.left.namespace.call(dial)
    times = np.frombuffer(arrived[0], dtype=np.uint64) - np.frombuffer(sent, dtype=np.uint64)
    values = (times[WARM_UP:] / 1000.0).tolist()
    return Measurement(percentile(values, 0.5), {"p99_us": percentile(values, 0.99)})


@contextmanager
def in_segments(peer: Peer) -> Iterator[None]:
    """The client sends what the wire carries, and no port puts it together again: a large hello is two packets."""
    left, inside = peer.wire.left, peer.wire.inside
    left.offload(tso=False, gso=False)
    inside.offload(gro=False)
    try:
        yield
    finally:
        inside.offload(gro=True)
        left.offload(tso=True, gso=True)


def _server(peer: Peer, load: Load, port: int) -> socket.socket:
    """A socket of the right host that waits for flows."""

    def listen() -> socket.socket:
        if load.is_tcp:
            listener = socket.create_server((PLAIN_RIGHT, port), backlog=BACKLOG)
            listener.setblocking(False)
            return listener
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM_BUFFER_BYTES)
        made.bind((PLAIN_RIGHT, port))
        return made

    return peer.wire.right.namespace.call(listen)


@contextmanager
def _stop() -> Iterator[tuple[int, Callable[[], None]]]:
    """A descriptor that can be read once the function was called."""
    readable, writable = os.pipe()
    try:
        yield readable, lambda: _write(writable)
    finally:
        os.close(readable)
        os.close(writable)


def _write(descriptor: int) -> None:
    os.write(descriptor, b"x")


@contextmanager
def _beside(act: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Runs it in a thread meanwhile; its exception is raised here at the end."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # carried to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()
    if failures:
        raise failures[0]


def _run_seconds(pids: Sequence[int]) -> float:
    """CPU seconds of these processes, all their threads, and of the kernel's threads for what interrupts leave over."""
    nanoseconds = 0
    for pid in (*pids, *_leftover_threads()):
        with suppress(OSError):  # ended meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def _leftover_threads() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "comm").read_text().startswith("ksoftirqd/"):
                    found.append(int(entry.name))
    return found
