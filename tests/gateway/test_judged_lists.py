"""Lists in a running gateway as people decide about them: what the kernel does follows each decision."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from patience import ENDS_SOON_S, HUNG_S, until
from running import Running, gateway
from wires import INSIDE_ADDRESS, OUTSIDE_ADDRESS
from wires import wire as make_wire

from clearway.cli import ask, feed_sources
from clearway.config import StateDirectory
from clearway.errors import ClearwayError

pytestmark = pytest.mark.kernel

SERVER = """
import http.server, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
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

    def add(self, name: str, text: str, **more: Any) -> dict[str, Any]:
        body = {"name": name, "source": self.serve(name, text), "reason": "scanner", **more}
        return self.running.ask("POST", "/v1/feeds", body)

    def update(self, name: str, text: str | None = None) -> dict[str, Any]:
        if text is not None:
            self.serve(name, text)
        return self.running.ask("POST", f"/v1/feeds/{name}/update")

    def read(self, file: str, text: str, name: str | None = None) -> dict[str, Any]:
        """What a command reads of a file, and keeps for the gateway to take. `name`: the list that it is of."""
        path, state = self.folder / file, StateDirectory(self.running.state)
        path.write_text(text)
        ask.open_store(state)
        return feed_sources.prepared(state, str(path), "ip-plain", lambda step, done, total: None, name=name)

    def earned(self) -> int:
        """Hits of list `earns` since it was added."""
        found: int = self.running.ask("GET", "/v1/hits")["lists"].get("earns", {"hits": 0})["hits"]
        return found

    def refused(self, name: str, text: str | None = None) -> str:
        """Id of the error that an update ends in."""
        with pytest.raises(ClearwayError) as raised:
            self.update(name, text)
        return raised.value.id

    def decide(self, name: str, what: str, **body: Any) -> dict[str, Any]:
        return self.running.ask("POST", f"/v1/feeds/{name}/{what}", body)

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
            found.add("drop", MANY, every="1h")
            yield found
            server.kill()


def test_a_condemned_update_changes_nothing_until_a_person_releases_it(lists: Lists) -> None:
    assert lists.refused("drop", "45.8.1.0/24\n45.8.2.0/24\n") == "store.E040"
    assert (lists.drops("45.7.1.1"), lists.drops("45.8.1.1")) == (True, False)
    assert "list drop: a version waits in quarantine by rule G4" in lists.problems()
    assert lists.running.clearway("feed", "quarantine", "list")["quarantine"][0]["rule"] == "G4"
    assert lists.running.clearway("feed", "quarantine", "release", "drop")["enforced"] is True
    assert (lists.drops("45.7.1.1"), lists.drops("45.8.1.1")) == (False, True)
    assert "list drop" not in lists.problems()
    assert lists.update("drop")["unchanged"] is True
    assert lists.refused("drop", "<html>\n") == "store.E040"
    assert lists.decide("drop", "discard")["kind"] == "feed-discard"
    assert lists.drops("45.8.1.1")
    assert lists.refused("drop") == "store.E044"
    assert "list drop was not renewed, 1 time since " in lists.problems()


def test_going_back_is_in_the_kernel_at_once_and_holds(lists: Lists) -> None:
    first = lists.add("back", "45.20.1.1\n")["decision"]
    lists.update("back", "45.20.1.2\n")
    assert (lists.drops("45.20.1.1"), lists.drops("45.20.1.2")) == (False, True)
    assert lists.running.clearway("feed", "rollback", "back", str(first))["enforced"] is True
    assert (lists.drops("45.20.1.1"), lists.drops("45.20.1.2")) == (True, False)
    assert lists.refused("back") == "store.E043"
    assert lists.drops("45.20.1.1")
    lists.update("back", "45.20.1.3\n")
    assert (lists.drops("45.20.1.1"), lists.drops("45.20.1.3")) == (False, True)


