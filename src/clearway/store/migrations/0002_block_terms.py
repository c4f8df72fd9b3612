"""A block without a reason or an end is refused by the database too."""

from typing import ClassVar

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def keep_append_only(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """The triggers of 0001 again: SQLite has a new constraint only in a new table, and they went with the old one."""
    if editor.connection.vendor != "sqlite":
        return
    refuse = "BEGIN SELECT RAISE(ABORT, 'decision: rows are never changed or deleted'); END"
    for event in ("UPDATE", "DELETE"):
        editor.execute(f"CREATE TRIGGER decision_no_{event.lower()} BEFORE {event} ON decision {refuse}")
    taken = "WHEN EXISTS (SELECT 1 FROM decision WHERE id = NEW.id)"
    editor.execute(f"CREATE TRIGGER decision_no_replace BEFORE INSERT ON decision {taken} {refuse}")


class Migration(migrations.Migration):
    dependencies: ClassVar = [("store", "0001_tables")]

    operations: ClassVar = [
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=~models.Q(kind="block") | (~models.Q(reason="") & models.Q(until__isnull=False)),
                name="decision_block_has_reason_and_end",
            ),
        ),
        migrations.RunPython(keep_append_only, migrations.RunPython.noop),
    ]
