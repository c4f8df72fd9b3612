"""Versions of a list: which are kept, what differs between two, and going back to one. Imported after `store.setup`.

A version is what several rows of FeedVersion, one behind the other, hold the same of; its number is the decision of the
first of them. The last `keep` different ones are kept, and what quarantine and snapshots name; other entries are
removed from feeds/, their rows never.

Going back is a decision, and it holds: the version that was left is not taken again when the source still gives it, by
a schedule or by `feed update`; the first other one is judged and taken as ever. To go forward, one names the newer.
The older version lives from the decision as a new one would, and then runs out like any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds import files
from clearway.store.change import Change, NewVersion, stamp
from clearway.store.database import told
from clearway.store.models import Decision, Feed, FeedVersion, Kind
from clearway.store.subscribe import active, answer, decide, newest, public, put_version, settings_of, wanted_of

DIGITS_MIN = 8
"""Of a content, to name a version by; shorter ones are numbers of decisions."""
NUMBER_DIGITS_MAX = 18
"""Of a decision: a longer number is none of them, and no database takes it."""
RUNS_MAX = 4
"""Times `keep` that a walk back goes on where a source gives the same few contents in turn."""

Contents = tuple[str, tuple[tuple[str, str], ...]]
"""What a version holds: its content, and those of its parts by reason."""


class Version(NamedTuple):
    """One version that may be kept."""

    number: int
    """Decision of its first row."""
    row: FeedVersion
    """Its newest row."""


def contents_of(version: FeedVersion | NewVersion) -> Contents:
    return version.content, tuple(sorted(version.parts.items()))


def until_text(row: FeedVersion | None) -> str:
    return stamp(row.until) if row is not None else "now"


def runs(feed: Feed) -> Iterator[Version]:
    """Newest first, a few queries each; the same content may come again."""
    row = newest(feed)
    while row is not None:
        number = row.first or row.decision_id
        yield Version(number, row)
        start = FeedVersion.objects.filter(decision_id=number).values_list("id", flat=True).first() or row.pk
        row = FeedVersion.objects.filter(feed=feed, pk__lt=start).order_by("-id").first()


def kept(feed: Feed) -> list[Version]:
    """The versions that are kept, newest first, no content twice."""
    keep = settings_of(feed).keep
    found: dict[Contents, Version] = {}
    for turn, version in enumerate(runs(feed)):
        found.setdefault(contents_of(version.row), version)
        if len(found) == keep or turn == keep * RUNS_MAX:
            break
    return list(found.values())


@told
def kept_contents() -> set[str]:
    """Folders below feeds/ that versions of lists need."""
    return {
        content
        for feed in Feed.objects.filter(removed_at__isnull=True)
        for version in kept(feed)
        for content in (version.row.content, *version.row.parts.values())
    }


@told
def listed(state: StateDirectory, name: str, now: datetime) -> list[dict[str, Any]]:
    """The kept versions of a list, newest first. Raises store.E030."""
    feed = active(name)
    current = newest(feed)
    refused = rolled_back_from(feed)
    rows = []
    for number, row in kept(feed):
        first = Decision.objects.get(pk=number)
        rows.append(
            {
                "version": number,
                "content": row.content,
                "parts": row.parts,
                "at": stamp(first.at),
                "actor": first.actor,
                "kind": first.kind,
                "fetched_at": stamp(row.fetched_at),
                "until": stamp(row.until),
                "wanted": current is not None and row.pk == current.pk and row.until > now,
                "refused": contents_of(row) in refused,
                "held": held(state, row),
                "counts": row.counts,
                "origin": public(row.origin),
                "rejected": row.judgement.get("rejected", {}),
            }
        )
    return rows


def held(state: StateDirectory, row: FeedVersion) -> bool:
    """Its entries are there."""
    with contextlib.suppress(ClearwayError):
        for content in (row.content, *row.parts.values()):
            files.open(state.feeds, content, verify=False)
        return True
    return False


def find(feed: Feed, text: str) -> Version:
    """The kept version that `text` names: the number of any decision that took it, or how its content begins. Raises
    store.E045."""
    renewed = FeedVersion.objects.filter(feed=feed, decision_id=int(text)).first() if _is_number(text) else None
    for version in kept(feed):
        by_content = len(text) >= DIGITS_MIN and version.row.content.startswith(text)
        if by_content or (renewed is not None and contents_of(renewed) == contents_of(version.row)):
            return version
    raise ClearwayError.of("store.E045", name=feed.name, version=text)


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= NUMBER_DIGITS_MAX


@told
def rollback(state: StateDirectory, name: str, version: str, now: datetime, actor: str, note: str = "") -> Change:
    """Takes an older version again. Raises store.E030, E045 (no such version), E046 (it is wanted already), feeds.E014.

    The answer's `from` is what was left, and is not taken again until somebody goes back to it.
    """
    with transaction.atomic():
        feed = active(name)
        target, left = find(feed, version), next(runs(feed))
        if contents_of(target.row) == contents_of(left.row) and left.row.until > now:
            raise ClearwayError.of("store.E046", name=name, version=target.number)
        for content in (target.row.content, *target.row.parts.values()):
            files.open(state.feeds, content)
        row = target.row
        detail = {
            "feed": feed.pk,
            "from": {"version": left.number, "content": left.row.content, "parts": left.row.parts},
            "to": {"version": target.number, "content": row.content, "parts": row.parts},
        }
        end = now + timedelta(seconds=feed.life_s)
        decision = decide(Kind.FEED_ROLLBACK, feed, now, actor, until=end, note=note, detail=detail)
        again = NewVersion(row.content, row.counts, row.origin, parts=row.parts, judgement=row.judgement)
        made = put_version(feed, again, now, actor, fetched_at=row.fetched_at, decision=decision)
    told = answer(feed, made) | {"from": detail["from"], "to": detail["to"]}
    return Change(decision.pk, told, base_changed=True, versions=wanted_of(feed, made))


def rolled_back_from(feed: Feed) -> dict[Contents, dict[str, int]]:
    """What people left and did not go back to: by content, the `decision` and the number of the `version`."""
    refused: dict[Contents, dict[str, int]] = {}
    for decision in Decision.objects.filter(target=feed.name, kind=Kind.FEED_ROLLBACK).order_by("id"):
        if decision.detail["feed"] != feed.pk:
            continue  # of another list that had the name
        left, taken = (
            (side["content"], tuple(sorted(side["parts"].items())))
            for side in (decision.detail["from"], decision.detail["to"])
        )
        refused[left] = {"decision": decision.pk, "version": decision.detail["from"]["version"]}
        refused.pop(taken, None)
    return refused


def check_not_left(feed: Feed, version: NewVersion) -> None:
    """Raises store.E043 for what somebody rolled back from."""
    refused = rolled_back_from(feed).get(contents_of(version))
    if refused is not None:
        told = {"decision": refused["decision"], "version": refused["version"]}
        raise ClearwayError.of("store.E043", name=feed.name, until=until_text(newest(feed)), **told)
