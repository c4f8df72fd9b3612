"""What several do to the same list at once, in processes and threads of their own: all of it counts."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from patience import HUNG_S

from clearway.boot_clock import boot_id
from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds import fetch
from clearway.policy import parts
from clearway.store import lists, prepare, quarantine, shared_change, trouble, unused, wanted
from clearway.store.change import NewVersion
from clearway.store.models import FetchTrouble, SharedVersionRow
from clearway.store.requests import FeedAddRequest, FeedRemoveRequest, FeedUpdateRequest, StoredContent
from clearway.store.shared_requests import CdnAddRequest, CdnRemoveRequest, CdnUpdateRequest, StoredRanges


@pytest.mark.parametrize("other", [True, False])
def test_what_was_fetched_for_a_list_is_not_given_to_another_that_has_its_name_by_then(
    state: StateDirectory, now: datetime, tmp_path: Path, other: bool
) -> None:
    """A source may drip for minutes, while people remove the list and add one anew."""
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("185.0.2.0/24\n")
    second.write_text("188.51.100.7\n")
    lists.add(state, FeedAddRequest(name="drop", source=str(first), reason="malware"), now, "alice")
    first.write_text("185.0.2.0/24\n185.0.3.0/24\n")
    fetched, _ = lists.prepare(state, str(first), None, now=now, name="drop")
    lists.remove("drop", FeedRemoveRequest(), now, "bob")
    source = second if other else first
    added = lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="phishing"), now, "bob")
    stored = StoredContent(**asdict(fetched))
    with pytest.raises(ClearwayError) as raised:
        lists.update(state, "drop", FeedUpdateRequest(stored=stored), now, "schedule")
    assert raised.value.id == "store.E030"
    assert [(each.feed, each.content) for each in wanted.lists(now)] == list(added.versions)


def test_what_was_asked_for_later_stands_whichever_comes_first(
    state: StateDirectory, now: datetime, tmp_path: Path
) -> None:
    """A person updates a list while the schedule's own fetch of it still drips what was there before."""
    source = tmp_path / "drop.txt"
    source.write_text("185.0.2.0/24\n185.0.9.0/24\n")
    lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="malware"), now, "alice")
    source.write_text("185.0.2.0/24\n185.0.3.0/24\n185.0.9.0/24\n")
    early, _ = lists.prepare(state, str(source), None, now=now, name="drop")
    source.write_text("185.0.2.0/24\n185.0.3.0/24\n")
    late, _ = lists.prepare(state, str(source), None, now=now, name="drop")

    def update(version: NewVersion) -> bool:
        request = FeedUpdateRequest(stored=StoredContent(**asdict(version)))
        return bool(lists.update(state, "drop", request, now, "alice").answer["unchanged"])

    assert [update(each) for each in (early, late, early)] == [False, False, True]
    assert [each.content for each in wanted.lists(now)] == [late.content]


