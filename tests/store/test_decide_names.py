"""block and unblock of names: what is refused, what is stored, and what the gateway is told to look at."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from patience import HUNG_S

from clearway._engine import NameScope
from clearway.errors import ClearwayError
from clearway.policy.model import word
from clearway.policy.name_table import NameEntry
from clearway.store import decide, history, overview, requests, standing_names, wanted
from clearway.store.change import Change, NameHit, NameWanted
from clearway.store.models import Decision, StandingNameRow
from clearway.store.requests import BlockRequest, UnblockRequest

pytestmark = pytest.mark.usefixtures("state")
HOUR = timedelta(hours=1)


def block(now: datetime, name: str, until: str = "1h", **more: Any) -> Change:
    return decide.block(BlockRequest(target=name, until=until, **{"reason": "phishing", **more}), now, "alice")


def unblock(
    now: datetime, name: str, until: str | None = None, hits: Sequence[NameHit] = (), scope: Any = None
) -> Change:
    request = UnblockRequest(target=name, until=until, scope=scope)
    return decide.unblock(request, now, "alice", holders=lambda _: (), name_holders=lambda _: hits)


def hit(now: datetime, name: str, scope: NameScope = NameScope.EXACT) -> NameHit:
    return NameHit("phish", "phishing", NameEntry(name, scope), now - HOUR, now + HOUR, "/lists/phish.txt")


def refused(id: str, call: Callable[[], object]) -> ClearwayError:
    before = Decision.objects.count()
    with pytest.raises(ClearwayError) as raised:
        call()
    assert raised.value.id == id
    assert Decision.objects.count() == before, "a refusal stores nothing"
    return raised.value


def test_a_block_is_one_row_and_one_name_with_all_below_it(now: datetime) -> None:
    change = block(now, "Bad.Example.", "2h", note="reported")
    row = Decision.objects.get()
    assert (row.kind, row.target, row.reason, row.until, row.detail) == (
        "block",
        "bad.example",
        "phishing",
        now + 2 * HOUR,
        {"scope": "subtree"},
    )
    assert (change.names, change.overlay, change.green, change.base_changed) == (("bad.example",), (), (), False)
    assert change.answer["scope"] == "subtree"
    stands = NameWanted("bad.example", "subtree", now + 2 * HOUR, None, f"decision {row.pk}", "phishing", "alice")
    assert wanted.names_at("bad.example", now) == wanted.names(now) == [stands]
    assert wanted.overlay(now) == []


@pytest.mark.parametrize("scope", get_args(requests.Scope))
def test_each_scope_is_stored_as_it_was_said(now: datetime, scope: str) -> None:
    block(now, "bad.example", scope=scope)
    assert wanted.names(now)[0].scope == scope


def test_the_scopes_of_a_request_are_those_of_the_engine() -> None:
    assert set(get_args(requests.Scope)) == {word(scope) for scope in NameScope}


@pytest.mark.parametrize("name", ["co.uk", "github.io", "foo.ck"])
def test_a_public_suffix_is_refused_with_what_is_below_it_and_taken_alone(now: datetime, name: str) -> None:
    refused("store.E034", lambda: block(now, name))
    refused("store.E034", lambda: block(now, name, scope="below"))
    assert block(now, name, scope="exact").names == (name,)


@pytest.mark.parametrize("name", ["com", "localhost", "a_b", "bad..example", "-bad.example", "x." * 124 + "example"])
def test_what_is_no_name_is_refused(now: datetime, name: str) -> None:
    refused("policy.E008", lambda: block(now, name))


def test_the_name_of_every_encrypted_hello_is_refused(now: datetime) -> None:
    refused("store.E035", lambda: block(now, "cloudflare-ech.com", scope="exact"))
    assert block(now, "notcloudflare-ech.com").names


def test_at_one_name_the_last_decision_counts(now: datetime) -> None:
    block(now, "bad.example")
    block(now, "bad.example", "2h", scope="exact", reason="malware")
    (stands,) = wanted.names(now)
    assert (stands.scope, stands.reason, stands.block_until) == ("exact", "malware", now + 2 * HOUR)
    unblock(now, "bad.example", "1h", [hit(now, "bad.example")])
    (stands,) = wanted.names(now)
    assert (stands.block_until, stands.exception_until) == (None, now + HOUR)
    block(now, "bad.example")
    (stands,) = wanted.names(now)
    assert (stands.block_until, stands.exception_until) == (now + HOUR, None)


def test_a_block_is_lifted_and_nothing_is_said_any_more(now: datetime) -> None:
    block(now, "bad.example", scope="exact")
    answer = unblock(now, "bad.example").answer
    assert (answer["kind"], answer["lifted"], answer["scope"]) == ("unblock", True, "exact")
    assert wanted.names(now) == []


def test_what_a_list_holds_is_spared_until_a_given_time_and_only_then(now: datetime) -> None:
    hits = [hit(now, "bad.example", NameScope.SUBTREE)]
    error = refused("store.E026", lambda: unblock(now, "www.bad.example", hits=hits))
    assert error.message == "www.bad.example is still held by list phish (phishing)"
    answer = unblock(now, "www.bad.example", "7d", hits, scope="exact").answer
    assert (answer["kind"], answer["held_by"], answer["scope"]) == ("exception", "list phish (phishing)", "exact")
    (stands,) = wanted.names_at("www.bad.example", now)
    assert (stands.exception_until, stands.scope, stands.reason) == (now + timedelta(days=7), "exact", "")
    refused("store.E027", lambda: unblock(now, "www.bad.example", hits=[]))


def test_the_block_of_a_shorter_name_holds_what_is_below_it(now: datetime) -> None:
    block(now, "bad.example")
    assert "the block of bad.example" in refused("store.E026", lambda: unblock(now, "www.bad.example")).message
    assert unblock(now, "www.bad.example", "1h").answer["held_by"] == "the block of bad.example"
    assert block(now, "bad.example").answer["spared_within"] == ["www.bad.example"]
    assert unblock(now, "bad.example").answer["lifted"]


def test_the_block_of_one_name_alone_holds_nothing_below_it(now: datetime) -> None:
    block(now, "bad.example", scope="exact")
    refused("store.E027", lambda: unblock(now, "www.bad.example"))
    block(now, "worse.example", scope="below")
    refused("store.E026", lambda: unblock(now, "www.worse.example"))


def test_blocks_below_a_name_that_is_spared_go_on_and_are_named(now: datetime) -> None:
    block(now, "www.bad.example")
    assert unblock(now, "bad.example", "1h", [hit(now, "bad.example")]).answer["blocked_within"] == ["www.bad.example"]


def test_a_name_that_ends_like_another_is_not_below_it(now: datetime) -> None:
    block(now, "bad.example")
    refused("store.E027", lambda: unblock(now, "notbad.example"))
    assert "spared_within" not in block(now, "x.example", scope="exact").answer


def test_what_lies_below_a_name_is_one_range_of_an_index(now: datetime) -> None:
    for name in (
        "a.bad.example",
        "b.bad.example",
        "bad.example",
        "a.notbad.example",
        "bad-example.example",
        "q.example",
    ):
        block(now, name)
    assert StandingNameRow.objects.exclude(backwards="").count() == 6
    with CaptureQueriesContext(connection) as asked:
        found = standing_names.within(standing_names.KINDS, "bad.example", now, 10)
    assert [each.entry.name for each in found] == ["a.bad.example", "b.bad.example"]
    assert [each.entry.name for each in standing_names.within(["block"], "example", now, 3)] == [
        "a.bad.example",
        "a.notbad.example",
        "b.bad.example",
    ]
    plans = []
    for query in asked.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plans += [row[3] for row in cursor.fetchall() if "standing_name" in row[3]]
    assert plans and not any(plan.startswith("SCAN") for plan in plans), plans
    assert any("standing_name_backwards" in plan for plan in plans), plans


def test_names_that_stood_before_the_column_did_are_found_from_their_end(tmp_path: Path, now: datetime) -> None:
    """In a process of its own, that takes the tables back and forth."""
    code = f"""
