"""The policy that `replay` judges a capture by: the lists in force, and all that people decided. Only reads.

Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy import snapshot
from clearway.policy.evaluate import GrantRule, NameRule, OverlayRule, Policy
from clearway.policy.model import Entry, Name, Prefix, Reason, parse_word
from clearway.policy.replay import lists_of
from clearway.store import shared_ranges, standing, standing_names, wanted
from clearway.store.change import Standing, StandingName
from clearway.store.database import told
from clearway.store.explain import wall_ns


@told
def of_state(state: StateDirectory, now: datetime, inside: Sequence[Prefix]) -> Policy:
    """The current snapshot's lists with every live block, exception and grant. Raises as `lists_of`."""
    current = state.snapshots / snapshot.CURRENT
    shared = shared_ranges.in_force(state)
    held_back = {each.decision_id for each in wanted.held_back(now, inside, shared.shared)}
    lists, ranges = lists_of(current) if current.exists() else ([], shared)
    return Policy(
        lists=lists,
        shared=ranges.shared,
        ranges=ranges,
        overlay=[
            OverlayRule(each.prefix, wall_ns(each.until), each.kind == standing.EXCEPTION, _entry(each, each.prefix))
            for each in standing.live(standing.OVERLAY, now)
            if each.decision_id not in held_back
        ],
        grants=[
            GrantRule(each.prefix, wall_ns(each.until), each.organisation, each.since, each.until, each.note)
            for each in standing.live([standing.GRANT], now)
        ],
        overlay_names=[
            NameRule(each.entry, wall_ns(each.until), each.kind == standing.EXCEPTION, _entry(each, each.entry.name))
            for each in standing_names.live(now)
        ],
    )


def _entry(each: Standing | StandingName, target: Prefix | str) -> Entry | None:
    """Who says so and why; an exception has no reason of the list."""
    if not each.reason:
        return None
    evidence = f"decision {each.decision_id}"
    try:
        what = Name.parse(target) if isinstance(target, str) else target
        reason = parse_word(Reason, each.reason)
        return Entry(what, reason, each.actor, each.since, each.until, each.note, evidence, each.kind == "exception")
    except ClearwayError:
        return None
