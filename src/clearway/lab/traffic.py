"""Numbered traffic at a constant rate, both ways at once, and the proof of what became of each packet.

Each end is a process of its own on a core of its own: a sender that moved between cores could overtake itself. An end
sends one stream and writes down, in order of arrival, every number of the other's. `Traffic` starts both ends and
speaks with them over their standard input and output, one JSON object a line:

    {"do": "start"} · {"do": "count"} · {"do": "stop"} · {"do": "report", "sent": …, "late_s": …} · {"do": "end"}
"""

import gc
import itertools
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clearway.lab.namespace import End, Namespace
from clearway.lab.numbered import MAGIC, TRAILER, Address, Numbers, Report, Rows, Stream, judge, stamp
from clearway.lab.packets import BATCH_MAX, Receiver, Sender

BURST_MAX = 64  # catching up after a pause: well below the 256 slots of a veth's ring
TURN_S = 0.0005
BEHIND_S_MAX = 0.05  # what a longer pause kept from being sent is left out: caught up with, it would be a flood
DRAIN_S_MAX = 30.0
SILENCE_ENDS_DRAIN_S = 2.0
ANSWER_S_MAX = 120.0

_numbers = itertools.count()


class _Sending:
    """One end's sender: how many are due, and their frames."""

    def __init__(self, end: End, stream: Stream, number: int) -> None:
        self.stream = stream
        self.templates = stream.templates(number)
        self.sender = Sender(end, stream.frame_bytes)
        self.trailers = self.sender.data[:, -TRAILER.itemsize :]
        self.sent = 0
        self.start = time.monotonic()
        self.late_s = 0.0

    def turn(self) -> None:
        elapsed = time.monotonic() - self.start
        behind = int(elapsed * self.stream.rate) - self.sent
        count = min(behind, BURST_MAX)
        if count <= 0:
            return
        self.late_s = max(self.late_s, behind / self.stream.rate)
        self.start += max(0.0, behind / self.stream.rate - BEHIND_S_MAX)
        numbers = np.arange(self.sent, self.sent + count)
        batch = self.sender.data[:count]
        batch[:] = self.templates[numbers % self.stream.flows]
        stamp(batch, numbers, time.monotonic_ns())
        self.sender.send(count)
        self.sent += count


class _Receiving:
    """One end's receiver: every number that arrived, in order."""

    def __init__(self, end: End, stream: Stream, number: int) -> None:
        self.stream, self.number = stream, number
        self.templates = stream.templates(number)
        self.receiver = Receiver(end, stream.frame_bytes)
        self.arrived: list[Numbers] = []
        self.count = 0
        self.altered = 0
        self.last = 0.0
        self.longest_silence_s = 0.0

    def turn(self) -> bool:
        """Takes what is there; whether that was a full batch, so that more may be waiting."""
        got, lengths = self.receiver.receive()
        batch = self.receiver.data[:got]
        trailers = np.ascontiguousarray(batch[:, -TRAILER.itemsize :]).view(TRAILER)[:, 0]
        ours = (lengths == self.stream.frame_bytes) & (trailers["magic"] == MAGIC)
        ours &= trailers["stream"] == self.number
        if not ours.any():
            return got == BATCH_MAX
        now = time.monotonic()
        if self.last:
            self.longest_silence_s = max(self.longest_silence_s, now - self.last)
        self.last = now
        batch, trailers = batch[ours], trailers[ours]
        numbers = trailers["number"].astype(np.int64)
        self.altered += self._altered(batch, numbers, trailers["sent_ns"])
        self.arrived.append(numbers)
        self.count += len(numbers)
        return got == BATCH_MAX

    def _altered(self, batch: Rows, numbers: Numbers, sent_ns: Any) -> int:
        wanted = self.templates[numbers % self.stream.flows]
        stamp(wanted, numbers, sent_ns)
        return int(np.count_nonzero((wanted != batch).any(axis=1)))

    def drain(self, sent: int) -> None:
        """Waits for the rest, until all are there or nothing came for a while."""
        deadline = time.monotonic() + DRAIN_S_MAX
        quiet_from, before = time.monotonic(), self.count
        while self.count < sent and time.monotonic() < min(deadline, quiet_from + SILENCE_ENDS_DRAIN_S):
            if not self.turn():
                time.sleep(TURN_S)
            if self.count != before:
                quiet_from, before = time.monotonic(), self.count
        while self.turn():  # duplicates behind the last
            pass

    def report(self, sent: int, late_s: float) -> Report:
        numbers = np.concatenate(self.arrived) if self.arrived else np.zeros(0, np.int64)
        lost, duplicated, reordered, lost_numbers = judge(numbers, sent, self.stream.flows)
        return Report(
            sent=sent,
            arrived=len(numbers),
            lost=lost,
            duplicated=duplicated,
            reordered=reordered,
            altered=self.altered,
            overflowed=self.receiver.statistics(),
            longest_silence_ms=round(self.longest_silence_s * 1000, 1),
            sender_late_ms=round(late_s * 1000, 1),
            lost_numbers=lost_numbers,
        )


