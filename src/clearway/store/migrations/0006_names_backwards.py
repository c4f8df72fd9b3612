"""Names in force from their end, so that what lies below a name is one range of an index."""

from typing import ClassVar

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

_NAMES_AT_ONCE = 1000


def fill(apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Each name that stands gets its own."""
    rows = apps.get_model("store", "StandingNameRow").objects
    found = list(rows.all())
    for each in found:
        each.backwards = each.name[::-1].encode().hex()
    rows.bulk_update(found, ["backwards"], batch_size=_NAMES_AT_ONCE)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("store", "0005_shared_ranges")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="standingnamerow",
            name="backwards",
            field=models.CharField(default="", max_length=506),
            preserve_default=False,
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="standingnamerow",
            index=models.Index(fields=["kind", "backwards"], name="standing_name_backwards"),
        ),
    ]
