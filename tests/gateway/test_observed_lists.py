"""A list that is only observed, in a running gateway: what it holds crosses, and is told of with its name."""

import json
from pathlib import Path

import pytest
from patience import until
from running import Running, gateway
from test_inspector import answer_to, is_unanswered
from wires import OUTSIDE_ADDRESS, Wire

pytestmark = pytest.mark.kernel

NAME = "bad.example"


def add(running: Running, name: str, line: str, *options: str) -> None:
    source = running.state.parent / f"{name}.txt"
    source.write_text(f"{line}\n")
    running.clearway("feed", "add", name, str(source), "--reason", "malware", *options)


def told(running: Running, field: str) -> list[dict[str, object]]:
    """The events that carry that field."""
    path = running.state / "eve.json"
    return [line for line in map(json.loads, path.read_text().splitlines()) if field in line] if path.exists() else []


def test_what_it_holds_crosses_and_is_told_of_until_it_is_enforced(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        add(running, "seen", OUTSIDE_ADDRESS, "--observe")
        add(running, "names", NAME, "--observe")
        assert running.pings()
        assert running.fate(OUTSIDE_ADDRESS, "192.0.2.1", "inbound")[0] == "listed-source"

        def is_observed() -> bool:
            """Asked again where a busy machine let it pass unread."""
            assert is_unanswered(running, NAME), "it is held, and not refused"
            return bool(running.status()["names"]["observed"])

        until(is_observed, "the name is not observed")
        until(lambda: told(running, "dns"), "the name is not told of")
        status = running.status()
        assert status["names"]["observed"] >= 1 and status["names"]["refused"]["dns"] == 0
        assert sum(row["packets"] for row in status["observed"]) >= 2
        assert all(row["reason"] == "forwarded" for row in status["counters"]), status["counters"]
        hits = {row["feed"]: row["hits"] for row in status["lists"]}
        assert hits["seen"] >= 2 and hits["names"] >= 1, hits
        events = [*told(running, "src_ip"), *told(running, "dest_ip")]
        assert events and all(event["clearway"]["observed"] for event in events)  # type: ignore[index]
        until(lambda: running.status()["health"]["ok"], "it is ill")
        add(running, "enforced", NAME)
        assert answer_to(running, NAME)[3] & 15 == 3
        assert running.pings()
        until(lambda: running.status()["health"]["ok"], "it is ill with an enforced name")