@dataclass(frozen=True)
class Half:
    """What an end's process is told of itself."""

    namespace: str
    interface: str
    sends: Stream
    receives: Stream
    number: int  # of the stream it sends; the one it receives differs in the lowest bit
    core: int  # its own, where the machine has so many

    @classmethod
    def from_json(cls, text: str) -> "Half":
        raw = json.loads(text)
        for key in ("sends", "receives"):
            stream = raw[key]
            source, destination = Address(**stream.pop("source")), Address(**stream.pop("destination"))
            raw[key] = Stream(source, destination, **stream)
        return cls(**raw)


class _EndProcess:
    """The loop of one end: send what is due, take what is there, answer what is asked."""

    def __init__(self, half: Half) -> None:
        end = End(Namespace(half.namespace), half.interface)
        self.receiving = _Receiving(end, half.receives, half.number ^ 1)
        self.sending = _Sending(end, half.sends, half.number)
        self.sends = False

    def run(self) -> None:
        """Until told to end, or until its parent is gone."""
        say({"ready": True})
        while True:
            if self.sends:
                self.sending.turn()
            busy = self.receiving.turn()
            wait_s = 0.0 if busy else TURN_S
            if select.select([sys.stdin], [], [], wait_s)[0]:
                line = sys.stdin.readline()
                if not line:
                    return
                asked = json.loads(line)
                if asked["do"] == "end":
                    return
                say(self.answer(asked))

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "start":
            self.sending.start = time.monotonic()
            self.sends = True
        elif asked["do"] == "stop":
            self.sends = False
        elif asked["do"] == "report":
            self.receiving.drain(asked["sent"])
            return asdict(self.receiving.report(asked["sent"], asked["late_s"]))
        return {
            "sent": self.sending.sent,
            "arrived": self.receiving.count,
            "late_s": self.sending.late_s,
        }


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


@dataclass(frozen=True)
class Counts:
    """How far a running Traffic has come: packets from one end to the other, and back."""

    sent_there: int
    arrived_there: int
    sent_back: int
    arrived_back: int


class Traffic:
    """Two ends with numbered traffic between them. `start`, then `stop` for the two reports: there, and back."""

    def __init__(self, one: tuple[End, Address], other: tuple[End, Address], **stream: Any) -> None:
        """`stream`: rate, flows, frame_bytes, for both directions."""
        there = Stream(one[1], other[1], **stream)
        back = Stream(other[1], one[1], **stream)
        # a number of its own: switches show every host frames of others until they have learned where those are
        number = (os.getpid() << 8 | next(_numbers) & 0xFF) << 1 & 0xFFFFFFFF
        self._ends = [
            self._spawn(Half(one[0].namespace.name, one[0].interface, there, back, number, 0)),
            self._spawn(Half(other[0].namespace.name, other[0].interface, back, there, number | 1, 1)),
        ]
        try:
            for end in self._ends:
                self._read(end)
        except BaseException:
            self.close()
            raise

    def _spawn(self, half: Half) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "clearway.lab.traffic", json.dumps(asdict(half))]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _read(self, end: subprocess.Popen[str]) -> dict[str, Any]:
        assert end.stdout is not None
        if not select.select([end.stdout], [], [], ANSWER_S_MAX)[0]:
            raise TimeoutError("an end of the numbered traffic does not answer")
        line = end.stdout.readline()
        if not line:
            raise RuntimeError(f"an end of the numbered traffic has ended, exit {end.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ask(self, end: subprocess.Popen[str], **request: Any) -> dict[str, Any]:
        assert end.stdin is not None
        end.stdin.write(json.dumps(request) + "\n")
        end.stdin.flush()
        return self._read(end)

    def start(self) -> None:
        for end in self._ends:
            self._ask(end, do="start")

    def counts(self) -> Counts:
        one, other = (self._ask(end, do="count") for end in self._ends)
        return Counts(one["sent"], other["arrived"], other["sent"], one["arrived"])

    def stop(self) -> tuple[Report, Report]:
        """Ends the sending, waits for what is under way, and judges: (there, back)."""
        one, other = (self._ask(end, do="stop") for end in self._ends)
        there = self._ask(self._ends[1], do="report", sent=one["sent"], late_s=one["late_s"])
        back = self._ask(self._ends[0], do="report", sent=other["sent"], late_s=other["late_s"])
        return Report(**there), Report(**back)

    def close(self) -> None:
        """Ends both processes, whatever they are doing."""
        for end in self._ends:
            end.kill()
            end.communicate()

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main() -> None:
    half = Half.from_json(sys.argv[1])
    os.sched_setaffinity(0, {half.core} & os.sched_getaffinity(0) or os.sched_getaffinity(0))
    gc.disable()  # a collection would be a pause; nothing here makes cycles
    _EndProcess(half).run()


if __name__ == "__main__":
    main()
