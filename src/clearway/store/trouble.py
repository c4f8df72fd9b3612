"""Lists that were not renewed: since when, how often, why, and when the next try is. Gone once one is.

Kept in the database, so that a restart forgets neither the failures nor the pause that a server asked for. Imported
after `store.setup`.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from clearway.errors import ClearwayError
from clearway.store.database import told
from clearway.store.models import Feed, FetchTrouble


@told
def failed(name: str, error: ClearwayError, now: datetime, next_at: datetime | None) -> None:
    """One more fetch of a list failed. Nothing, where the list is gone meanwhile, though another may have its name."""
    if error.id == "store.E030":
        return
    with transaction.atomic():  # a schedule and a command may fail at once: both count, and neither is refused
        feed = Feed.objects.select_for_update().filter(name=name, removed_at__isnull=True).first()
        if feed is None:
            return
        row = FetchTrouble.objects.filter(feed=feed).first() or FetchTrouble(feed=feed, since=now, failures=0)
        row.at, row.failures, row.next_at = now, row.failures + 1, next_at
        row.error = error.as_json()["error"]
        row.save()


@told
def over(name: str) -> None:
    """A fetch of it succeeded."""
    FetchTrouble.objects.filter(feed__name=name).delete()


@told
def waiting(now: datetime) -> dict[str, tuple[int, float]]:
    """Of lists that failed: how often, and in how many seconds they may be tried again."""
    return {
        row.feed.name: (row.failures, max(0.0, (row.next_at - now).total_seconds()) if row.next_at else 0.0)
        for row in FetchTrouble.objects.filter(feed__removed_at__isnull=True).select_related("feed")
    }
