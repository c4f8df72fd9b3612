"""medallion, the TAXII 2.1 server of OASIS, on a free port of loopback: a process with one collection in memory."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
from free_port import free_port
from patience import HUNG_S

COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
MEDIA_TYPE = "application/taxii+json;version=2.1"
USER = ("lists", "a password")
START_SECONDS = HUNG_S


def indicator(number: int, pattern: str, modified: str = "2030-01-01T00:00:00.000Z", **more: Any) -> dict[str, Any]:
    """An indicator; the same number is the same one."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": "2030-01-01T00:00:00.000Z",
        "modified": modified,
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": "2030-01-01T00:00:00Z",
        **more,
    }


def of_name(number: int) -> dict[str, Any]:
    """One that names bad<number>.example."""
    return indicator(number, f"[domain-name:value = 'bad{number}.example']")


class Medallion:
    """`page`: objects it gives at a time, at most."""

    def __init__(self, folder: Path, page: int = 7) -> None:
        self._folder = folder
        self.port = free_port()
        about = {"id": COLLECTION, "title": "tests", "can_read": True, "can_write": True, "media_types": [MEDIA_TYPE]}
        root = {"title": "tests", "versions": [MEDIA_TYPE], "max_content_length": 9765625}
        data = {
            "/discovery": {"title": "tests", "api_roots": [f"{self.web}/api/"]},
            "api": {"information": root, "status": [], "collections": [{**about, "objects": [], "manifest": []}]},
        }
        (folder / "data.json").write_text(json.dumps(data))
        backend = {
            "module": "medallion.backends.memory_backend",
            "module_class": "MemoryBackend",
            "filename": str(folder / "data.json"),
        }
        configuration = {"backend": backend, "users": dict([USER]), "taxii": {"max_page_size": page}}
        (folder / "medallion.json").write_text(json.dumps(configuration))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def source(self) -> str:
        """The collection as a source of a list."""
        return f"taxii+{self.web}/api/collections/{COLLECTION}/"

    def key(self) -> Path:
        """The file of whom it lets in."""
        path = self._folder / "key"
        path.write_text(":".join(USER) + "\n")
        path.chmod(0o600)
        return path

    def add(self, *objects: dict[str, Any]) -> None:
        """As a publisher does."""
        answer = httpx.post(
            f"{self.web}/api/collections/{COLLECTION}/objects/",
            json={"objects": list(objects)},
            headers={"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE},
            auth=USER,
            trust_env=False,
        )
        assert answer.status_code == 202 and answer.json()["failure_count"] == 0, answer.text

    def remove(self, number: int) -> None:
        """As a publisher does; a server tells nobody."""
        id = of_name(number)["id"]
        url = f"{self.web}/api/collections/{COLLECTION}/objects/{id}/"
        headers = {"Accept": MEDIA_TYPE}
        assert httpx.delete(url, headers=headers, auth=USER, trust_env=False).status_code == 200

    def __enter__(self) -> Self:
        arguments = ["--port", str(self.port), str(self._folder / "medallion.json")]
        log = (self._folder / "log").open("wb")
        command = [sys.executable, "-m", "medallion.scripts.run", *arguments]
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            assert time.monotonic() < deadline and self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(HUNG_S)
