"""Numbered packets: how they are made, and what a list of arrived numbers proves. No socket, no clock.

A stream numbers its packets 0, 1, 2, …; packet n belongs to flow n % flows, so each flow has its own ascending
numbers. Frames are UDP over IPv4 and IPv6 in turn; number and time of sending stand at their end, so that all of a
stream have them at the same place. They go between hardware addresses that no host owns: no stack answers them, and
bridges learn them as they would any host's.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clearway.lab import frames

Numbers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.uint8]

MAGIC = 0x636C6561
TRAILER = np.dtype([("magic", ">u4"), ("stream", ">u4"), ("number", ">u8"), ("sent_ns", ">u8")])
FRAME_BYTES_MIN = 96
PORT = 9  # discard


@dataclass(frozen=True)
class Address:
    """Who an end of a stream says it is."""

    mac: str
    v4: str
    v6: str


@dataclass(frozen=True)
class Stream:
    """One direction: `rate` packets a second of `frame_bytes` each, over `flows` flows."""

    source: Address
    destination: Address
    rate: int
    flows: int = 64
    frame_bytes: int = 128

    def templates(self, stream: int) -> Rows:
        """One frame a flow, whole but for trailer and checksum; even flows IPv4, odd ones IPv6."""
        if self.frame_bytes < FRAME_BYTES_MIN or self.frame_bytes % 2:
            raise ValueError(f"frames of numbered traffic have {FRAME_BYTES_MIN} bytes or more, an even number")
        return np.stack([self._template(stream, flow) for flow in range(self.flows)])

    def _template(self, stream: int, flow: int) -> Rows:
        one, other = self.source, self.destination
        source, destination, header = (one.v6, other.v6, 62) if flow % 2 else (one.v4, other.v4, 42)
        payload = bytes((flow + i) & 0xFF for i in range(self.frame_bytes - header - TRAILER.itemsize))
        payload += np.array([(MAGIC, stream, 0, 0)], TRAILER).tobytes()
        datagram = frames.udp(source, destination, 20000 + flow, PORT, payload)
        ether_type, packet = frames.ip(source, destination, frames.PROTOCOL_UDP, datagram)
        frame = frames.ethernet(frames.mac(other.mac), frames.mac(one.mac), ether_type, packet)
        return np.frombuffer(frame, np.uint8)


@dataclass
class Report:
    """What became of one direction's packets."""

    sent: int
    arrived: int  # with duplicates
    lost: int
    duplicated: int
    reordered: int  # came after a later one of its flow
    altered: int  # differ in some byte from what was sent
    overflowed: int  # lost by the receiving tool itself: then the other numbers prove nothing
    longest_silence_ms: float  # at the receiving end, between two arrivals
    sender_late_ms: float  # the furthest that the sender fell behind its own rate
    lost_numbers: list[int] = field(default_factory=list)  # the first hundred

    @property
    def clean(self) -> bool:
        """Everything sent has arrived once, in order and unchanged."""
        return self.sent > 0 and not any((self.lost, self.duplicated, self.reordered, self.altered, self.overflowed))

    def __str__(self) -> str:
        return (
            f"{self.sent:,} sent, {self.lost} lost, {self.duplicated} duplicated, {self.reordered} reordered, "
            f"{self.altered} altered"
        )


def judge(numbers: Numbers, sent: int, flows: int) -> tuple[int, int, int, list[int]]:
    """Lost, duplicated, reordered, and the first numbers lost, from the numbers in order of arrival."""
    distinct, first_at = np.unique(numbers, return_index=True)
    duplicated = len(numbers) - len(distinct)
    first = numbers[np.sort(first_at)]  # each number once, in order of arrival
    by_flow = first[np.argsort(first % flows, kind="stable")]
    # flow in front of the number: one running maximum serves all flows
    rank = (by_flow % flows) * (1 << 40) + by_flow // flows
    reordered = int(np.count_nonzero(rank < np.maximum.accumulate(rank))) if len(rank) else 0
    present = np.zeros(sent, bool)
    present[distinct[distinct < sent]] = True
    missing = np.flatnonzero(~present)
    return len(missing), duplicated, reordered, [int(n) for n in missing[:100]]


def stamp(batch: Rows, numbers: Numbers, now_ns: int) -> None:
    """Writes number and time into the trailers, and mends the UDP checksums that held for zeros there."""
    trailer = np.zeros(len(batch), TRAILER)
    trailer["number"] = numbers
    trailer["sent_ns"] = now_ns
    fresh = trailer.view(np.uint8).reshape(len(batch), -1)
    words = fresh.view(">u2").astype(np.uint32).sum(axis=1)
    v6 = batch[:, 12] == 0x86
    rows = np.arange(len(batch))
    at = np.where(v6, 60, 40)
    old = batch[rows, at].astype(np.uint32) << 8 | batch[rows, at + 1]
    total = (~old & 0xFFFF) + words
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    new = ~total & 0xFFFF
    new = np.where(new == 0, 0xFFFF, new)
    batch[rows, at], batch[rows, at + 1] = new >> 8, new & 0xFF
    batch[:, -16:] = fresh[:, -16:]
