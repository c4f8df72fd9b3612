"""Drop events become lines that name outside hosts only, and counts by the rule that they fell to."""

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from time import sleep
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clearway._engine import Direction, DropReason, Lane
from clearway.gateway import durable, kept_hits
from clearway.policy.model import Prefix, Reason
from clearway.policy.snapshot import Holding
from clearway.store.change import OverlayWanted
from clearway.telemetry import eve, hits
from clearway.telemetry.hits import Rule
from clearway.telemetry.pseudonym import Pseudonyms

NOON = datetime(2030, 3, 31, 12, tzinfo=UTC)
ATTACKER, HOST = "203.0.113.9", "10.1.2.3"
INSIDE = (Prefix.parse("10.0.0.0/8"),)


def mapped(text: str) -> bytes:
    return Prefix.parse(text).mapped()[0]


@dataclass(frozen=True)
class Event:
    """A drop event as the ring gives it."""

    boot_ns: int = 1
    source: bytes = mapped(ATTACKER)
    destination: bytes = mapped(HOST)
    source_port: int = 4444
    destination_port: int = 22
    protocol: int = 6
    ip_version: int = 4
    ttl: int = 55
    vlan: int = 0
    length: int = 74
    weight: int = 3
    epoch: int = 7
    drop_reason: DropReason = DropReason.LISTED_SOURCE
    direction: Direction = Direction.INBOUND
    lane: Lane = Lane.INSPECTED
    observed: bool = False


def line(event: Any, directory: Path, rules: list[Rule] | None = None) -> dict[str, Any]:
    return eve.line(event, rules or [], NOON, event.weight, ("lan0", "wan0"), INSIDE, Pseudonyms(directory))


def test_an_inbound_drop_names_the_attacker_and_a_pseudonym(tmp_path: Path) -> None:
    record = line(Event(), tmp_path, [Rule("drop", "botnet-c2", "203.0.113.0/24")])
    assert record["src_ip"] == ATTACKER and record["src_port"] == 4444
    assert "dest_ip" not in record and record["dest_port"] == 22
    assert record["timestamp"] == "2030-03-31T12:00:00.000000+0000"
    assert (record["event_type"], record["in_iface"], record["proto"]) == ("drop", "wan0", "TCP")
    assert record["drop"] == {"len": 74, "ttl": 55, "reason": "listed-source"}
    assert record["clearway"]["inside"].startswith("h-")
    assert record["clearway"]["rules"] == [{"list": "drop", "reason": "botnet-c2", "entry": "203.0.113.0/24"}]
    assert record["clearway"]["weight"] == 3


def test_an_outbound_drop_names_the_outside_destination_only(tmp_path: Path) -> None:
    event = replace(
        Event(),
        source=mapped(HOST),
        destination=mapped(ATTACKER),
        direction=Direction.OUTBOUND,
        drop_reason=DropReason.LISTED_DESTINATION,
    )
    record = line(event, tmp_path)
    assert record["dest_ip"] == ATTACKER
    assert "src_ip" not in record
    assert record["in_iface"] == "lan0"


@pytest.mark.parametrize("source", [HOST, "10.255.0.1"])
def test_no_inside_address_stands_in_a_line_whatever_side_claims_it(tmp_path: Path, source: str) -> None:
    event = replace(Event(), source=mapped(source), drop_reason=DropReason.SPOOFED_INSIDE)
    record = line(event, tmp_path)
    assert source not in json.dumps(record) and HOST not in json.dumps(record)
    assert record["clearway"]["src_inside"].startswith("h-")


@pytest.mark.parametrize(
    ("reason", "direction"),
    [
        (DropReason.LISTED_SOURCE, Direction.OUTBOUND),
        (DropReason.BLOCKED_SOURCE, Direction.OUTBOUND),
        (DropReason.LISTED_DESTINATION, Direction.INBOUND),
        (DropReason.BLOCKED_DESTINATION, Direction.INBOUND),
        (DropReason.LISTED_SOURCE, Direction.INBOUND),  # from outside, and it claims to be one of ours
        (DropReason.BLOCKED_DESTINATION, Direction.OUTBOUND),
    ],
)
def test_a_rule_that_matched_an_inside_host_is_told_without_its_entry(
    tmp_path: Path, reason: DropReason, direction: Direction
) -> None:
    by_source = reason in (DropReason.LISTED_SOURCE, DropReason.BLOCKED_SOURCE)
    source, destination = (HOST, ATTACKER) if by_source else (ATTACKER, HOST)
    event = replace(
        Event(), source=mapped(source), destination=mapped(destination), direction=direction, drop_reason=reason
    )
    record = line(event, tmp_path, [Rule("drop", "botnet-c2", HOST)])
    assert HOST not in json.dumps(record)
    assert record["clearway"]["rules"] == [{"list": "drop", "reason": "botnet-c2"}]


