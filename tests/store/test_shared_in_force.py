"""Sources of shared ranges: versions, what is not taken, what comes with the package; and what follows for blocks and
lists."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy import snapshot
from clearway.policy.model import Name, Prefix
from clearway.policy.shared import SharedClass
from clearway.store import (
    decide,
    excluded,
    explain,
    explain_names,
    lists,
    shared_change,
    shared_ranges,
    shared_terms,
    wanted,
)
from clearway.store.change import Change, stamp
from clearway.store.models import Decision, Kind, SharedVersionRow
from clearway.store.requests import BlockRequest, ExcludeRequest, FeedAddRequest, FeedUpdateRequest, UnblockRequest
from clearway.store.shared_requests import CdnAddRequest, CdnRemoveRequest, CdnUpdateRequest

LINES = [f"195.20.{n}.0/24" for n in range(30)]
DAY = timedelta(days=1)


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    """Writes the vendor's list, and says where."""

    def write(*lines: str) -> Path:
        path = tmp_path / "ranges.txt"
        path.write_text("\n".join([*lines, ""]))
        return path

    return write


@pytest.fixture
def listed(tmp_path: Path, state: StateDirectory, now: datetime) -> Callable[..., Change]:
    """Takes a list of these entries in, or the same list again."""

    def take(*entries: str, at: datetime = now, name: str = "bad", again: bool = False) -> Change:
        path = tmp_path / f"{name}.txt"
        path.write_text("\n".join([*entries, ""]))
        if again:
            return lists.update(state, name, FeedUpdateRequest(), at, "ada")
        request = FeedAddRequest(name=name, source=str(path), reason="malware", format="ip-plain", life="30d")
        return lists.add(state, request, at, "ada")

    return take


def add(state: StateDirectory, path: Path, now: datetime, vendor: str = "cloudflare", **more: Any) -> Change:
    request = CdnAddRequest(name="own", source=str(path), vendor=vendor, **more)
    return shared_change.add(state, request, now, "ada")


def update(state: StateDirectory, now: datetime, accept: str | None = None) -> Change:
    return shared_change.update(state, "own", CdnUpdateRequest(accept=accept), now, "ada")


def class_of(state: StateDirectory, text: str) -> str:
    return shared_ranges.in_force(state).shared.class_of(Prefix.parse(text)).value


def refused(do: Callable[[], object]) -> ClearwayError:
    with pytest.raises(ClearwayError) as told:
        do()
    return told.value


def block(target: str, until: str, now: datetime, state: StateDirectory) -> Change:
    request = BlockRequest(target=target, reason="malware", until=until)
    return decide.block(request, now, "ada", shared=shared_ranges.in_force(state))


def test_a_range_that_is_withdrawn_counts_for_one_version_more(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    path = source(*LINES)
    assert add(state, path, now).base_changed
    source(*LINES[1:])
    update(state, now + DAY)
    assert class_of(state, "195.20.0.1") == "front-end"
    assert not update(state, now + 2 * DAY).base_changed
    assert class_of(state, "195.20.0.1") == "front-end"
    source(*LINES[2:])
    update(state, now + 3 * DAY)
    assert class_of(state, "195.20.0.1") == "elsewhere"
    assert class_of(state, "195.20.1.1") == "front-end"
    assert SharedVersionRow.objects.count() == 4


def test_an_update_that_lost_most_is_not_taken_until_a_person_says_so(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    path = source(*LINES)
    add(state, path, now)
    source(*LINES[:11])
    error = refused(lambda: update(state, now + DAY))
    assert (error.id, error.exit_code) == ("feeds.E052", 1)
    assert "rule G4" in error.message
    assert "--accept G4" in error.fix
    row = Decision.objects.get(kind=Kind.CDN_QUARANTINE)
    assert (row.target, row.detail["rule"]) == ("own", "G4")
    told = next(row for row in shared_ranges.rows(state, now + DAY) if row["name"] == "own")
    assert told["rejected"]["rule"] == "G4"
    assert class_of(state, "195.20.29.1") == "front-end"
    update(state, now + DAY, accept="G4")
    assert Decision.objects.order_by("-id")[0].detail["accepted"] == "G4"
    assert class_of(state, "195.20.29.1") == "front-end"  # the version before counts on
    told = next(row for row in shared_ranges.rows(state, now + DAY) if row["name"] == "own")
    assert told["rejected"] is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("<!doctype html>\n<html>\n", "G1"),
        ("195.20.0.0/24\n\0\n", "G2"),
        ("# moved\n", "G3"),
        ("0.0.0.0/0\n", "G6"),
    ],
)
def test_what_is_no_list_of_ranges_is_not_taken(
    state: StateDirectory, source: Callable[..., Path], now: datetime, text: str, rule: str
) -> None:
    path = source()
    path.write_text(text)
    error = refused(lambda: add(state, path, now))
    assert error.id == "feeds.E052"
    assert f"rule {rule}" in error.message
    assert not Decision.objects.exists()
    path.write_text("195.20.0.0/24\n")
    add(state, path, now)
    path.write_text(text)
    assert refused(lambda: update(state, now + DAY)).id == "feeds.E052"
    assert class_of(state, "195.20.0.1") == "front-end"
    assert class_of(state, "9.9.9.9") == "elsewhere"


