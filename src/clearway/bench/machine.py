"""The machine that a figure belongs to: a number without kernel, CPU and spread is not published."""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from clearway.errors import ClearwayError

VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")


@dataclass(frozen=True)
class Cpus:
    """Two cores of their own: what sends, and what is measured."""

    generator: int
    gateway: int


def cpus() -> Cpus:
    """The first two that this process may use. bench.E002 when there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise ClearwayError.of("bench.E002", count=len(usable))
    return Cpus(generator=usable[0], gateway=usable[1])


def facts() -> dict[str, str]:
    """What stands above every table, by name."""
    return {
        "cpu": f"{_cpu_model()}, {os.cpu_count()} cores{_hypervisor()}",
        "kernel": f"{platform.release()} {platform.machine()}",
        "memory": f"{_memory_kib() >> 20} GiB",
        "mitigations": _mitigations(),
        "python": platform.python_version(),
        "clearway": _version(),
        "nft": _first_line("nft", "--version"),
        "iperf3": _first_line("iperf3", "--version"),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("clearway")
    except PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _hypervisor() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return ", virtual machine" if " hypervisor" in flags else ""


def _memory_kib() -> int:
    return int(Path("/proc/meminfo").read_text().split()[1])


def _mitigations() -> str:
    """What makes returns and indirect calls dear here; each call inside a program pays it."""
    found = []
    for name in ("spectre_v2", "spec_rstack_overflow", "retbleed"):
        path = VULNERABILITIES / name
        text = path.read_text().strip() if path.exists() else "Not affected"
        if text.startswith("Mitigation: "):
            found.append(text.removeprefix("Mitigation: ").split(";")[0].split(",")[0])
    return ", ".join(found) or "none"


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "missing"
    return done.stdout.splitlines()[0].strip() if done.stdout else "missing"
