"""A steady beat of echo requests from one host to another, and which of them were answered: a strip over time."""

import os
import select
import socket
import struct
import threading
import time

from clearway.lab.frames import checksum
from clearway.lab.namespace import Namespace

ECHO_REQUEST, ECHO_REPLY = 8, 0
UNANSWERED_AFTER_S = 0.2
LAST_ANSWERS_S = 1.0


class Beats:
    """One request every `every_s` seconds until closed. `answered[n]` tells of request n; None: not yet known."""

    def __init__(self, namespace: Namespace, address: str, every_s: float = 0.02) -> None:
        self.address, self.every_s = address, every_s
        self.answered: list[bool | None] = []
        self.sent_at: list[float] = []
        self._identifier = os.getpid() & 0xFFFF
        self._socket = namespace.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """No more requests; the last ones are still waited for."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def first(self, answered: bool, since: float) -> float | None:
        """When the first request from then on was sent that was answered, or not; None when there was none."""
        pairs = zip(self.sent_at, self.answered, strict=False)
        return next((at for at, was in pairs if at >= since and was is answered), None)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            self._send()
            due += self.every_s
            self._receive_until(due)
            self._give_up()
        self._receive_until(time.monotonic() + LAST_ANSWERS_S)
        self.answered = [bool(was) for was in self.answered]

    def _send(self) -> None:
        number = len(self.answered)
        head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self._identifier, number & 0xFFFF)
        packet = head[:2] + struct.pack("!H", checksum(head)) + head[4:]
        self.sent_at.append(time.monotonic())
        self.answered.append(None)
        self._socket.sendto(packet, (self.address, 0))

    def _receive_until(self, due: float) -> None:
        while (left_s := due - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left_s)[0]:
                kind, _, _, identifier, low = struct.unpack_from("!BBHHH", self._socket.recv(2048), 20)
                if kind == ECHO_REPLY and identifier == self._identifier:
                    newest = len(self.answered) - 1
                    number = newest - ((newest - low) & 0xFFFF)
                    if number >= 0:
                        self.answered[number] = True

    def _give_up(self) -> None:
        now = time.monotonic()
        for number in range(len(self.answered) - 1, -1, -1):
            if self.answered[number] is False:
                break
            if self.answered[number] is None and now - self.sent_at[number] > UNANSWERED_AFTER_S:
                self.answered[number] = False
