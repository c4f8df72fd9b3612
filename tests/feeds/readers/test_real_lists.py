"""Real lists give as many entries as their index says, which was counted by other means."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from list_lines_of import lines_of

from clearway.feeds.readers import packing, table
from clearway.feeds.readers.table import READERS, read

DEVIATIONS = {
    # Hashes of empty files and the like: the index counts each as a name
    "misp-common-ioc-false-positive.json": 0,
    # 20 have a label with a hyphen at its end, another character, or a number last: no name that is asked for
    "misp-public-dns-hostname.json": 34_763,
}
"""Files of which the index is wrong, and how many entries they have."""

SAME = "urlhaus-online."
"""Begins the names of files that hold the same 619 names in many formats."""


def rows(shared_data: Path, room: str) -> Iterator[dict[str, str]]:
    with (shared_data / room / "INDEX.tsv").open(newline="") as index:
        yield from csv.DictReader(index, delimiter="\t")


@pytest.mark.parametrize(
    ("room", "columns"), [("feeds", ("names", "addrs")), ("cdn", ("unique_prefixes", "not_a_prefix"))]
)
def test_a_list_has_the_entries_of_its_index(shared_data: Path, room: str, columns: tuple[str, str]) -> None:
    seen = 0
    for row in rows(shared_data, room):
        found = read((shared_data / room / row["file"]).read_bytes(), row["format"])
        wanted = DEVIATIONS.get(row["file"], sum(int(row[column]) for column in columns))
        assert (row["file"], len(found.content.blocked)) == (row["file"], wanted)
        if "rejected" in row:
            assert (row["file"], len(found.content.excepted)) == (row["file"], int(row["exceptions"]))
        seen += 1
    assert seen >= 46


def test_the_format_of_a_list_is_found_from_its_look(shared_data: Path) -> None:
    undecided = {
        "urlhaus-online.dnscrypt-names.txt",  # names alone, as in any list of names
        "urlhaus-online.ubo.txt",  # what stands in it is adblock as well
    }
    for room in ("feeds", "cdn"):
        for row in rows(shared_data, room):
            if row["file"] not in undecided:
                text = packing.unpacked((shared_data / room / row["file"]).read_bytes(), row["file"])
                word, wanted = table.detect(text), table.reader_of(row["format"]).read
                assert (row["file"], READERS[word].read) == (row["file"], wanted), word


def test_one_content_in_many_formats_is_the_same_names(shared_data: Path) -> None:
    found: dict[str, set[str]] = {}
    for row in rows(shared_data, "feeds"):
        if row["file"].startswith(SAME) and row["names"] == "619":
            lines = lines_of(read((shared_data / "feeds" / row["file"]).read_bytes(), row["format"]).content)
            found[row["file"]] = {line.split()[1] for line in lines if line.startswith("name ")}
    assert len(found) >= 11
    first = next(iter(found.values()))
    assert len(first) == 619
    assert {file: names ^ first for file, names in found.items() if names != first} == {}
