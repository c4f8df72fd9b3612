"""Tables. Decision and FeedVersion only grow: triggers in the database refuse anything else, and so do their classes.

StandingRow and StandingNameRow are a reading of Decision kept at hand (what is in force now, by prefix and by name),
written in the same transaction; replaying all decisions gives the same rows. A thief of the database learns what the
public is told anyway, notes, and the keys that stand in Feed.source, the one column that has them; a removed list keeps
its row. Whoever could write to it could change what is enforced at the next start: it is not readable or writable by
others.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from django.db import models

from clearway.errors import ClearwayError


class Kind(models.TextChoices):
    """Closed list of what can be decided."""

    BLOCK = "block"
    UNBLOCK = "unblock"
    EXCEPTION = "exception"
    GRANT = "grant"
    REVOKE = "revoke"
    FEED_ADD = "feed-add"
    FEED_VERSION = "feed-version"
    FEED_REMOVE = "feed-remove"
    BYPASS = "bypass"


class AppendOnly(models.Model):
    """Rows are inserted and never changed. Raises store.E006."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            self._refuse()
        super().save(*args, **{**options, "force_insert": True})

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ClearwayError.of("store.E006", table=self._meta.db_table)


class AppendOnlyRows(models.QuerySet[Any]):
    """The same for whole sets of rows."""

    def update(self, **values: Any) -> NoReturn:
        raise ClearwayError.of("store.E006", table=self.model._meta.db_table)

    def delete(self) -> NoReturn:
        raise ClearwayError.of("store.E006", table=self.model._meta.db_table)

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None) -> NoReturn:
        raise ClearwayError.of("store.E006", table=self.model._meta.db_table)


class Decision(AppendOnly):
    """Who decided what, when, until when. Its id is its place in the history."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    actor: models.CharField[str, str] = models.CharField(max_length=255)
    kind: models.CharField[str, str] = models.CharField(max_length=16)  # of Kind
    target: models.CharField[str, str] = models.CharField(
        max_length=255, blank=True
    )  # a prefix, a name, or a list's name
    reason: models.CharField[str, str] = models.CharField(max_length=32, blank=True)
    until: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    organisation: models.CharField[str, str] = models.CharField(max_length=255, blank=True)
    note: models.TextField[str, str] = models.TextField(blank=True)
    detail: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    objects = AppendOnlyRows.as_manager()

    class Meta:
        db_table = "decision"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~models.Q(kind="block") | (~models.Q(reason="") & models.Q(until__isnull=False)),
                name="decision_block_has_reason_and_end",
            )
        ]
        indexes: ClassVar = [models.Index(fields=["target", "id"], name="decision_target")]


class StandingRow(models.Model):
    """One single entry or grant that a decision put in force; an expired one stays until it is swept."""

    kind: models.CharField[str, str] = models.CharField(max_length=16)  # block, exception or grant
    target: models.CharField[str, str] = models.CharField(max_length=64)  # the prefix as text
    first: models.CharField[str, str] = models.CharField(
        max_length=32
    )  # its first address in 32 hexadecimal digits, IPv4 mapped: sorts as numbers do
    length: models.SmallIntegerField[int, int] = models.SmallIntegerField()  # IPv4 96 longer
    until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    decision: models.ForeignKey[Decision, Decision] = models.ForeignKey(
        Decision, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        db_table = "standing"
        constraints: ClassVar = [models.UniqueConstraint(fields=["target", "kind"], name="standing_once")]
        indexes: ClassVar = [
            models.Index(fields=["first"], name="standing_first"),
            models.Index(fields=["kind", "until"], name="standing_until"),
        ]


class StandingNameRow(models.Model):
    """The same for names: at one name at most one block and one exception."""

    kind: models.CharField[str, str] = models.CharField(max_length=16)  # block or exception
    name: models.CharField[str, str] = models.CharField(max_length=253)  # canonical
    scope: models.CharField[str, str] = models.CharField(max_length=8)  # exact, below or subtree
    until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    decision: models.ForeignKey[Decision, Decision] = models.ForeignKey(
        Decision, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        db_table = "standing_name"
        constraints: ClassVar = [models.UniqueConstraint(fields=["name", "kind"], name="standing_name_once")]
        indexes: ClassVar = [models.Index(fields=["kind", "until"], name="standing_name_until")]


class Feed(models.Model):
    """A list from elsewhere. Only removed_at is ever written again; a name may come back as another row."""

    name: models.CharField[str, str] = models.CharField(max_length=64)
    source: models.CharField[str, str] = models.CharField(max_length=2048)
    format: models.CharField[str, str] = models.CharField(max_length=32)
    reason: models.CharField[str, str] = models.CharField(max_length=32)
    every_s: models.PositiveBigIntegerField[int | None, int | None] = models.PositiveBigIntegerField(
        null=True
    )  # null: fetched when somebody asks
    life_s: models.PositiveBigIntegerField[int, int] = models.PositiveBigIntegerField()
    added_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    removed_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    class Meta:
        db_table = "feed"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], condition=models.Q(removed_at__isnull=True), name="feed_name_once")
        ]


class FeedVersion(AppendOnly):
    """What a list held when it was fetched: the entries lie in feeds/ under their content hash."""

    feed: models.ForeignKey[Feed, Feed] = models.ForeignKey(
        Feed, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decision: models.OneToOneField[Decision, Decision] = models.OneToOneField(
        Decision, on_delete=models.PROTECT, related_name="+"
    )
    content: models.CharField[str, str] = models.CharField(max_length=64)
    fetched_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    counts: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    origin: models.CharField[str, str] = models.CharField(max_length=2048)
    etag: models.CharField[str, str] = models.CharField(max_length=255, blank=True)
    last_modified: models.CharField[str, str] = models.CharField(max_length=64, blank=True)

    objects = AppendOnlyRows.as_manager()

    class Meta:
        db_table = "feed_version"
        indexes: ClassVar = [models.Index(fields=["feed", "-id"], name="feed_version_newest")]
