"""What should be in force at a given time, read from the database. `now` is always an argument.

Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import OuterRef, Subquery

from clearway.policy import arrays
from clearway.policy.model import Prefix, word
from clearway.policy.shared import NOTHING_SHARED, Ranges, Shared
from clearway.policy.shared_mask import CLOUD_HOST_LIFE
from clearway.store import excluded, standing, standing_names
from clearway.store.change import GrantWanted, ListWanted, NameWanted, OverlayWanted, Standing, StandingName
from clearway.store.database import told
from clearway.store.models import Decision, Feed, FeedVersion, Kind

TOUCHING_MAX = 100
"""Entries within a prefix that `touching` shows."""


@told
def overlay(now: datetime, inside: Sequence[Prefix] = (), shared: Shared = NOTHING_SHARED) -> list[OverlayWanted]:
    """All live single entries, by prefix. Blocks that `held_back` names are left out."""
    held = {each.prefix for each in held_back(now, inside, shared)}
    entries: dict[Prefix, OverlayWanted] = {}
    for kind, prefix, until in standing.spans(standing.OVERLAY, now):
        if kind == standing.BLOCK and prefix in held:
            continue
        other = entries.get(prefix)
        block_until = until if kind == standing.BLOCK else other.block_until if other else None
        exception_until = until if kind == standing.EXCEPTION else other.exception_until if other else None
        entries[prefix] = OverlayWanted(prefix, block_until, exception_until)
    return list(entries.values())


@told
def overlay_at(
    prefix: Prefix, now: datetime, inside: Sequence[Prefix] = (), shared: Shared = NOTHING_SHARED
) -> OverlayWanted | None:
    """The live entry at exactly that prefix; None: the key should not be there."""
    block = standing.at(standing.BLOCK, prefix, now)
    exception = standing.at(standing.EXCEPTION, prefix, now)
    if block and (any(prefix.covers(each) for each in inside) or shared.front_ends.touches(prefix)):
        block = None
    if not block and not exception:
        return None
    return OverlayWanted(prefix, block.until if block else None, exception.until if exception else None)


@told
def held_back(now: datetime, inside: Sequence[Prefix], shared: Shared = NOTHING_SHARED) -> list[Standing]:
    """Live blocks that cover a prefix of `inside`, stored before the gateway was told of it, or that touch a front end
    that was published later. Never enforced."""
    found = {each.decision_id: each for prefix in inside for each in standing.covering([standing.BLOCK], prefix, now)}
    if shared.front_ends:
        found |= {each.decision_id: each for each in _touching_front_ends(shared.front_ends, now)}
    return [found[number] for number in sorted(found)]


def _touching_front_ends(front_ends: Ranges, now: datetime) -> list[Standing]:
    """Asked of all at once: there may be a hundred thousand blocks, and few of them touch."""
    blocks = [prefix for _, prefix, _ in standing.spans([standing.BLOCK], now)]
    v4, v6 = arrays.of_prefixes(blocks)
    touched4, touched6 = front_ends.touching(v4, v6)
    touched = [Prefix(4, key >> 8, key & 0xFF) for key in v4[touched4].tolist()]
    touched += [Prefix(6, high << 64 | low, length) for high, low, length in v6[touched6].tolist()]
    found = [standing.at(standing.BLOCK, prefix, now) for prefix in touched]
    return [each for each in found if each is not None]


@told
def names(now: datetime) -> list[NameWanted]:
    """All that people say of names, by name."""
    return [_name_wanted(each) for each in standing_names.live(now)]


@told
def names_at(name: str, now: datetime) -> list[NameWanted]:
    """What people say at exactly that name; nothing: nothing should stand there."""
    return [_name_wanted(each) for each in standing_names.at_name(name, now)]


def _name_wanted(each: StandingName) -> NameWanted:
    blocks = each.kind == standing.BLOCK
    return NameWanted(
        name=each.entry.name,
        scope=word(each.entry.scope),
        block_until=each.until if blocks else None,
        exception_until=None if blocks else each.until,
        rule=f"decision {each.decision_id}",
        reason=each.reason,
        source=each.actor,
    )


@told
def grants(now: datetime) -> list[GrantWanted]:
    """All live grants, by prefix."""
    return [GrantWanted(each.prefix, each.until, each.organisation) for each in standing.live([standing.GRANT], now)]


@told
def grant_at(prefix: Prefix, now: datetime) -> GrantWanted | None:
    """The live grant at exactly that prefix."""
    found = standing.at(standing.GRANT, prefix, now)
    return GrantWanted(found.prefix, found.until, found.organisation) if found else None


@told
def lists(now: datetime) -> list[ListWanted]:
    """Lists in force, by name: the newest version of each feed that was not removed, unless it has run out.

    Of one that a table of reasons divides, one for each reason.
    """
    newest = FeedVersion.objects.filter(feed=OuterRef("pk")).order_by("-id").values("pk")[:1]
    feeds = Feed.objects.filter(removed_at__isnull=True)
    versions = FeedVersion.objects.filter(pk__in=Subquery(feeds.annotate(newest=Subquery(newest)).values("newest")))
    return [
        ListWanted(
            feed=version.feed.name,
            reason=reason,
            content=content,
            fetched_at=version.fetched_at,
            until=version.until,
            source=version.feed.source,
            version_id=version.pk,
            decision_id=version.decision_id,
            observe=version.feed.observe,
        )
        for version in versions.filter(until__gt=now).select_related("feed").order_by("feed__name")
        for reason, content in sorted((version.parts or {version.feed.reason: version.content}).items())
    ]


@told
def next_list_expiry(now: datetime) -> datetime | None:
    """When the first list in force, or exclusion, runs out and the base must be compiled anew. None: there is none."""
    in_force = lists(now)
    ends = [each.until for each in in_force]
    # hosts in clouds that are let count for a day
    ends += [end for end in (each.fetched_at + CLOUD_HOST_LIFE for each in in_force) if end > now]
    exclusion = excluded.next_end(now)
    return min([*ends, exclusion] if exclusion else ends, default=None)


@told
def touching(prefix: Prefix, now: datetime) -> list[Standing]:
    """Live single entries and grants that touch `prefix`: those that cover it, longest first, then those within it."""
    kinds = (*standing.OVERLAY, standing.GRANT)
    return [*standing.covering(kinds, prefix, now), *standing.within(kinds, prefix, now, TOUCHING_MAX)]


@told
def bypass_until(now: datetime) -> datetime | None:
    """The end of the bypass that was decided last, if that is still to come."""
    last = Decision.objects.filter(kind=Kind.BYPASS).order_by("-id").first()
    return last.until if last and last.until and last.until > now else None
