"""Lines as real lists have them and as they should not: each gives what stands beside it in odd/FORMAT.txt.

A line there is a text as a JSON string, a tab, and what reading it gives: entries and rejects as list_lines_of.py has
them, `nothing`, or the error's id with the better format. none.txt is read without a format, and begins with the one
that was found. Each was held against the definition of its format.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from list_lines_of import lines_of

from clearway.errors import ClearwayError
from clearway.feeds.readers.table import read

ODD = Path(__file__).parent / "odd"


def said(text: str, word: str | None) -> str:
    try:
        found = read(f"{text}\n".encode() if not text.endswith("\n") else text.encode(), word)
    except ClearwayError as error:
        better = error.message.partition("reads as ")[2]
        return f"{error.id} {better}".strip()
    return "; ".join([*([] if word else [found.format]), *lines_of(found.content)]) or "nothing"


@pytest.mark.parametrize("word", sorted(path.stem for path in ODD.iterdir()))
def test_odd_lines_give_what_stands_beside_them(word: str) -> None:
    wrong = []
    for row in (ODD / f"{word}.txt").read_text().splitlines():
        text, _, expected = row.partition("\t")
        found = said(json.loads(text), None if word == "none" else word)
        if found != expected:
            wrong.append((json.loads(text), expected, found))
    assert wrong == []
