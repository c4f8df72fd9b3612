"""One policy of names, however it is asked: what explain says, the compiled set finds, and the filter never misses."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearway import _engine, store
from clearway.config import StateDirectory
from clearway.policy import snapshot
from clearway.policy.model import Name

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LABELS = ("a", "b", "bad", "xn--p1ai", "x_1")
NAMES = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"]))
LINES = st.lists(st.tuples(st.booleans(), NAMES), min_size=1, max_size=8)
WORDS = st.lists(
    st.tuples(st.sampled_from(["block", "spare"]), NAMES, st.sampled_from(["exact", "below", "subtree"])), max_size=4
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables and nothing in them."""
    made = StateDirectory(tmp_path_factory.mktemp("empty") / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CLEARWAY_DATABASE", raising=False)
        store.setup(made.path)
    return made.database


@pytest.fixture
def fresh(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a state directory of its own at each call."""
    monkeypatch.delenv("CLEARWAY_DATABASE", raising=False)
    with tempfile.TemporaryDirectory() as root:

        def make() -> StateDirectory:
            state = StateDirectory(Path(tempfile.mkdtemp(dir=root)) / "state")
            state.create()
            shutil.copy(empty, state.database)
            store.setup(state.path)
            return state

        yield make


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(lists=st.lists(LINES, min_size=1, max_size=3), words=WORDS, asked=st.lists(NAMES, min_size=1, max_size=12))
def test_explain_says_what_lists_and_people_say_in_this_order(
    fresh: Any, lists: list[list[tuple[bool, str]]], words: list[tuple[str, str, str]], asked: list[str]
) -> None:
    state = fresh()
    path = _compiled(state, lists)
    said = _decided(state, words)
    held = snapshot.load(path)
    names = held.names.opened()
    kernel = _engine.NameFilter(names, held.names.name_filter.data)
    from clearway.store.explain_names import explain_name

    for name in asked:
        rule = explain_name(state, Name(name), NOW)["decided_by"]
        match = names.find(name)
        assert match is None or kernel.may_hold(name)
        person = _by_people(said, name)
        if person is not None:
            assert rule is not None
            assert (rule["kind"], rule["name"]) == person
        elif match is not None:
            assert rule is not None
            assert (rule["list"], rule["name"]) == (held.lists[match.list].name, match.entry)
        else:
            assert rule is None


def test_the_names_that_a_gateway_is_handed_are_those_that_stand(fresh: Any) -> None:
    state = fresh()
    from clearway.store import wanted

    _decided(
        state, [("block", "bad.example", "subtree"), ("block", "a.example", "exact"), ("spare", "a.b.example", "below")]
    )
    handed = {(each.name, each.scope): each for each in wanted.names(NOW)}
    assert handed.keys() == {("bad.example", "subtree"), ("a.example", "exact")}, "nothing holds a.b.example"
    told = handed["bad.example", "subtree"]
    assert (told.reason, told.source, told.rule, told.exception_until) == ("phishing", "alice", "decision 1", None)


def _compiled(state: StateDirectory, lists: list[list[tuple[bool, str]]]) -> Path:
    from clearway.store import lists as stored
    from clearway.store.requests import FeedAddRequest

    for number, lines in enumerate(lists):
        file = state.path / f"list-{number}.txt"
        file.write_text("".join(f"{'*.' if star else ''}{name}\n" for star, name in lines))
        request = FeedAddRequest(name=f"list-{number}", source=str(file), reason="phishing", format="domains")
        stored.add(state, request, NOW, "alice")
    return stored.compile_wanted(state, NOW)


def _decided(state: StateDirectory, words: list[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    """Decides; what stands by then, as name → kind and scope. An exception that nothing asks for is none."""
    from clearway.errors import ClearwayError
    from clearway.store import decide, lists
    from clearway.store.requests import BlockRequest, UnblockRequest

    said: dict[str, tuple[str, str]] = {}
    for what, name, scope in words:
        if what == "block":
            request = BlockRequest.model_validate({"target": name, "reason": "phishing", "until": "1h", "scope": scope})
            decide.block(request, NOW, "alice")
            said[name] = ("block", scope)
            continue
        spare = UnblockRequest.model_validate({"target": name, "until": "1h", "scope": scope})
        try:
            change = decide.unblock(
                spare,
                NOW,
                "alice",
                holders=lambda _: (),
                name_holders=lambda entry: lists.name_holders(state, entry, NOW),
            )
        except ClearwayError as error:
            assert error.id == "store.E027"
            continue
        said.pop(name, None)
        if change.answer["kind"] == "exception":
            said[name] = ("exception", scope)
    return said


def _by_people(said: dict[str, tuple[str, str]], name: str) -> tuple[str, str] | None:
    """The longest name that people said something of which covers this one."""
    labels = name.split(".")
    for at in range(len(labels) - 1):
        suffix = ".".join(labels[at:])
        if suffix in said and said[suffix][1] != ("below" if at == 0 else "exact"):
            return said[suffix][0], suffix
    return None
