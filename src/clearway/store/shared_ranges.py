"""Which addresses many share, as it counts now: the last two versions of each source, and what comes with the package.

What a vendor's own sources hold takes the place of what the package has of that vendor, IP version by IP version. A
version counts until the next but one: a range that was withdrawn, or lost by a broken update, is spared for one version
more. Nothing runs out: a source that fails keeps its last good, and its age is shown. Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.db.models import OuterRef, Subquery

from clearway.config import StateDirectory, storing
from clearway.errors import ClearwayError
from clearway.feeds import files
from clearway.feeds.shared_bundle import PREFIX, Bundled, bundled
from clearway.policy import entries
from clearway.policy.shared import Shared
from clearway.policy.shared_sources import Claim, HasRanges, SharedRanges, SharedRecord, SharedSource
from clearway.store.change import stamp
from clearway.store.database import told
from clearway.store.models import Decision, Kind, SharedSourceRow, SharedVersionRow

OFF = "off"
"""`format` of the row that says that a list of the package does not count."""
Version = tuple[str, str, str, datetime, tuple[tuple[str, str], ...]]
"""Name, vendor, source, time, (claim, content)."""


@told
def in_force(state: StateDirectory) -> SharedRanges:
    """What counts now. Ranges that cannot be read count no longer, and `rows` says so."""
    return _made(state.feeds, tuple(_versions()), frozenset(_switched_off()))


@told
def shared_now(state: StateDirectory) -> Shared:
    """The classes of in_force."""
    return in_force(state).shared


@told
def record(state: StateDirectory, ranges: SharedRanges) -> SharedRecord:
    """For a snapshot that is compiled under `ranges`: keeps in feeds/ what has its ranges in the package alone."""
    sources = []
    with storing(state.path):
        for source, claims in ranges.held:
            contents = dict(source.contents)
            for claim, held in claims.items():
                if claim not in contents:
                    stored = files.store(state.feeds, held)
                    state.adopt(stored.path)
                    contents[claim] = stored.hash
            sources.append(replace(source, contents=contents))
    return SharedRecord(ranges.content, tuple(sources)) if sources else SharedRecord()


@told
def contents() -> set[str]:
    """Folders in feeds/ that versions which count need."""
    return {content for _, _, _, _, claims in _versions() for _, content in claims}


@told
def rows(state: StateDirectory, now: datetime) -> list[dict[str, Any]]:
    """Each source that counts, or could: where it is from, how old, what it claims. For `cdn list` and `status`."""
    off = frozenset(_switched_off())
    counting = {source.name for source in in_force(state).sources}
    own = _active()
    held = counted(own)
    found = [_row_of(state, row, held.get(row.pk, [])) for row in own]
    for each in bundled():
        found.append(
            {
                "name": each.name,
                "vendor": each.vendor,
                "source": each.source.source,
                "class": [each.claim.value],
                "counts": {each.claim.value: len(each.v4) + len(each.v6)},
                "fetched_at": None,
                "published": stamp(each.published),
                "every_s": None,
                "versions": 1,
                "counts_now": each.name in counting,
                "removed": each.name in off,
                "problem": None,
                "rejected": None,
            }
        )
    return found


def active(name: str) -> SharedSourceRow:
    """The source of that name. Raises feeds.E050."""
    row = SharedSourceRow.objects.filter(name=name, removed_at__isnull=True).exclude(format=OFF).first()
    if row is None:
        raise ClearwayError.of("feeds.E050", name=name)
    return row


def newest(source: SharedSourceRow) -> SharedVersionRow | None:
    """Its newest version."""
    found: SharedVersionRow | None = SharedVersionRow.objects.filter(source=source).order_by("-id").first()
    return found


def counted(sources: Sequence[SharedSourceRow]) -> dict[int, list[SharedVersionRow]]:
    """The versions that count of each source, by its id, the newest first. In two questions for all of them."""
    last = SharedVersionRow.objects.filter(source=OuterRef("pk")).order_by("-id").values("pk")[:1]
    ids = SharedSourceRow.objects.filter(pk__in=[row.pk for row in sources]).annotate(last=Subquery(last))
    newest_ones = list(SharedVersionRow.objects.filter(pk__in=ids.values("last")).select_related("source", "decision"))
    before = SharedVersionRow.objects.in_bulk([each.before for each in newest_ones if each.before is not None])
    return {each.source.pk: [each, *([before[each.before]] if each.before in before else [])] for each in newest_ones}


def public(source: str) -> str:
    """As it may be shown: without keys."""
    from clearway.feeds.source_words import shown

    return shown(source)


def _active() -> list[SharedSourceRow]:
    return list(SharedSourceRow.objects.filter(removed_at__isnull=True).exclude(format=OFF).order_by("name"))


def _switched_off() -> list[str]:
    return list(SharedSourceRow.objects.filter(removed_at__isnull=True, format=OFF).values_list("name", flat=True))


def _versions() -> list[Version]:
    rows = _active()
    versions = counted(rows) if rows else {}
    return [
        (row.name, row.vendor, public(row.source), version.fetched_at, tuple(sorted(version.contents.items())))
        for row in rows
        for version in versions.get(row.pk, [])
    ]


@lru_cache(maxsize=4)
def _made(feeds: Path, versions: tuple[Version, ...], off: frozenset[str]) -> SharedRanges:
    fetched = _opened(feeds, versions)
    own = [(each.source, {each.claim: each}) for each in _bundled(_vendor_versions(fetched), off)]
    return SharedRanges([*fetched, *own])


def _opened(feeds: Path, versions: Sequence[Version]) -> list[tuple[SharedSource, Mapping[Claim, HasRanges]]]:
    opened: list[tuple[SharedSource, Mapping[Claim, HasRanges]]] = []
    for name, vendor, source, since, claims in versions:
        contents = {Claim(claim): content for claim, content in claims}
        try:
            ranges = {claim: entries.open_entries(feeds / content) for claim, content in contents.items()}
        except ClearwayError:
            continue  # `rows` tells; what the package has of the vendor counts again
        opened.append((SharedSource(name, vendor, source, since, contents), ranges))
    return opened


def _vendor_versions(opened: Sequence[tuple[SharedSource, Mapping[Claim, HasRanges]]]) -> set[tuple[str, int]]:
    """Vendor and IP version of what was fetched."""
    return {
        (source.vendor, version)
        for source, claims in opened
        for ranges in claims.values()
        for version, array in ((4, ranges.v4), (6, ranges.v6))
        if len(array)
    }


def _bundled(fetched: set[tuple[str, int]], off: frozenset[str]) -> list[Bundled]:
    """Of the package what counts."""
    return [
        each
        for each in bundled()
        if each.name not in off and not all((each.vendor, version) in fetched for version in each.versions)
    ]


def _row_of(state: StateDirectory, row: SharedSourceRow, versions: list[SharedVersionRow]) -> dict[str, Any]:
    last = versions[0] if versions else None
    problem = None
    for version in versions:
        for content in version.contents.values():
            try:
                entries.open_entries(state.feeds / content, verify=False)
            except ClearwayError as error:
                problem = error.message
    return {
        "name": row.name,
        "vendor": row.vendor,
        "source": public(row.source),
        "class": sorted(last.contents) if last else [],
        "counts": {key: last.counts.get(key, 0) for key in sorted(last.contents)} if last else {},
        "fetched_at": stamp(last.fetched_at) if last else None,
        "published": last.judgement.get("published") if last else None,
        "every_s": row.every_s,
        "versions": len(versions),
        "counts_now": bool(versions) and problem is None,
        "removed": False,
        "problem": problem,
        "rejected": _rejected(row, last),
    }


def _rejected(row: SharedSourceRow, last: SharedVersionRow | None) -> dict[str, Any] | None:
    """What was not taken since the newest version."""
    held = Decision.objects.filter(kind=Kind.CDN_QUARANTINE, target=row.name, at__gte=row.added_at)
    if last is not None:
        held = held.filter(pk__gt=last.decision.pk)
    found = held.order_by("-id").first()
    return {"at": stamp(found.at), "decision": found.pk, **found.detail} if found else None


def is_bundled(name: str) -> bool:
    """Whether that is a list of the package. Raises feeds.E050 where the name says so and there is none."""
    if not name.startswith(PREFIX):
        return False
    if all(each.name != name for each in bundled()):
        raise ClearwayError.of("feeds.E050", name=name)
    return True