def test_that_nothing_is_new_stands_against_what_was_asked_for_before(
    state: StateDirectory, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes back what it gave for a moment, and the schedule's fetch still drips that."""
    served = [b"185.0.2.0/24\n", b"185.0.2.0/24\n185.0.3.0/24\n", b""]

    def serve(source: str, **_: object) -> fetch.Fetched:
        data = served.pop(0)
        return fetch.Fetched(data, source, '"v1"', unchanged=not data, sha256="0" * 64)

    monkeypatch.setattr(fetch, "fetch", serve)
    source = "https://lists.example/drop"
    lists.add(state, FeedAddRequest(name="drop", source=source, reason="malware"), now, "alice")
    first = [each.content for each in wanted.lists(now)]
    early, _ = lists.prepare(state, source, None, now=now, name="drop")
    assert lists.update(state, "drop", FeedUpdateRequest(), now, "alice").answer["unchanged"]
    request = FeedUpdateRequest(stored=StoredContent(**asdict(early)))
    assert lists.update(state, "drop", request, now, "schedule").answer["unchanged"]
    assert [each.content for each in wanted.lists(now)] == first != [early.content]


def test_what_was_asked_for_before_the_machine_started_stands_against_nothing(
    state: StateDirectory, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock that tells who asked first begins at 0 again."""
    source = tmp_path / "drop.txt"
    source.write_text("185.0.2.0/24\n")
    boot, passed_ns = "first", 1000
    monkeypatch.setattr(prepare, "boot_id", lambda: boot)
    monkeypatch.setattr(prepare, "boot_ns", lambda: passed_ns)
    lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="malware"), now, "alice")
    source.write_text("185.0.2.0/24\n185.0.3.0/24\n")
    boot, passed_ns = "second", 10
    late, _ = lists.prepare(state, str(source), None, now=now, name="drop")
    passed_ns = 2000
    request = FeedUpdateRequest(stored=StoredContent(**asdict(late)))
    assert not lists.update(state, "drop", request, now, "alice").answer["unchanged"]


@pytest.mark.parametrize("when", ["looking", "removing"])
def test_what_is_found_again_while_unused_entries_are_removed_stays(
    state: StateDirectory, now: datetime, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Somebody is about to write the row of it."""
    path = state.feeds / ("0" * 64)
    path.mkdir()
    os.utime(path, (0, 0))
    waiting, remove = quarantine.contents, shutil.rmtree
    found: list[bool] = []

    def find() -> None:
        """As what stores a list does."""
        with parts.settling(state.feeds):
            found.append(path.exists())
            if found[-1]:
                parts.keep_fresh(path)

    finding = threading.Thread(target=find)

    def looked() -> set[str]:
        if when == "looking":
            find()
        return waiting()

    def removed(*words: Any, **options: Any) -> None:
        finding.start()
        finding.join(0.2)  # it finds the folder whole, if it does not wait
        remove(*words, **options)

    monkeypatch.setattr(quarantine, "contents", looked)
    monkeypatch.setattr(shutil, "rmtree", removed)
    unused.remove(state, now)
    if when == "removing":
        finding.join(HUNG_S)
    assert found == [path.exists()]


def test_ranges_are_not_given_to_another_source_that_has_the_name_by_then(
    state: StateDirectory, now: datetime, tmp_path: Path
) -> None:
    paths = [tmp_path / "first.txt", tmp_path / "second.txt"]
    for number, path in enumerate(paths):
        path.write_text("".join(f"195.{20 + number}.{n}.0/24\n" for n in range(30)))
    source, other = map(str, paths)
    shared_change.add(state, CdnAddRequest(name="own", source=source, vendor="cloudflare"), now, "alice")
    fetched = shared_change.prepare(state, source, "cloudflare", None, now=now, name="own")
    shared_change.remove("own", CdnRemoveRequest(), now, "bob")
    shared_change.add(state, CdnAddRequest(name="own", source=other, vendor="fastly", format="ip-plain"), now, "bob")
    stored = StoredRanges(**shared_change.document(fetched))
    for update in (
        lambda: shared_change.update(state, "own", CdnUpdateRequest(stored=stored), now, "schedule"),
        lambda: shared_change.prepare(state, source, "cloudflare", None, now=now, name="own"),
    ):
        with pytest.raises(ClearwayError) as raised:
            update()
        assert raised.value.id == "feeds.E050"
    assert SharedVersionRow.objects.filter(source__name="own", source__removed_at__isnull=True).count() == 1


def test_a_list_that_fails_for_several_at_once_fails_for_each_of_them(
    state: StateDirectory, now: datetime, tmp_path: Path
) -> None:
    """`feed update` by two people, or by one and the schedule: all are counted, and nobody is told of the database."""
    source = tmp_path / "drop.txt"
    source.write_text("185.0.2.0/24\n")
    lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="malware"), now, "alice")
    error = ClearwayError.of("feeds.E002", origin=source, lines=0)

    def fails(together: threading.Barrier) -> None:
        try:
            trouble.waiting(now)  # its connection
            together.wait(HUNG_S)
            trouble.failed("drop", error, now, None)
        finally:
            connections.close_all()

    for _ in range(20):
        together = threading.Barrier(4)
        with ThreadPoolExecutor(4) as threads:
            for each in [threads.submit(fails, together) for _ in range(4)]:
                each.result()
        assert FetchTrouble.objects.get().failures == 4
        trouble.over("drop")


def test_nothing_is_fetched_for_a_list_that_has_gone_meanwhile_nor_does_another_of_its_name_fail_by_it(
    state: StateDirectory, now: datetime, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    for path in (first, second):
        path.write_text("185.0.2.0/24\n")
    lists.add(state, FeedAddRequest(name="drop", source=str(second), reason="malware"), now, "alice")
    with pytest.raises(ClearwayError) as raised:
        lists.prepare(state, str(first), None, now=now, name="drop")
    assert raised.value.id == "store.E030"
    trouble.failed("drop", raised.value, now, None)
    assert not FetchTrouble.objects.exists()


@pytest.mark.parametrize("asked", [None, "x", [], ["x", 1], [boot_id(), "x"], [boot_id(), 1 << 62], {"a": 1}])
def test_what_a_caller_says_of_when_it_asked_keeps_no_later_version_out(
    state: StateDirectory, now: datetime, tmp_path: Path, asked: Any
) -> None:
    source = tmp_path / "drop.txt"
    source.write_text("185.0.2.0/24\n185.0.9.0/24\n")
    lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="malware"), now, "alice")
    source.write_text("185.0.2.0/24\n")
    said, _ = lists.prepare(state, str(source), None, now=now, name="drop")
    stored = StoredContent(**asdict(replace(said, judgement={**said.judgement, "asked": asked})))
    lists.update(state, "drop", FeedUpdateRequest(stored=stored), now, "alice")
    source.write_text("185.0.3.0/24\n185.0.9.0/24\n")
    late, _ = lists.prepare(state, str(source), None, now=now, name="drop")
    lists.update(state, "drop", FeedUpdateRequest(stored=StoredContent(**asdict(late))), now, "alice")
    assert [each.content for each in wanted.lists(now)] == [late.content]
