"""What is set for a list, changed by a decision: how often it is fetched, how long it lives, FeedSettings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from clearway.errors import ClearwayError
from clearway.feeds import guard_rules
from clearway.feeds.feed_settings import FeedSettings
from clearway.store.change import Change
from clearway.store.database import told
from clearway.store.models import Feed, Kind
from clearway.store.requests import PATTERNS, FeedSetRequest
from clearway.store.subscribe import about, active, decide, settings_document, settings_of, times

TABLES = ("thresholds", "reasons")
"""Fields that are merged key by key."""


@told
def feed_set(name: str, request: FeedSetRequest, now: datetime, actor: str) -> Change:
    """Changes settings; each holds from the next fetch, which reads and judges the list anew.

    Raises store.E020 (a value that cannot be, a reason for a list that has none or a table), E030, policy.E004.
    """
    with transaction.atomic():
        feed = active(name)
        settings = changed(settings_of(feed), request.settings)
        if bool(feed.reason) == bool(settings.reasons):
            detail = "a list has one reason or a table of them, as it was added; add it anew under another name"
            raise ClearwayError.of("store.E020", field="reasons", detail=detail, command="feed set")
        before = _shown(feed)
        if request.every is not None or request.life is not None:
            every_before = f"{feed.every_s}s" if feed.every_s else None
            every, life = times(
                feed.source,
                every_before if request.every is None else request.every or None,
                f"{feed.life_s}s" if request.life is None else request.life or None,
            )
            feed.every_s = int(every.total_seconds()) if every else None
            feed.life_s = int(life.total_seconds())
        feed.settings = settings_document(settings)
        after = _shown(feed)
        both = {"before": before, "after": after}
        row = decide(Kind.FEED_SETTINGS, feed, now, actor, note=request.note, detail=both)
        feed.save(update_fields=["every_s", "life_s", "settings"])
    return Change(row.pk, about(feed, row) | after | {"changed": before != after})


def changed(settings: FeedSettings, changes: dict[str, Any]) -> FeedSettings:
    """Raises store.E020 with the field that is wrong, policy.E006 for a reason that is none, feeds.E025, E026."""
    document = settings.model_dump()
    for field, value in changes.items():
        if value is None:
            document.pop(field, None)
        elif field in TABLES and isinstance(value, dict):
            merged = {**document.get(field, {}), **value}
            document[field] = {key: each for key, each in merged.items() if each is not None}
        else:
            document[field] = value
    try:
        made = FeedSettings.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "settings"
        told = PATTERNS.get(f"settings.{field}") if first["type"] == "string_pattern_mismatch" else None
        detail = told or first["msg"].removeprefix("Value error, ")
        raise ClearwayError.of("store.E020", field=field, detail=detail, command="feed set") from None
    guard_rules.checked(made.thresholds)
    return made


def _shown(feed: Feed) -> dict[str, Any]:
    return {"every_s": feed.every_s, "life_s": feed.life_s, "settings": feed.settings}
