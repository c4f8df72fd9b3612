"""Packets as fast as one core can make them: XDP live frames out of the left host's end, counted where they arrive.

The generator's core sends, the gateway's core polls both ports and does all the forwarding; what arrives at the right
host is counted and dropped by an XDP program there, which runs on the gateway's core and costs each kind the same.

A figure of one core is packets by CPU seconds of the gateway's polling threads, not by the clock: it stays true when
the generator is the slower one, or when the machine gives the core to others for a while. How much of the clock the
core was busy stands beside it.
"""

import os
import struct
import time
from dataclasses import dataclass

import numpy as np

from clearway.bench import lists
from clearway.bench.machine import Cpus
from clearway.bench.peers import Peer
from clearway.bench.topology import PLAIN_LEFT, PLAIN_RIGHT

FRAME_BYTES = 60  # 64 on the wire, with the checksum that hardware adds
BATCH = 256
WARM_UP = 200_000
"""Frames sent first, to see how many the generator makes a second; caches are warm afterwards."""
CALL_S = 0.015
COUNT_MAX = 1 << 30
DRAIN_S = 0.05
ANY_ADDRESS = np.zeros((1, 2), dtype=np.uint32)


@dataclass(frozen=True)
class Stream:
    """What is sent: one UDP frame; the addresses named by `randomize` are drawn anew for each from `pairs`."""

    randomize: str = ""  # "", "source", "destination" or "both"
    pairs: lists.Numbers | None = None
    source: str = PLAIN_LEFT
    destination: str = PLAIN_RIGHT


@dataclass(frozen=True)
class Flood:
    """What became of it."""

    offered: int  # frames that the generator made
    accepted: int  # frames that the gateway's port took; its queue was full for the rest
    arrived: int  # frames counted at the right host
    wall_s: float
    gateway_s: float  # CPU seconds of the gateway's core

    def details(self) -> dict[str, float]:
        """By name, for a Measurement."""
        return {
            "offered_mpps": self.offered / self.wall_s / 1e6,
            "accepted_mpps": self.accepted / self.wall_s / 1e6,
            "arrived_mpps": self.arrived / self.wall_s / 1e6,
            "gateway_busy": self.gateway_s / self.wall_s,
            "accepted": float(self.accepted),
            "arrived": float(self.arrived),
        }


def flood(peer: Peer, cpus: Cpus, stream: Stream, seconds: float, seed: int = 1) -> Flood:
    """Sends from the left host for about that long. Both ports' polling must be `threaded`."""
    from clearway import _engine as engine

    wire = peer.wire
    template = frame(wire.left.mac(), wire.right.mac(), stream.source, stream.destination)
    index = wire.left.index()
    pairs = ANY_ADDRESS if stream.pairs is None else stream.pairs

    def send(count: int) -> float:
        os.sched_setaffinity(0, {cpus.generator})
        return engine.live_frames(
            index, template, count, BATCH, randomize=stream.randomize, seed=seed + count, prefixes=pairs.data
        )

    sink = wire.right.namespace.call(lambda: engine.FrameSink(wire.right.index()))
    try:
        warm_s = wire.left.namespace.call(lambda: send(WARM_UP))
        # one call, since each takes 15 ms to begin and end, in which the gateway would idle
        count = min(COUNT_MAX, int(WARM_UP / max(warm_s - CALL_S, CALL_S) * seconds))
        time.sleep(DRAIN_S)
        before, busy, arrived = wire.counts(wire.inside), wire.poll_seconds(), sink.packets()
        wall_s = wire.left.namespace.call(lambda: send(count))
        time.sleep(DRAIN_S)
        after, busy = wire.counts(wire.inside), wire.poll_seconds() - busy
        return Flood(count, after.received - before.received, sink.packets() - arrived, wall_s, busy)
    finally:
        sink.close()


def frame(source_mac: bytes, destination_mac: bytes, source: str, destination: str) -> bytes:
    """An Ethernet frame of FRAME_BYTES: IPv4, UDP to the discard port without a checksum."""
    length = FRAME_BYTES - 14
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 17, 0, _octets(source), _octets(destination))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    udp = struct.pack("!HHHH", 9, 9, length - 20, 0)
    return destination_mac + source_mac + b"\x08\x00" + header + udp + bytes(FRAME_BYTES - 14 - 20 - 8)


def _octets(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))
