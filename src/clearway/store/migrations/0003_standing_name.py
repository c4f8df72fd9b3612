"""Names in force, by name; the table of prefixes in force has no place for them."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("store", "0002_block_terms")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="StandingNameRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=16)),
                ("name", models.CharField(max_length=253)),
                ("scope", models.CharField(max_length=8)),
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
                "db_table": "standing_name",
                "indexes": [models.Index(fields=["kind", "until"], name="standing_name_until")],
                "constraints": [models.UniqueConstraint(fields=("name", "kind"), name="standing_name_once")],
            },
        ),
    ]
