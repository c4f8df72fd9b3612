"""False positives: spared from every list until a time, never from a person's block; the reference says the same."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy import snapshot
from clearway.policy.model import Name, Prefix
from clearway.store import decide, excluded, explain, explain_names, lists, protect, replay, wanted
from clearway.store.models import Decision
from clearway.store.requests import BlockRequest, ExcludeRequest, FeedAddRequest, FeedUpdateRequest, TargetRequest

HOUR = timedelta(hours=1)
Exclude = Callable[..., Any]


@pytest.fixture
def exclude(state: StateDirectory, tmp_path: Path, now: datetime) -> Exclude:
    """Two lists in force; gives back what excludes something."""
    for name, text in {
        "wide": "45.1.0.0/16\n2a00:db8::/32\n45.2.2.2\n",
        "narrow": "45.1.1.0/24\n45.1.1.7\n45.1.2.7\n2a00:db8:1::1\n",
        "names": "*.good.example.net\ngood.example.net\nevil.good.example.net\nbad.example.net\n",
    }.items():
        (tmp_path / name).write_text(text)
        request = FeedAddRequest(name=name, source=str(tmp_path / name), reason="malware")
        lists.add(state, request, now, "alice")

    def done(target: str, until: str = "2h", **more: Any) -> Any:
        return excluded.exclude(ExcludeRequest(target=target, until=until, **more), now, "bob")

    return done


def held(state: StateDirectory, address: str, now: datetime) -> bool:
    """What the compiled base says, read as the kernel reads it: cell, then bitmap."""
    base = snapshot.load(lists.compile_wanted(state, now)).compiled
    asked = Prefix.parse(address)
    if asked.version == 6:
        rows = {(int(r["high"]), int(r["low"]), int(r["length"])): bool(r["listed"]) for r in base.v6_slots}
        for length in base.v6_lengths:
            cut = Prefix.cut(6, asked.address, length)
            found = rows.get((cut.address >> 64, cut.address & (1 << 64) - 1, length))
            if found is not None:
                return found
        return False
    at = int(np.searchsorted(base.v4_cell_numbers, asked.address >> 8))
    if at == len(base.v4_cell_numbers) or base.v4_cell_numbers[at] != asked.address >> 8:
        return False
    cell, bit = int(base.v4_cells[at]), asked.address & 255
    return cell == 1 or bool(int(base.v4_bitmaps[cell - 256][bit >> 6]) >> (bit & 63) & 1)


def refuses(state: StateDirectory, name: str, now: datetime) -> bool:
    names = snapshot.load(lists.compile_wanted(state, now)).names
    found = names.opened().find(name) if names else None
    return found is not None and not found.exception


@pytest.mark.parametrize(
    "target, spared, refused",
    [
        ("45.1.1.7", ["45.1.1.7"], ["45.1.1.6", "45.1.2.7", "45.1.3.1"]),
        ("45.1.1.0/24", ["45.1.1.7", "45.1.1.1"], ["45.1.2.7", "45.1.0.1"]),
        ("45.1.0.0/16", ["45.1.1.7", "45.1.1.1", "45.1.2.7", "45.1.9.9"], ["45.2.2.2"]),
        ("45.0.0.0/12", ["45.1.1.7", "45.2.2.2"], []),
        ("2a00:db8:1::/48", ["2a00:db8:1::1", "2a00:db8:1::2"], ["2a00:db8:2::1"]),
    ],
)
def test_a_prefix_is_spared_with_all_in_it_whichever_list_holds_it(
    state: StateDirectory, exclude: Exclude, now: datetime, target: str, spared: list[str], refused: list[str]
) -> None:
    assert all(held(state, each, now) for each in [*spared, *refused])
    assert exclude(target).base_changed
    assert {each: held(state, each, now) for each in [*spared, *refused]} == {
        **dict.fromkeys(spared, False),
        **dict.fromkeys(refused, True),
    }
    for each in [*spared, *refused]:
        outcome = explain.explain(state, Prefix.parse(each), now)["outcome"]
        assert (each, outcome) == (each, "forwarded" if each in spared else "dropped")


@pytest.mark.parametrize(
    "scope, spared, refused",
    [
        (
            None,
            ["good.example.net", "www.good.example.net", "evil.good.example.net", "x.evil.good.example.net"],
            ["bad.example.net"],
        ),
        ("exact", ["good.example.net"], ["www.good.example.net", "evil.good.example.net"]),
        ("below", ["www.good.example.net", "evil.good.example.net"], ["good.example.net"]),
    ],
)
def test_a_name_is_spared_as_far_as_its_scope_says(
    state: StateDirectory, exclude: Exclude, now: datetime, scope: str | None, spared: list[str], refused: list[str]
) -> None:
    exclude("good.example.net", scope=scope)
    told = {each: refuses(state, each, now) for each in [*spared, *refused]}
    assert told == {**dict.fromkeys(spared, False), **dict.fromkeys(refused, True)}
    for each in [*spared, *refused]:
        outcome = explain_names.explain_name(state, Name.parse(each), now)["outcome"]
        assert (each, outcome in ("forwarded", "partly")) == (each, each in spared)


def test_it_ends_at_its_time_and_the_base_is_compiled_then(
    state: StateDirectory, exclude: Exclude, now: datetime
) -> None:
    exclude("45.1.1.7", "1h")
    assert wanted.next_list_expiry(now) == now + HOUR
    assert held(state, "45.1.1.7", now) is False
    assert held(state, "45.1.1.7", now + HOUR) is True


def test_what_is_wanted_differs_from_a_snapshot_without_it(
    state: StateDirectory, exclude: Exclude, now: datetime
) -> None:
    before = snapshot.load(lists.compile_wanted(state, now))
    assert lists.snapshot_keys(before) == lists.wanted_keys(now)
    exclude("45.1.1.7")
    assert lists.snapshot_keys(before) != lists.wanted_keys(now)
    after = snapshot.load(lists.compile_wanted(state, now))
    assert lists.snapshot_keys(after) == lists.wanted_keys(now)
    assert lists.compile_wanted(state, now) == after.path, "the same is compiled once"
    assert [each.list_name for each in after.attribution(Prefix.parse("45.1.1.8").mapped()[0])] == ["narrow", "wide"]


def test_an_entry_that_a_list_gets_later_is_spared_too(
    state: StateDirectory, exclude: Exclude, now: datetime, tmp_path: Path
) -> None:
    exclude("45.1.0.0/16")
    (tmp_path / "narrow").write_text("45.1.77.77\n")
    lists.update(state, "narrow", FeedUpdateRequest(), now, "alice")
    assert held(state, "45.1.77.77", now) is False


def test_a_block_by_a_person_counts_and_replay_judges_alike(
    state: StateDirectory, exclude: Exclude, now: datetime
) -> None:
    exclude("45.1.1.0/24", note="moved")
    lists.compile_wanted(state, now)
    decide.block(BlockRequest(target="45.1.1.9", reason="scanner", until="1h"), now, "bob")
    answer = explain.explain(state, Prefix.parse("45.1.1.9"), now)
    assert (answer["outcome"], answer["decided_by"]["kind"]) == ("dropped", "block")
    policy = replay.of_state(state, now, ())
    from clearway.policy.evaluate import base_rule

    for address, listed in {"45.1.1.7": False, "45.1.1.8": False, "45.1.2.7": True}.items():
        found = base_rule(policy, Prefix.parse(address))
        assert (address, found is not None and not found[0].exception) == (address, listed)


def test_explain_tells_who_spared_it_and_until_when(state: StateDirectory, exclude: Exclude, now: datetime) -> None:
    number = exclude("45.1.1.0/24", note="moved there").decision_id
    answer = explain.explain(state, Prefix.parse("45.1.1.7"), now)
    rule = answer["decided_by"]
    assert (rule["kind"], rule["prefix"], rule["decision"], rule["by"]) == ("excluded", "45.1.1.0/24", number, "bob")
    assert (rule["note"], answer["outcome"]) == ("moved there", "forwarded")
    named = exclude("good.example.net").decision_id
    told = explain_names.explain_name(state, Name.parse("www.good.example.net"), now)["decided_by"]
    assert (told["kind"], told["name"], told["decision"]) == ("excluded", "good.example.net", named)


def test_it_is_lifted_by_a_decision(state: StateDirectory, exclude: Exclude, now: datetime) -> None:
    exclude("45.1.1.7")
    change = excluded.include(TargetRequest(target="45.1.1.7", note="over"), now, "bob")
    assert change.base_changed and held(state, "45.1.1.7", now)
    assert [row.kind for row in Decision.objects.order_by("-id")[:2]] == ["feed-include", "feed-exclude"]
    with pytest.raises(ClearwayError) as raised:
        excluded.include(TargetRequest(target="45.1.1.7"), now, "bob")
    assert raised.value.id == "store.E048"


def test_the_answer_says_who_holds_it_now(state: StateDirectory, exclude: Exclude, now: datetime) -> None:
    hits = lists.holders(state, Prefix.parse("45.1.1.7"), now)
    told = excluded.exclude(ExcludeRequest(target="45.1.1.7", until="1h"), now, "bob", hits).answer
    assert told["held_by"] == "lists narrow, wide (malware)"
    assert "no list in force holds 9.9.9.9" in exclude("9.9.9.9").answer["warning"]


@pytest.mark.parametrize(
    "more, id",
    [
        ({"target": "0.0.0.0/0"}, "store.E021"),
        ({"target": "45.1.1.1", "scope": "exact"}, "store.E020"),
        ({"target": "45.1.1.1", "until": "2001-01-01T00:00:00Z"}, "policy.E005"),
        ({"target": "localhost"}, "policy.E008"),
    ],
)
def test_what_cannot_be_excluded_is_refused(exclude: Exclude, more: dict[str, str], id: str) -> None:
    count = Decision.objects.count()
    with pytest.raises(ClearwayError) as raised:
        exclude(**more)
    assert (raised.value.id, Decision.objects.count()) == (id, count)


def test_what_an_operator_protects_is_out_of_lists_with_the_next_fetch(
    state: StateDirectory, exclude: Exclude, now: datetime
) -> None:
    hits = lists.holders(state, Prefix.parse("45.1.1.0/24"), now)
    told = protect.protect(TargetRequest(target="45.1.1.0/24", note="ours"), now, "bob", hits).answer
    assert "lists narrow, wide (malware) hold it until they are fetched again" in told["warning"]
    with pytest.raises(ClearwayError) as raised:
        protect.protect(TargetRequest(target="45.1.1.0/24"), now, "bob")
    assert raised.value.id == "store.E051"
    (path,) = [each for each in Path(state.path.parent).iterdir() if each.name == "narrow"]
    path.write_text(path.read_text() + "45.9.9.9\n")
    answer = lists.update(state, "narrow", FeedUpdateRequest(), now, "alice").answer
    assert (answer["rejected"], answer["counts"]["v4"]) == ({"G10.own": 2}, 2)
    assert answer["alarms"][0]["rule"] == "G10.own"
    rows = {row["value"]: row for row in protect.listed(now)}
    assert rows["45.1.1.0/24"]["source"].endswith("by bob at 2026-11-24T12:00:00Z: ours")
    protect.unprotect(TargetRequest(target="45.1.1.0/24"), now, "bob")
    assert "45.1.1.0/24" not in {row["value"] for row in protect.listed(now)}
    assert [row.kind for row in Decision.objects.order_by("-id")[:1]] == ["unprotect"]


def test_what_comes_with_the_package_is_taken_out_and_put_back(
    state: StateDirectory, tmp_path: Path, now: datetime
) -> None:
    source = tmp_path / "lab.txt"
    source.write_text("192.0.2.7\n45.1.1.1\n")

    def counts() -> int:
        source.write_text(source.read_text() + "\n")
        return int(lists.update(state, "lab", FeedUpdateRequest(), now, "alice").answer["counts"]["v4"])

    added = lists.add(state, FeedAddRequest(name="lab", source=str(source), reason="malware"), now, "alice")
    assert added.answer["counts"]["v4"] == 1
    told = protect.unprotect(TargetRequest(target="192.0.2.0/24", note="a lab"), now, "bob").answer
    assert told["taken_out"] == ["192.0.2.0/24"] and counts() == 2
    with pytest.raises(ClearwayError) as raised:
        protect.unprotect(TargetRequest(target="45.0.0.0/16"), now, "bob")
    assert raised.value.id == "store.E050"
    protect.protect(TargetRequest(target="192.0.2.0/24"), now, "bob")
    assert counts() == 1