import sys, pathlib
from clearway import store
store.setup(pathlib.Path(sys.argv[1]))
from datetime import datetime
from django.core.management import call_command
from clearway.store import decide, standing_names
from clearway.store.requests import BlockRequest
now = datetime.fromisoformat({now.isoformat()!r})
decide.block(BlockRequest(target="a.bad.example", reason="malware", until="1h"), now, "alice")
call_command("migrate", "store", "0005", verbosity=0)
call_command("migrate", "store", verbosity=0)
print([each.entry.name for each in standing_names.within(["block"], "bad.example", now, 5)])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "new"], capture_output=True, text=True, timeout=HUNG_S
    )
    assert done.stdout == "['a.bad.example']\n", done.stderr


def test_names_run_out(now: datetime) -> None:
    block(now, "bad.example", "1h")
    assert wanted.names(now + HOUR) == wanted.names_at("bad.example", now + HOUR) == []
    assert standing_names.covering("bad.example", now + HOUR) == []


def test_names_are_bounded_and_expired_ones_make_room(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_names, "NAMES_MAX", 2)
    block(now, "a.example", "1h")
    block(now, "b.example", "2h")
    refused("store.E024", lambda: block(now, "c.example"))
    assert block(now, "a.example", "1h").names, "in place of what stands there"
    block(now + HOUR, "c.example")
    assert StandingNameRow.objects.count() == 2


def test_a_decision_about_a_name_is_found_and_says_whether_it_stands(now: datetime) -> None:
    first, second = block(now, "bad.example").decision_id, block(now, "bad.example", "2h").decision_id
    found = [history.decision(number, now) for number in (first, second)]
    assert [row and row["stands"] for row in found] == [False, True]
    assert [row["decision"] for row in history.decisions(limit=5, target="bad.example")] == [second, first]
    assert overview.totals(now)["blocked_names"] == 1
