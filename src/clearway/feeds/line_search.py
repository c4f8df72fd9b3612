"""In which line of a list an entry stands: looked for afterwards, of the few that are shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clearway.feeds.guard_entries import HeldBack

SEARCHED_BYTES_MAX = 1 << 26
"""Looked through in all: entries after that come without a line."""

_BEFORE = re.compile(rb"(?:.*[^\w.-]|.*[^\w]\*\.|\*\.|)", re.DOTALL)
_BEHIND = {
    "name": re.compile(rb"(?![\w-]|\.[\w-])"),
    "address": re.compile(rb"(?![\w-]|[./]\d|:[\da-fA-F:])|:\d{1,5}(?![\d:a-fA-F])"),
}
"""What may stand beside a value, so that it is not a piece of another one."""


def placed(text: bytes, samples: Sequence[HeldBack]) -> list[HeldBack]:
    """The same with their lines, from 1; None of one that is written otherwise than it is enforced."""
    left = SEARCHED_BYTES_MAX
    places: list[int | None] = []
    for sample in samples:
        at, seen = _place_of(text, sample, left)
        left -= seen
        places.append(at)
    lines = _lines_of(text, sorted({at for at in places if at is not None}))
    return [sample._replace(line=None if at is None else lines[at]) for sample, at in zip(samples, places, strict=True)]


def _lines_of(text: bytes, places: Sequence[int]) -> dict[int, int]:
    """The line of each place; they ascend, so that no byte is looked at twice."""
    found: dict[int, int] = {}
    line, before = 1, 0
    for at in places:
        line += text.count(b"\n", before, at) + text.count(b"\r", before, at) - text.count(b"\r\n", before, at)
        before = at
        found[at] = line
    return found


def _place_of(text: bytes, sample: HeldBack, limit: int) -> tuple[int | None, int]:
    """Where it stands by itself, and how many bytes were looked through."""
    value, behind = sample.value.encode("ascii"), _BEHIND[sample.kind]
    start = 0
    while start < limit:
        at = text.find(value, start, start + limit)
        if at < 0:
            break
        if _BEFORE.fullmatch(text[max(0, at - 3) : at]) and behind.match(text, at + len(value)):
            return at, at
        start = at + 1
    return None, min(limit, len(text))
