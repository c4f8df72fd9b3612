"""The rows that go through the real daemon: loading a list, and how long commands take."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from clearway.bench import lists
from clearway.bench.daemon import COMMAND_S_MAX, Daemon
from clearway.bench.generator import frame
from clearway.bench.measurement import Aim, Measurement, Result, Series
from clearway.bench.stand import Stand
from clearway.bench.topology import CLEARWAY, PLAIN_LEFT, PREFIX, Wire
from clearway.bench.turns import interleave
from clearway.errors import ClearwayError

SETTLE_S = 3.0
"""After `ready` a daemon goes on importing what its first list needs; a gateway that runs has done so."""


def loading(stand: Stand) -> Result:
    """A list from its file until the daemon says that it is enforced, into an empty gateway that runs."""
    kinds = {}
    with running_daemon() as daemon:
        daemon.start_programs()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        Path(folder).chmod(0o755)  # the daemon has no rights of root
        for size in ("middle", "large"):
            entries = stand.entries(size)
            path = Path(folder, f"{stand.list_name(size)}.txt")
            lists.write_text(entries, path)
            kinds[stand.list_name(size)] = partial(_load, path, entries)
        title = "loading a list, from its file to enforced"
        stand.progress.begin(title, stand.plan.loads * len(kinds))
        series = interleave(kinds, stand.plan.loads, stand.progress, "s")
    nft = stand.bridge_with_set()
    if nft.load is not None:
        memory = {"resident_mb": nft.load.resident_bytes / 1e6}
        series = (*series, Series(nft.name, (Measurement(nft.load.seconds, memory),)))
    notes = ["a request to a running gateway, until its answer; then a probe of the loaded program is dropped"]
    notes += [
        f"{one.kind}: kernel maps {one.detail('kernel_mb'):.0f} MB, processes at their peaks together "
        f"{one.detail('daemon_mb'):.0f} MB; `clearway feed add` from its start {one.detail('command_s'):.2f} s"
        for one in series
        if one.kind in kinds
    ]
    notes.append(f"{nft.name}: once, when the bridge was built; its process {series[-1].detail('resident_mb'):.0f} MB")
    aims: tuple[Aim, ...] = ()
    if stand.plan.name == "full":
        aims = (
            Aim("1m", "<=", 0.6),
            Aim("10m", "<=", 4.0),
            Aim("1m", "<=", 250, detail="kernel_mb"),
            Aim("10m", "<=", 450, detail="kernel_mb"),
        )
    return Result("loading", title, "s", "lower", None, series, aims, tuple(notes))


def _load(path: Path, entries: lists.Entries) -> Measurement:
    with running_daemon() as daemon:
        began = time.monotonic()
        daemon.ask("POST", "/v1/feeds", {"name": "bench", "source": str(path), "reason": "scanner"})
        took = time.monotonic() - began
        _check_dropped(daemon, entries)
        kernel = sum(daemon.ask("GET", "/v1/status")["memory_bytes"].values())
        resident = daemon.resident_peak_bytes()
    with running_daemon() as daemon:
        began = time.monotonic()
        done = daemon.command("feed", "add", "bench", str(path), "--reason", "scanner")
        command_s = time.monotonic() - began
        if done.returncode:
            raise ClearwayError.of("bench.E004", command="clearway feed add", detail=done.stderr.strip())
        _check_dropped(daemon, entries)
    return Measurement(took, {"kernel_mb": kernel / 1e6, "daemon_mb": resident / 1e6, "command_s": command_s})


def _check_dropped(daemon: Daemon, entries: lists.Entries) -> None:
    """First, middle and last entry of the list, as sources from outside."""
    for at in (0, len(entries) // 2, len(entries) - 1):
        address = str(IPv4Address(int(entries[at]) >> 8))
        outcome = probe(daemon, address, PLAIN_LEFT, "inbound")
        if outcome["verdict"] != "drop":
            detail = f"{address} is listed, and its probe was {outcome['verdict']}"
            raise ClearwayError.of("bench.E004", command="clearway feed add", detail=detail)


def probe(daemon: Daemon, source: str, destination: str, direction: str) -> dict[str, str]:
    built = frame(bytes(6), bytes(6), source, destination)
    answer = daemon.ask("POST", "/v1/probe", {"frame": built.hex(), "direction": direction})
    outcome: dict[str, str] = answer["outcomes"]["tcx"]
    return outcome


def commands(stand: Stand) -> Result:
    """Wall time of commands, the interpreter's start included; `status` of a gateway that runs with the middle list."""
    title = "time of a command, from start to end"
    stand.progress.begin(title, stand.plan.commands * 2)
    with list_file(stand, "middle") as path, running_daemon() as daemon:
        daemon.ask("POST", "/v1/feeds", {"name": "bench", "source": str(path), "reason": "scanner"})
        kinds = {
            "clearway --help": partial(_timed, [*CLEARWAY, "--help"]),
            "clearway status": partial(_timed, [*CLEARWAY, "status", "--state", str(daemon.state)]),
        }
        for measure in kinds.values():
            measure()  # the first start writes byte code
        series = interleave(kinds, stand.plan.commands, stand.progress, "s")
    aims = (Aim("clearway --help", "<=", 0.2), Aim("clearway status", "<=", 0.5))
    return Result("commands", title, "s", "lower", None, series, aims)


def _timed(command: list[str]) -> Measurement:
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False)
    took = time.monotonic() - began
    if done.returncode:
        raise ClearwayError.of("bench.E004", command=" ".join(command[2:]), detail=done.stderr.strip())
    return Measurement(took)


@contextmanager
def running_daemon() -> Iterator[Daemon]:
    """A gateway that runs on a wire of its own, with nothing in its lists."""
    wire = Wire(through=True)
    wire.up()
    try:
        daemon = Daemon(wire)
        try:
            daemon.start()
            time.sleep(SETTLE_S)
            yield daemon
        finally:
            daemon.close()
    finally:
        wire.down()


@contextmanager
def list_file(stand: Stand, size: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, f"{stand.list_name(size)}.txt")
        lists.write_text(stand.entries(size), path)
        yield path
