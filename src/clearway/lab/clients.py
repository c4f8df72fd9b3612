"""Ordinary programs as they cross the lab: curl, ping, iperf3. Each runs inside a host's namespace, bounded in time.

They ask by address; by name: asking.py. They are told apart from numbered traffic: these show what a user sees, not
what became of each packet.
"""

import json
import re
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from clearway.errors import ClearwayError
from clearway.lab.namespace import Namespace
from clearway.lab.topology import IPERF_PORT

PACKAGES = {"curl": "curl", "ping": "iputils-ping", "iperf3": "iperf3", "nsenter": "util-linux", "openssl": "openssl"}
ROUND_TRIP = re.compile(r"time=([0-9.]+) ms")


@dataclass(frozen=True)
class Reply:
    """What a client got: whether it was answered, after how long, and with what."""

    reached: bool
    ms: float
    text: str


@dataclass(frozen=True)
class RoundTrips:
    sent: int
    received: int
    p50_us: float  # 0.0 when nothing came back


LEEWAY_S = 20.0
"""For a program to begin and to end, beside the time that it is told to take."""


def require(*programs: str) -> None:
    """They are installed, or an error that names the package."""
    for program in programs:
        if not shutil.which(program):
            raise ClearwayError.of("lab.E006", program=program, package=PACKAGES[program])


def run_inside(namespace: Namespace, arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """A program in a host; one that doesn't end in time is ended, with 124."""
    command = namespace.command(arguments)
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no end within {timeout_s} s")


def curl(namespace: Namespace, address: str, timeout_s: float = 1.0) -> Reply:
    """GET http://ADDRESS/; the text is the body's first line, or curl's own complaint."""
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    arguments = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(timeout_s)]
    done = run_inside(namespace, [*arguments, "--write-out", "\n%{time_total}", url], timeout_s + LEEWAY_S)
    lines = done.stdout.splitlines()
    ms = float(lines[-1]) * 1000 if lines else 0.0
    if done.returncode:
        return Reply(False, ms, done.stderr.strip().removeprefix("curl: "))
    return Reply(True, ms, lines[0])


def ping(namespace: Namespace, address: str, count: int = 3, interval_s: float = 0.05, wait_s: int = 1) -> RoundTrips:
    """Echo requests at a steady pace; waits `wait_s` for the last answer."""
    arguments = ["ping", "-n", "-c", str(count), "-i", str(interval_s), "-W", str(wait_s), address]
    done = run_inside(namespace, arguments, count * interval_s + wait_s + LEEWAY_S)
    times_us = [float(ms) * 1000 for ms in ROUND_TRIP.findall(done.stdout)]
    return RoundTrips(count, len(times_us), statistics.median(times_us) if times_us else 0.0)


def iperf3(namespace: Namespace, address: str, seconds: float, streams: int = 1) -> float:
    """Bulk TCP towards the iperf3 server at `address`: Gbit/s as received. 0.0 when there was no connection."""
    arguments = ["iperf3", "--client", address, "--port", str(IPERF_PORT), "--time", str(seconds), "--json"]
    arguments += ["--parallel", str(streams), "--connect-timeout", "10000"]
    done = run_inside(namespace, arguments, seconds + LEEWAY_S)
    try:
        return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9
    except (ValueError, KeyError):
        return 0.0
