"""JSON with bounds: a document or one a line, neither deep nor of endless parts, with the lines where values stand."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numpy as np

from clearway.feeds.readers.content import Unfit

DEPTH_MAX = 64
PARTS_MAX = 4_000_000
"""Values of one document; each is an object of about 100 bytes: 400 MB, with a document made for that."""

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))


def load(text: bytes) -> Any:
    """The document. Raises feeds.E021 where it is none, E039 where it is deeper or of more parts than any list."""
    structure = _STRINGS.sub(b"", text).translate(None, delete=_STRUCTURE)
    steps = np.zeros(256, dtype=np.int8)
    steps[list(b"[{")], steps[list(b"]}")] = 1, -1
    depth = 0
    for start in range(0, len(structure), 1 << 22):  # running sums take eight bytes each
        running = np.cumsum(
            steps[np.frombuffer(structure, dtype=np.uint8, offset=start, count=-1)[: 1 << 22]], dtype=np.int32
        )
        if depth + int(running.max(initial=0)) > DEPTH_MAX:
            raise Unfit("feeds.E039", limit=DEPTH_MAX, what="levels of JSON, one in another")
        depth += int(running[-1])
    if len(structure) > PARTS_MAX:
        raise Unfit("feeds.E039", limit=f"{PARTS_MAX:,}", what="parts of JSON")
    try:
        return strict(text.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise Unfit("feeds.E021", detail=str(error)[:200]) from None


def strict(text: bytes) -> Any:
    """JSON as RFC 8259 has it. What its readers take differently is refused: a key that stands twice in an object, and
    NaN. Raises ValueError, RecursionError."""
    return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:100]!r} stands twice in one object")
    return made


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


class Places:
    """In which line of a document a value stands. Values are asked in their order; one that is not found again, as it
    was written with escapes, has the line of the one before."""

    MISSES_MAX = 64
    AHEAD_BYTES = 1 << 20

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._misses = 0

    def line_of(self, value: str) -> int:
        """From 1."""
        if self._misses > self.MISSES_MAX:
            return self._line
        wanted = json.dumps(value)[1:-1].encode()
        found = self._text.find(wanted, self._at, self._at + self.AHEAD_BYTES)
        if found < 0 and not value.isascii():
            wanted = value.encode("utf-8", "replace")
            found = self._text.find(wanted, self._at, self._at + self.AHEAD_BYTES)
        if found < 0:
            self._misses += 1
            return self._line
        self._line += self._text.count(b"\n", self._at, found)
        self._at = found
        return self._line


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of what should be a list of them."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """What should be text; "" for anything else. Half a surrogate pair, as cutting leaves it, can't be shown: `?`."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def texts(value: Any) -> list[str]:
    """What should be a list of texts; anything else in it becomes ""."""
    return [text_of(each) for each in value] if isinstance(value, list) else []


def shown_time(value: Any) -> str | None:
    """A time as a document has it; None for what is no text or number, or none that can be shown."""
    text = str(value)[:40] if isinstance(value, str | int | float) else ""
    return text if text and text.isprintable() else None
