"""Lists in a running gateway as people decide about them: what the kernel does follows each decision."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Running, gateway, until
from wires import wire as make_wire

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

SERVER = """
import http.server, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/busy":
            self.send_response(503); self.send_header("Retry-After", "1800"); self.end_headers(); return
        body = (folder / self.path[1:]).read_bytes()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        while self.path == "/slow" and not (folder / "go").exists():
            time.sleep(0.05)
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
MANY = "".join(f"45.7.{n}.0/24\n" for n in range(40))


class Lists:
    """A running gateway, and a server of lists beside it."""

    def __init__(self, running: Running, folder: Path, port: int) -> None:
        self.running, self.folder, self.port = running, folder, port

    def serve(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return f"http://127.0.0.1:{self.port}/{name}"

    def feed(self, *words: str, check: bool = True) -> dict[str, Any]:
        return self.running.clearway("feed", *words, check=check)

    def drops(self, address: str) -> bool:
        return self.running.fate(address, "192.0.2.1", "inbound")[0] == "listed-source"

    def problems(self) -> str:
        return "\n".join(self.running.status()["health"]["problems"])


@pytest.fixture(scope="module")
def lists(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lists]:
    folder = tmp_path_factory.mktemp("judged")
    with make_wire() as made, gateway(made, folder / "state") as running:
        running.start()
        subprocess.run(["ip", "-n", made.gateway, "link", "set", "lo", "up"], check=True)
        command = ["ip", "netns", "exec", made.gateway, sys.executable, "-c", SERVER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            found = Lists(running, folder, int(server.stdout.readline()))
            found.feed("add", "drop", found.serve("drop", MANY), "--reason", "malware", "--every", "1h")
            yield found
            server.kill()


def test_a_condemned_update_changes_nothing_until_a_person_releases_it(lists: Lists) -> None:
    lists.serve("drop", "45.8.1.0/24\n" * 2 + "45.8.2.0/24\n")
    told = lists.feed("update", "drop", check=False)
    assert told["lists"][0]["error"]["id"] == "store.E040"
    assert (lists.drops("45.7.1.1"), lists.drops("45.8.1.1")) == (True, False)
    assert "list drop: a version waits in quarantine by rule G4" in lists.problems()
    assert lists.feed("quarantine", "list")["quarantine"][0]["rule"] == "G4"
    assert lists.feed("quarantine", "release", "drop")["enforced"] is True
    assert (lists.drops("45.7.1.1"), lists.drops("45.8.1.1")) == (False, True)
    assert "list drop" not in lists.problems()
    assert lists.feed("update", "drop")["lists"][0]["unchanged"] is True
    lists.serve("drop", "<html>\n")
    lists.feed("update", "drop", check=False)
    assert lists.feed("quarantine", "discard", "drop")["kind"] == "feed-discard"
    assert lists.drops("45.8.1.1")
    told = lists.feed("update", "drop", check=False)
    assert told["lists"][0]["error"]["id"] == "store.E044"


def test_going_back_is_in_the_kernel_at_once_and_holds(lists: Lists) -> None:
    address = lists.serve("back", "45.20.1.1\n")
    first = lists.feed("add", "back", address, "--reason", "scanner")["decision"]
    lists.serve("back", "45.20.1.2\n")
    lists.feed("update", "back")
    assert (lists.drops("45.20.1.1"), lists.drops("45.20.1.2")) == (False, True)
    assert lists.feed("rollback", "back", str(first))["enforced"] is True
    assert (lists.drops("45.20.1.1"), lists.drops("45.20.1.2")) == (True, False)
    assert lists.feed("update", "back", check=False)["lists"][0]["error"]["id"] == "store.E043"
    assert lists.drops("45.20.1.1")
    lists.serve("back", "45.20.1.3\n")
    lists.feed("update", "back")
    assert (lists.drops("45.20.1.1"), lists.drops("45.20.1.3")) == (False, True)


def test_a_false_positive_is_spared_at_once_and_ends_at_its_time(lists: Lists) -> None:
    lists.feed("add", "wide", lists.serve("wide", "45.30.0.0/16\n45.30.1.7\n"), "--reason", "scanner")
    told = lists.feed("exclude", "45.30.1.0/24", "--until", "1d", "--note", "moved")
    assert (told["enforced"], told["held_by"]) == (True, "list wide (scanner)")
    assert (lists.drops("45.30.1.7"), lists.drops("45.30.1.8"), lists.drops("45.30.2.1")) == (False, False, True)
    assert [row["target"] for row in lists.feed("excluded")["excluded"]] == ["45.30.1.0/24"]
    lists.feed("include", "45.30.1.0/24")
    assert lists.drops("45.30.1.7")
    lists.feed("exclude", "45.30.1.7", "--until", "3s")
    assert not lists.drops("45.30.1.7")
    until(lambda: lists.drops("45.30.1.7"), 10, "the exclusion does not end")


def test_what_is_protected_and_set_holds_from_the_next_fetch(lists: Lists) -> None:
    lists.feed("add", "ours", lists.serve("ours", "45.40.1.1\n45.40.2.1\n"), "--reason", "scanner")
    lists.feed("protected", "add", "45.40.1.0/24")
    assert lists.drops("45.40.1.1")
    assert lists.feed("set", "ours", "--set", "keep=2", "--life", "3d")["settings"] == {"keep": 2}
    lists.serve("ours", "45.40.1.1\n45.40.2.1\n45.40.3.1\n")
    told = lists.feed("update", "ours")["lists"][0]
    assert (told["rejected"], lists.drops("45.40.1.1"), lists.drops("45.40.3.1")) == ({"G10.own": 1}, False, True)
    assert lists.feed("protected", "remove", "45.40.1.0/24")["kind"] == "unprotect"


def test_a_source_that_drips_holds_up_no_other_list(lists: Lists) -> None:
    address = lists.serve("slow", "45.50.1.1\n")
    words = lists.running.command(
        "feed", "add", "slow", address, "--reason", "scanner", "--state", str(lists.running.state), "--json"
    )
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as waiting:
        time.sleep(0.5)
        lists.feed("add", "quick", lists.serve("quick", "45.50.2.1\n"), "--reason", "scanner")
        assert waiting.poll() is None and lists.drops("45.50.2.1")
        (lists.folder / "go").touch()
        out, _ = waiting.communicate(timeout=20)
    assert json.loads(out)["enforced"] is True and lists.drops("45.50.1.1")


def test_a_failing_source_keeps_the_last_good_and_its_age_is_told(lists: Lists) -> None:
    lists.feed("add", "gone", lists.serve("gone", "45.60.1.1\n"), "--reason", "scanner")
    (lists.folder / "gone").unlink()
    told = lists.feed("update", "gone", check=False)["lists"][0]
    assert told["error"]["id"].startswith("feeds.E01")
    assert lists.drops("45.60.1.1")
    row = next(row for row in lists.running.status()["lists"] if row["feed"] == "gone")
    assert (row["trouble"]["failures"], row["in_force"], row["age_s"] >= 0) == (1, True, True)
    assert "list gone was not renewed, 1 time since " in lists.problems()
    lists.running.kill()
    lists.running.start()
    assert "list gone was not renewed, 1 time since " in lists.problems(), "a restart forgets no failure"
    lists.serve("gone", "45.60.1.1\n")
    lists.feed("update", "gone")
    assert "list gone" not in lists.problems()


def test_the_report_counts_hits_by_list(lists: Lists) -> None:
    lists.feed("add", "hit", lists.serve("hit", "192.0.2.0/24\n45.70.1.1\n"), "--reason", "scanner")
    document = lists.feed("report")
    rows = {row["feed"]: row for row in document["lists"]}
    assert (rows["hit"]["entries"], rows["hit"]["unique"], rows["hit"]["hits"]) == (1, 1, 0)
    assert document["hits_since"] is not None and rows["hit"]["rejected_entries"] == 1