def test_a_false_positive_is_spared_at_once_and_ends_at_its_time(lists: Lists) -> None:
    lists.add("wide", "45.30.0.0/16\n45.30.1.7\n")
    told = lists.running.clearway("feed", "exclude", "45.30.1.0/24", "--until", "1d", "--note", "moved")
    assert (told["enforced"], told["held_by"]) == (True, "list wide (scanner)")
    assert (lists.drops("45.30.1.7"), lists.drops("45.30.1.8"), lists.drops("45.30.2.1")) == (False, False, True)
    lists.running.ask("DELETE", "/v1/excluded", {"target": "45.30.1.0/24"})
    assert lists.drops("45.30.1.7")
    for seconds in ENDS_SOON_S:
        ends = time.monotonic() + seconds
        lists.running.ask("POST", "/v1/excluded", {"target": "45.30.1.7", "until": f"{seconds}s"})
        spared = not lists.drops("45.30.1.7")
        if time.monotonic() < ends:
            break
    assert spared
    until(lambda: lists.drops("45.30.1.7"), "the exclusion does not end")


def test_what_is_protected_and_set_holds_from_the_next_fetch(lists: Lists) -> None:
    lists.add("ours", "45.40.1.1\n45.40.2.1\n")
    lists.running.ask("POST", "/v1/protected", {"target": "45.40.1.0/24"})
    assert lists.drops("45.40.1.1")
    assert lists.decide("ours", "settings", settings={"keep": 2}, life="3d")["settings"] == {"keep": 2}
    told = lists.update("ours", "45.40.1.1\n45.40.2.1\n45.40.3.1\n")
    assert (told["rejected"], lists.drops("45.40.1.1"), lists.drops("45.40.3.1")) == ({"G10.own": 1}, False, True)
    assert lists.running.ask("DELETE", "/v1/protected", {"target": "45.40.1.0/24"})["kind"] == "unprotect"


def test_a_source_that_drips_holds_up_no_other_list(lists: Lists) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lists.add, "slow", "45.50.1.1\n")
        time.sleep(0.3)
        lists.add("quick", "45.50.2.1\n")
        assert not waiting.done() and lists.drops("45.50.2.1")
        (lists.folder / "go").touch()
        assert waiting.result(HUNG_S)["enforced"] is True and lists.drops("45.50.1.1")


def test_a_failing_source_keeps_the_last_good_and_its_age_is_told(lists: Lists) -> None:
    lists.add("gone", "45.60.1.1\n")
    (lists.folder / "gone").unlink()
    assert lists.refused("gone").startswith("feeds.E01")
    assert lists.drops("45.60.1.1")
    row = next(row for row in lists.running.status()["lists"] if row["feed"] == "gone")
    assert (row["trouble"]["failures"], row["in_force"], row["age_s"] >= 0) == (1, True, True)
    assert "list gone was not renewed, 1 time since " in lists.problems()
    lists.running.kill()
    lists.running.start()
    assert "list gone was not renewed, 1 time since " in lists.problems(), "a restart forgets no failure"
    lists.update("gone", "45.60.1.1\n")
    assert "list gone" not in lists.problems()


def test_the_report_counts_hits_by_list(lists: Lists) -> None:
    lists.add("hit", "192.0.2.0/24\n45.70.1.1\n")
    document = lists.running.clearway("feed", "report")
    row = next(row for row in document["lists"] if row["feed"] == "hit")
    assert (row["entries"], row["unique"], row["hits"], row["rejected_entries"]) == (1, 1, 0, 1)
    assert document["hits_since"] is not None


