"""A wire that errs exactly as told: to see whether numbered traffic finds each fault, and no other.

Carries frames between two ports in one thread and touches those whose trailer bears a given number.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from clearway.lab.namespace import End
from clearway.lab.numbered import MAGIC, TRAILER
from clearway.lab.packets import Receiver, Sender

FRAME_BYTES = 128
DELAYED_BY = 100
"""More than there are flows: a later packet of its flow goes before it."""


@dataclass(frozen=True)
class Faults:
    """Numbers of packets, of both directions alike."""

    lose: set[int] = field(default_factory=set)
    repeat: set[int] = field(default_factory=set)
    delay: set[int] = field(default_factory=set)  # behind as many others as DELAYED_BY
    alter: set[int] = field(default_factory=set)


class _Direction:
    def __init__(self, source: End, destination: End, faults: Faults) -> None:
        self.receiver, self.sender = Receiver(source, FRAME_BYTES), Sender(destination, FRAME_BYTES)
        self.faults = faults
        self.held: list[tuple[int, np.ndarray]] = []

    def turn(self) -> None:
        got, lengths = self.receiver.receive()
        for row, length in zip(self.receiver.data[:got], lengths, strict=True):
            trailer = row[-TRAILER.itemsize :].view(TRAILER)[0]
            ours = length == FRAME_BYTES and trailer["magic"] == MAGIC
            self.carry(row, int(trailer["number"]) if ours else -1)

    def carry(self, row: np.ndarray, number: int) -> None:
        if number in self.faults.lose:
            return
        if number in self.faults.delay:
            self.held.append((number + DELAYED_BY, row.copy()))
            return
        if number in self.faults.alter:
            row[70] ^= 1
        self.put(row)
        if number in self.faults.repeat:
            self.put(row)
        for held in [row for behind, row in self.held if behind == number]:
            self.put(held)

    def put(self, row: np.ndarray) -> None:
        self.sender.data[0] = row
        self.sender.send(1)


@contextlib.contextmanager
def faulty_wire(one: End, other: End, faults: Faults) -> Iterator[None]:
    directions = [_Direction(one, other, faults), _Direction(other, one, faults)]
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            for direction in directions:
                direction.turn()
            time.sleep(0.0002)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for direction in directions:
            direction.receiver.close()
            direction.sender.close()
