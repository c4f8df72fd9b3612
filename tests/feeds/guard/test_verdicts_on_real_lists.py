"""Every list of ../shared/data gets the verdict that a careful operator would give it, a day after it was made.

verdicts.tsv says which, and why, one line each: `now` is the day after the list's own time, where it says one.
"""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import pytest
from judging import NOW, known

from clearway.feeds import guard

ROWS = list(csv.DictReader((Path(__file__).parent / "verdicts.tsv").read_text("utf-8").splitlines(), delimiter="\t"))


def index(shared_data: Path, room: str) -> dict[str, dict[str, str]]:
    with (shared_data / room / "INDEX.tsv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_every_list_has_a_verdict(shared_data: Path) -> None:
    for room in ("feeds", "cdn"):
        assert {row["file"] for row in ROWS if row["room"] == room} == set(index(shared_data, room))
    assert all(row["why"] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_a_list_gets_the_verdict_of_a_careful_operator(shared_data: Path, row: dict[str, str]) -> None:
    data = (shared_data / row["room"] / row["file"]).read_bytes()
    format = index(shared_data, row["room"])[row["file"]]["format"]
    now = datetime.fromisoformat(f"{row['now']}T12:00:00+00:00")
    found = guard.check(data, format=format, origin=row["file"], context=known(), now=now)
    assert (found.verdict, found.rule or "-", found.entries) == (row["verdict"], row["rule"], int(row["entries"]))


def test_as_many_entries_are_protected_as_the_index_counted(shared_data: Path) -> None:
    """It was counted by other means. Of Remcos it has two less: it takes Google's own addresses for a cloud's."""
    for name, row in index(shared_data, "feeds").items():
        data = (shared_data / "feeds" / name).read_bytes()
        found = guard.check(data, format=row["format"], origin=name, context=known(), now=NOW)
        counted = [found.rejected.get(rule, 0) for rule in ("G10.special-use", "G10.cdn")]
        if name != "maltrail-remcos.txt":
            assert (name, counted) == (name, [int(row[column]) for column in ("guard_special", "guard_cdn")])
