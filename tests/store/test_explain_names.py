"""explain of a name: every rule that touches it, and the one that wins, which is the one that the reference finds."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from clearway.config import StateDirectory
from clearway.policy.model import Name
from clearway.store import decide, lists
from clearway.store.explain_names import explain_name
from clearway.store.requests import BlockRequest, FeedAddRequest, UnblockRequest


@pytest.fixture
def listed(state: StateDirectory, tmp_path: Path, now: datetime) -> StateDirectory:
    path = tmp_path / "phish.txt"
    path.write_text("bad.example\nlogin.bad.example\n*.wild.example\n")
    lists.add(state, FeedAddRequest(name="phish", source=str(path), reason="phishing"), now, "alice")
    lists.compile_wanted(state, now)
    return state


def block(now: datetime, name: str, **more: Any) -> None:
    decide.block(BlockRequest(target=name, until="1h", **{"reason": "malware", **more}), now, "alice")


def spare(state: StateDirectory, now: datetime, name: str, scope: Any = None) -> None:
    request = UnblockRequest(target=name, until="1h", scope=scope)
    holders = lambda entry: lists.name_holders(state, entry, now)  # noqa: E731
    decide.unblock(request, now, "bob", holders=lambda _: (), name_holders=holders)


def told(state: StateDirectory, now: datetime, name: str) -> tuple[str, tuple[str, ...] | None]:
    answer = explain_name(state, Name(name), now)
    rule = answer["decided_by"]
    assert rule is None or answer["rules"][0] is rule
    return answer["outcome"], rule and (rule["kind"], rule["name"], rule["scope"])


def test_a_name_that_nobody_names_is_forwarded(listed: StateDirectory, now: datetime) -> None:
    assert told(listed, now, "good.example") == ("forwarded", None)
    assert explain_name(listed, Name("good.example"), now)["rules"] == []


def test_a_list_decides_where_people_say_nothing(listed: StateDirectory, now: datetime) -> None:
    assert told(listed, now, "bad.example") == ("dropped", ("list", "bad.example", "exact"))
    assert told(listed, now, "www.bad.example") == ("forwarded", None)
    assert told(listed, now, "a.wild.example") == ("dropped", ("list", "wild.example", "below"))
    rule = explain_name(listed, Name("bad.example"), now)["decided_by"]
    assert (rule["list"], rule["reason"], rule["relation"], rule["enforced"]) == ("phish", "phishing", "covers", True)
    assert rule["source"].endswith("phish.txt")


def test_a_name_with_something_refused_below_it_is_partly_so(listed: StateDirectory, now: datetime) -> None:
    assert told(listed, now, "wild.example") == ("partly", None)
    block(now, "www.fine.example", scope="exact")
    assert told(listed, now, "fine.example") == ("partly", None)


def test_what_people_say_goes_before_lists_and_the_longest_name_decides(listed: StateDirectory, now: datetime) -> None:
    spare(listed, now, "bad.example")
    assert told(listed, now, "login.bad.example") == ("forwarded", ("exception", "bad.example", "subtree"))
    block(now, "login.bad.example", scope="exact")
    assert told(listed, now, "login.bad.example") == ("dropped", ("block", "login.bad.example", "exact"))
    assert told(listed, now, "bad.example") == ("partly", ("exception", "bad.example", "subtree"))
    answer = explain_name(listed, Name("login.bad.example"), now)
    kinds = [(rule["kind"], rule["name"], rule["relation"]) for rule in answer["rules"]]
    assert kinds == [
        ("block", "login.bad.example", "covers"),
        ("exception", "bad.example", "covers"),
        ("list", "login.bad.example", "covers"),
    ]
    assert answer["rules"][1]["by"] == "bob"


def test_an_exception_of_one_name_spares_nothing_below_it(listed: StateDirectory, now: datetime) -> None:
    block(now, "worse.example")
    spare(listed, now, "www.worse.example", "exact")
    assert told(listed, now, "www.worse.example")[0] == "forwarded"
    assert told(listed, now, "a.www.worse.example") == ("dropped", ("block", "worse.example", "subtree"))
    assert told(listed, now, "worse.example") == ("partly", ("block", "worse.example", "subtree"))


def test_an_exception_of_one_name_leaves_what_a_list_refuses_below_it(listed: StateDirectory, now: datetime) -> None:
    spare(listed, now, "bad.example", "exact")
    assert told(listed, now, "bad.example") == ("partly", ("exception", "bad.example", "exact"))
    spare(listed, now, "bad.example")
    assert told(listed, now, "bad.example") == ("forwarded", ("exception", "bad.example", "subtree"))


def test_a_list_that_cannot_be_read_is_shown_as_such(listed: StateDirectory, now: datetime) -> None:
    for folder in listed.feeds.iterdir():
        (folder / "manifest.json").write_text("{}")
    answer = explain_name(listed, Name("bad.example"), now)
    (rule,) = answer["rules"]
    assert (rule["list"], rule["name"], answer["outcome"]) == ("phish", None, "forwarded")
    assert "unreadable" in rule


def test_what_a_list_spares_itself_is_said_beside_its_entry(
    state: StateDirectory, tmp_path: Path, now: datetime
) -> None:
    path = tmp_path / "codecs.txt"
    path.write_text("||codec.example^\n@@||doc.codec.example^\n")
    lists.add(state, FeedAddRequest(name="codecs", source=str(path), reason="malware"), now, "alice")
    lists.compile_wanted(state, now)
    assert told(state, now, "new.codec.example") == ("dropped", ("list", "codec.example", "subtree"))
    assert told(state, now, "www.doc.codec.example") == ("forwarded", None)
    (rule,) = explain_name(state, Name("www.doc.codec.example"), now)["rules"]
    assert (rule["enforced"], rule["spared_by"]) == (False, "the list's own exception doc.codec.example")
