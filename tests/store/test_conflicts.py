"""The order of docs/decisions/0011-conflicts.md, as `explain` shows it: each rule against the one below it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from clearway.config import StateDirectory
from clearway.policy.model import Prefix
from clearway.store import decide, excluded, explain, lists, shared_change
from clearway.store.requests import BlockRequest, ExcludeRequest, FeedAddRequest, GrantRequest, UnblockRequest
from clearway.store.shared_requests import CdnAddRequest

Explain = Callable[[str], dict[str, Any]]
ADDRESS = "195.20.5.7"


@pytest.fixture
def told(state: StateDirectory, now: datetime) -> Explain:
    """What explain says of an address, under lists that are compiled."""

    def ask(target: str) -> dict[str, Any]:
        lists.compile_wanted(state, now)
        return explain.explain(state, Prefix.parse(target), now)

    return ask


@pytest.fixture
def lay(state: StateDirectory, tmp_path: Path, now: datetime) -> Callable[[str], None]:
    """Puts one rule in force, by its word."""

    def feed(name: str, text: str, format: str, reason: str) -> None:
        path = tmp_path / f"{name}.txt"
        path.write_text(text)
        lists.add(state, FeedAddRequest(name=name, source=str(path), format=format, reason=reason), now, "ada")

    def shared(name: str, text: str, vendor: str) -> None:
        path = tmp_path / f"{name}.txt"
        path.write_text(text)
        request = CdnAddRequest(name=name, source=str(path), vendor=vendor)
        shared_change.add(state, request, now, "ada")

    rules: dict[str, Callable[[], object]] = {
        "wide list": lambda: feed("wide", "195.20.0.0/20\n", "ip-plain", "scanner"),
        "list": lambda: feed("narrow", f"{ADDRESS}\n195.20.6.0/24\n", "ip-plain", "malware"),
        "other list": lambda: feed("another", f"{ADDRESS}\n", "ip-plain", "flood"),
        "list that spares it": lambda: feed("own", f"||195.20.9.9^\n@@||{ADDRESS}^\n", "adblock", "malware"),
        "exclusion": lambda: excluded.exclude(ExcludeRequest(target="195.20.5.0/24", until="1d"), now, "bob"),
        "tenant": lambda: shared("let", "195.20.6.0/24,NL,,,\n", "linode"),
        "front end": lambda: shared("edge", "195.20.5.0/24\n", "cloudflare"),
        "block": lambda: decide.block(BlockRequest(target=ADDRESS, reason="botnet-c2", until="1d"), now, "ada"),
        "exception": lambda: decide.unblock(
            UnblockRequest(target=ADDRESS, until="1d"),
            now,
            "ada",
            holders=lambda prefix: lists.holders(state, prefix, now),
        ),
        "grant": lambda: decide.grant(GrantRequest(prefix=ADDRESS, organisation="Clinic", until="1d"), now, "ada"),
    }
    return lambda rule: (rules[rule](), None)[1]


@pytest.mark.parametrize(
    ("rules", "outcome", "winner"),
    [
        (["wide list"], "dropped", ("list", "195.20.0.0/20")),
        (["wide list", "list"], "dropped", ("list", ADDRESS)),
        (["list", "wide list", "list that spares it"], "dropped", ("list", ADDRESS)),
        (["list", "exclusion"], "forwarded", ("excluded", "195.20.5.0/24")),
        (["list", "exclusion", "front end"], "forwarded", ("shared", "195.20.5.0/24")),
        (["wide list", "list", "front end"], "forwarded", ("shared", "195.20.5.0/24")),
        (["list", "exception"], "forwarded", ("exception", ADDRESS)),
        (["exclusion", "list", "block"], "dropped", ("block", ADDRESS)),
        (["block", "grant"], "green", ("grant", ADDRESS)),
        (["list", "grant", "front end"], "green", ("grant", ADDRESS)),
        (["block", "front end"], "forwarded", ("shared", "195.20.5.0/24")),
    ],
    ids=lambda value: " + ".join(value) if isinstance(value, list) else "",
)
def test_the_rule_that_stands_first_decides(
    lay: Callable[[str], None], told: Explain, rules: list[str], outcome: str, winner: tuple[str, str]
) -> None:
    for rule in rules:
        lay(rule)
    found = told(ADDRESS)
    assert found["outcome"] == outcome
    assert (found["decided_by"]["kind"], found["decided_by"]["prefix"]) == winner
    assert found["rules"][0] is found["decided_by"]


def test_two_feeds_on_one_address_are_both_told_and_the_first_by_name_decides(
    lay: Callable[[str], None], told: Explain
) -> None:
    lay("list")
    lay("other list")
    found = told(ADDRESS)
    assert (found["decided_by"]["list"], found["decided_by"]["reason"]) == ("another", "flood")
    assert sorted(rule["list"] for rule in found["rules"]) == ["another", "narrow"]


def test_an_exception_inside_a_prefix_spares_its_own_addresses(lay: Callable[[str], None], told: Explain) -> None:
    lay("wide list")
    lay("exception")
    assert told(ADDRESS)["outcome"] == "forwarded"
    assert told("195.20.5.8")["outcome"] == "dropped"
    found = told("195.20.0.0/20")
    assert (found["outcome"], found["decided_by"]["list"]) == ("partly", "wide")


def test_within_a_block_only_an_exception_spares_anything(
    lay: Callable[[str], None], told: Explain, now: datetime
) -> None:
    """The overlay beats what is excluded from lists, and cloud ranges: within its block they change nothing."""
    lay("list")
    lay("exclusion")
    decide.block(BlockRequest(target="195.20.4.0/22", reason="scanner", until="1d"), now, "ada")
    lay("tenant")
    found = told("195.20.4.0/22")
    assert {rule["kind"] for rule in found["rules"]} >= {"block", "list", "excluded"}
    assert (found["outcome"], found["decided_by"]["kind"]) == ("dropped", "block")
    lay("exception")
    assert told("195.20.4.0/22")["outcome"] == "partly"


def test_a_prefix_of_a_list_is_not_heard_where_hosts_are_let(lay: Callable[[str], None], told: Explain) -> None:
    lay("list")
    lay("tenant")
    found = told("195.20.6.1")
    assert (found["outcome"], found["decided_by"]["kind"]) == ("forwarded", "shared")
    assert found["decided_by"]["class"] == "single-tenant"
    held = next(rule for rule in found["rules"] if rule["kind"] == "list")
    assert (held["enforced"], held["spared_by"]) == (False, "shared range 195.20.6.0/24 of let")
