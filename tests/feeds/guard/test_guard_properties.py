"""What holds of any list: nothing protected is kept, nothing is made up, and looser numbers never refuse more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import NOW, entries, judged, known, numbers, own, text

from clearway._engine import NameScope
from clearway.feeds import guard, guard_entries, name_scan, protected
from clearway.feeds.guard_rules import GUARD_RULES, THRESHOLDS, GuardRule
from clearway.feeds.judgement import QUARANTINE
from clearway.feeds.protected import Removal, Row
from clearway.feeds.readers import spared, table
from clearway.feeds.readers.content import Entries
from clearway.policy.model import Prefix
from clearway.policy.name_table import NameEntry, covers

PROTECTED = own("77.7.0.0/16", "2a00:77::/32", "intranet.carrier.net")

HOT = """
windowsupdate.com update.microsoft.com microsoft.com co.uk kobe.jp amazonaws.com s3.amazonaws.com compute.amazonaws.com
intranet.carrier.net carrier.net cloudflare-ech.com pool.ntp.org ck com
"""
hot_names = st.sampled_from(HOT.split())
label = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?\Z")
names = st.one_of(hot_names, st.builds("{}.{}".format, label, hot_names), st.builds("{}.{}.top".format, label, label))
v4 = st.builds(
    "{}.{}.{}.{}/{}".format,
    st.sampled_from([1, 8, 10, 77, 104, 151, 185, 198, 203]),
    *(st.one_of(st.integers(0, 255), st.sampled_from([0, 7, 8])) for _ in range(3)),
    st.integers(6, 32),
)
v6 = st.builds(
    "{}:{:x}::{:x}/{}".format,
    st.sampled_from(["2a00", "2001", "2606", "fe80", "2620"]),
    st.sampled_from([0x77, 0xDB8, 0x4700, 0xFE, 0x1234]),
    st.integers(0, 0xFFFF),
    st.integers(17, 128),
)
lines = st.lists(
    st.one_of(names, names.map("*.{}".format), v4, v6, st.just("!!"), st.just("a b c")), min_size=1, max_size=40
)


def sets_of(given_: Entries) -> dict[str, set[object]]:
    blobs = {scope.name: set(blob.tobytes().split()) for scope, blob in given_.names.blobs().items()}
    return {"v4": set(given_.v4.tolist()), "v6": set(map(tuple, given_.v6.tolist())), **blobs}


def prefixes_of(given_: Entries) -> list[Prefix]:
    v4_ = [Prefix(4, key >> 8, key & 0xFF) for key in given_.v4.tolist()]
    return v4_ + [Prefix(6, high << 64 | low, length) for high, low, length in given_.v6.tolist()]


@settings(max_examples=150, deadline=None)
@given(lines)
def test_what_is_kept_was_in_the_list_and_touches_nothing_protected(given_: list[str]) -> None:
    data = text(*given_)
    found = judged(data, "domains", protected=PROTECTED)
    parsed = spared.without_excepted(table.read(data, "domains").content)[0]
    kept, whole = sets_of(found.releasable), sets_of(parsed)
    assert all(kept[kind] <= whole[kind] for kind in kept)
    counted = sum(count for rule, count in found.rejected.items() if rule in GUARD_RULES)
    assert len(found.releasable) + counted == len(parsed)
    rows = [row.value for row in PROTECTED.rows]
    for prefix in prefixes_of(found.releasable):
        assert not [row for row in rows if isinstance(row, Prefix) and (row.covers(prefix) or prefix.covers(row))]
        assert not known().shared.front_ends.touches(prefix)
    for scope, blob in found.releasable.names.blobs().items():
        for name in blob.tobytes().decode().split():
            entry = NameEntry(name, scope)
            assert "." in name
            for row in rows:
                if isinstance(row, NameEntry):
                    assert not covers(entry, row.name) or row.scope == NameScope.BELOW
                    assert not covers(row, name) or scope == NameScope.BELOW


@settings(max_examples=60, deadline=None)
@given(lines, st.sampled_from(sorted(THRESHOLDS)))
def test_a_looser_number_never_refuses_more(given_: list[str], key: str) -> None:
    """Of each number one end is the loosest: there its rule keeps silent wherever it did at another."""
    threshold = THRESHOLDS[key]
    is_floor = key in ("shrink", "widest_v4", "widest_v6", "wide_v4")
    loose, strict = (threshold.low, threshold.high) if is_floor else (threshold.high, threshold.low)
    last = entries(*(f"old{number}.top" for number in range(30)))
    more: dict[str, Any] = {"protected": PROTECTED, "last_good": last}
    loosely = judged(text(*given_), "domains", settings=numbers(**{key: loose}), **more)
    usually = judged(text(*given_), "domains", **more)
    strictly = judged(text(*given_), "domains", settings=numbers(**{key: strict}), **more)
    spoken = [sum(each.rule == threshold.rule for each in found.findings) for found in (loosely, usually, strictly)]
    if threshold.rule == "G3":
        spoken = [sum(each.key == key for each in found.findings) for found in (loosely, usually, strictly)]
    if threshold.rule == "G11":
        spoken = [found.rejected.get("G11.wide", 0) for found in (loosely, usually, strictly)]
    assert spoken == sorted(spoken)


@settings(max_examples=40, deadline=None)
@given(lines)
def test_a_list_in_quarantine_enforces_nothing_and_one_released_what_it_would(given_: list[str]) -> None:
    found = judged(text(*given_), "domains", protected=PROTECTED)
    freed = judged(text(*given_), "domains", protected=PROTECTED, released=True)
    assert (found.entries == 0) if found.verdict == QUARANTINE else (found.kept is found.releasable)
    assert freed.verdict != QUARANTINE
    assert sets_of(freed.kept) == sets_of(found.releasable)
    assert freed.findings == found.findings


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from([None, "hosts", "rpz", "adblock", "stix21", "csv", "spamhaus-json"]))
def test_no_bytes_make_the_guard_raise(data: bytes, format: str | None) -> None:
    found = guard.check(data, format=format, origin="x", context=known(), now=NOW)
    assert found.document()["verdict"] in ("accept", "accept-with-rejects", "quarantine-feed")


@settings(max_examples=80, deadline=None)
@given(st.lists(names, max_size=60), st.lists(names, max_size=10), st.lists(names, max_size=10))
def test_the_scan_finds_all_that_taking_apart_would_find(stock: list[str], at: list[str], below: list[str]) -> None:
    chunk = "".join(f"{name}\n" for name in sorted(set(stock))).encode()
    endings = [f".{name}".encode() for name in below]
    found = set(name_scan.Wanted.of([name.encode() for name in at], endings).found_in(chunk))
    wanted = {name for name in stock if name in at or "." not in name or name.encode().endswith(tuple(endings))}
    assert {name.encode() for name in wanted} <= found <= {name.encode() for name in stock}


def test_a_list_is_looked_at_piece_by_piece_and_nothing_is_lost_between_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile list is millions of protected names: no more than a piece of them is kept at a time."""
    data = text(*(f"h{n}.windowsupdate.com" for n in range(40)), *(f"a{n}.evil.top" for n in range(300)), "co.uk")
    whole = judged(data, settings=numbers(protected_percent=100))
    monkeypatch.setattr(name_scan, "CHUNK_BYTES", 300)
    pieces = judged(data, settings=numbers(protected_percent=100))
    assert pieces.document() == whole.document()
    assert (whole.entries, whole.rejected) == (300, {"G10.system": 40, "G10.suffix": 1})
    assert sets_of(pieces.kept) == sets_of(whole.kept)
    assert pieces.kept.names.blobs()[NameScope.EXACT].tobytes() == whole.kept.names.blobs()[NameScope.EXACT].tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.integers(8, 32)), max_size=40))
