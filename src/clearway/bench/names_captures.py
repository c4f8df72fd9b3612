"""`clearway inspect` beside other readers of captures, on the same file of generated hellos.

A figure is hellos by CPU seconds on one core; what a reader takes for a capture without a packet is taken off, since a
large file would hide it and a small one would show nothing else. Every reader must find every name, but for ndpiReader,
which tells no names without telling much more: it gets its quiet mode, the fastest it has.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from clearway.bench.machine import Cpus
from clearway.bench.measurement import Measurement
from clearway.bench.names_hellos import HELLO_BYTES, LARGE_HELLO_BYTES, capture, hello, tcp_frame
from clearway.bench.topology import PREFIX
from clearway.errors import ClearwayError

READ_S_MAX = 300
SEGMENT_BYTES = 1448
PORTS = 50_000
"""Flows of one client address."""
_FIRST_PORT = 1025
_CLIENTS = bytes([10, 8, 0])


@dataclass(frozen=True)
class Reader:
    """A program that reads a capture. `counts`: its output has a line for each name."""

    name: str
    command: Callable[[Path], list[str]]
    counts: bool

    def absent(self) -> str | None:
        """Why it can't be measured."""
        program = self.command(Path())[0]
        return None if shutil.which(program) else f"{self.name} was not measured: it is not installed"


READERS = (
    Reader("inspect", lambda path: [sys.executable, "-m", "clearway.cli.app", "inspect", str(path)], True),
    Reader("ndpiReader", lambda path: ["ndpiReader", "-q", "-i", str(path)], False),
    Reader(
        "tshark",
        lambda path: [
            *("tshark", "-n", "-r", str(path), "-Y", "tls.handshake.extensions_server_name"),
            *("-T", "fields", "-e", "frame.number", "-e", "tls.handshake.extensions_server_name"),
        ],
        True,
    ),
)


@contextmanager
def files(names: Sequence[bytes]) -> Iterator[tuple[Path, Path]]:
    """A capture with one hello a flow, every second one post-quantum in two packets; and one without a packet."""
    drawn = Random(1)
    frames = []
    for number, name in enumerate(names):
        port, source = _FIRST_PORT + number % PORTS, _CLIENTS + bytes([1 + number // PORTS])
        sent = hello(name, LARGE_HELLO_BYTES if number % 2 else HELLO_BYTES, drawn)
        for at in range(0, len(sent), SEGMENT_BYTES):
            frames.append(tcp_frame(sent[at : at + SEGMENT_BYTES], port, source=source, sequence=1 + at))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        full, empty = Path(folder, "hellos.pcap"), Path(folder, "empty.pcap")
        full.write_bytes(capture(frames))
        empty.write_bytes(capture([]))
        yield full, empty


def read(reader: Reader, cpus: Cpus, full: Path, empty: Path, hellos: int) -> Measurement:
    """Hellos a CPU second; what its start takes beside it."""
    start_s, _ = cpu_seconds(reader, cpus, empty)
    all_s, lines = cpu_seconds(reader, cpus, full)
    if reader.counts and lines != hellos:
        detail = f"{lines} of {hellos} names"
        raise ClearwayError.of("bench.E004", command=reader.name, detail=detail)
    return Measurement(hellos / max(all_s - start_s, 1e-6), {"start_s": start_s, "with_start": hellos / all_s})


def cpu_seconds(reader: Reader, cpus: Cpus, path: Path) -> tuple[float, int]:
    """CPU seconds of one reading, and lines that it printed."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            reader.command(path),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpus.gateway}),
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            detail = f"exit code {process.returncode}"
            raise ClearwayError.of("bench.E004", command=reader.name, detail=detail)
        said.seek(0)
        lines = sum(block.count(b"\n") for block in iter(lambda: said.read(1 << 20), b""))
    return usage.ru_utime + usage.ru_stime, lines