def test_a_pseudonym_holds_for_a_day_and_its_key_is_gone_after_it(tmp_path: Path) -> None:
    names = Pseudonyms(tmp_path / "keys")
    first = names.of(mapped(HOST), NOON)
    assert names.of(mapped(HOST), NOON + timedelta(hours=11)) == first
    assert Pseudonyms(tmp_path / "keys").of(mapped(HOST), NOON) == first, "a restart keeps the day's key"
    (key,) = (tmp_path / "keys").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    assert names.of(mapped(HOST), NOON + timedelta(days=1)) != first
    (new,) = (tmp_path / "keys").iterdir()
    assert new.name != key.name


def test_the_file_rotates_by_size_and_keeps_a_few(tmp_path: Path) -> None:
    file = eve.EveFile(tmp_path / "eve.json", bytes_max=200, kept=3)
    for number in range(40):
        file.write([{"number": number}])
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names in (["eve.json", "eve.json.1", "eve.json.2"], ["eve.json.1", "eve.json.2"])
    assert all(path.stat().st_size < 400 for path in tmp_path.iterdir())
    newest = json.loads((tmp_path / "eve.json.1").read_text().splitlines()[-1])["number"]
    older = json.loads((tmp_path / "eve.json.2").read_text().splitlines()[-1])["number"]
    assert newest > older


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_loses_lines_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.symlink_to("/dev/full")
    file = eve.EveFile(path)
    file.write([{"a": 1}, {"a": 2}])
    assert (file.written, file.lost) == (0, 2)
    path.unlink()
    file.write([{"a": 3}])
    assert (file.written, file.lost) == (1, 2)


