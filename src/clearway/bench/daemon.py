"""The real gateway on a wire of the bench: `clearway run` as its own process, asked as anybody asks it."""

import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from clearway.bench.topology import CLEARWAY, PREFIX, Wire
from clearway.errors import ClearwayError

READY_S_MAX = 120.0
COMMAND_S_MAX = 120.0
END_S_MAX = 60.0


class Daemon:
    """One gateway with an empty state directory of its own; `close` leaves nothing of it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.name = wire.gateway.name
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        # the daemon gives its rights up, and must still reach what it made
        self.folder.chmod(0o755)
        self.state = self.folder / "state"
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until packets cross."""
        began = time.monotonic()
        ports = ["--inside", self.wire.inside.interface, "--outside", self.wire.outside.interface]
        command = [*CLEARWAY, "run", *ports, "--name", self.name, "--state", str(self.state)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.wire.gateway.command(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while "ready" not in self._log.read_text(errors="replace").splitlines():
            if self._process.poll() is not None or time.monotonic() - began > READY_S_MAX:
                lines = self._log.read_text(errors="replace").strip().splitlines()
                raise ClearwayError.of("bench.E004", command="clearway run", detail=lines[-1] if lines else "no word")
            time.sleep(0.005)
        return time.monotonic() - began

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        from clearway.gateway.client import Gateway

        return Gateway(self.state).request(method, path, body)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`clearway WORDS` against this gateway."""
        command = self.wire.gateway.command([*CLEARWAY, *words, "--state", str(self.state)])
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False)

    def start_programs(self) -> None:
        """Takes a list in by commands: then all programs have run once, and their byte code is there."""
        first, file = self.folder / "first", self.folder / "first-lists"
        first.write_text("45.9.4.1\nfirst.example.com\n")
        file.write_text(f"first {first} --reason malware --format domains\n")
        for words in (("feed", "load", str(file)), ("feed", "update")):
            done = self.command(*words)
            if done.returncode:
                raise ClearwayError.of(
                    "bench.E004", command=f"clearway {words[0]} {words[1]}", detail=done.stderr.strip()
                )

    def resident_peak_bytes(self) -> int:
        """The most memory that the daemon and its children had, each at its own peak."""
        if self._process is None:
            return 0
        total = 0
        for pid in _family(self._process.pid):
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        total += int(line.split()[1]) * 1024
        return total

    def close(self) -> None:
        """Off the wire, ended, and its files removed: also where its process has ended, which leaves its programs."""
        try:
            if self._process:
                with suppress(subprocess.TimeoutExpired):
                    self.command("detach", "--name", self.name)
                self._end()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S_MAX)
                return


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                children = (task / "children").read_text()
                found += [int(child) for child in children.split()]
    return found