def test_a_batch_takes_each_list_by_itself_whole_or_not_at_all_in_one_compilation(lists: Lists) -> None:
    for number, name in enumerate(("updated", "emptied"), 1):
        there = {"name": name, "source": "here", "reason": "scanner", **lists.read(name, f"45.80.{number}.1\n")}
        lists.running.ask("POST", "/v1/feeds", there)
    fresh = {
        "fresh": lists.read("fresh", "45.80.3.1\n45.80.3.2\n"),
        "page": lists.read("page", "<html>not found</html>\n"),
        "twice": lists.read("twice", "45.80.4.1\n"),
        "lost": {"stored": {**lists.read("lost", "45.80.5.1\n")["stored"], "content": "0" * 64}},
    }
    add = [{"name": name, "source": "here", "reason": "scanner", **read} for name, read in fresh.items()]
    updates = {
        "updated": lists.read("updated", "45.80.1.2\n", "updated")["stored"],
        "emptied": lists.read("emptied", "\n", "emptied")["stored"],
        "nobodys": lists.read("nobodys", "45.80.6.1\n")["stored"],
    }
    body = {"actor": "ada", "add": [*add, {**add[2], "reason": "malware"}], "update": updates}
    before = lists.running.status()["snapshot"]["epoch"]
    answers = lists.running.ask("POST", "/v1/feeds/batch", body)["lists"]
    told = [(each["feed"], each["error"]["id"] if "error" in each else each["enforced"]) for each in answers]
    assert told == [
        ("fresh", True),
        ("page", "feeds.E024"),
        ("twice", True),
        ("lost", "feeds.E014"),
        ("twice", "store.E029"),
        ("updated", True),
        ("emptied", "store.E040"),
        ("nobodys", "store.E030"),
    ]
    assert lists.running.status()["snapshot"]["epoch"] == before + 1
    enforced = [address for n in range(1, 7) for address in (f"45.80.{n}.1", f"45.80.{n}.2") if lists.drops(address)]
    assert enforced == ["45.80.1.2", "45.80.2.1", "45.80.3.1", "45.80.3.2", "45.80.4.1"]
    rows = {row["feed"]: row for row in lists.running.clearway("feed", "list")["lists"]}
    assert rows.keys() & (updates.keys() | fresh.keys()) == {"fresh", "twice", "updated", "emptied"}
    assert rows["emptied"]["quarantine"]["rule"] and rows["updated"]["quarantine"] is None
    history = lists.running.clearway("history", "--by", "ada", "--limit", "100")["decisions"]
    decided = sorted((row["target"], row["kind"]) for row in history if row["kind"] != "feed-add")
    assert decided == [
        ("emptied", "feed-quarantine"),
        ("fresh", "feed-version"),
        ("twice", "feed-version"),
        ("updated", "feed-version"),
    ]


def test_what_a_list_has_earned_outlives_a_kill_and_an_end_and_goes_with_the_list(lists: Lists) -> None:
    running, source = lists.running, {"source": lists.serve("earns", f"{OUTSIDE_ADDRESS}\n"), "reason": "scanner"}
    running.ask("POST", "/v1/feeds", {"name": "earns", "observe": True, **source})
    assert lists.earned() == 0
    assert running.pings()
    until(lambda: (running.state / "hits.json").exists(), "nothing is stored")
    running.kill()
    document = running.clearway("feed", "report")
    stored = next(row["hits"] for row in document["lists"] if row["feed"] == "earns")
    assert (document["hits_live"], stored >= 1) == (False, True), "told without a gateway, as it was stored"
    assert [each["entry"] for each in document["top"]] == [OUTSIDE_ADDRESS]
    assert running.pings(), "the programs count on"
    running.start()
    until(lambda: lists.earned() >= stored + 2, "it does not go on from what was stored, and with what fell since")
    running.ask("DELETE", "/v1/feeds/earns")
    running.ask("POST", "/v1/feeds", {"name": "earns", "observe": True, **source})
    assert lists.earned() == 0, "another list of the same name"
    assert running.pings()
    until(lambda: lists.earned() >= 2, "the new one is not counted")
    counted = lists.earned()
    assert running.stop() == 0
    kept = running.state / "hits.json"
    assert json.loads(kept.read_text())["lists"]["earns"][0] >= counted, "at its end all of it is stored"
    assert INSIDE_ADDRESS not in kept.read_text() and kept.stat().st_mode & 0o007 == 0
