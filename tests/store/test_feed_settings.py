"""What is set for a list: a reason by category, numbers of rules, how it is fetched; and changed, by decisions."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds import fetch
from clearway.policy import snapshot
from clearway.policy.model import Prefix
from clearway.store import feed_change, lists, overview, quarantine, subscribe, trouble, versions, wanted
from clearway.store.models import Decision, FeedVersion
from clearway.store.requests import FeedAddRequest, FeedSetRequest, FeedUpdateRequest, parse

CSV = "kind,address\nbotnet_cc,45.1.1.1\npayload,45.1.1.2\nother,45.1.1.3\nbotnet_cc,45.1.2.0/24\n"
TABLE = {"Botnet_CC": "botnet-c2", "payload": "malware"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "iocs.csv"
    path.write_text(CSV)
    return path


def add(state: StateDirectory, source: Path, now: datetime, **more: Any) -> Any:
    values = {"name": "iocs", "source": str(source), "format": "csv:address:kind", **more}
    return lists.add(state, parse(FeedAddRequest, values), now, "alice")


def change(now: datetime, **values: Any) -> Any:
    return feed_change.feed_set("iocs", parse(FeedSetRequest, values), now, "bob").answer


def refused(call: Any, *arguments: Any, **named: Any) -> ClearwayError:
    with pytest.raises(ClearwayError) as raised:
        call(*arguments, **named)
    return raised.value


def test_a_table_gives_each_entry_its_reason_and_leaves_other_categories_out(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    answer = add(state, source, now, settings={"reasons": TABLE}).answer
    assert (answer["reason"], answer["counts"]["v4"]) == ("botnet-c2, malware", 3)
    assert answer["rejected"] == {"G9.category": 1}
    held = wanted.lists(now)
    assert [(each.feed, each.reason) for each in held] == [("iocs", "botnet-c2"), ("iocs", "malware")]
    loaded = snapshot.load(lists.compile_wanted(state, now))
    for address, reason in {"45.1.1.1": "BOTNET_C2", "45.1.1.2": "MALWARE", "45.1.2.9": "BOTNET_C2"}.items():
        (found,) = loaded.attribution(Prefix.parse(address).mapped()[0])
        assert (address, found.list_name, found.reason.name) == (address, "iocs", reason)
    assert loaded.attribution(Prefix.parse("45.1.1.3").mapped()[0]) == []
    assert lists.snapshot_keys(loaded) == lists.wanted_keys(now)


def test_a_new_category_of_an_old_entry_is_a_new_version(state: StateDirectory, source: Path, now: datetime) -> None:
    add(state, source, now, settings={"reasons": TABLE})
    source.write_text(CSV.replace("payload,45.1.1.2", "botnet_cc,45.1.1.2"))
    told = lists.update(state, "iocs", FeedUpdateRequest(), now, "alice")
    assert told.base_changed and not told.answer["unchanged"]
    assert [each.reason for each in wanted.lists(now)] == ["botnet-c2"]
    back = versions.rollback(state, "iocs", "2", now, "bob")
    assert len(back.versions) == 2 and [each.reason for each in wanted.lists(now)] == ["botnet-c2", "malware"]


@pytest.mark.parametrize(
    "more, id",
    [
        ({}, "store.E020"),
        ({"reason": "malware", "settings": {"reasons": TABLE}}, "store.E020"),
        ({"settings": {"reasons": {"x": "opinion"}}}, "policy.E006"),
        ({"reason": "opinion"}, "policy.E006"),
        ({"reason": "malware", "settings": {"proxy": "http://user:word@proxy.example"}}, "store.E020"),
        ({"reason": "malware", "settings": {"sha256": "abc"}}, "store.E020"),
        ({"reason": "malware", "settings": {"keep": 0}}, "store.E020"),
        ({"reason": "malware", "settings": {"thresholds": {"nonsense": 1}}}, "feeds.E025"),
        ({"reason": "malware", "settings": {"thresholds": {"shrink": 7}}}, "feeds.E026"),
    ],
)
def test_what_cannot_be_set_is_refused_and_stores_nothing(
    state: StateDirectory, source: Path, now: datetime, more: dict[str, Any], id: str
) -> None:
    assert (refused(add, state, source, now, **more).id, Decision.objects.count()) == (id, 0)


def test_settings_are_changed_by_a_decision_key_by_key(state: StateDirectory, source: Path, now: datetime) -> None:
    add(state, source, now, reason="malware", settings={"thresholds": {"shrink": 0.3, "growth": 9}})
    answer = change(now, settings={"thresholds": {"shrink": None, "age_days": 30}, "keep": 9}, life="3d", note="slow")
    assert (answer["settings"], answer["life_s"]) == (
        {"thresholds": {"growth": 9.0, "age_days": 30.0}, "keep": 9},
        259200,
    )
    row = Decision.objects.order_by("-id").first()
    assert row is not None and (row.kind, row.note) == ("feed-settings", "slow")
    assert row.detail["before"]["settings"] == {"thresholds": {"shrink": 0.3, "growth": 9.0}}
    assert overview.feeds(now)[0]["settings"] == answer["settings"]
    assert change(now, settings={"keep": None, "thresholds": None})["settings"] == {}


@pytest.mark.parametrize(
    "values, id",
    [
        ({"settings": {"reasons": TABLE}}, "store.E020"),
        ({"settings": {"thresholds": {"nonsense": 1}}}, "feeds.E025"),
        ({"settings": {"unknown": 1}}, "store.E020"),
        ({"settings": {"key_file": "relative"}}, "store.E020"),
        ({"every": "1s"}, "store.E020"),
        ({"every": "2d", "life": "1d"}, "store.E020"),
    ],
)
def test_a_change_that_cannot_be_stores_nothing(
    state: StateDirectory, source: Path, now: datetime, values: dict[str, Any], id: str
) -> None:
    add(state, source, now, reason="malware")
    count = Decision.objects.count()
    assert (refused(change, now, **values).id, Decision.objects.count()) == (id, count)


def test_what_was_read_by_other_settings_is_read_anew_though_nothing_is_new(
    state: StateDirectory, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def served(source: str, *, etag: str, **_: object) -> fetch.Fetched:
        asked.append(etag)
        return fetch.Fetched(b"" if etag else CSV.encode(), source, '"v1"', unchanged=bool(etag), sha256="0" * 64)

    monkeypatch.setattr(fetch, "fetch", served)
    request = {"name": "iocs", "source": "https://lists.example/x", "format": "csv:address:kind"}
    lists.add(state, parse(FeedAddRequest, {**request, "settings": {"reasons": TABLE}}), now, "alice")
    lists.update(state, "iocs", FeedUpdateRequest(), now, "alice")
    change(now, settings={"reasons": {"other": "scanner"}})
    told = lists.update(state, "iocs", FeedUpdateRequest(), now, "alice")
    assert (asked, told.answer["counts"]["v4"]) == (["", '"v1"', ""], 4)
    assert [each.reason for each in wanted.lists(now)] == ["botnet-c2", "malware", "scanner"]
    change(now, settings={"keep": 9})
    lists.update(state, "iocs", FeedUpdateRequest(), now, "alice")
    assert asked[-1] == '"v1"', "how many are kept changes nothing in what was read"


def test_an_observed_list_is_wanted_as_one_and_enforced_by_a_decision(
    state: StateDirectory, source: Path, now: datetime
) -> None:
    assert add(state, source, now, reason="malware", observe=True).answer["observe"] is True
    assert [each.observe for each in wanted.lists(now)] == [True]
    before = snapshot.load(lists.compile_wanted(state, now))
    assert [each.observe for each in before.lists] == [True]
    told = subscribe.feed_observe("iocs", False, now, "bob", "no complaints")
    assert told.base_changed and Decision.objects.get(pk=told.decision_id).kind == "feed-enforce"
    after = snapshot.load(lists.compile_wanted(state, now))
    assert (after.path != before.path, [each.observe for each in after.lists]) == (True, [False])
    assert refused(subscribe.feed_observe, "iocs", False, now, "bob").id == "store.E047"


def test_a_download_that_is_not_the_pinned_one_is_refused(state: StateDirectory, source: Path, now: datetime) -> None:
    error = refused(add, state, source, now, reason="malware", settings={"sha256": "0" * 64})
    assert (error.id, FeedVersion.objects.count()) == ("feeds.E032", 0)


def test_failures_are_remembered_until_a_fetch_succeeds(state: StateDirectory, source: Path, now: datetime) -> None:
    add(state, source, now, reason="malware")
    error = ClearwayError.of("feeds.E010", origin="x", detail="no route")
    trouble.failed("iocs", error, now, now + timedelta(minutes=1))
    trouble.failed("iocs", error, now + timedelta(minutes=1), now + timedelta(minutes=3))
    told = overview.feeds(now)[0]["trouble"]
    assert (told["failures"], told["since"], told["at"]) == (2, "2026-11-24T12:00:00Z", "2026-11-24T12:01:00Z")
    assert (told["error"]["id"], told["next_at"]) == ("feeds.E010", "2026-11-24T12:03:00Z")
    assert trouble.waiting(now + timedelta(minutes=2)) == {"iocs": (2, 60.0)}
    trouble.over("iocs")
    assert overview.feeds(now)[0]["trouble"] is None and quarantine.waiting() == []
