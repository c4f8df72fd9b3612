"""What is begun in a list and never ended takes no more than its length: neither time that grows with its square, nor
the lines behind it that are whole."""

from __future__ import annotations

import time

import pytest
from patience import HUNG_S

from clearway.errors import ClearwayError
from clearway.feeds.readers.table import read

BODY_BYTES = 128 << 10
SECONDS_MAX = HUNG_S
"""For what takes a second on an idle machine, and an hour where each line is held against all before it."""

UNITS = {
    "rpz": [b"(\n", b' "\n', b"\tCNAME .\n", b"$ORIGIN a\n", b"a\\"],
    "bind-zone": [b"/*\n", b'zone "a" {\n', b"zone\n", b"{}"],
    "unbound": [
        b"local-zone: ",
        b'local-zone: "a" redirect\n',
        b'local-data: "a.example ' + b"1" * 40 + b'x"\n',
    ],
    "adblock": [b"@@", b"^$"],
    "maltrail": [b'","', b"a,b,"],
}


@pytest.mark.parametrize(("word", "unit"), [(word, unit) for word, units in UNITS.items() for unit in units])
def test_what_never_ends_takes_no_more_than_its_length(word: str, unit: bytes) -> None:
    begun = time.process_time()
    try:
        read(unit * (BODY_BYTES // len(unit)) + b"\n", word)
    except ClearwayError as error:
        assert error.id in ("feeds.E018", "feeds.E019")
    assert time.process_time() - begun < SECONDS_MAX


@pytest.mark.parametrize(
    ("word", "open", "line"),
    [
        ("rpz", b"a.example CNAME (\n", b"b%d.example CNAME .\n"),
        ("rpz", b'a.example TXT "\n', b"b%d.example CNAME .\n"),
        ("bind-zone", b'zone "a.example" {\n', b'zone "b%d.example" { type master; file "x"; };\n'),
        ("bind-zone", b'include "x\n', b'zone "b%d.example" { type master; file "x"; };\n'),
        ("unbound", b'local-zone: "a.example\n', b'local-zone: "b%d.example" static\n'),
    ],
)
def test_what_is_begun_and_not_ended_costs_few_of_the_lines_behind_it(word: str, open: bytes, line: bytes) -> None:
    content = read(open + b"".join(line % number for number in range(500)), word).content
    assert len(content.blocked) >= 400
    assert len(content.rejects) > 0


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("domains", b"#"),
        ("hosts", b"0.0.0.0 a.example #"),
        ("adblock", b"!"),
        ("rpz", b"a.example CNAME . ;"),
        ("ip-plain", b"192.0.2.7 #"),
        ("unbound", b" "),
    ],
)
def test_a_line_over_64_kib_is_malformed_whatever_it_begins_with(word: str, line: bytes) -> None:
    counts = [read(line.ljust(length, b" ") + b"\n", word).content.counts for length in (64 << 10, (64 << 10) + 1)]
    assert [count["malformed"] for count in counts] == [0, 1]
    assert counts[1]["lines"] == 1