def test_a_line_that_the_disk_cut_is_taken_back_and_the_next_one_stands_alone(tmp_path: Path) -> None:
    file = eve.EveFile(tmp_path / "eve.json")
    file.write([{"number": 1}])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        file.write([{"number": 2}, {"number": 3, "long": "x" * 100}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.write([{"number": 4}])
    file.close()
    assert [json.loads(line)["number"] for line in file.path.read_text().splitlines()] == [1, 4]
    assert (file.written, file.lost) == (2, 2)


def test_after_a_line_that_a_kill_left_half_the_next_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text('{"number":1}\n{"numb')
    file = eve.EveFile(path)
    file.write([{"number": 2}])
    file.write([{"number": 3}])
    file.close()
    assert path.read_text() == '{"number":1}\n{"numb\n{"number":2}\n{"number":3}\n'


class Snapshot:
    def attribution(self, address: bytes) -> list[Holding]:
        assert address == mapped(ATTACKER)
        return [
            Holding("narrow", Reason.BOTNET_C2, Prefix.parse("203.0.113.9")),
            Holding("wide", Reason.SCANNER, Prefix.parse("203.0.113.0/24")),
        ]


def test_a_listed_source_is_told_from_the_snapshot_of_its_epoch() -> None:
    event: Any = Event()
    rules = hits.rules_of(event, Snapshot(), lambda _: None, lambda _: "")
    assert rules == [Rule("narrow", "botnet-c2", "203.0.113.9"), Rule("wide", "scanner", "203.0.113.0/24")]
    counts = hits.Hits(NOON)
    counts.add(event, rules, NOON, 3)
    counts.add(event, rules, NOON, 2)
    assert counts.by_list["narrow"].packets == counts.by_list["wide"].packets == 5
    assert [(rule.list, count.packets) for rule, count in counts.top()] == [("narrow", 5)]


def test_a_single_entry_is_told_from_the_overlay() -> None:
    event: Any = replace(Event(), drop_reason=DropReason.BLOCKED_SOURCE)
    wanted = OverlayWanted(Prefix.parse("203.0.113.0/24"), NOON, None)
    rules = hits.rules_of(event, None, lambda _: wanted, lambda _: "flood")
    assert rules == [Rule(hits.SINGLE, "flood", "203.0.113.0/24")]


def test_an_epoch_that_nobody_knows_any_more_counts_as_unattributed() -> None:
    event: Any = Event()
    counts = hits.Hits(NOON)
    counts.add(event, hits.rules_of(event, None, lambda _: None, lambda _: ""), NOON, 4)
    assert counts.unattributed == 4


def test_the_rarest_entries_make_room_when_too_many_are_hit() -> None:
    event: Any = Event()
    counts = hits.Hits(NOON)
    often = Rule("a", "malware", "198.51.100.1")
    counts.add(event, [often], NOON, 1000)
    for number in range(hits.ENTRIES_MAX + 10):
        counts.add(event, [Rule("a", "malware", f"entry {number}")], NOON, 1)
    top = counts.top()
    assert top[0][0] == often and len(top) == hits.TOP


def test_what_was_counted_goes_on_from_the_file_and_without_one_that_can_be_read_begins_anew(tmp_path: Path) -> None:
    event: Any = Event()
    path = tmp_path / "hits.json"
    counts = kept_hits.begin(path, NOON)
    rule = Rule("a", "malware", "198.51.100.1", observe=True)
    there = {"a": "2026-01-01", "b": "2026-01-01"}
    kept = kept_hits.KeptHits(path, counts, Lock(), lambda: there)
    kept.look(1)
    assert not path.exists(), "nothing was counted"
    counts.add(event, [rule, Rule("b", "scanner", "198.51.100.0/24")], NOON, 7)
    kept.look(1)
    counts.add(event, [rule], NOON, 1)
    kept.look(1)
    assert json.loads(path.read_text())["entries"] == [["a", "malware", "198.51.100.1", True, 7, 1]], "no time"
    (tmp_path / ".hits.json.1234").write_text("half of")
    again = kept_hits.begin(path, NOON + timedelta(days=1))
    assert again.answer() == {
        "since": "2030-03-31T12:00:00Z",
        "unattributed": 0,
        "lists": {name: {"hits": 7, "events": 1, "last_seen": "2030-03-31T12:00:00Z"} for name in "ab"},
        "entries": [{**rule.as_json(), "hits": 7, "events": 1, "last_seen": None}],
    }, "the second write of one minute waits"
    assert [each.name for each in tmp_path.iterdir()] == ["hits.json"]
    again.settle({"a": "2026-02-02", "b": "2026-01-01"})
    assert (list(again.by_list), again.top()) == (["b"], [])
    endless = path.read_text().replace("7", "1e999", 1)
    deep = "[" * 100_000 + "]" * 100_000
    for damaged in ("", "[]", '{"since": 1}', path.read_text().replace("[", "{", 1), "null", endless, deep):
        path.write_text(damaged)
        assert kept_hits.begin(path, NOON).by_list == {}


def test_two_that_store_hits_at_once_write_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's end, and its last look: both write the same file beside the old one."""
    writing = Lock()
    write = durable.write_json

    def alone(path: Path, data: dict[str, Any], mode: int) -> None:
        assert writing.acquire(blocking=False)
        sleep(0.05)
        write(path, data, mode)
        writing.release()

    monkeypatch.setattr(durable, "write_json", alone)
    kept = kept_hits.KeptHits(tmp_path / "hits.json", hits.Hits(NOON), Lock(), dict)
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(kept.save) for _ in range(2)]:
            done.result()


def test_a_drop_by_a_list_whose_entries_are_gone_is_counted_and_not_attributed() -> None:
    from clearway.errors import ClearwayError
    from clearway.gateway.drop_events import DropEvents

    class Gone:
        def attribution(self, address: bytes) -> list[Any]:
            raise ClearwayError.of("feeds.E014", path="/state/feeds/x", detail="gone")

    listed = SimpleNamespace(epoch=1, drop_reason=DropReason.LISTED_SOURCE, source=bytes(16), destination=bytes(16))
    enforcer = SimpleNamespace(epochs={1: Gone()}, overlay_covering=lambda _: None)
    clock = SimpleNamespace(now=lambda: datetime(2030, 3, 31, tzinfo=UTC))
    events: Any = DropEvents(None, enforcer, clock, None, None, ("a", "b"), (), lambda _: "", hits.Hits(NOON))  # type: ignore[arg-type]
    assert events._rules_of(listed) == ()


def test_a_database_that_is_away_costs_no_event_and_its_connection_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only here does the thread of events ask the database: nobody else would close what its server has ended."""
    from clearway import store

    store.setup(tmp_path)
    from django.db import OperationalError, connection

    from clearway.gateway.drop_events import DropEvents
    from clearway.gateway.wanted_now import SingleReasons
    from clearway.store import standing

    def away(*_: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    closed: list[bool] = []
    monkeypatch.setattr(standing, "at", away)
    monkeypatch.setattr(connection, "vendor", "postgresql")
    monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: closed.append(True))
    clock: Any = SimpleNamespace(now=lambda: NOON)
    blocked = SimpleNamespace(epoch=1, drop_reason=DropReason.BLOCKED_SOURCE, source=bytes(16), destination=bytes(16))
    entry = OverlayWanted(Prefix.parse("192.0.2.7"), NOON, None)
    enforcer = SimpleNamespace(epochs={}, overlay_covering=lambda _: entry)
    reason_of: Any = SingleReasons(clock).of
    nothing: Any = None
    events: Any = DropEvents(
        nothing, cast(Any, enforcer), clock, nothing, nothing, ("a", "b"), (), reason_of, hits.Hits(NOON)
    )
    assert events._rules_of(blocked) == () and closed
