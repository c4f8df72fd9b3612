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
from clearway.feeds.shared_vendors import VENDORS
from clearway.policy.evaluate import (
    GrantRule,
    ListRules,
    OverlayRule,
    Policy,
    PolicySettings,
    base_rule,
    overlay_rule,
    spared_rule,
)
from clearway.policy.model import Prefix, Reason, parse_word
from clearway.policy.shared import SharedClass
from clearway.policy.shared_mask import CLOUD_HOST_LIFE
from clearway.store import excluded, lists, shared_ranges, shared_words, standing, wanted
from clearway.store.change import ListHit, ListWanted, Standing, stamp
from clearway.store.database import told
from clearway.store.excluded import Excluded

EXCLUDED = "excluded"
"""Kind of the rule by which a person spares something from all lists."""
DROPPED, FORWARDED, PARTLY, GREEN = "dropped", "forwarded", "partly", "green"
"""What happens: to all of it, to none of it, to some addresses within it; forwarded in the green lane."""


@told
def explain(state: StateDirectory, target: Prefix, now: datetime, inside: Sequence[Prefix] = ()) -> dict[str, Any]:
    """{"target", "outcome", "sentence", "decided_by": rule or null, "rules": those that touch it, the winner first}.

    A rule has kind, prefix, relation (covers or within), since, until, reason, and by, note, decision, organisation,
    list, class, vendor and source where it has them; `enforced` is False for one that is held back (of a list's entry
    `spared_by` says what does), and for a grant where the target is known to be no inside address. Of a host in a
    cloud that is let to many, `until` is when it stops to act, and `list_until` when its list ends. A
    list whose entries cannot be read is a rule with `unreadable` (why) and neither prefix nor relation: it may touch
    the target. `outcome` is for the address as it is seen from the other side; a grant wins for the traffic of its own
    prefix, before any block.
    """
    stands = wanted.touching(target, now)
    hits = lists.holders(state, target, now)
    ranges = shared_ranges.in_force(state)
    held = {each.decision_id for each in wanted.held_back(now, inside, ranges.shared)}
    refused = {name for name, _ in lists.left_out(state, now, inside)}
    observed = {each.feed for each in wanted.lists(now) if each.observe}
    policy = near(state, now, [target], inside=inside)
    counts = not inside or any(each.covers(target) for each in inside)
    winner = _winner(policy, target, now, green=counts)
    rules = [
        _of_standing(each, target, counts if each.kind == standing.GRANT else each.decision_id not in held)
        for each in stands
    ]
    spares = excluded.live(now)
    for hit in hits:
        rules.append(_of_hit(hit, target, hit.feed not in refused, _sparing(policy, spares, hit, target, now)))
        rules[-1] |= _ends_before_its_list(policy, hit)
        rules[-1] = watched(rules[-1]) if hit.feed in observed else rules[-1]
    touching = [of_excluded(each, target) for each in spares if _touches(each, target)]
    rules += sorted(touching, key=lambda rule: -Prefix.parse(rule["prefix"]).length)
    shared = ranges.rule(target)
    rules += [shared_words.document(shared, target, now)] if shared is not None else []
    rules += [of_unreadable(each, error, each.feed not in refused) for each, error in lists.unreadable(state, now)]
    decided_by = next((rule for rule in rules if winner is not None and _same(rule, winner)), None)
    within = [rule for rule in rules if rule["relation"] == "within" and rule["enforced"]]
    outcome, sentence = _outcome(target, decided_by, within)
    sentence += would_be(decided_by, rules)
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
    ranges = shared_ranges.in_force(state)
    held = {each.decision_id for each in wanted.held_back(now, inside, ranges.shared)}
    stands = {each for prefix in prefixes for each in wanted.touching(prefix, now) if each.decision_id not in held}
    return Policy(
        settings=settings or PolicySettings(),
        lists=list_rules(state, now, inside),
        shared=ranges.shared,
        ranges=ranges,
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


@told
def list_rules(state: StateDirectory, now: datetime, inside: Sequence[Prefix]) -> list[ListRules]:
    """Lists in force as evaluate.py asks them, with that of what is excluded."""
    usable = lists.usable(state, now, inside)
    found = [
        ListRules(
            each.feed,
            parse_word(Reason, each.reason),
            stored,
            names=stored.names,
            excepted=stored.excepted,
            cloud_hosts=cloud_hosts(each.fetched_at, now),
            observe=each.observe,
        )
        for each, stored in usable
    ]
    spares = excluded.live(now)
    if spares:
        spared = excluded.SparedRules(spares, [stored for _, stored in usable])
        found.append(ListRules(excluded.LIST, Reason.MALWARE, spared, exception=True, names=spared.names))
    return found


def cloud_hosts(fetched_at: datetime, now: datetime) -> bool:
    """Whether hosts in clouds that are let count, of a list fetched then."""
    return now < fetched_at + CLOUD_HOST_LIFE


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
    if listed is not None and listed[0].name == excluded.LIST:
        return EXCLUDED, target, ""
    if listed is not None:
        return "list", listed[1], listed[0].name
    shared = policy.ranges.rule(target) if policy.shared.front_ends.covers(target) else spared_rule(policy, target)
    return ("shared", shared.prefix, "") if shared is not None else None


def _sparing(policy: Policy, spares: Sequence[Excluded], hit: ListHit, target: Prefix, now: datetime) -> str:
    """Because of what an entry does not act on what is asked, in words; "" where it does."""
    asked = target if hit.prefix.covers(target) else hit.prefix
    heard = hit.prefix.is_host and cloud_hosts(hit.since, now)
    if policy.shared.front_ends.covers(asked) or (not heard and policy.shared.single_tenant.covers(asked)):
        shared = policy.ranges.rule(asked)
        return f"shared range {shared.prefix} of {shared.name}" if shared is not None else ""
    by = next((each for each in spares if each.covers(asked)), None)
    return f"exclusion of {by.target}" if by is not None else ""


def _ends_before_its_list(policy: Policy, hit: ListHit) -> dict[str, str]:
    """`until` and `list_until` of an entry that acts for a shorter time than its list; {} of all others."""
    end = hit.since + CLOUD_HOST_LIFE
    if end < hit.until and hit.prefix.is_host and policy.shared.single_tenant.covers(hit.prefix):
        return {"until": stamp(end), "list_until": stamp(hit.until)}
    return {}


def watched(rule: dict[str, Any]) -> dict[str, Any]:
    """The rule of a list that is only observed."""
    return {**rule, "enforced": False, "observe": True}


def would_be(decided_by: dict[str, Any] | None, rules: list[dict[str, Any]]) -> str:
    """What to add where nothing decides but a list that is only observed."""
    told = [rule for rule in rules if rule.get("observe") and rule["relation"] == "covers" and "spared_by" not in rule]
    return f"; list {told[0]['list']} would drop it, and is only observed" if told and decided_by is None else ""


def _touches(each: Excluded, target: Prefix) -> bool:
    return isinstance(each.target, Prefix) and (each.target.covers(target) or target.covers(each.target))


def of_excluded(each: Excluded, target: Prefix) -> dict[str, Any]:
    """What a person spares from all lists, as a rule."""
    assert isinstance(each.target, Prefix)
    return {
        "kind": EXCLUDED,
        "prefix": str(each.target),
        "relation": "covers" if each.target.covers(target) else "within",
        "reason": None,
        "since": stamp(each.since),
        "until": stamp(each.until),
        "by": each.actor,
        "note": each.note,
        "decision": each.decision_id,
        "enforced": True,
    }


def _same(rule: dict[str, Any], winner: Winner) -> bool:
    if winner[0] == EXCLUDED:  # of several, the first covers it and is the longest
        return bool(rule["kind"] == EXCLUDED and rule["relation"] == "covers")
    return (rule["kind"], rule["prefix"], rule.get("list", "")) == (winner[0], str(winner[1]), winner[2])


def _outcome(target: Prefix, decided_by: dict[str, Any] | None, within: list[dict[str, Any]]) -> tuple[str, str]:
    """In one word, and in one sentence."""
    kind = decided_by["kind"] if decided_by else ""
    if kind == standing.GRANT and decided_by:
        return GREEN, f"traffic of {target} is forwarded first, by a grant to {decided_by['organisation']}"
    refuses = kind in (standing.BLOCK, "list")
    partly = any(rule["kind"] in _opposite(kind) for rule in within)
    if refuses:
        return (
            (PARTLY, f"{target} is dropped, but for what is spared within it")
            if partly
            else (
                DROPPED,
                f"packets from and to {target} are dropped",
            )
        )
    if kind == "shared" and decided_by:
        return (PARTLY if partly else FORWARDED), _spared_sentence(target, decided_by)
    if partly:
        return PARTLY, f"{target} is forwarded, but for what is refused within it"
    if kind == EXCLUDED:
        return FORWARDED, f"{target} is excluded from what lists refuse"
    spared = kind == standing.EXCEPTION
    return FORWARDED, f"{target} is spared by an exception" if spared else f"no rule refuses {target}: forwarded"


def _opposite(kind: str) -> set[str]:
    """Rules that may act the other way within what one of that kind decides ("" of kind: none does)."""
    if kind == standing.BLOCK:
        return {standing.EXCEPTION}
    if kind == "list":
        return {standing.EXCEPTION, "shared", EXCLUDED}
    return {standing.BLOCK, "list"} if kind in ("", "shared") else {standing.BLOCK}


def _spared_sentence(target: Prefix, rule: dict[str, Any]) -> str:
    vendor = VENDORS[rule["vendor"]].title if rule["vendor"] in VENDORS else rule["vendor"]
    if rule["class"] == SharedClass.FRONT_END.value:
        return f"{target} is forwarded: many sites share it at {vendor}, which are refused by name only"
    return f"{target} is forwarded: {vendor} lets it to many, and lists refuse single hosts there for a day at most"


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


def _of_hit(hit: ListHit, target: Prefix, enforced: bool, sparing: str) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "kind": "list",
        "list": hit.feed,
        "prefix": str(hit.prefix),
        "relation": "covers" if hit.prefix.covers(target) else "within",
        "reason": hit.reason,
        "since": stamp(hit.since),
        "until": stamp(hit.until),
        "source": hit.source,
        "decision": hit.decision_id,
        "enforced": enforced and not sparing,
    }
    return {**rule, "spared_by": sparing} if sparing else rule
