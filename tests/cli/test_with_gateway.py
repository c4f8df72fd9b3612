"""Commands beside a gateway: what is sent to it, and what happens when it goes away at the wrong moment.

A stand-in answers on the socket, so no kernel is needed; test_real_gateway.py has the real one.
"""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from calling import Call

from clearway.config import StateDirectory
from clearway.gateway import client
from clearway.gateway.client import with_folder

BLOCK = ("block", "192.0.2.7", "--reason", "malware", "--until", "1h")


class StandIn:
    """Answers every request with `answer` after noting it; with None it hangs up in the middle."""

    def __init__(self, state: StateDirectory) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.answer: dict[str, Any] | None = {}
        self.code = 200
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stand_in.requests.append((self.command, self.path, json.loads(body) if body else {}))
                if stand_in.answer is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                document = json.dumps(stand_in.answer).encode()
                self.send_response(stand_in.code)
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = socketserver.ThreadingUnixStreamServer("", Handler, bind_and_activate=False)
        with_folder(state.socket, self.server.socket.bind)
        self.server.server_activate()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def gateway(state: Path) -> Iterator[StandIn]:
    directory = StateDirectory(state)
    directory.create()
    stand_in = StandIn(directory)
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()


def test_a_decision_goes_to_the_gateway_with_who_asks_and_is_not_stored_here(cli: Call, gateway: StandIn) -> None:
    gateway.answer = {"kind": "block", "target": "192.0.2.7", "decision": 5, "reason": "malware", "enforced": True}
    told = cli(*BLOCK, "--note", "n")
    assert (told.code, told.out) == (0, "blocked 192.0.2.7 · malware · decision 5\n  in force\n")
    method, path, body = gateway.requests[0]
    assert (method, path) == ("POST", "/v1/block")
    assert {**body, "actor": "?"} == {
        "actor": "?",
        "target": "192.0.2.7",
        "reason": "malware",
        "until": "1h",
        "note": "n",
    }
    assert body["actor"]
    assert cli("history", "--json").json.get("decisions", []) == []


def test_the_gateways_refusal_is_told_as_ours(cli: Call, gateway: StandIn) -> None:
    gateway.code = 400
    gateway.answer = {"error": {"id": "store.E023", "message": "m", "fix": "f", "retry": False}}
    told = cli(*BLOCK)
    assert (told.code, told.err) == (2, "error: m [store.E023]\n  fix: f\n")


def test_a_gateway_that_hangs_up_in_the_middle_is_not_asked_again_nor_stored_for(
    cli: Call, gateway: StandIn, state: Path
) -> None:
    gateway.answer = None
    told = cli(*BLOCK, "--json")
    assert (told.code, told.json["error"]["id"]) == (3, "cli.E005")
    assert len(gateway.requests) == 1
    assert not (state / "clearway.db").exists()


def test_of_lists_that_were_sent_together_nobody_knows_when_it_hangs_up_in_the_middle(
    cli: Call, gateway: StandIn, a_list: Path, state: Path
) -> None:
    """They may be stored: asking for them one by one would tell that their names are taken."""
    file = a_list.with_name("lists")
    file.write_text(f"one {a_list} --reason malware\ntwo {a_list} --reason malware\n")
    gateway.answer = None
    told = cli("feed", "load", file, "--json")
    assert [(each["feed"], each["error"]["id"]) for each in told.json["lists"]] == [
        ("one", "cli.E005"),
        ("two", "cli.E005"),
    ]
    assert (told.code, [path for _, path, _ in gateway.requests]) == (3, ["/v1/feeds/batch"])


def test_a_file_is_read_here_and_only_its_content_is_named(
    cli: Call, gateway: StandIn, a_list: Path, state: Path
) -> None:
    gateway.answer = {
        "feed": "drop",
        "counts": {"v4": 2, "v6": 1},
        "reason": "malware",
        "until": "2030-01-01T00:00:00Z",
        "decision": 2,
        "enforced": True,
    }
    assert cli("feed", "add", "drop", a_list, "--reason", "malware").code == 0
    method, path, body = gateway.requests[-1]
    assert (method, path) == ("POST", "/v1/feeds")
    assert (body["name"], body["format"], body["stored"]["origin"]) == ("drop", "ip-plain", str(a_list))
    assert (state / "feeds" / body["stored"]["content"] / "manifest.json").exists()