def test_the_decision_stands_before_the_version_and_rows_are_never_changed(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    change = add(state, source(*LINES), now)
    kinds = list(Decision.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["cdn-add", "cdn-version"]
    version = SharedVersionRow.objects.get()
    assert version.decision.pk == change.decision_id
    assert refused(version.save).id == "store.E006"
    assert refused(lambda: SharedVersionRow.objects.update(counts={})).id == "store.E006"


@pytest.mark.parametrize("statement", ["UPDATE shared_version SET counts = '{}'", "DELETE FROM shared_version"])
def test_the_database_itself_keeps_versions(
    state: StateDirectory, source: Callable[..., Path], now: datetime, statement: str
) -> None:
    add(state, source(*LINES), now)
    with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic():
        connection.cursor().execute(statement)


def test_what_a_vendor_publishes_takes_the_place_of_the_package(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    assert class_of(state, "104.16.1.1") == "front-end"
    add(state, source(*LINES), now)
    assert class_of(state, "104.16.1.1") == "front-end"  # nothing of IPv6 was fetched yet
    shared_change.remove("own", CdnRemoveRequest(), now, "ada")
    add(state, source(*LINES, "2a06:98c0::/29"), now)
    assert class_of(state, "104.16.1.1") == "elsewhere"
    told = {row["name"]: row["counts_now"] for row in shared_ranges.rows(state, now)}
    assert told["own"]
    assert not told["bundled-cloudflare"]
    shared_change.remove("own", CdnRemoveRequest(note="wrong"), now, "ada")
    assert class_of(state, "104.16.1.1") == "front-end"


def test_a_list_of_the_package_can_be_left_out_and_brought_back(state: StateDirectory, now: datetime) -> None:
    assert class_of(state, "17.1.1.1") == "front-end"
    shared_change.remove("bundled-apple", CdnRemoveRequest(), now, "ada")
    assert class_of(state, "17.1.1.1") == "elsewhere"
    assert refused(lambda: shared_change.remove("bundled-apple", CdnRemoveRequest(), now, "ada")).id == "feeds.E050"
    shared_change.add(state, CdnAddRequest(name="bundled-apple"), now, "ada")
    assert class_of(state, "17.1.1.1") == "front-end"
    assert refused(lambda: shared_change.remove("bundled-nobody", CdnRemoveRequest(), now, "ada")).id == "feeds.E050"


def test_requests_that_name_nothing_are_refused(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    path = source(*LINES)
    add(state, path, now)
    assert refused(lambda: add(state, path, now)).id == "feeds.E051"
    assert refused(lambda: shared_change.update(state, "none", CdnUpdateRequest(), now, "ada")).id == "feeds.E050"
    assert refused(lambda: shared_change.check_new(CdnAddRequest(name="nobody"))).id == "feeds.E046"
    assert refused(lambda: shared_change.check_new(CdnAddRequest(name="azure"))).id == "feeds.E053"
    found = shared_change.check_new(CdnAddRequest(name="cloudflare-v6", vendor="cloudflare"))
    assert found[0] == "https://www.cloudflare.com/ips-v6"
    assert found[2] == DAY


def test_a_block_at_a_front_end_is_refused_with_whose_it_is(state: StateDirectory, now: datetime) -> None:
    error = refused(lambda: block("104.16.0.0/16", "1h", now, state))
    assert (error.id, error.exit_code) == ("feeds.E048", 1)
    assert refused(lambda: block("104.0.0.0/8", "1h", now, state)).id == "feeds.E048"
    error = refused(lambda: block("104.16.1.1", "1h", now, state))
    assert "104.16.0.0/13, a front end of Cloudflare" in error.message
    assert "comes with Clearway" in error.message
    assert "days old" in error.message
    assert "clearway block NAME" in error.fix
    assert not Decision.objects.exists()


def test_a_block_of_a_tenant_is_of_one_address_and_for_a_day_at_most(state: StateDirectory, now: datetime) -> None:
    assert refused(lambda: block("159.65.1.0/24", "1h", now, state)).id == "feeds.E049"
    assert refused(lambda: block("159.65.1.1", "25h", now, state)).id == "feeds.E049"
    block("159.65.1.1", "24h", now, state)
    block("195.20.6.0/24", "30d", now, state)


def test_a_block_that_a_later_range_touches_is_held_back_and_can_be_lifted(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    block("195.20.0.0/16", "7d", now, state)
    block("196.40.0.0/16", "7d", now, state)
    add(state, source(*LINES), now)
    shared = shared_ranges.shared_now(state)
    assert [str(each.prefix) for each in wanted.held_back(now, (), shared)] == ["195.20.0.0/16"]
    assert [str(each.prefix) for each in wanted.overlay(now, (), shared)] == ["196.40.0.0/16"]
    assert wanted.overlay_at(Prefix.parse("195.20.0.0/16"), now, (), shared) is None
    assert len(wanted.overlay(now)) == 2
    told = explain.explain(state, Prefix.parse("195.20.5.1"), now)
    assert told["outcome"] == "forwarded"
    assert (told["decided_by"]["kind"], told["decided_by"]["ranges"]) == ("shared", "own")
    assert [rule["enforced"] for rule in told["rules"] if rule["kind"] == "block"] == [False]
    decide.unblock(UnblockRequest(target="195.20.0.0/16"), now, "ada", holders=lambda _: ())
    assert wanted.held_back(now, (), shared) == []


def test_a_range_that_is_published_later_wins_over_a_list_at_once(
    state: StateDirectory, source: Callable[..., Path], listed: Callable[..., Change], now: datetime
) -> None:
    listed("195.20.0.0/20", "195.20.5.7", "185.1.1.0/24")
    before = snapshot.load(lists.compile_wanted(state, now))
    assert explain.explain(state, Prefix.parse("195.20.5.7"), now)["outcome"] == "dropped"
    assert not shared_terms.changed(state, before, now)
    add(state, source("195.20.5.0/24", "195.20.99.0/24"), now)
    assert shared_terms.changed(state, before, now)
    after = snapshot.load(lists.compile_wanted(state, now))
    assert after.path != before.path
    assert after.shared.content != before.shared.content
    assert not shared_terms.changed(state, after, now)
    assert lists.compile_wanted(state, now) == after.path
    assert after.shared_ranges.shared.class_of(Prefix.parse("195.20.5.7")) is SharedClass.FRONT_END
    told = explain.explain(state, Prefix.parse("195.20.5.7"), now)
    assert told["outcome"] == "forwarded"
    rule = told["decided_by"]
    assert (rule["kind"], rule["class"], rule["prefix"], rule["ranges"]) == (
        "shared", "front-end", "195.20.5.0/24", "own",
    )  # fmt: skip
    assert rule["source"].endswith("ranges.txt")
    assert rule["age_s"] == 0
    held = [rule for rule in told["rules"] if rule["kind"] == "list"]
    assert [(rule["prefix"], rule["enforced"]) for rule in held] == [("195.20.5.7", False), ("195.20.0.0/20", False)]
    assert held[0]["spared_by"] == "shared range 195.20.5.0/24 of own"
    assert explain.explain(state, Prefix.parse("195.20.4.1"), now)["outcome"] == "dropped"
    assert explain.explain(state, Prefix.parse("195.20.0.0/20"), now)["outcome"] == "partly"


def test_a_host_of_a_tenant_is_dropped_for_a_day_after_its_list_was_fetched(
    state: StateDirectory, listed: Callable[..., Change], now: datetime
) -> None:
    listed("159.65.1.1", "185.1.1.1")
    held = snapshot.load(lists.compile_wanted(state, now))
    assert [each.cloud_hosts for each in held.lists if each.name == "bad"] == [True]
    assert wanted.next_list_expiry(now) == now + DAY
    assert not shared_terms.changed(state, held, now + DAY - timedelta(seconds=1))
    assert shared_terms.changed(state, held, now + DAY)
    later = snapshot.load(lists.compile_wanted(state, now + DAY))
    assert [each.cloud_hosts for each in later.lists if each.name == "bad"] == [False]
    told = explain.explain(state, Prefix.parse("159.65.1.1"), now + DAY)
    assert (told["outcome"], told["decided_by"]["class"]) == ("forwarded", "single-tenant")
    assert explain.explain(state, Prefix.parse("185.1.1.1"), now + DAY)["outcome"] == "dropped"
    listed("159.65.1.1", "185.1.1.1", at=now + DAY, again=True)
    renewed = snapshot.load(lists.compile_wanted(state, now + DAY))
    assert [each.cloud_hosts for each in renewed.lists if each.name == "bad"] == [True]
    assert explain.explain(state, Prefix.parse("159.65.1.1"), now + DAY)["outcome"] == "dropped"


def test_explain_shows_when_a_host_of_a_tenant_stops_to_be_dropped_and_when_its_list_ends(
    state: StateDirectory, listed: Callable[..., Change], now: datetime
) -> None:
    listed("159.65.1.1", "185.1.1.1")
    lists.compile_wanted(state, now)
    host = Prefix.parse("159.65.1.1")
    rule = explain.explain(state, host, now)["decided_by"]
    assert (rule["until"], rule["list_until"]) == (stamp(now + DAY), stamp(now + 30 * DAY))
    other = explain.explain(state, Prefix.parse("185.1.1.1"), now)["decided_by"]
    assert other["until"] == stamp(now + 30 * DAY) and "list_until" not in other
    (within,) = [each for each in explain.explain(state, Prefix.parse("159.65.0.0/16"), now)["rules"] if "list" in each]
    assert within["until"] == stamp(now + DAY)
    end = datetime.fromisoformat(rule["until"])
    assert explain.explain(state, host, end - timedelta(seconds=1))["outcome"] == "dropped"
    assert explain.explain(state, host, end)["outcome"] == "forwarded"


def test_ranges_that_are_damaged_count_no_longer_and_are_told_of(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    add(state, source(*LINES, "2a06:98c0::/29"), now)
    content = SharedVersionRow.objects.get().contents["front-end"]
    part = state.feeds / content / "v4.bin"
    part.chmod(0o600)
    part.write_bytes(part.read_bytes()[:-8])
    shared_ranges._made.cache_clear()
    assert class_of(state, "195.20.0.1") == "elsewhere"
    assert class_of(state, "104.16.1.1") == "front-end"  # what the package has of that vendor counts again
    told = next(row for row in shared_ranges.rows(state, now) if row["name"] == "own")
    assert not told["counts_now"]
    assert content in told["problem"]


def test_a_source_is_due_when_its_time_has_passed(
    state: StateDirectory, source: Callable[..., Path], now: datetime
) -> None:
    add(state, source(*LINES), now, every="2h")
    assert shared_change.due(now + timedelta(hours=1)) == []
    assert shared_change.due(now + timedelta(hours=2)) == [("own", 7200.0)]


def test_explain_shows_what_is_excluded_from_lists_as_the_rule_that_decides(
    state: StateDirectory, listed: Callable[..., Change], now: datetime
) -> None:
    listed("195.20.0.0/20", "195.20.5.7", "185.1.1.0/24")
    excluded.exclude(ExcludeRequest(target="195.20.5.0/24", until="7d", note="ours"), now, "bob")
    lists.compile_wanted(state, now)
    told = explain.explain(state, Prefix.parse("195.20.5.7"), now)
    assert (told["outcome"], told["sentence"]) == ("forwarded", "195.20.5.7 is excluded from what lists refuse")
    rule = told["decided_by"]
    assert (rule["kind"], rule["prefix"], rule["by"], rule["note"]) == ("excluded", "195.20.5.0/24", "bob", "ours")
    held = [rule for rule in told["rules"] if rule["kind"] == "list"]
    assert [(rule["enforced"], rule["spared_by"]) for rule in held] == [(False, "exclusion of 195.20.5.0/24")] * 2
    assert explain.explain(state, Prefix.parse("195.20.4.7"), now)["outcome"] == "dropped"
    assert explain.explain(state, Prefix.parse("195.20.0.0/20"), now)["outcome"] == "partly"
    block("195.20.5.7", "1h", now, state)
    assert explain.explain(state, Prefix.parse("195.20.5.7"), now)["outcome"] == "dropped"


def test_explain_shows_a_name_that_is_excluded(state: StateDirectory, tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "names.txt"
    path.write_text("||bad.example.net^\n||other.example.org^\n")
    lists.add(state, FeedAddRequest(name="names", source=str(path), reason="malware", format="adblock"), now, "ada")
    excluded.exclude(ExcludeRequest(target="www.bad.example.net", until="7d"), now, "bob")
    lists.compile_wanted(state, now)
    told = explain_names.explain_name(state, Name("www.bad.example.net"), now)
    assert (told["outcome"], told["decided_by"]["kind"]) == ("forwarded", "excluded")
    assert explain_names.explain_name(state, Name("bad.example.net"), now)["outcome"] == "partly"
    assert explain_names.explain_name(state, Name("a.www.bad.example.net"), now)["outcome"] == "forwarded"
