"""The gateway as the lab runs it: `clearway run` as a process of its own in the gateway's namespace.

The lab speaks to it as anybody does, by its commands and its socket; it reaches into nothing.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clearway.errors import ClearwayError
from clearway.lab.namespace import Namespace
from clearway.lab.topology import INSIDE_V4, INSIDE_V6, Lab

# bounds for what hangs: a busy machine takes many times what one at rest does
READY_S_MAX = 120.0
COMMAND_S_MAX = 600.0
END_S_MAX = 60.0

# the installation that this process runs from, whatever PATH says
CLEARWAY = [sys.executable, "-m", "clearway.cli.app"]


class GatewayProcess:
    """One `clearway run` between the ports `inside` and `outside` of a namespace."""

    def __init__(self, namespace: Namespace, state: Path, name: str, options: Sequence[str] = ()) -> None:
        """`name`: of its pins. `options`: further ones of `run`, taken at each start."""
        self.namespace, self.state, self.name = namespace, state, name
        self.options = list(options)
        self.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.log = self.state / "run.log"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, lab: Lab, *further: str) -> "GatewayProcess":
        """A lab's: its pins and its state go with the lab. `further`: options of `run`."""
        options = ["--inside-prefix", INSIDE_V4, "--inside-prefix", INSIDE_V6, *further]
        return cls(lab.namespace("gateway"), lab.state_directory(), lab.gateway_name, options)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def arguments(self) -> list[str]:
        """Of `clearway run`, as a person would type them in the gateway's namespace."""
        ports = ["--inside", "inside", "--outside", "outside"]
        return ["run", *ports, "--name", self.name, "--state", str(self.state), *self.options]

    def start(self) -> float:
        """Starts it and waits until packets cross; seconds that took. lab.E008 when it ends or stays silent instead."""
        began = time.monotonic()
        command = self.namespace.command([*CLEARWAY, *self.arguments()])
        with self.log.open("ab") as log:
            said = log.tell()
            # a file, not a pipe: with --keep it outlives whoever started it
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        while b"ready\n" not in self._words(said).splitlines(keepends=True):
            ended = self._process.poll()
            if ended is not None or time.monotonic() - began > READY_S_MAX:
                silence = f"not ready within {READY_S_MAX:.0f} s" if ended is None else f"ended with {ended}, wordless"
                self.kill()
                detail = _complaint(self._words(said).decode(errors="replace"), silence)
                raise ClearwayError.of("lab.E008", detail=detail, log=self.log)
            time.sleep(0.01)
        return time.monotonic() - began

    def _words(self, since: int) -> bytes:
        return self.log.read_bytes()[since:]

    def kill(self) -> None:
        """kill -9 to the daemon: no word to anybody."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: the daemon ends, the programs stay."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            os.kill(self._process.pid, number)
            self._process.wait(END_S_MAX)

    def command(self, *words: str) -> dict[str, Any]:
        """`clearway WORDS --state … --json`: what it answered. The command's own error when it refused."""
        command = [*CLEARWAY, *words, "--state", str(self.state), "--json"]
        command = self.namespace.command(command)
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False)
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise ClearwayError.of("lab.E008", detail=_complaint(done.stderr, words[0]), log=self.log) from None
        if done.returncode and "error" in answer:
            raise ClearwayError.from_json(answer)
        return answer

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request over the daemon's socket."""
        from clearway.gateway.client import Gateway

        return Gateway(self.state).request(method, path, body)

    def detach(self) -> None:
        self.command("detach", "--name", self.name)


def _complaint(words: str, silence: str) -> str:
    """The line that says what went wrong: the error's own, else the last one; `silence` where there is none."""
    lines = words.strip().splitlines() or [silence]
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])
