"""A real daemon on a wire of its own, started as a person would: `ip netns exec … clearway run`."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patience import HUNG_S
from wires import OUTSIDE_ADDRESS, Wire

from clearway.gateway import canary
from clearway.gateway.client import Gateway
from clearway.policy.model import Prefix

CLEARWAY = [sys.executable, "-m", "clearway.cli.app"]


class Running:
    """One gateway: its wire, state directory and name. `start` may be called again after it has ended."""

    def __init__(self, wire: Wire, state: Path, *options: str) -> None:
        self.wire = wire
        self.state = state
        self.name = wire.gateway
        self.options = options
        self.log = state.parent / f"{state.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self, *words: str) -> list[str]:
        """A command line that runs in the gateway's network namespace, with mounts of its own."""
        return ["ip", "netns", "exec", self.wire.gateway, *CLEARWAY, *words]

    def run_words(self) -> list[str]:
        words = ["run", "--inside", "inside", "--outside", "outside", "--name", self.name, "--state", str(self.state)]
        return [*words, *self.options]

    def spawn(self, **environment: str) -> None:
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*self.run_words()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    def wait_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + HUNG_S
        while "ready" not in self.said().splitlines():
            assert self.process.poll() is None, f"it ended: {self.said()}"
            assert time.monotonic() < deadline, f"it is not ready: {self.said()}"
            time.sleep(0.01)

    def start(self, **environment: str) -> "Running":
        self.spawn(**environment)
        self.wait_ready()
        return self

    def said(self) -> str:
        return self.log.read_text()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HUNG_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(HUNG_S)

    def clearway(self, *words: str, check: bool = True) -> dict[str, Any]:
        """`clearway WORDS --state … --json` in the gateway's namespace: its document."""
        command = self.command(*words, "--state", str(self.state), "--json")
        done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S)
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return Gateway(self.state).request(method, path, body)

    def status(self) -> dict[str, Any]:
        return self.ask("GET", "/v1/status")

    def fate(self, source: str, destination: str, direction: str, hook: str = "tcx") -> tuple[str, str]:
        """What the loaded programs say of a packet: drop reason and lane."""
        addresses = (Prefix.parse(text).mapped()[0] for text in (source, destination))
        body = {"frame": canary.frame(*addresses).hex(), "direction": direction}
        outcome = self.ask("POST", "/v1/probe", body)["outcomes"][hook]
        return outcome["drop_reason"], outcome["lane"]

    def pings(self) -> bool:
        """Does an echo cross the wire and come back? Asked again until one does, for as long as a busy machine takes:
        one that is sent before the hosts' own side of their wires is up is lost."""
        return self._ping("-i", "0.2", "-w", "20")

    def is_cut(self) -> bool:
        """An echo does not come back."""
        return not self._ping("-W", "1")

    def _ping(self, *options: str) -> bool:
        command = ["ip", "netns", "exec", self.wire.inner, "ping", "-c", "1", *options, OUTSIDE_ADDRESS]
        return subprocess.run(command, capture_output=True, timeout=HUNG_S).returncode == 0

    def close(self) -> None:
        with contextlib.suppress(Exception):
            subprocess.run(
                self.command("detach", "--name", self.name, "--state", str(self.state)),
                capture_output=True,
                timeout=HUNG_S,
            )
        if self.process is not None and self.process.poll() is None:
            self.kill()


@contextlib.contextmanager
def gateway(wire: Wire, state: Path, *options: str) -> Iterator[Running]:
    """A gateway that isn't started yet, and is off the wire at the end whatever happened."""
    running = Running(wire, state, *options)
    try:
        yield running
    finally:
        running.close()
