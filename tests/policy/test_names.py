"""Names: set, filter and reference say the same; what a person said decides; a snapshot carries its names whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearway import _engine as engine
from clearway._engine import NameScope
from clearway.errors import ClearwayError
from clearway.feeds import files
from clearway.feeds.readers import table
from clearway.policy import snapshot
from clearway.policy.compile import compile_base
from clearway.policy.evaluate import (
    GrantRule,
    ListRules,
    NameRule,
    Outcome,
    Policy,
    PolicySettings,
    evaluate_name,
    list_name_rule,
    name_rule,
)
from clearway.policy.model import DropReason, Entry, Fact, Lane, Name, Prefix, Reason, Verdict
from clearway.policy.name_table import NO_NAMES, NameEntries, NameEntry, NameTable, covers, suffixes
from clearway.policy.names import CompiledNames, ListNames, StoredNames, compile_names
from clearway.policy.packet import Packet
from clearway.policy.prefix_table import PrefixSet

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
SECRET = bytes(range(32))
EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE
PASSED = Outcome(Verdict.FORWARD, DropReason.FORWARDED, Lane.INSPECTED, frozenset(), Packet())

Entries = Sequence[tuple[str, NameScope]]


def stored(entries: Entries) -> StoredNames:
    """As a list that was read has them."""
    texts = {scope: "".join(f"{name}\n" for name, s in entries if s == scope).encode() for scope in NameScope}
    read = {scope: engine.parse_names(text, scope, scope) for scope, text in texts.items()}
    blobs = [getattr(read[scope], scope.name.lower()) for scope in (EXACT, BELOW, SUBTREE)]
    return StoredNames(*(np.frombuffer(blob, dtype=np.uint8) for blob in blobs))


def compiled(*lists: tuple[Entries, bool], secret: bytes = SECRET) -> CompiledNames:
    named = [
        ListNames(f"list-{number}", Reason.MALWARE, stored(entries), exception)
        for number, (entries, exception) in enumerate(lists)
    ]
    return compile_names(named, secret)


def rules_of(*lists: tuple[Entries, bool]) -> list[ListRules]:
    return [
        ListRules(f"list-{number}", Reason.MALWARE, PrefixSet(()), exception, names=NameEntries(entries))
        for number, (entries, exception) in enumerate(lists)
    ]


labels = st.lists(st.text("ab", min_size=1, max_size=2), min_size=2, max_size=4)
names = labels.map(".".join)
entries = st.lists(st.tuples(names, st.sampled_from(NameScope)), max_size=12)
lists = st.lists(st.tuples(entries, st.booleans()), max_size=5)


@given(lists, st.lists(names, min_size=1, max_size=20))
@settings(max_examples=400)
def test_set_filter_and_reference_say_the_same(given: list[tuple[Entries, bool]], asked: list[str]) -> None:
    made, policy = compiled(*given), Policy(lists=rules_of(*given))
    if not made:
        assert all(list_name_rule(policy, name) is None for name in asked)
        return
    held = made.opened()
    held_filter = engine.NameFilter(held, made.name_filter.data)
    for name in asked:
        wanted, found = list_name_rule(policy, name), held.find(name)
        assert (found is None) == (wanted is None), name
        if found is None or wanted is None:
            continue
        assert (f"list-{found.list}", found.exception) == (wanted[0].name, wanted[0].exception)
        assert NameEntry(found.entry, found.scope) == wanted[1]
        assert held_filter.may_hold(name)


@given(lists, lists, st.lists(names, min_size=1, max_size=20))
@settings(max_examples=150)
def test_observed_lists_are_found_where_the_enforced_ones_refuse_nothing(
    enforced: list[tuple[Entries, bool]], observed: list[tuple[Entries, bool]], asked: list[str]
) -> None:
    of_classes = [(each, observe) for observe, given in ((True, observed), (False, enforced)) for each in given]
    made = compile_names(
        [
            ListNames(str(n), Reason.MALWARE, stored(e), spares, observe=seen)
            for n, ((e, spares), seen) in enumerate(of_classes)
        ],
        SECRET,
    )
    rules = [
        ListRules(str(n), Reason.MALWARE, PrefixSet(()), spares, names=NameEntries(e), observe=seen)
        for n, ((e, spares), seen) in enumerate(of_classes)
    ]
    held = made.opened() if made else None
    for name in asked:
        said = [list_name_rule(Policy(lists=rules), name, observe=observe) for observe in (False, True)]
        refusing = [each for each in said if each is not None and not each[0].exception]
        wanted = refusing[0] if refusing else said[0]
        found = held.find(name) if held else None
        assert (found is None) == (wanted is None), name
        if found and wanted:
            assert (str(found.list), found.observe) == (wanted[0].name, wanted[0].observe)
            assert NameEntry(found.entry, found.scope) == wanted[1]


def test_what_observed_lists_say_of_a_name_is_told_and_an_enforced_one_still_drops() -> None:
    def listed(name: str, entry: str, observe: bool) -> ListRules:
        names = NameEntries([(entry, SUBTREE)])
        return ListRules(name, Reason.MALWARE, PrefixSet(()), names=names, observe=observe)

    policy = Policy(lists=[listed("seen", "b.example", True), listed("enforced", "bad.b.example", False)])
    told = evaluate_name(policy, PASSED, "a.b.example", 0)
    assert (told.verdict, told.drop_reason) == (Verdict.FORWARD, DropReason.REFUSED_NAME)
    assert told.facts == {Fact.OBSERVED}
    assert evaluate_name(policy, PASSED, "x.bad.b.example", 0).verdict == Verdict.DROP
    excepted = replace(policy, overlay_names=[NameRule(NameEntry("b.example", SUBTREE), 9, exception=True)])
    assert evaluate_name(excepted, PASSED, "a.b.example", 0) is PASSED


@given(entries, names)
def test_names_in_files_and_in_memory_cover_the_same(given: Entries, asked: str) -> None:
    found = stored(given).covering(asked)
    assert found == sorted(set(NameEntries(given).covering(asked)), key=lambda each: (-len(each.name), -each.scope))
    assert set(found) == {NameEntry(*each) for each in given if covers(NameEntry(*each), asked)}


def test_a_name_is_found_in_a_long_list_and_its_neighbours_are_not() -> None:
    held = stored([(f"n{number}.{'x' * (number % 60)}.example", EXACT) for number in range(3000)])
    assert all(held.covering(f"n{number}.{'x' * (number % 60)}.example") for number in range(1, 3000) if number % 60)
    assert not any(held.covering(f"n{number}.xx.example") for number in range(3000) if number % 60 != 2)


@pytest.mark.parametrize(
    ("name", "found"),
    [("a.b.example", ["a.b.example", "b.example"]), ("example", []), ("-x.b.example", ["-x.b.example", "b.example"])],
)
def test_suffixes_have_two_labels_or_more(name: str, found: list[str]) -> None:
    assert suffixes(name) == found


def test_the_same_lists_give_the_same_bytes_and_another_secret_gives_others() -> None:
    given = ([("evil.example", SUBTREE), ("other.example", EXACT)], False)
    one, again, other = compiled(given), compiled(given), compiled(given, secret=bytes(32))
    assert one.names.tobytes() == again.names.tobytes() and np.array_equal(one.name_filter, again.name_filter)
    assert one.opened().keys != other.opened().keys
    assert one.opened().keys != compiled(([("evil.example", SUBTREE)], False)).opened().keys
    assert one.counts == {"names": 2, "filter_keys": 3}


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        compile_names([], b"short")


def test_lists_without_names_make_no_set() -> None:
    made = compiled(([], False), ([], True))
    assert not made and made.counts == {"names": 0, "filter_keys": 0}
    with pytest.raises(ValueError, match="no names"):
        made.opened()


# ---- the order of decision ----


def person(name: str, scope: NameScope = SUBTREE, *, until_ns: int = 10, exception: bool = False) -> NameRule:
    return NameRule(NameEntry(name, scope), until_ns, exception)


def reason(policy: Policy, name: str | None, before: Outcome = PASSED, now_ns: int = 5) -> DropReason:
    return evaluate_name(policy, before, name, now_ns).drop_reason


LISTED = rules_of(
    ([("evil.example", SUBTREE), ("deep.evil.example", EXACT)], False), ([("ok.evil.example", EXACT)], True)
)


def test_a_listed_name_is_refused_and_says_by_which_entry() -> None:
    outcome = evaluate_name(Policy(lists=LISTED), PASSED, "www.evil.example", 5)
    assert (outcome.verdict, outcome.drop_reason) == (Verdict.DROP, DropReason.REFUSED_NAME)
    assert outcome.name == NameEntry("evil.example", SUBTREE) and outcome.decided_by is LISTED[0]
    assert outcome.why == "refused-name: evil.example in list list-0 (malware)"


def test_what_is_no_name_or_not_listed_goes_on() -> None:
    policy = Policy(lists=LISTED)
    assert {reason(policy, name) for name in (None, "clean.example", "example", "ok.evil.example")} == {
        DropReason.FORWARDED
    }


@pytest.mark.parametrize(
    ("overlay", "name", "wanted"),
    [
        ([person("evil.example", exception=True)], "deep.evil.example", DropReason.FORWARDED),
        ([person("ok.evil.example")], "ok.evil.example", DropReason.REFUSED_NAME),
        (
            [person("evil.example", exception=True), person("deep.evil.example")],
            "deep.evil.example",
            DropReason.REFUSED_NAME,
        ),
        ([person("x.example"), person("x.example", exception=True)], "x.example", DropReason.FORWARDED),
        ([person("evil.example", exception=True, until_ns=5)], "evil.example", DropReason.REFUSED_NAME),
        ([person("x.example", until_ns=6)], "www.x.example", DropReason.REFUSED_NAME),
        ([person("x.example", until_ns=5)], "www.x.example", DropReason.FORWARDED),
        ([person("x.example", EXACT)], "www.x.example", DropReason.FORWARDED),
        (
            [person("www.x.example", until_ns=5, exception=True), person("x.example")],
            "www.x.example",
            DropReason.REFUSED_NAME,
        ),
    ],
    ids=[
        "an exception of a person spares what lists name more exactly",
        "a block of a person beats the exception of a list",
        "the longest of people decides",
        "an exception beats a block at one name",
        "what has expired spares nothing",
        "until its end it blocks",
        "at its end no longer",
        "its scope is kept",
        "what has expired hides nothing",
    ],
)
def test_what_a_person_said_decides(overlay: list[NameRule], name: str, wanted: DropReason) -> None:
    assert reason(Policy(lists=LISTED, overlay_names=overlay), name) == wanted


def test_a_person_is_named_in_the_reason() -> None:
    entry = Entry(Name("x.example"), Reason.PHISHING, "somebody", NOW, NOW + timedelta(days=1))
    rule = replace(person("x.example"), entry=entry)
    outcome = evaluate_name(Policy(overlay_names=[rule]), PASSED, "a.x.example", 5)
    assert outcome.why == "refused-name: x.example (phishing, by somebody)"
    assert name_rule(Policy(overlay_names=[rule]), "a.x.example", 5) == (rule, rule.name)


def test_a_packet_that_is_dropped_granted_or_bypassed_is_not_asked_its_name() -> None:
    policy = Policy(lists=LISTED, grants=[GrantRule(Prefix.parse("192.0.2.0/24"), 10)])
    for before in (
        replace(PASSED, verdict=Verdict.DROP, drop_reason=DropReason.LISTED_SOURCE),
        replace(PASSED, lane=Lane.GREEN),
        replace(PASSED, facts=frozenset({Fact.BYPASSED})),
        replace(PASSED, drop_reason=DropReason.LISTED_SOURCE, facts=frozenset({Fact.OBSERVED})),
    ):
        assert evaluate_name(policy, before, "evil.example", 5) is before


def test_a_gateway_that_only_observes_forwards_with_the_reason() -> None:
    policy = Policy(settings=PolicySettings(observe=True), lists=LISTED)
    outcome = evaluate_name(policy, PASSED, "evil.example", 5)
    assert (outcome.verdict, outcome.drop_reason) == (Verdict.FORWARD, DropReason.REFUSED_NAME)
    assert outcome.facts == {Fact.OBSERVED} and outcome.name is not None


def test_the_first_of_several_values_at_one_entry_comes_first() -> None:
    entry = NameEntry("a.example", EXACT)
    table = NameTable([(entry, "one"), (NameEntry("a.example", SUBTREE), "wide"), (entry, "two")])
    assert [value for _, value in table.covering("a.example")] == ["wide", "one", "two"]
    assert NO_NAMES.covering("a.example") == []


# ---- in files ----


def written(state: Path, lists: dict[str, tuple[Entries, bool]]) -> Path:
    rows, kept = [], []
    for name, (listed, exception) in lists.items():
        held = files.store(state / "feeds", table.read(b"192.0.2.7\n").content.blocked, stored(listed))
        kept.append((held, exception))
        rows.append(
            snapshot.SnapshotList(
                name, Reason.PHISHING, held.hash, f"/lists/{name}", NOW, NOW + timedelta(days=1), exception
            )
        )
    base = compile_base([held.entries("x", Reason.PHISHING, exception=e) for held, e in kept])
    made = compile_names([held.list_names("x", Reason.PHISHING, exception=e) for held, e in kept], SECRET)
    return snapshot.write(state / "snapshots", base, rows, created=NOW, names=made)


LISTS: dict[str, tuple[Entries, bool]] = {
    "addresses": ([], False),
    "evil": ([("evil.example", SUBTREE), ("b.example", BELOW)], False),
    "same": ([("www.evil.example", EXACT)], False),
    "spared": ([("ok.evil.example", SUBTREE)], True),
}


def test_what_was_written_is_loaded_and_tells_the_lists_of_a_name(tmp_path: Path) -> None:
    loaded = snapshot.load(written(tmp_path, LISTS))
    found = loaded.names.opened().find("www.evil.example")
    assert found is not None and loaded.lists[found.list].name == "same"
    spared = loaded.names.opened().find("a.ok.evil.example")
    assert spared is not None and spared.exception and loaded.lists[spared.list].name == "spared"
    assert engine.NameFilter(loaded.names.opened(), loaded.names.name_filter.data).may_hold("x.b.example")
    assert loaded.names.counts == {"names": 4, "filter_keys": 6}
    held = [(each.list_name, each.entry.name) for each in loaded.name_attribution("www.evil.example")]
    assert held == [("same", "www.evil.example"), ("evil", "evil.example")]
    assert loaded.name_attribution("evil.example.org") == []


def test_identical_names_give_identical_snapshots(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a", LISTS), written(tmp_path / "b", LISTS)
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in other.iterdir()}


def test_a_snapshot_without_names_opens_as_one_without(tmp_path: Path) -> None:
    path = written(tmp_path, {"addresses": ([], False)})
    assert not (path / "names.bin").exists() and not snapshot.load(path).names
    manifest = path / "manifest.json"
    document = json.loads(manifest.read_bytes())
    del document["name_counts"]
    manifest.write_text(json.dumps({**document, "format": 1}))  # as it was before there were names
    assert not snapshot.load(path).names


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 8)


def _alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["names", "name_filter"])
@pytest.mark.parametrize("damage", [_cut, _alter, Path.unlink], ids=["cut", "altered", "missing"])
def test_damaged_names_are_refused_by_name(tmp_path: Path, part: str, damage: Callable[[Path], None]) -> None:
    path = written(tmp_path, LISTS)
    damage(path / f"{part}.bin")
    with pytest.raises(ClearwayError) as error:
        snapshot.load(path)
    assert error.value.id == "policy.E010" and error.value.message.startswith(f"{part} of the snapshot")


def test_a_manifest_that_counts_otherwise_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, LISTS)
    document = json.loads((path / "manifest.json").read_bytes())
    for part, counts in (("names", {"names": 3, "filter_keys": 6}), ("name_filter", {"names": 4, "filter_keys": 7})):
        (path / "manifest.json").write_text(json.dumps({**document, "name_counts": counts}))
        with pytest.raises(ClearwayError) as error:
            snapshot.load(path)
        assert error.value.id == "policy.E010" and error.value.message.startswith(f"{part} of the snapshot")


def test_a_list_without_names_has_the_hash_that_it_always_had(tmp_path: Path) -> None:
    parsed = table.read(b"192.0.2.7\n").content.blocked
    plain, empty = files.store(tmp_path, parsed), files.store(tmp_path, parsed, StoredNames())
    named = files.store(tmp_path, parsed, stored([("evil.example", EXACT)]))
    assert plain.hash == empty.hash != named.hash
    assert files.open(tmp_path, named.hash).names.covering("evil.example") == [NameEntry("evil.example", EXACT)]
