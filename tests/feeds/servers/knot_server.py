"""Knot DNS as a primary of policy zones, on a free port of loopback, for as long as a test module takes."""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from free_port import free_port
from patience import HUNG_S

SEARCHED = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
SECRET = "c2VjcmV0IG9mIGEga2V5IGZvciB0ZXN0cw=="
START_SECONDS = HUNG_S

_CONFIGURATION = """
server:
    rundir: "{folder}/run"
    listen: 127.0.0.1@{port}
    automatic-acl: off
database:
    storage: "{folder}/db"
log:
  - target: stderr
    any: notice
key:
  - id: clearway.
    algorithm: hmac-sha256
    secret: "{secret}"
acl:
  - id: signed
    key: clearway.
    action: transfer
  - id: anybody
    address: 127.0.0.1
    action: transfer
template:
  - id: default
    storage: "{folder}/zones"
    journal-content: changes
    zonefile-load: difference
zone:
"""


def why_not() -> str:
    """Why there is none here; "" where there is."""
    missing = [name for name in ("knotd", "knotc") if not shutil.which(name, path=SEARCHED)]
    return f"no {missing[0]} here: it comes with Debian's package knot" if missing else ""


class Knot:
    """Zones are added before the start or later, and changed by writing them anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        for name in ("run", "db", "zones"):
            (folder / name).mkdir()
        self._zones: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, zone: str) -> str:
        """The zone as a source of a list."""
        return f"axfr://127.0.0.1:{self.port}/{zone}"

    def key(self, name: str = "clearway", secret: str = SECRET, algorithm: str = "hmac-sha256") -> Path:
        """A key file as BIND writes it; without arguments the one that zones want."""
        path = self.folder / f"{name}-{abs(hash(secret))}-{algorithm}.key"
        path.write_text(f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{secret}";\n}};\n')
        path.chmod(0o600)
        return path

    def serve(self, zone: str, serial: int, lines: list[str], *, acl: str = "signed", journal: bool = True) -> None:
        """Makes a zone what it is from now on: its serial, and its records beside SOA and NS, relative to it."""
        head = ["$TTL 60", f"@ SOA ns.example. admin.example. {serial} 3600 600 86400 60", "@ NS ns.example."]
        (self.folder / "zones" / f"{zone}.zone").write_text("\n".join([f"$ORIGIN {zone}.", *head, *lines, ""]))
        known = zone in self._zones
        self._zones[zone] = f"  - domain: {zone}\n    acl: {acl}\n"
        if not journal:
            self._zones[zone] += "    journal-content: none\n    zonefile-load: whole\n"
        self._configure()
        if self._process is not None:
            self._control(*(("zone-reload", zone) if known else ("reload",)))
            self._wait_for(zone, serial)

    def __enter__(self) -> Self:
        self._configure()
        log = (self.folder / "log").open("wb")
        arguments = ["knotd", "-c", str(self.folder / "knot.conf")]
        self._process = subprocess.Popen(arguments, stderr=log, stdout=log, env={"PATH": SEARCHED})
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                self._control("status")
                return self
            assert time.monotonic() < deadline and self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(HUNG_S)

    def _configure(self) -> None:
        head = _CONFIGURATION.format(folder=self.folder, port=self.port, secret=SECRET)
        (self.folder / "knot.conf").write_text(head + "".join(self._zones.values()))

    def _control(self, *words: str) -> str:
        arguments = ["knotc", "-b", "-t", "30", "-c", str(self.folder / "knot.conf"), *words]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True, env={"PATH": SEARCHED})
        return done.stdout

    def _wait_for(self, zone: str, serial: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while f" {serial} " not in (status := self._control("zone-status", zone)).replace("\n", " "):
            assert time.monotonic() < deadline, status + (self.folder / "log").read_text()
            time.sleep(0.05)
