"""Rows of Decision, FeedVersion and Quarantine are written once: by the model, by a query, by SQL behind our back."""

import sqlite3
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.store import decide, quarantine
from clearway.store.change import NewVersion
from clearway.store.database import errors
from clearway.store.models import Decision, FeedVersion, Quarantine
from clearway.store.requests import BlockRequest, FeedAddRequest


@pytest.fixture(autouse=True)
def rows(state: StateDirectory, now: datetime) -> None:
    """One row in each table."""
    decide.block(BlockRequest(target="192.0.2.7", reason="malware", until="1h"), now, "alice")
    request = FeedAddRequest(name="drop", source="/lists/drop.txt", reason="malware")
    version = NewVersion("ab" * 32, {"v4": 1, "v6": 0}, "/lists/drop.txt")
    decide.feed_add(request, "ip-plain", version, now, "alice")
    condemned = replace(version, judgement={"verdict": "quarantine-feed", "rule": "G4", "rules": ["G4"]})
    with pytest.raises(ClearwayError):
        quarantine.hold("drop", condemned, now, "alice")


@pytest.mark.parametrize("model", [Decision, FeedVersion, Quarantine])
def test_a_row_is_neither_saved_again_nor_deleted(model: Any) -> None:
    row = model.objects.order_by("id").first()
    assert row is not None
    for change in (row.save, row.delete):
        with pytest.raises(ClearwayError) as raised:
            change()
        assert raised.value.id == "store.E006"


@pytest.mark.parametrize("model", [Decision, FeedVersion, Quarantine])
def test_a_query_neither_updates_nor_deletes(model: Any) -> None:
    rows = model.objects.all()
    for change in (lambda: rows.update(pk=9), rows.delete, lambda: rows.bulk_update(list(rows), ["id"])):
        with pytest.raises(ClearwayError) as raised:
            change()
        assert raised.value.id == "store.E006"


STATEMENTS = [
    "UPDATE decision SET actor = 'mallory'",
    "UPDATE decision SET id = id + 100",
    "DELETE FROM decision",
    "UPDATE feed_version SET content = 'x'",
    "DELETE FROM feed_version",
    "UPDATE feed_quarantine SET sha256 = 'x'",
    "DELETE FROM feed_quarantine",
    "INSERT OR REPLACE INTO decision (id, at, actor, kind, target, reason, organisation, note, detail) "
    "VALUES (1, '2026-01-01', 'mallory', 'unblock', '', '', '', '', '{}')",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_database_itself_refuses(state: StateDirectory, statement: str) -> None:
    before = list(Decision.objects.values_list("id", "actor", "kind", "target").order_by("id"))
    with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic():
        connection.cursor().execute(statement)
    with sqlite3.connect(state.database) as other, pytest.raises(sqlite3.DatabaseError, match="never changed"):
        other.execute(statement)
    assert list(Decision.objects.values_list("id", "actor", "kind", "target").order_by("id")) == before


def test_a_refusal_of_the_database_is_told_by_its_id() -> None:
    with pytest.raises(ClearwayError) as raised, errors(), transaction.atomic():
        connection.cursor().execute("DELETE FROM decision")
    assert raised.value.id == "store.E006"


def test_ids_are_never_given_twice(now: datetime) -> None:
    first = decide.block(BlockRequest(target="192.0.2.8", reason="malware", until="1h"), now, "alice").decision_id
    second = decide.block(BlockRequest(target="192.0.2.8", reason="malware", until="1h"), now, "alice").decision_id
    assert second == first + 1


def test_a_transaction_that_fails_leaves_no_row(now: datetime) -> None:
    before = Decision.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        decide.block(BlockRequest(target="192.0.2.9", reason="malware", until="1h"), now, "alice")
        raise RuntimeError
    assert Decision.objects.count() == before


@pytest.mark.parametrize("reason, until", [("", "'2030-01-01'"), ("malware", "NULL")])
def test_the_database_itself_refuses_a_block_without_reason_or_end(reason: str, until: str) -> None:
    statement = (
        "INSERT INTO decision (at, actor, kind, target, reason, until, organisation, note, detail) "
        f"VALUES ('2026-01-01', 'a', 'block', '192.0.2.9', '{reason}', {until}, '', '', '{{}}')"
    )
    with pytest.raises(DatabaseError, match="decision_block_has_reason_and_end"), transaction.atomic():
        connection.cursor().execute(statement)
