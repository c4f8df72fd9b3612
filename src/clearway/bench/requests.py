"""Request and response: the time until a 64-byte answer is back, one at a time, over UDP or TCP.

Both ends spin, each on a core of its own, so that no wake-up of a sleeping core is measured: what differs between kinds
is the wire alone. The spinning is the extension's; in Python it would add two microseconds to ten.
"""

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clearway.bench.machine import Cpus
from clearway.bench.measurement import Measurement, percentile
from clearway.bench.peers import Peer
from clearway.errors import ClearwayError

PORT = 5301
WARM_UP = 500
CONNECT_S_MAX = 60.0
ANSWER_MS_MAX = 30_000


@dataclass
class _Connection:
    client: socket.socket
    server: socket.socket

    def close(self) -> None:
        self.client.close()
        self.server.close()


def ping_pong(peer: Peer, cpus: Cpus, source: str, destination: str, count: int, protocol: str) -> Measurement:
    """Median microseconds of `count` exchanges; p99 beside it. `protocol`: "udp" or "tcp"."""
    connection = (_connected_udp if protocol == "udp" else _connected_tcp)(peer, source, destination)
    try:
        times_us = _exchange(connection, cpus, count)[WARM_UP:] / 1000.0
    finally:
        connection.close()
    values = times_us.tolist()
    return Measurement(percentile(values, 0.5), {"p99_us": percentile(values, 0.99)})


def _connected_udp(peer: Peer, source: str, destination: str) -> _Connection:
    """A pair of sockets, one in each host's namespace, each connected to the other's address."""

    def bind(own: str, other: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((own, PORT))
        made.connect((other, PORT))
        made.setblocking(False)
        return made

    client = peer.wire.left.namespace.call(lambda: bind(source, destination))
    return _Connection(client, peer.wire.right.namespace.call(lambda: bind(destination, source)))


def _connected_tcp(peer: Peer, source: str, destination: str) -> _Connection:
    """A connected pair of sockets, one in each host's namespace."""

    def listen() -> socket.socket:
        listener = socket.create_server((destination, PORT), backlog=1)
        listener.settimeout(CONNECT_S_MAX)
        return listener

    def dial() -> socket.socket:
        client = socket.create_connection((destination, PORT), timeout=CONNECT_S_MAX, source_address=(source, 0))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        return client

    with peer.wire.right.namespace.call(listen) as listener:
        try:
            client = peer.wire.left.namespace.call(dial)
            server, _ = listener.accept()
        except OSError as error:
            raise ClearwayError.of("bench.E004", command=f"a connection through {peer.name}", detail=error) from error
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.setblocking(False)
    return _Connection(client, server)


def _exchange(connection: _Connection, cpus: Cpus, count: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]":
    from clearway import _engine as engine

    total = count + WARM_UP
    found: list[bytes] = []
    failures: list[BaseException] = []

    def on(cpu: int, act: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            os.sched_setaffinity(0, {cpu})
            try:
                act()
            except BaseException as error:  # carried to the caller's thread
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    threads = [
        on(cpus.gateway, lambda: engine.pong(connection.server.fileno(), total, ANSWER_MS_MAX)),
        on(cpus.generator, lambda: found.append(engine.ping(connection.client.fileno(), total, ANSWER_MS_MAX))),
    ]
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return np.frombuffer(found[0], dtype=np.uint64)
