"""Vendors' ranges from their source to a row: fetched, judged as lists are, kept in feeds/. A decision stands first.

Called by the daemon and by the command line without one, which compile afterwards. Imported after `store.setup`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction

from clearway.config import URL_EVERY, StateDirectory, storing
from clearway.errors import ClearwayError
from clearway.feeds import files, guard, guard_rules
from clearway.feeds.fetch import fetch, is_url
from clearway.feeds.readers.content import Entries
from clearway.feeds.shared_bundle import PREFIX
from clearway.feeds.shared_reader import claimed, too_much
from clearway.feeds.shared_vendors import Vendor, vendor_of
from clearway.policy import parts
from clearway.policy.arrays import merged4
from clearway.policy.entries import open_entries
from clearway.policy.model import duration
from clearway.policy.names import StoredNames
from clearway.store import shared_ranges
from clearway.store.change import Change, stamp
from clearway.store.database import told
from clearway.store.decision_rows import answer, write
from clearway.store.models import Decision, Kind, SharedSourceRow, SharedVersionRow
from clearway.store.prepare import Progress, no_progress
from clearway.store.shared_requests import CdnAddRequest, CdnRemoveRequest, CdnUpdateRequest, StoredRanges
from clearway.store.subscribe import EVERY_MIN

EXTENT = "G6"
"""The rule of lists that hold too much; of ranges other numbers count, see shared_reader.too_much."""


@dataclass(frozen=True, slots=True)
class NewRanges:
    """Ranges that were fetched, judged and stored, about to become a version."""

    contents: dict[str, str]
    """Claim → content; empty where they were not taken, and `judgement` says why."""
    counts: dict[str, int]
    origin: str
    etag: str = ""
    last_modified: str = ""
    judgement: dict[str, Any] = field(default_factory=dict)
    row: int | None = None
    """Id of the source that they were fetched for, None for a new one: by its end another may have the name."""

    @classmethod
    def given(cls, stored: StoredRanges) -> NewRanges:
        """As the caller stored them."""
        return cls(**stored.model_dump())


@told
def prepare(
    state: StateDirectory,
    source: str,
    vendor: str,
    format: str | None,
    *,
    now: datetime,
    name: str | None = None,
    accept: str | None = None,
    progress: Progress = no_progress,
) -> NewRanges:
    """Fetches a list of ranges, has it judged, keeps what it claims. Writes no row. `name`: of a source there is.

    `accept`: a rule that a person overrules. Raises feeds.E007 to E047 where there is nothing to judge, E050 where no
    source of that name is this one any more.
    """
    row = vendor_of(vendor)
    number, last = _held(name, source, vendor) if name else (None, None)
    fetched = fetch(
        source,
        etag=last.etag if last else "",
        last_modified=last.last_modified if last else "",
        progress=lambda done, total: progress("fetch", done, total),
    )
    if last and fetched.unchanged:
        _touch(state, last.contents)
        return NewRanges(
            dict(last.contents),
            dict(last.counts),
            fetched.origin,
            fetched.etag or last.etag,
            fetched.last_modified or last.last_modified,
            dict(last.judgement),
            number,
        )
    progress("read", 0, 1)
    judgement = guard.check(
        fetched.data,
        format=format or row.format,
        origin=fetched.origin,
        now=now,
        context=guard.Context(
            last_good=_entries_of(state, last) if last else None,
            content_type=fetched.content_type,
            status=fetched.status,
            content_length=fetched.content_length,
        ),
        rules=guard_rules.RANGE_RULES,
    )
    against = {finding.rule: finding.seen for finding in judgement.findings}
    refused = _refusal(against, accept)
    if not refused:
        found = claimed(fetched.data, row, format, origin=fetched.origin)
        much = too_much(found)
        if much:
            against[EXTENT] = much
            refused = _refusal(against, accept)
    progress("read", 1, 1)
    published = None if judgement.published is None else stamp(judgement.published)
    said = {"rules": against, "accepted": accept, "rejected": judgement.rejected, "published": published}
    if refused:
        said |= {"rule": refused, "detail": against[refused]}
        return NewRanges({}, dict(judgement.counts), fetched.origin, judgement=said, row=number)
    contents = _stored(state, found.claims)
    counts = {**found.counts(), "malformed": judgement.counts.get("malformed", 0)}
    return NewRanges(contents, counts, fetched.origin, fetched.etag, fetched.last_modified, said, number)


@told
def add(
    state: StateDirectory, request: CdnAddRequest, now: datetime, actor: str, progress: Progress = no_progress
) -> Change:
    """A source and its first version; or a list of the package that counts again. Raises feeds.E046, E050 to E053,
    store.E020, policy.E004, and what `prepare` does."""
    if shared_ranges.is_bundled(request.name):
        return _switch(request.name, True, now, actor)
    source, vendor, every = check_new(request)
    if request.stored is None:
        new = prepare(state, source, vendor.name, request.format, now=now, accept=request.accept, progress=progress)
    else:
        new = NewRanges.given(request.stored)
    if not new.contents:
        raise not_taken(request.name, source, new, "add")
    with transaction.atomic():
        check_new(request)
        row = SharedSourceRow.objects.create(
            name=request.name,
            vendor=vendor.name,
            source=source if is_url(source) else new.origin,
            format=request.format or vendor.format,
            every_s=int(every.total_seconds()) if every else None,
            added_at=now,
        )
        detail = {
            "source": shared_ranges.public(row.source),
            "vendor": row.vendor,
            "format": row.format,
            "every_s": row.every_s,
        }
        write(Kind.CDN_ADD, row.name, now, actor, detail=detail)
        version = _put(row, new, now, actor)
    return _changed(row, version, True)


@told
def update(
    state: StateDirectory,
    name: str,
    request: CdnUpdateRequest,
    now: datetime,
    actor: str,
    progress: Progress = no_progress,
) -> Change:
    """A source fetched again. Raises feeds.E050, E052 (not taken: that is a row, the last good ones stay), and what
    `prepare` does."""
    row = shared_ranges.active(name)
    if request.stored is None:
        new = prepare(
            state, row.source, row.vendor, row.format, now=now, name=name, accept=request.accept, progress=progress
        )
    else:
        new = NewRanges.given(request.stored)
    if new.row not in (None, row.pk):  # removed while it was fetched, and another has its name now
        raise ClearwayError.of("feeds.E050", name=name)
    if not new.contents:
        detail = {**new.judgement, "origin": new.origin}
        write(Kind.CDN_QUARANTINE, name, now, actor, detail=detail)
        raise not_taken(name, row.source, new, "update")
    with transaction.atomic():
        last = shared_ranges.newest(row)
        version = _put(row, new, now, actor)
    return _changed(row, version, last is None or last.contents != version.contents)


@told
def remove(name: str, request: CdnRemoveRequest, now: datetime, actor: str) -> Change:
    """A source, or a list of the package, that counts no longer. Raises feeds.E050."""
    if shared_ranges.is_bundled(name):
        return _switch(name, False, now, actor, request.note)
    with transaction.atomic():
        row = shared_ranges.active(name)
        decision = write(Kind.CDN_REMOVE, name, now, actor, note=request.note)
        row.removed_at = now
        row.save(update_fields=["removed_at"])
    return Change(decision.pk, answer(decision, name=name), base_changed=True)


@told
def source_of(name: str) -> tuple[str, str, str]:
    """Source, vendor and format. Raises feeds.E050."""
    row = shared_ranges.active(name)
    return row.source, row.vendor, row.format


@told
def due(now: datetime) -> list[tuple[str, float]]:
    """Sources whose time between two fetches has passed: name, and that time in seconds."""
    found = []
    for row in SharedSourceRow.objects.filter(removed_at__isnull=True, every_s__isnull=False).order_by("name"):
        last = shared_ranges.newest(row)
        if last is None or (now - last.fetched_at).total_seconds() >= (row.every_s or 0):
            found.append((row.name, float(row.every_s or 0)))
    return found


def check_new(request: CdnAddRequest) -> tuple[str, Vendor, timedelta | None]:
    """Source, vendor and time between fetches. Raises feeds.E046, E051, E053, store.E020, policy.E004."""
    vendor = vendor_of(request.vendor or request.name)
    source = request.source or vendor.urls.get(request.name) or next(iter(vendor.urls.values()), "")
    if not source:
        raise ClearwayError.of("feeds.E053", vendor=vendor.title, name=vendor.name, note=vendor.note)
    text = request.every or (URL_EVERY.default if is_url(source) else None)
    every = duration(text) if text else None
    if every is not None and every < EVERY_MIN:
        raise ClearwayError.of("store.E020", field="every", detail="at least 1m", command="clearway cdn add")
    held = SharedSourceRow.objects.filter(name=request.name, removed_at__isnull=True).first()
    if held is not None:
        raise ClearwayError.of("feeds.E051", name=held.name, source=shared_ranges.public(held.source))
    if request.name.startswith(PREFIX):
        raise ClearwayError.of("feeds.E050", name=request.name)
    return source, vendor, every


def not_taken(name: str, source: str, new: NewRanges, command: str) -> ClearwayError:
    """feeds.E052."""
    said = new.judgement
    shown = shared_ranges.public(source)
    return ClearwayError.of(
        "feeds.E052", name=name, rule=said["rule"], detail=said["detail"], source=shown, command=command
    )


def document(new: NewRanges) -> dict[str, Any]:
    """For StoredRanges."""
    return asdict(new)


def _held(name: str, source: str, vendor: str) -> tuple[int, SharedVersionRow | None]:
    """Id and newest version of the source that these are of. Raises feeds.E050."""
    row = shared_ranges.active(name)
    if (row.source, row.vendor) != (source, vendor):
        raise ClearwayError.of("feeds.E050", name=name)
    return row.pk, shared_ranges.newest(row)


def _refusal(against: dict[str, str], accept: str | None) -> str | None:
    """The first rule that speaks against it and was not overruled."""
    return next((rule for rule in against if rule != accept), None)


def _entries_of(state: StateDirectory, last: SharedVersionRow) -> guard.HasEntries | None:
    """All that a version holds; None where that is damaged: then nothing can be held against it."""
    try:
        claims = [open_entries(state.feeds / content) for content in last.contents.values()]
    except ClearwayError:
        return None
    v4 = merged4([each.v4 for each in claims])
    return Entries(v4, np.unique(np.concatenate([each.v6 for each in claims]), axis=0), StoredNames())


def _stored(state: StateDirectory, claims: Any) -> dict[str, str]:
    with storing(state.path):
        kept = {claim.value: files.store(state.feeds, ranges) for claim, ranges in claims.items()}
    contents = {claim: stored.hash for claim, stored in kept.items()}
    _touch(state, contents)
    return contents


def _touch(state: StateDirectory, contents: dict[str, str]) -> None:
    """Counts from now as unused, should nobody write their row."""
    with storing(state.path):
        for content in contents.values():
            parts.keep_fresh(state.feeds / content)
            state.adopt(state.feeds / content)


def _put(row: SharedSourceRow, new: NewRanges, now: datetime, actor: str) -> SharedVersionRow:
    """The newest version from now on. Within a transaction."""
    last = shared_ranges.newest(row)
    before = None if last is None else last.before if last.contents == new.contents else last.pk
    detail = {"contents": new.contents, "counts": new.counts, "origin": new.origin}
    if new.judgement.get("accepted"):
        detail["accepted"] = new.judgement["accepted"]
    decision = write(Kind.CDN_VERSION, row.name, now, actor, detail=detail)
    version = SharedVersionRow(
        source=row,
        decision=decision,
        before=before,
        contents=new.contents,
        fetched_at=now,
        counts=new.counts,
        origin=new.origin,
        etag=new.etag,
        last_modified=new.last_modified,
        judgement=new.judgement,
    )
    version.save()
    return version


def _changed(row: SharedSourceRow, version: SharedVersionRow, changed: bool) -> Change:
    told = answer(
        version.decision,
        name=row.name,
        vendor=row.vendor,
        source=shared_ranges.public(row.source),
        counts=version.counts,
    )
    return Change(version.decision.pk, {**told, "unchanged": not changed}, base_changed=changed)


def _switch(name: str, on: bool, now: datetime, actor: str, note: str = "") -> Change:
    """A list of the package counts, or does not."""
    with transaction.atomic():
        off = SharedSourceRow.objects.filter(name=name, removed_at__isnull=True).first()
        if on == (off is None):
            raise (
                ClearwayError.of("feeds.E051", name=name, source="comes with Clearway")
                if on
                else ClearwayError.of("feeds.E050", name=name)
            )
        decision: Decision = write(Kind.CDN_ADD if on else Kind.CDN_REMOVE, name, now, actor, note=note)
        if off is not None:
            off.removed_at = now
            off.save(update_fields=["removed_at"])
        else:
            SharedSourceRow.objects.create(
                name=name, vendor="", source="", format=shared_ranges.OFF, every_s=None, added_at=now
            )
    return Change(decision.pk, answer(decision, name=name), base_changed=True)
