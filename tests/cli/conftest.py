"""The command line as a test calls it: in this process where that is enough, and as a program of its own."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from calling import Call, Told
from patience import HUNG_S

from clearway.cli import app


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of every call in the test; nothing is there yet."""
    monkeypatch.delenv("CLEARWAY_DATABASE", raising=False)
    monkeypatch.delenv("CLEARWAY_TRACEBACK", raising=False)
    monkeypatch.setenv("CLEARWAY_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def cli(state: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    """Calls `clearway` with these arguments, in this process."""

    def call(*arguments: str | Path) -> Told:
        capfd.readouterr()
        code = app.call([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Told(code, out, err)

    return call


@pytest.fixture
def program(state: Path) -> Call:
    """Runs `clearway` with these arguments as a program; `environment` is added to that of the test."""

    def call(*arguments: str | Path, environment: dict[str, str] | None = None) -> Told:
        command = [sys.executable, "-m", "clearway.cli.app", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=HUNG_S, env={**os.environ, **(environment or {})}
        )
        return Told(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def a_list(tmp_path: Path) -> Path:
    """A list of three entries."""
    path = tmp_path / "drop.txt"
    path.write_text("# ours\n185.0.2.0/24\n188.51.100.7\n2a00:db8::/32\n")
    return path


@pytest.fixture
def a_server(a_list: Path) -> Iterator[str]:
    """Where the list is served over HTTP, with an ETag, to whoever has credentials or none."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            unchanged = self.headers.get("If-None-Match") == '"v1"'
            body = b"" if unchanged else a_list.read_bytes()
            self.send_response(304 if unchanged else 200)
            self.send_header("ETag", '"v1"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/drop.txt"
    server.shutdown()
    server.server_close()
