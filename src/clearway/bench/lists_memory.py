"""Memory of several processes at once, and of the kernel's maps that they hold, read from /proc.

The peak of all together is the highest sum of their resident memory at one time, looked at every SAMPLE_S; what two of
them share counts twice. It is at most the sum of their own peaks, which the kernel keeps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

SAMPLE_S = 0.05


class PeakMemory:
    """Looks while it is entered. `processes`: those that count, asked each time, with all below them."""

    def __init__(self, processes: Callable[[], Iterable[int]]) -> None:
        self._processes = processes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak_bytes = 0
        self.own_peaks: dict[int, int] = {}
        """By process, what the kernel kept as its peak when it was last seen."""

    def __enter__(self) -> PeakMemory:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def own_peaks_bytes(self) -> int:
        return sum(self.own_peaks.values())

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._look()

    def _look(self) -> None:
        total = 0
        for pid in {below for top in self._processes() for below in family(top)}:
            resident, peak = resident_bytes(pid)
            total += resident
            if peak:
                self.own_peaks[pid] = peak
        self.peak_bytes = max(self.peak_bytes, total)


def resident_bytes(pid: int) -> tuple[int, int]:
    """Now, and at its peak; zeros for a process that is gone."""
    found = {"VmRSS": 0, "VmHWM": 0}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) * 1024
    return found["VmRSS"], found["VmHWM"]


def cpu_seconds(pid: int) -> float:
    """That a process has used; 0 for one that is gone."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def map_bytes(pids: Iterable[int]) -> int:
    """Memory of the BPF maps that these processes hold, each map once, as fdinfo tells it."""
    maps: dict[str, int] = {}
    for pid in pids:
        with suppress(OSError):
            for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
                with suppress(OSError):
                    told = dict(line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
                    if "map_id" in told:
                        maps[told["map_id"]] = int(told["memlock"])
    return sum(maps.values())


def mapped_map_bytes(pids: Iterable[int]) -> int:
    """What of the resident memory of these processes is BPF maps that they look into: it is in `map_bytes` already."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            is_map = False
            for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
                if line.startswith("Rss:") and is_map:
                    total += int(line.split()[1]) * 1024
                elif "-" in line.partition(" ")[0]:
                    is_map = line.endswith("anon_inode:bpf-map")
    return total


def kernel_bytes() -> int:
    """What the kernel has given out to itself and will not give up by itself, on the whole machine: to be compared with
    an earlier answer."""
    wanted = {"SUnreclaim": 0, "VmallocUsed": 0, "Percpu": 0}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in wanted:
            wanted[name] = int(value.split()[0]) * 1024
    return sum(wanted.values())


def settle() -> None:
    """Lets what is dirty be written, so that the next turn does not wait for it."""
    os.sync()
