"""What is decided about a name: every rule that touches it, the one that wins, and why. explain.py, for names.

Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from clearway._engine import NameScope
from clearway.config import StateDirectory
from clearway.policy.evaluate import ListRules, NameRule, Policy, name_rule
from clearway.policy.model import Name, Prefix, word
from clearway.policy.name_table import NameEntry, covers
from clearway.store import excluded, lists, standing, standing_names, wanted
from clearway.store.change import NameHit, StandingName, stamp
from clearway.store.database import told
from clearway.store.excluded import Excluded
from clearway.store.explain import (
    DROPPED,
    EXCLUDED,
    FORWARDED,
    PARTLY,
    list_rules,
    of_unreadable,
    wall_ns,
    watched,
    would_be,
)

WITHIN_MAX = 100
"""Names below it that people decided about, of which so many are shown."""


@told
def explain_name(state: StateDirectory, target: Name, now: datetime, inside: Sequence[Prefix] = ()) -> dict[str, Any]:
    """As explain.explain; a rule has `name` and `scope` in place of `prefix`. `outcome` is that of flows and queries in
    the inspected lane whose name is exactly this one; partly: something below it fares otherwise."""
    name = str(target)
    refused = {listed for listed, _ in lists.left_out(state, now, inside)}
    stands = standing_names.covering(name, now)
    stands += standing_names.within(standing_names.KINDS, name, now, WITHIN_MAX)
    hits = lists.name_holders(state, NameEntry(name, NameScope.SUBTREE), now)
    rules = [_of_standing(each, name) for each in stands]
    rules += [_of_hit(hit, name, hit.feed not in refused) for hit in hits]
    observed = {each.feed for each in wanted.lists(now) if each.observe}
    rules = [watched(rule) if rule.get("list") in observed else rule for rule in rules]
    spares = [each for each in excluded.live(now) if _touches(each, name)]
    rules += sorted((_of_excluded(each, name) for each in spares), key=lambda rule: -len(rule["name"]))
    rules += [of_unreadable(each, error, each.feed not in refused) for each, error in lists.unreadable(state, now)]
    winner = _winner(state, name, stands, now, inside)
    decided_by = next((rule for rule in rules if winner is not None and _same(rule, winner)), None)
    within = [rule for rule in rules if rule["relation"] == "within" and rule["enforced"]]
    outcome, sentence = _outcome(name, decided_by, within)
    sentence += would_be(decided_by, rules)
    if decided_by is not None:
        rules.remove(decided_by)
        rules.insert(0, decided_by)
    return {"target": name, "outcome": outcome, "sentence": sentence, "decided_by": decided_by, "rules": rules}


Winner = tuple[str, str, str, str]
"""Kind of the rule that decides, its name, scope and list."""


def _winner(
    state: StateDirectory, name: str, stands: Sequence[StandingName], now: datetime, inside: Sequence[Prefix]
) -> Winner | None:
    policy = Policy(
        lists=list_rules(state, now, inside),
        overlay_names=[NameRule(each.entry, wall_ns(each.until), each.kind == standing.EXCEPTION) for each in stands],
    )
    found = name_rule(policy, name, wall_ns(now))
    if found is None:
        return None
    rule, entry = found
    if isinstance(rule, ListRules) and rule.name == excluded.LIST:
        return EXCLUDED, entry.name, word(entry.scope), ""
    if isinstance(rule, ListRules):
        return "list", entry.name, word(entry.scope), rule.name
    return standing.EXCEPTION if rule.exception else standing.BLOCK, entry.name, word(entry.scope), ""


def _same(rule: dict[str, Any], winner: Winner) -> bool:
    if winner[0] == EXCLUDED:  # the entry may be that of a list; of several exclusions the longest stands first
        return bool(rule["kind"] == EXCLUDED and rule["relation"] == "covers")
    return (rule["kind"], rule["name"], rule["scope"], rule.get("list", "")) == winner


def _outcome(name: str, decided_by: dict[str, Any] | None, within: list[dict[str, Any]]) -> tuple[str, str]:
    """In one word, and in one sentence."""
    kind = decided_by["kind"] if decided_by else ""
    if kind in (standing.BLOCK, "list"):
        if any(rule["kind"] in (standing.EXCEPTION, EXCLUDED) for rule in within):
            return PARTLY, f"{name} is refused, but for exceptions below it"
        return DROPPED, f"flows to {name} and queries for it are refused"
    spares_below = decided_by is not None and decided_by["scope"] != word(NameScope.EXACT)
    below = {standing.BLOCK} if spares_below else {standing.BLOCK, "list"}
    if any(rule["kind"] in below for rule in within):
        return PARTLY, f"{name} is forwarded, but for what is refused below it"
    if kind == EXCLUDED:
        return FORWARDED, f"{name} is excluded from what lists refuse"
    if kind:
        return FORWARDED, f"{name} is spared by an exception"
    return FORWARDED, f"no rule refuses {name}: forwarded"


def _relation(entry: NameEntry, name: str) -> str:
    return "covers" if covers(entry, name) else "within"


def _of_standing(each: StandingName, name: str) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "name": each.entry.name,
        "scope": word(each.entry.scope),
        "relation": _relation(each.entry, name),
        "reason": each.reason or None,
        "since": stamp(each.since),
        "until": stamp(each.until),
        "by": each.actor,
        "note": each.note,
        "decision": each.decision_id,
        "enforced": True,
    }


def _touches(each: Excluded, name: str) -> bool:
    target = each.target
    return isinstance(target, NameEntry) and (covers(target, name) or target.name.endswith(f".{name}"))


def _of_excluded(each: Excluded, name: str) -> dict[str, Any]:
    assert isinstance(each.target, NameEntry)
    return {
        "kind": EXCLUDED,
        "name": each.target.name,
        "scope": word(each.target.scope),
        "relation": _relation(each.target, name),
        "reason": None,
        "since": stamp(each.since),
        "until": stamp(each.until),
        "by": each.actor,
        "note": each.note,
        "decision": each.decision_id,
        "enforced": True,
    }


def _of_hit(hit: NameHit, name: str, enforced: bool) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "kind": "list",
        "list": hit.feed,
        "name": hit.entry.name,
        "scope": word(hit.entry.scope),
        "relation": _relation(hit.entry, name),
        "reason": hit.reason,
        "since": stamp(hit.since),
        "until": stamp(hit.until),
        "source": hit.source,
        "decision": hit.decision_id,
        "enforced": enforced and not hit.spared_by,
    }
    return {**rule, "spared_by": hit.spared_by} if hit.spared_by else rule
