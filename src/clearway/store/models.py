"""Tables. Decision, FeedVersion and Quarantine only grow: triggers in the database refuse anything else, and so do
their classes.

StandingRow, StandingNameRow, ExcludedRow and ProtectedRow are a reading of Decision kept at hand (what is in force
now), written in the same transaction; replaying all decisions gives the same rows. A thief of the database learns what
the public is told anyway, notes, and the keys that stand in Feed.source and Feed.settings (a proxy's), the columns that
have them; a removed list keeps its row. Whoever could write to it could change what is enforced at the next start: it
is not readable or writable by others.
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
    FEED_QUARANTINE = "feed-quarantine"
    FEED_RELEASE = "feed-release"
    FEED_DISCARD = "feed-discard"
    FEED_ENFORCE = "feed-enforce"
    FEED_OBSERVE = "feed-observe"
    FEED_ROLLBACK = "feed-rollback"
    FEED_EXCLUDE = "feed-exclude"
    FEED_INCLUDE = "feed-include"
    FEED_SETTINGS = "feed-settings"
    PROTECT = "protect"
    UNPROTECT = "unprotect"
    BYPASS = "bypass"
    CDN_ADD = "cdn-add"
    CDN_VERSION = "cdn-version"
    CDN_REMOVE = "cdn-remove"
    CDN_QUARANTINE = "cdn-quarantine"


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
    backwards: models.CharField[str, str] = models.CharField(
        max_length=506
    )  # the name from its end, two hexadecimal digits a byte: all below a name begin alike, in every collation
    scope: models.CharField[str, str] = models.CharField(max_length=8)  # exact, below or subtree
    until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    decision: models.ForeignKey[Decision, Decision] = models.ForeignKey(
        Decision, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        db_table = "standing_name"
        constraints: ClassVar = [models.UniqueConstraint(fields=["name", "kind"], name="standing_name_once")]
        indexes: ClassVar = [
            models.Index(fields=["kind", "until"], name="standing_name_until"),
            models.Index(fields=["kind", "backwards"], name="standing_name_backwards"),
        ]


class ExcludedRow(models.Model):
    """An address, prefix or name that no list may refuse until then; an expired one stays until it is swept."""

    target: models.CharField[str, str] = models.CharField(max_length=255, unique=True)
    scope: models.CharField[str, str] = models.CharField(max_length=8, blank=True)  # of a name; "" of a prefix
    until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    decision_id: int
    decision: models.ForeignKey[Decision, Decision] = models.ForeignKey(
        Decision, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        db_table = "excluded"


class ProtectedRow(models.Model):
    """What the operator protects from lists beside what comes with the package, or (`removed`) does not want protected
    of that."""

    target: models.CharField[str, str] = models.CharField(max_length=255, unique=True)
    removed: models.BooleanField[bool, bool] = models.BooleanField(default=False)
    decision: models.ForeignKey[Decision, Decision] = models.ForeignKey(
        Decision, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        db_table = "protected"


class Feed(models.Model):
    """A list from elsewhere. Written again, after a decision that says so: removed_at, observe, every_s, life_s and
    settings; a name may come back as another row."""

    name: models.CharField[str, str] = models.CharField(max_length=64)
    source: models.CharField[str, str] = models.CharField(max_length=2048)
    format: models.CharField[str, str] = models.CharField(max_length=255)
    reason: models.CharField[str, str] = models.CharField(max_length=32)
    every_s: models.PositiveBigIntegerField[int | None, int | None] = models.PositiveBigIntegerField(
        null=True
    )  # null: fetched when somebody asks
    life_s: models.PositiveBigIntegerField[int, int] = models.PositiveBigIntegerField()
    added_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    removed_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    settings: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)  # FeedSettings
    observe: models.BooleanField[bool, bool] = models.BooleanField(default=False)

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
    decision_id: int
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
    parts: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField(
        default=dict
    )  # reason → content, where a table of reasons divides the list; `content` has all of them
    judgement: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)  # change.Judged
    first: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(
        null=True
    )  # decision of the first of the rows, one behind the other, that have this content

    objects = AppendOnlyRows.as_manager()

    class Meta:
        db_table = "feed_version"
        indexes: ClassVar = [models.Index(fields=["feed", "-id"], name="feed_version_newest")]


class Quarantine(AppendOnly):
    """What a list would have become, and the rule that kept it from that. What people said of it stands in Decision."""

    feed: models.ForeignKey[Feed, Feed] = models.ForeignKey(
        Feed, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decision_id: int
    decision: models.OneToOneField[Decision, Decision] = models.OneToOneField(
        Decision, on_delete=models.PROTECT, related_name="+"
    )
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    content: models.CharField[str, str] = models.CharField(max_length=64, blank=True)  # "": it has no entries to keep
    parts: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField(default=dict)
    counts: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    origin: models.CharField[str, str] = models.CharField(max_length=2048)
    sha256: models.CharField[str, str] = models.CharField(max_length=64)  # of the bytes as they came
    judgement: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    objects = AppendOnlyRows.as_manager()

    class Meta:
        db_table = "feed_quarantine"
        indexes: ClassVar = [models.Index(fields=["feed", "-id"], name="feed_quarantine_newest")]


class FetchTrouble(models.Model):
    """A list whose last fetch failed; gone with the next one that does not. No decision: what the network did."""

    feed_id: int
    feed: models.OneToOneField[Feed, Feed] = models.OneToOneField(Feed, on_delete=models.CASCADE, related_name="+")
    since: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    failures: models.PositiveIntegerField[int, int] = models.PositiveIntegerField()
    error: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    next_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    class Meta:
        db_table = "feed_trouble"


class SharedSourceRow(models.Model):
    """Where a vendor's address ranges come from. Only removed_at is ever written again, as of Feed."""

    name: models.CharField[str, str] = models.CharField(max_length=64)
    vendor: models.CharField[str, str] = models.CharField(max_length=64)  # of feeds.shared_vendors
    source: models.CharField[str, str] = models.CharField(max_length=2048)
    format: models.CharField[str, str] = models.CharField(max_length=255)
    every_s: models.PositiveBigIntegerField[int | None, int | None] = models.PositiveBigIntegerField(
        null=True
    )  # null: fetched when somebody asks
    added_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    removed_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    class Meta:
        db_table = "shared_source"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(removed_at__isnull=True), name="shared_source_name_once"
            )
        ]


class SharedVersionRow(AppendOnly):
    """What a vendor's list held when it was fetched: the ranges of each claim lie in feeds/ by their content hash."""

    source: models.ForeignKey[SharedSourceRow, SharedSourceRow] = models.ForeignKey(
        SharedSourceRow, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decision: models.OneToOneField[Decision, Decision] = models.OneToOneField(
        Decision, on_delete=models.PROTECT, related_name="+"
    )
    before: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(
        null=True
    )  # id of the last version with other ranges: both count
    contents: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField(default=dict)  # claim → hash
    fetched_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    counts: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    origin: models.CharField[str, str] = models.CharField(max_length=2048)
    etag: models.CharField[str, str] = models.CharField(max_length=255, blank=True)
    last_modified: models.CharField[str, str] = models.CharField(max_length=64, blank=True)
    judgement: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    objects = AppendOnlyRows.as_manager()

    class Meta:
        db_table = "shared_version"
        indexes: ClassVar = [models.Index(fields=["source", "-id"], name="shared_version_newest")]
