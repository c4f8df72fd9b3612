"""Address ranges that many share: where they come from, and their versions."""

from typing import Any, ClassVar

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def keep_append_only(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """The triggers that 0001 gave the other tables that only grow."""
    if editor.connection.vendor == "postgresql":
        editor.execute(
            "CREATE TRIGGER shared_version_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shared_version "
            "FOR EACH STATEMENT EXECUTE FUNCTION clearway_append_only()"
        )
        return
    refuse = "BEGIN SELECT RAISE(ABORT, 'shared_version: rows are never changed or deleted'); END"
    for event in ("UPDATE", "DELETE"):
        editor.execute(f"CREATE TRIGGER shared_version_no_{event.lower()} BEFORE {event} ON shared_version {refuse}")
    editor.execute(
        "CREATE TRIGGER shared_version_no_replace BEFORE INSERT ON shared_version WHEN EXISTS "
        f"(SELECT 1 FROM shared_version WHERE id = NEW.id OR decision_id = NEW.decision_id) {refuse}"
    )


def _id() -> "tuple[str, models.Field[Any, Any]]":
    return ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))


class Migration(migrations.Migration):
    dependencies: ClassVar = [("store", "0004_guarded_lists")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="SharedSourceRow",
            fields=[
                _id(),
                ("name", models.CharField(max_length=64)),
                ("vendor", models.CharField(max_length=64)),
                ("source", models.CharField(max_length=2048)),
                ("format", models.CharField(max_length=255)),
                ("every_s", models.PositiveBigIntegerField(null=True)),
                ("added_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "shared_source",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("removed_at__isnull", True)),
                        fields=("name",),
                        name="shared_source_name_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SharedVersionRow",
            fields=[
                _id(),
                ("before", models.BigIntegerField(null=True)),
                ("contents", models.JSONField(default=dict)),
                ("fetched_at", models.DateTimeField()),
                ("counts", models.JSONField(default=dict)),
                ("origin", models.CharField(max_length=2048)),
                ("etag", models.CharField(blank=True, max_length=255)),
                ("last_modified", models.CharField(blank=True, max_length=64)),
                ("judgement", models.JSONField(default=dict)),
                (
                    "decision",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="store.decision"
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.sharedsourcerow",
                    ),
                ),
            ],
            options={
                "db_table": "shared_version",
                "indexes": [models.Index(fields=["source", "-id"], name="shared_version_newest")],
            },
        ),
        migrations.RunPython(keep_append_only, migrations.RunPython.noop),
    ]
