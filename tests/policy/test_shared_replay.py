"""What replay says of flows that only a shared range spares, and of the ranges of a snapshot."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from clearway.feeds import files
from clearway.feeds.readers.content import Entries
from clearway.policy import arrays, snapshot
from clearway.policy.compile import compile_base
from clearway.policy.evaluate import ListRules, Policy
from clearway.policy.model import Prefix, Reason
from clearway.policy.names import StoredNames
from clearway.policy.replay import Replay, lists_of
from clearway.policy.shared_sources import Claim, SharedRanges, SharedRecord, SharedSource

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def kept(feeds: Path, *texts: str) -> str:
    """Prefixes as a folder of entries: its hash."""
    return files.store(feeds, Entries(*arrays.of_prefixes(map(Prefix.parse, texts)), StoredNames())).hash


def flow(destination: str) -> Any:
    ends = {"transport": "tcp", "src": "10.0.0.7", "sport": 1, "dst": destination, "dport": 443}
    return SimpleNamespace(**ends, frame=1, packets=2, bytes=120)


def test_a_flow_that_a_range_spares_is_told_with_whose_it_is(tmp_path: Path) -> None:
    feeds = tmp_path / "feeds"
    content = kept(feeds, "195.20.0.0/16", "195.30.0.1")
    claims = {Claim.FRONT_END: kept(feeds, "195.20.5.0/24"), Claim.SINGLE_TENANT: kept(feeds, "195.20.6.0/24")}
    source = SharedSource("edge", "fastly", "https://example.org/ranges", NOON, claims)
    ranges = SharedRanges.opened(feeds, [source])
    stored = files.open(feeds, content)
    compiled = compile_base([stored.entries("bad", Reason.MALWARE)], ranges.shared)
    told = snapshot.SnapshotList("bad", Reason.MALWARE, content, "bad.txt", NOON, NOON)
    path = snapshot.write(tmp_path / "snapshots", compiled, [told], created=NOON, shared=SharedRecord.of(ranges))

    lists, held = lists_of(path)
    assert held.content == ranges.content
    assert [source.name for source in held.sources] == ["edge"]
    judging = Replay(Policy(lists=lists, shared=held.shared, ranges=held), [], 0)
    judged = {each: judging.end(flow(each)) for each in ("195.20.5.7", "195.20.6.7", "195.20.7.7", "193.0.6.139")}
    assert {each: found.dropped for each, found in judged.items()} == {
        "195.20.5.7": False,
        "195.20.6.7": False,
        "195.20.7.7": True,
        "193.0.6.139": False,
    }
    line = judged["195.20.5.7"].as_json()
    assert line["rule"] is None
    assert line["spared"] == {
        "kind": "shared",
        "class": "front-end",
        "target": "195.20.5.0/24",
        "name": "edge",
        "vendor": "fastly",
        "source": "https://example.org/ranges",
        "since": "2026-11-24T12:00:00+00:00",
    }
    assert judged["195.20.6.7"].as_json()["spared"]["class"] == "single-tenant"
    assert "spared" not in judged["193.0.6.139"].as_json()
    assert judging.totals.as_json()["sum"]["spared"] == {"edge": 2}


def test_without_ranges_nothing_is_spared() -> None:
    class Held:
        def covering(self, _prefix: Prefix) -> list[Prefix]:
            return []

        def within(self, _prefix: Prefix, _limit: int) -> list[Prefix]:
            return []

    judging = Replay(Policy(lists=[ListRules("bad", Reason.MALWARE, Held())]), [], 0)
    assert judging.end(flow("195.20.5.7")).spared is None
