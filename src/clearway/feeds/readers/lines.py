"""Formats of lines: usual lines by the engine, all others one at a time by the format's own function.

A format is a shape (what its usual lines look like) and a function from a line to what it says. The function alone is
the definition: it reads usual lines as well, and a test holds the two to each other. Of a million lines of a real list,
a thousand come to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from clearway import _engine
from clearway._engine import ListLines, NameScope
from clearway.feeds.readers.content import Asked, Content, Gatherer, Item, Meaning, Said, Unfit
from clearway.feeds.readers.rules import Rule
from clearway.policy.arrays import U64

LINE_BYTES_MAX = 64 << 10
"""Of a longer line nothing is read, and it is malformed, comments too: no list has such. The engine holds to it as well
(list_lines.rs)."""

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
    probe: LineReader | None = None
    """Reads a line as `line_reader` does wherever it stands, for lines that leave no mark on others. With it the frames
    that a list has of its own are learnt from it."""


def read(
    text: bytes, shape: Shape, line_reader: LineReader | Statements, asked: Asked, *, merge: bool = False
) -> Content:
    """Reads every line. `line_reader`: called for the lines that are none of the shape's, in their order.

    Raises feeds.E019 where there are millions of those.
    """
    if asked.reasons is not None:
        # Each line has to say its category
        shape = Shape(comments=shape.comments if shape.separators is None else ("#", ";", "//"))
    elif shape.probe and len(text) > LEARN_BYTES_MIN:
        shape = replace(shape, frames=[*shape.frames, *_learnt(text, shape, shape.probe)])
    found = _usual_of(text, shape)
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


def _usual_of(text: bytes, shape: Shape) -> ListLines:
    return _engine.parse_list(
        text,
        [(frame.before.encode(), frame.behind.encode(), int(frame.scope), frame.addresses) for frame in shape.frames],
        [comment.encode() for comment in shape.comments],
        [label.encode() for label in shape.special_labels],
        None if shape.separators is None else shape.separators.encode(),
    )


LEARN_BYTES_MIN = 1 << 20
"""Shorter lists take no time anyway."""
LEARN_SAMPLES = 256
LEARN_FRAMES_MAX = 12
_PROBES = ("probe-one.example", "q.w_2.another.test", "xn--bcher-kva.example")


def _learnt(text: bytes, shape: Shape, probe: LineReader) -> list[Frame]:
    """Frames that many of a list's own lines have: other spaces, another time to live, the name of a zone. What stands
    around a name is one where the format's own reader takes other names in its place for themselves."""
    step = max(1, len(text) // LEARN_SAMPLES)
    starts = [text.find(b"\n", at) + 1 for at in range(0, len(text) - step, step)]
    lines = [text[start : start + 1024].split(b"\n", 1)[0] for start in starts if start]
    sample = b"\n".join(line for line in lines if line.isascii() and len(line) < 1024 and b"\r" not in line[:-1])
    places = np.frombuffer(_usual_of(sample, shape).others, dtype=np.uint64).reshape(-1, 3).tolist()
    frames = Counter(frame for _, start, end in places if (frame := _frame_of(sample[start:end].decode(), probe)))
    return [frame for frame, count in frames.most_common(LEARN_FRAMES_MAX) if count > 1]


def _frame_of(line: str, probe: LineReader) -> Frame | None:
    """What stands around the one name of a line; None: it is not one name, or not in a frame."""
    line = line.rstrip()
    meaning = probe(line)
    if isinstance(meaning, Rule) or len(meaning) != 1 or meaning[0].exception or meaning[0].categories:
        return None
    name, scope = meaning[0].text.removesuffix("."), meaning[0].scope
    at = line.lower().find(name.lower())
    if not name or at < 0:
        return None
    before, behind = line[:at], line[at + len(name) :]
    for other in _PROBES:
        if probe(before + other + behind) not in ([Said(other, scope)], [Said(f"{other}.", scope)]):
            return None
    return Frame(before, behind, scope, addresses=False)


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
