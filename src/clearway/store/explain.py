"""What is decided about an address or prefix: every rule that touches it, the one that wins, and why.

Read from the database and the entries of lists, so it needs no gateway; who wins is asked of policy.evaluate. Imported
after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds.fetch import shown
from clearway.policy.evaluate import (
    GrantRule,
    ListRules,
    OverlayRule,
    Policy,
    PolicySettings,
    base_rule,
    overlay_rule,
)
from clearway.policy.model import Prefix, Reason, parse_word
from clearway.store import lists, standing, wanted
from clearway.store.change import ListHit, ListWanted, Standing, stamp
from clearway.store.database import told

DROPPED, FORWARDED, PARTLY, GREEN = "dropped", "forwarded", "partly", "green"
"""What happens: to all of it, to none of it, to some addresses within it; forwarded in the green lane."""


@told
def explain(state: StateDirectory, target: Prefix, now: datetime, inside: Sequence[Prefix] = ()) -> dict[str, Any]:
    """{"target", "outcome", "sentence", "decided_by": rule or null, "rules": those that touch it, the winner first}.

    A rule has kind, prefix, relation (covers or within), since, until, reason, and by, note, decision, organisation,
    list and source where it has them; `enforced` is False for one that is held back, and for a grant where the target
    is known to be no inside address. A list whose entries cannot be
    read is a rule with `unreadable` (why) and neither prefix nor relation: it may touch the target. `outcome` is for
    the address as it is seen from the other side; a grant wins for the traffic of its own prefix, before any block.
    """
    stands = wanted.touching(target, now)
    hits = lists.holders(state, target, now)
    held = {each.decision_id for each in wanted.held_back(now, inside)}
    refused = {name for name, _ in lists.left_out(state, now, inside)}
    policy = near(state, now, [target], inside=inside)
    counts = not inside or any(each.covers(target) for each in inside)
    winner = _winner(policy, target, now, green=counts)
    rules = [
        _of_standing(each, target, counts if each.kind == standing.GRANT else each.decision_id not in held)
        for each in stands
    ]
    rules += [_of_hit(hit, target, hit.feed not in refused) for hit in hits]
    rules += [of_unreadable(each, error, each.feed not in refused) for each, error in lists.unreadable(state, now)]
    decided_by = next((rule for rule in rules if winner is not None and _same(rule, winner)), None)
    within = [rule for rule in rules if rule["relation"] == "within" and rule["enforced"]]
    outcome, sentence = _outcome(target, decided_by, within)
    if decided_by is not None:
        rules.remove(decided_by)
        rules.insert(0, decided_by)
    return {
        "target": str(target),
        "outcome": outcome,
        "sentence": sentence,
        "decided_by": decided_by,
        "rules": rules,
    }


@told
def near(
    state: StateDirectory,
    now: datetime,
    prefixes: Sequence[Prefix],
    *,
    inside: Sequence[Prefix] = (),
    settings: PolicySettings | None = None,
    bypass_until_ns: int = 0,
) -> Policy:
    """The policy as far as it touches `prefixes`: enough to evaluate a packet between addresses in them. Wall times."""
    held = {each.decision_id for each in wanted.held_back(now, inside)}
    stands = {each for prefix in prefixes for each in wanted.touching(prefix, now) if each.decision_id not in held}
    return Policy(
        settings=settings or PolicySettings(),
        lists=[
            ListRules(each.feed, parse_word(Reason, each.reason), entries)
            for each, entries in lists.usable(state, now, inside)
        ],
        overlay=[
            OverlayRule(each.prefix, wall_ns(each.until), each.kind == standing.EXCEPTION)
            for each in stands
            if each.kind in standing.OVERLAY
        ],
        grants=[
            GrantRule(each.prefix, wall_ns(each.until), each.organisation)
            for each in stands
            if each.kind == standing.GRANT
        ],
        bypass_until_ns=bypass_until_ns,
    )


def wall_ns(time: datetime) -> int:
    """The clock that `near` is on: nanoseconds since 1970."""
    return int(time.timestamp() * 1e9)


Winner = tuple[str, Prefix, str]
"""Kind of the rule that decides, its prefix, and its list."""


def _winner(policy: Policy, target: Prefix, now: datetime, *, green: bool) -> Winner | None:
    """`green`: whether grants are asked, as the kernel does of the inside address of a packet alone."""
    now_ns = wall_ns(now)
    for prefix, grants in policy.grant_table.covering(target) if green else ():
        if any(now_ns < each.until_ns for each in grants):
            return standing.GRANT, prefix, ""
    single = overlay_rule(policy, target, now_ns)
    if single is not None:
        return (standing.EXCEPTION if single.exception else standing.BLOCK), single.prefix, ""
    listed = base_rule(policy, target)
    return ("list", listed[1], listed[0].name) if listed is not None else None


def _same(rule: dict[str, Any], winner: Winner) -> bool:
    return (rule["kind"], rule["prefix"], rule.get("list", "")) == (winner[0], str(winner[1]), winner[2])


def _outcome(target: Prefix, decided_by: dict[str, Any] | None, within: list[dict[str, Any]]) -> tuple[str, str]:
    """In one word, and in one sentence."""
    kind = decided_by["kind"] if decided_by else ""
    if kind == standing.GRANT and decided_by:
        return GREEN, f"traffic of {target} is forwarded first, by a grant to {decided_by['organisation']}"
    refuses = kind in (standing.BLOCK, "list")
    opposite = {standing.EXCEPTION} if refuses else {standing.BLOCK, *(("list",) if not kind else ())}
    partly = any(rule["kind"] in opposite for rule in within)
    if refuses:
        return (
            (PARTLY, f"{target} is dropped, but for exceptions within it")
            if partly
            else (
                DROPPED,
                f"packets from and to {target} are dropped",
            )
        )
    if partly:
        return PARTLY, f"{target} is forwarded, but for what is refused within it"
    spared = kind == standing.EXCEPTION
    return FORWARDED, f"{target} is spared by an exception" if spared else f"no rule refuses {target}: forwarded"


def _of_standing(each: Standing, target: Prefix, enforced: bool) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "kind": each.kind,
        "prefix": str(each.prefix),
        "relation": "covers" if each.prefix.covers(target) else "within",
        "reason": each.reason or None,
        "since": stamp(each.since),
        "until": stamp(each.until),
        "by": each.actor,
        "note": each.note,
        "decision": each.decision_id,
        "enforced": enforced,
    }
    return {**rule, "organisation": each.organisation} if each.kind == standing.GRANT else rule


def of_unreadable(each: ListWanted, error: ClearwayError, enforced: bool) -> dict[str, Any]:
    """A list whose entries cannot be read, as a rule that may touch whatever is asked."""
    return {
        "kind": "list",
        "list": each.feed,
        "prefix": None,
        "name": None,
        "scope": None,
        "relation": None,
        "reason": each.reason,
        "since": stamp(each.fetched_at),
        "until": stamp(each.until),
        "source": shown(each.source),
        "decision": each.decision_id,
        "enforced": enforced,
        "unreadable": str(error),
    }


def _of_hit(hit: ListHit, target: Prefix, enforced: bool) -> dict[str, Any]:
    return {
        "kind": "list",
        "list": hit.feed,
        "prefix": str(hit.prefix),
        "relation": "covers" if hit.prefix.covers(target) else "within",
        "reason": hit.reason,
        "since": stamp(hit.since),
        "until": stamp(hit.until),
        "source": hit.source,
        "decision": hit.decision_id,
        "enforced": enforced,
    }