def test_a_url_is_left_to_the_gateway(cli: Call, gateway: StandIn) -> None:
    gateway.answer = {"error": {"id": "feeds.E010", "message": "m", "fix": "f", "retry": True}}
    gateway.code = 503
    told = cli("feed", "add", "drop", "https://lists.example/x", "--reason", "malware", "--json")
    assert (told.code, told.json["error"]["retry"]) == (3, True)
    assert "stored" not in gateway.requests[-1][2]


def test_bypass_is_a_request(cli: Call, gateway: StandIn) -> None:
    gateway.answer = {"on": True, "until": "2030-01-01T00:00:00Z", "decision": 3}
    assert cli("bypass", "on", "--for", "10m").out.startswith("a plain wire · until 2030-01-01 00:00 UTC")
    assert gateway.requests[0][2]["duration"] == "10m"


def test_status_prints_what_the_gateway_says(cli: Call, gateway: StandIn) -> None:
    gateway.answer = {"gateway": {"name": "main"}, "health": {"ok": True}}
    assert cli("status", "--json").json == gateway.answer
    assert "healthy" in cli("status").out


def test_a_socket_that_a_dead_gateway_left_is_no_gateway(cli: Call, state: Path) -> None:
    directory = StateDirectory(state)
    directory.create()
    left = socket.socket(socket.AF_UNIX)
    with_folder(directory.socket, left.bind)
    left.close()
    assert cli(*BLOCK, "--json").json["enforced"] is False


@pytest.fixture
def crowd(state: Path) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A gateway whose queue is full of others, who wait for it."""
    directory = StateDirectory(state)
    directory.create()
    listener = socket.socket(socket.AF_UNIX)
    with_folder(directory.socket, listener.bind)
    listener.listen(1)
    waiting: list[socket.socket] = []
    try:
        while True:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            with_folder(directory.socket, waiting[-1].connect)
    except BlockingIOError:
        yield listener, waiting
    for each in (listener, *waiting):
        each.close()


def test_a_gateway_that_many_wait_for_is_waited_for(
    crowd: tuple[socket.socket, list[socket.socket]], state: Path
) -> None:
    listener, waiting = crowd

    def take_in() -> None:
        time.sleep(0.3)
        for _ in waiting[:-1]:
            listener.accept()[0].close()

    taking = threading.Thread(target=take_in)
    taking.start()
    client.connect(state / "clearway.sock", 60).close()
    taking.join()


def test_a_gateway_that_does_not_come_to_it_runs_and_nothing_is_stored_beside_it(
    cli: Call, crowd: object, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the kernel would never hear of the block, and the answer would say that no gateway runs."""
    monkeypatch.setattr(client, "ANSWER_S", 0.2)
    monkeypatch.setattr(client.connect, "__defaults__", (0.2,))
    told = cli(*BLOCK, "--json")
    assert (told.code, told.json["error"]["id"]) == (3, "gateway.E020")
    assert not (state / "clearway.db").exists()


def test_a_state_path_too_long_for_a_socket_address_works(
    cli: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARWAY_STATE", str(tmp_path / ("x" * 120)))
    assert cli(*BLOCK, "--json").json["enforced"] is False
    assert cli("status").code == 1


@pytest.mark.parametrize(
    "status, note",
    [
        ({"gateway": {"observe": True}}, "only observes"),
        ({"bypass": {"on": True, "until": None}, "gateway": {"observe": False}}, "a plain wire"),
    ],
)
def test_explain_says_that_nothing_is_dropped_where_that_is_so(
    cli: Call, gateway: StandIn, state: Path, status: dict[str, Any], note: str
) -> None:
    from datetime import UTC, datetime

    from clearway import store

    store.setup(state)
    from clearway.store import decide
    from clearway.store.requests import BlockRequest

    decide.block(BlockRequest(target="192.0.2.7", reason="malware", until="1h"), datetime.now(UTC), "alice")
    gateway.answer = status
    assert note in cli("explain", "192.0.2.7").out
    answer = cli("explain", "192.0.2.7", "--json").json
    assert (answer["outcome"], note in answer["notes"][0]) == ("dropped", True)
    gateway.answer = {"gateway": {"observe": False}, "bypass": {"on": False}}
    assert cli("explain", "192.0.2.7", "--json").json["notes"] == []
