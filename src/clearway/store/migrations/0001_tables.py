"""The tables, and the triggers that keep Decision and FeedVersion append-only whoever holds the connection."""

from typing import ClassVar

import django.db.models.deletion
from django.db import NotSupportedError, migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

APPEND_ONLY = ("decision", "feed_version")


def keep_append_only(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Lets the database itself refuse to change or delete a row."""
    vendor = editor.connection.vendor
    if vendor == "sqlite":
        for table in APPEND_ONLY:
            for event in ("UPDATE", "DELETE"):
                editor.execute(
                    f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table}: rows are never changed or deleted'); END"
                )
            # INSERT OR REPLACE deletes what it replaces without firing a delete trigger.
            taken = "id = NEW.id" if table == "decision" else "id = NEW.id OR decision_id = NEW.decision_id"
            editor.execute(
                f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
                f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {taken}) "
                f"BEGIN SELECT RAISE(ABORT, '{table}: rows are never changed or deleted'); END"
            )
    elif vendor == "postgresql":
        editor.execute(
            "CREATE FUNCTION clearway_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION '%: rows are never changed or deleted', TG_TABLE_NAME; END $$",
            params=None,  # no placeholders: the % is PL/pgSQL's
        )
        for table in APPEND_ONLY:
            editor.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION clearway_append_only()"
            )
    else:
        raise NotSupportedError(f"append-only tables are not held on {vendor}")


class Migration(migrations.Migration):
    """Decision, Standing, Feed, FeedVersion."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="Decision",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("actor", models.CharField(max_length=255)),
                ("kind", models.CharField(max_length=16)),
                ("target", models.CharField(blank=True, max_length=255)),
                ("reason", models.CharField(blank=True, max_length=32)),
                ("until", models.DateTimeField(null=True)),
                ("organisation", models.CharField(blank=True, max_length=255)),
                ("note", models.TextField(blank=True)),
                ("detail", models.JSONField(default=dict)),
            ],
            options={
                "db_table": "decision",
                "indexes": [models.Index(fields=["target", "id"], name="decision_target")],
            },
        ),
        migrations.CreateModel(
            name="Feed",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=64)),
                ("source", models.CharField(max_length=2048)),
                ("format", models.CharField(max_length=32)),
                ("reason", models.CharField(max_length=32)),
                ("every_s", models.PositiveBigIntegerField(null=True)),
                ("life_s", models.PositiveBigIntegerField()),
                ("added_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "feed",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("removed_at__isnull", True)), fields=("name",), name="feed_name_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FeedVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("content", models.CharField(max_length=64)),
                ("fetched_at", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("counts", models.JSONField(default=dict)),
                ("origin", models.CharField(max_length=2048)),
                ("etag", models.CharField(blank=True, max_length=255)),
                ("last_modified", models.CharField(blank=True, max_length=64)),
                (
                    "decision",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="store.decision"
                    ),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.feed",
                    ),
                ),
            ],
            options={
                "db_table": "feed_version",
                "indexes": [models.Index(fields=["feed", "-id"], name="feed_version_newest")],
            },
        ),
        migrations.CreateModel(
            name="StandingRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=16)),
                ("target", models.CharField(max_length=64)),
                ("first", models.CharField(max_length=32)),
                ("length", models.SmallIntegerField()),
                ("until", models.DateTimeField()),
                (
                    "decision",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.decision",
                    ),
                ),
            ],
            options={
                "db_table": "standing",
                "indexes": [
                    models.Index(fields=["first"], name="standing_first"),
                    models.Index(fields=["kind", "until"], name="standing_until"),
                ],
                "constraints": [models.UniqueConstraint(fields=("target", "kind"), name="standing_once")],
            },
        ),
        migrations.RunPython(keep_append_only, migrations.RunPython.noop),
    ]