def test_addresses_are_counted_once(pairs: list[tuple[int, int]]) -> None:
    prefixes = [Prefix.cut(4, address, length) for address, length in pairs]
    outer = {each for each in prefixes if not any(other != each and other.covers(each) for other in prefixes)}
    array = np.array(sorted({each.address << 8 | each.length for each in prefixes}), dtype=np.uint64)
    assert guard_entries.addresses_of(array) == sum(1 << (32 - each.length) for each in outer)


@pytest.mark.parametrize("hole", ["192.0.2.0/24", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"])
def test_what_the_operator_takes_out_is_free_and_nothing_else(hole: str) -> None:
    prefix = Prefix.parse(hole)
    freed = protected.of(removals=[Removal(prefix, "a test")])
    special = protected.bundled().ranges[GuardRule.SPECIAL_USE]
    left = freed.ranges.get(GuardRule.SPECIAL_USE)
    gone = min(1 << (32 - prefix.length), special.count(4))
    assert (left.count(4) if left is not None else 0) == special.count(4) - gone


def test_a_name_that_is_taken_out_is_free() -> None:
    removal = Removal(NameEntry("time.windows.com", NameScope.EXACT), "a test")
    freed = protected.of(removals=[removal])
    data = text("time.windows.com", "evil.top")
    assert judged(data).rejected == {"G10.system": 1}
    assert judged(data, protected=freed).rejected == {}


def test_a_grant_is_protected_and_alarms_nobody() -> None:
    granted = protected.of(granted=[Prefix.parse("77.7.0.0/24")], customers=[Prefix.parse("77.9.0.0/24")])
    found = judged(text("77.7.0.1", "77.9.0.0/16", "77.8.0.1"), protected=granted)
    assert found.rejected == {"G10.granted": 1, "G10.own": 1}
    assert [alarm.rule for alarm in found.alarms] == ["G10.own"]


def test_reasons_of_a_table_share_out_what_is_kept() -> None:
    rows = ["ip,kind", "77.8.0.1,c2", "77.8.0.2,scan", "8.8.8.8,scan", "77.8.0.3,other"]
    base = numbers().model_copy(update={"reasons": {"c2": "botnet-c2", "scan": "scanner"}})
    found = judged(text(*rows), "csv:ip:kind", settings=base)
    assert {reason: len(part) for reason, part in found.by_reason.items()} == {"botnet-c2": 1, "scanner": 1}
    assert found.rejected == {"G9.category": 1, "G10.resolver": 1}


def test_a_row_names_what_it_touches_and_where_that_is_said() -> None:
    for row in protected.bundled().rows:
        assert isinstance(row, Row)
        assert row.source


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60))
def test_age_is_judged_at_the_time_that_is_given(days: int) -> None:
    made = NOW - timedelta(days=days)
    data = text(f"# Last modified: {made:%Y-%m-%d %H:%M:%S} UTC", "77.8.0.1", "77.8.0.2")
    found = guard.check(data, format="ip-plain", origin="x", context=replace(known(), max_age=None), now=NOW)
    assert (found.verdict == QUARANTINE) == (days > 7)
