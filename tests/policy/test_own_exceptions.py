"""What a list spares of its own blocks is spared by that list alone: the compiled set says what evaluate.py says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearway import _engine
from clearway._engine import NameScope
from clearway.policy.evaluate import ListRules, Policy, list_name_rule
from clearway.policy.model import Reason
from clearway.policy.names import ListNames, StoredNames, compile_names
from clearway.policy.prefix_table import PrefixSet

EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE
SECRET = bytes(range(32))
Entry = tuple[str, NameScope]


def stored(*entries: Entry) -> StoredNames:
    blobs = {
        scope: "".join(f"{name}\n" for name in sorted({n for n, s in entries if s == scope})) for scope in NameScope
    }
    return StoredNames(*(np.frombuffer(blobs[scope].encode(), dtype=np.uint8) for scope in NameScope))


def listed(name: str, blocked: list[Entry], excepted: list[Entry]) -> ListNames:
    return ListNames(name, Reason.MALWARE, stored(*blocked), excepted=stored(*excepted))


def verdict(lists: list[ListNames], name: str) -> str | None:
    """The list that refuses a name, by the compiled set."""
    compiled = compile_names(lists, SECRET)
    found = compiled.opened().find(name) if compiled else None
    return None if found is None or found.exception else lists[found.list].name


def reference(lists: list[ListNames], name: str) -> str | None:
    nothing = PrefixSet(())
    rules = [ListRules(each.name, each.reason, nothing, names=each.names, excepted=each.excepted) for each in lists]
    found = list_name_rule(Policy(lists=rules), name)
    return None if found is None else found[0].name


def test_a_list_spares_a_name_below_its_own_block() -> None:
    lists = [listed("a", [("codec.example", SUBTREE)], [("doc.codec.example", SUBTREE)])]
    names = ("codec.example", "x.codec.example", "doc.codec.example", "a.doc.codec.example", "xdoc.codec.example")
    assert [verdict(lists, name) for name in names] == ["a", "a", None, None, "a"]


@pytest.mark.parametrize(
    ("others", "name", "refused_by"),
    [
        ([("codec.example", SUBTREE)], "doc.codec.example", "b"),
        ([("doc.codec.example", EXACT)], "doc.codec.example", "b"),
        ([("doc.codec.example", EXACT)], "a.doc.codec.example", None),
        ([("doc.codec.example", BELOW)], "doc.codec.example", None),
        ([("doc.codec.example", BELOW)], "a.doc.codec.example", "b"),
        ([("a.doc.codec.example", EXACT)], "a.doc.codec.example", "b"),
        ([("a.doc.codec.example", EXACT)], "b.doc.codec.example", None),
    ],
)
def test_another_list_refuses_there_all_the_same(others: list[Entry], name: str, refused_by: str | None) -> None:
    own = listed("a", [("codec.example", SUBTREE)], [("doc.codec.example", SUBTREE)])
    for lists in ([own, listed("b", others, [])], [listed("b", others, []), own]):
        assert verdict(lists, name) == reference(lists, name) == refused_by


def test_two_lists_that_spare_the_same_name_spare_it() -> None:
    entries: list[list[Entry]] = [[("codec.example", SUBTREE)], [("doc.codec.example", SUBTREE)]]
    lists = [listed("a", *entries), listed("b", *entries)]
    assert verdict(lists, "doc.codec.example") is None
    assert verdict(lists, "new.codec.example") == "a"


LABELS = st.sampled_from(["a", "b"])
NAMES = st.lists(LABELS, min_size=2, max_size=5).map(".".join)
ENTRIES = st.lists(st.tuples(NAMES, st.sampled_from(list(NameScope))), max_size=4)


def without_own(blocked: list[Entry], excepted: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """As a list comes from its reader: nothing is blocked at or below what it spares."""
    spared = {name for name, _ in excepted}
    kept = [each for each in blocked if not any(each[0] == name or each[0].endswith(f".{name}") for name in spared)]
    return kept, excepted


@given(st.lists(st.tuples(ENTRIES, ENTRIES), min_size=1, max_size=3), NAMES)
@settings(max_examples=300, deadline=None)
def test_the_set_says_what_the_reference_says(given_lists: list[tuple[list[Entry], list[Entry]]], name: str) -> None:
    lists = [listed(f"list-{n}", *without_own(*each)) for n, each in enumerate(given_lists)]
    assert verdict(lists, name) == reference(lists, name)


@given(st.sets(NAMES, max_size=30), st.lists(NAMES, max_size=10))
def test_names_are_found_in_a_blob(held: set[str], sought: list[str]) -> None:
    blob = "".join(f"{name}\n" for name in sorted(held)).encode()
    found = _engine.find_names(blob, "".join(f"{name}\n" for name in sought).encode())
    assert list(found) == [int(name in held) for name in sought]
