"""Formats of lines: usual lines by the engine, all others one at a time by the format's own function.

A format is a shape (what its usual lines look like) and a function from a line to what it says. The function alone is
the definition: it reads usual lines as well, and a test holds the two to each other. Of a million lines of a real list,
a thousand come to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clearway import _engine
from clearway._engine import NameScope
from clearway.feeds.readers.content import Asked, Content, Gatherer, Item, Meaning, Unfit
from clearway.feeds.readers.rules import Rule
from clearway.policy.arrays import U64

LINE_BYTES_MAX = 64 << 10

LineReader = Callable[[str], Meaning]
"""What a line says; it comes without white space at its end. It may keep what earlier lines said."""


class Statements(Protocol):
    """A line reader of a format whose statements may go over several lines; each counts with its last."""

    def __call__(self, line: str, /) -> Meaning: ...

    @property
    def unfinished(self) -> str:
        """What was begun and not ended; "" where nothing was."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a name in a usual line. `addresses`: an IPv4 address in its place is an entry too."""

    before: str
    behind: str
    scope: NameScope
    addresses: bool = True


@dataclass(frozen=True, slots=True)
class Shape:
    """How the usual lines of a format look. With `separators` they are addresses, and no frame is looked at."""

    frames: Sequence[Frame] = ()
    comments: Sequence[str] = ()
    separators: str | None = None
    special_labels: Sequence[str] = ()
    """Last labels of names that are none; such lines are not usual."""


def read(
    text: bytes, shape: Shape, line_reader: LineReader | Statements, asked: Asked, *, merge: bool = False
) -> Content:
    """Reads every line. `line_reader`: called for the lines that are none of the shape's, in their order.

    Raises feeds.E019 where there are millions of those.
    """
    if asked.reasons is not None:
        # Each line has to say its category
        shape = Shape(comments=shape.comments if shape.separators is None else ("#", ";", "//"))
    found = _engine.parse_list(
        text,
        [(frame.before.encode(), frame.behind.encode(), int(frame.scope), frame.addresses) for frame in shape.frames],
        [comment.encode() for comment in shape.comments],
        [label.encode() for label in shape.special_labels],
        None if shape.separators is None else shape.separators.encode(),
    )
    if found.is_full:
        raise Unfit("feeds.E019", lines=len(found.others) // 24)
    gatherer = Gatherer(asked)
    gatherer.take_read(found)
    places = np.frombuffer(found.others, dtype=np.uint64).reshape(-1, 3)
    gatherer.take_all(_others(text, places, line_reader))
    unfinished = getattr(line_reader, "unfinished", "")
    if unfinished:  # its lines said nothing so far
        gatherer.blank -= 1
        gatherer.take(Item(int(places[-1, 0]), unfinished, Rule.NOT_A_LINE))
    return gatherer.content(merge=merge)


def _others(text: bytes, places: U64, line_reader: LineReader) -> Iterator[Item]:
    for at in range(0, len(places), 4096):
        for number, start, end in places[at : at + 4096].tolist():
            line = text[start : min(end, start + LINE_BYTES_MAX + 1)].decode("utf-8", "replace").rstrip()
            yield Item(number, line, Rule.LONG_LINE if end - start > LINE_BYTES_MAX else line_reader(line))


def without_comment(line: str, *marks: str) -> str:
    """The line up to a mark that stands behind white space; `#` wherever it stands."""
    end = len(line)
    for mark in marks:
        at = line.find(mark)
        while at > 0 and mark != "#" and not line[at - 1].isspace():
            at = line.find(mark, at + 1)
        end = end if at < 0 else min(end, at)
    return line[:end].strip()
