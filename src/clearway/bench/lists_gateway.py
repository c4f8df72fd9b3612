"""A gateway of its own that lists are loaded into, by the commands that people type, timed and watched."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearway.bench.daemon import Daemon
from clearway.bench.generator import frame
from clearway.bench.lists_memory import PeakMemory, cpu_seconds, family, map_bytes
from clearway.bench.measurement import Measurement
from clearway.bench.topology import CLEARWAY, PLAIN_LEFT, Wire
from clearway.errors import ClearwayError

LOAD_S_MAX = 600.0


@dataclass(frozen=True)
class Loaded:
    """What a command about lists took."""

    seconds: float
    cpu_s: float
    """Of the command and the gateway together."""
    peak_bytes: int
    own_peaks_bytes: int
    kernel_bytes: int

    def measurement(self, **more: float) -> Measurement:
        details = {
            "cpu_s": self.cpu_s,
            "peak_mb": self.peak_bytes / 1e6,
            "own_peaks_mb": self.own_peaks_bytes / 1e6,
            "kernel_mb": self.kernel_bytes / 1e6,
        }
        return Measurement(self.seconds, {**details, **more})


class ListsGateway(Daemon):
    """As `clearway run` makes it, empty at first."""

    def timed(self, *words: str) -> Loaded:
        """Runs `clearway WORDS` to its end; bench.E004 where it fails. Memory: of the gateway and the command."""
        command = self.wire.gateway.command([*CLEARWAY, *words, "--state", str(self.state)])
        began, cpu_s = time.monotonic(), self._cpu_s()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        with PeakMemory(lambda: [*self.pids(), process.pid]) as memory:
            try:
                _, told = process.communicate(timeout=LOAD_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                told = f"it takes longer than {LOAD_S_MAX:.0f} s"
            took = time.monotonic() - began
        if process.returncode:
            detail = told.strip()[-300:] or f"exit code {process.returncode}"
            raise ClearwayError.of("bench.E004", command=f"clearway {' '.join(words[:2])}", detail=detail)
        cpu_s = self._cpu_s() - cpu_s
        return Loaded(took, cpu_s, memory.peak_bytes, memory.own_peaks_bytes, map_bytes(self.family()))

    def add(self, name: str, path: Path, format: str) -> None:
        """Asks for a list over its socket; it is enforced when this returns."""
        body = {"name": name, "source": str(path), "reason": "malware", "format": format}
        self.ask("POST", "/v1/feeds", body)

    def started(self, *words: str) -> subprocess.Popen[bytes]:
        """The same, not waited for."""
        command = self.wire.gateway.command([*CLEARWAY, *words, "--state", str(self.state)])
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _cpu_s(self) -> float:
        """Of the gateway, and of commands that have ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime + sum(cpu_seconds(pid) for pid in self.family())

    def pids(self) -> list[int]:
        """The daemon's own process."""
        return [self._process.pid] if self._process is not None else []

    def family(self) -> list[int]:
        """It and all below it."""
        return [below for pid in self.pids() for below in family(pid)]

    def drops(self, address: str) -> bool:
        """Whether the loaded program drops a packet from that address outside."""
        built = frame(bytes(6), bytes(6), address, PLAIN_LEFT)
        answer = self.ask("POST", "/v1/probe", {"frame": built.hex(), "direction": "inbound"})
        return bool(answer["outcomes"]["tcx"]["verdict"] == "drop")

    def check_dropped(self, *addresses: str) -> None:
        """bench.E004 unless all of them are."""
        for address in addresses:
            if not self.drops(address):
                detail = f"{address} is listed, and its probe is let through"
                raise ClearwayError.of("bench.E004", command="clearway feed", detail=detail)

    def counts(self) -> dict[str, Any]:
        """What stands in the snapshot that is enforced: distinct prefixes and names."""
        from clearway.policy import snapshot

        held = snapshot.load(self.state / "snapshots" / snapshot.CURRENT)
        return {**held.compiled.counts, **held.names.counts}


@contextmanager
def gateway(settle_s: float) -> Iterator[ListsGateway]:
    """One that runs on a wire of its own, with nothing in its lists.

    `settle_s`: after `ready` a daemon goes on importing what its first list needs; a gateway that runs has done so.
    """
    wire = Wire(through=True)
    wire.up()
    try:
        made = ListsGateway(wire)
        try:
            made.start()
            time.sleep(settle_s)
            yield made
        finally:
            made.close()
    finally:
        wire.down()
