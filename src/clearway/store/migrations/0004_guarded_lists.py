"""Lists that are judged: quarantine, settings, parts by reason, what is excluded and protected, failed fetches."""

from typing import Any, ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLES = ("feed_version", "feed_quarantine")


def keep_append_only(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """The triggers of 0001: SQLite has new columns only in a new table, and they went with the old one."""
    if editor.connection.vendor == "postgresql":
        editor.execute(
            "CREATE TRIGGER feed_quarantine_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON feed_quarantine "
            "FOR EACH STATEMENT EXECUTE FUNCTION clearway_append_only()"
        )
        return
    for table in TABLES:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table}: rows are never changed or deleted'); END"
        for event in ("UPDATE", "DELETE"):
            editor.execute(f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} {refuse}")
        taken = "id = NEW.id OR decision_id = NEW.decision_id"
        editor.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {taken}) {refuse}"
        )


def _decision() -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="store.decision"
    )


def _id() -> "tuple[str, models.Field[Any, Any]]":
    return ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))


class Migration(migrations.Migration):
    dependencies: ClassVar = [("store", "0003_standing_name")]

    operations: ClassVar = [
        migrations.AlterField("feed", "format", models.CharField(max_length=255)),
        migrations.AddField("feed", "settings", models.JSONField(default=dict)),
        migrations.AddField("feed", "observe", models.BooleanField(default=False)),
        migrations.AddField("feedversion", "parts", models.JSONField(default=dict)),
        migrations.AddField("feedversion", "judgement", models.JSONField(default=dict)),
        migrations.AddField("feedversion", "first", models.BigIntegerField(null=True)),
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                _id(),
                ("at", models.DateTimeField()),
                ("content", models.CharField(blank=True, max_length=64)),
                ("parts", models.JSONField(default=dict)),
                ("counts", models.JSONField(default=dict)),
                ("origin", models.CharField(max_length=2048)),
                ("sha256", models.CharField(max_length=64)),
                ("judgement", models.JSONField(default=dict)),
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
                "db_table": "feed_quarantine",
                "indexes": [models.Index(fields=["feed", "-id"], name="feed_quarantine_newest")],
            },
        ),
        migrations.CreateModel(
            name="ExcludedRow",
            fields=[
                _id(),
                ("target", models.CharField(max_length=255, unique=True)),
                ("scope", models.CharField(blank=True, max_length=8)),
                ("until", models.DateTimeField()),
                ("decision", _decision()),
            ],
            options={"db_table": "excluded"},
        ),
        migrations.CreateModel(
            name="ProtectedRow",
            fields=[
                _id(),
                ("target", models.CharField(max_length=255, unique=True)),
                ("removed", models.BooleanField(default=False)),
                ("decision", _decision()),
            ],
            options={"db_table": "protected"},
        ),
        migrations.CreateModel(
            name="FetchTrouble",
            fields=[
                _id(),
                ("since", models.DateTimeField()),
                ("at", models.DateTimeField()),
                ("failures", models.PositiveIntegerField()),
                ("error", models.JSONField(default=dict)),
                ("next_at", models.DateTimeField(null=True)),
                (
                    "feed",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="store.feed"
                    ),
                ),
            ],
            options={"db_table": "feed_trouble"},
        ),
        migrations.RunPython(keep_append_only, migrations.RunPython.noop),
    ]
