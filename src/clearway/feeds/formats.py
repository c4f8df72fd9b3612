"""Bytes of a list → its entries, or a refusal. Pure. A list is taken whole or refused whole; nothing is half applied.

readers/table.py is the one table of formats, and says what a list means; here it is judged. Each line is blank (or a
comment), an entry, unsupported or malformed; more than one malformed line in a hundred condemns the list, fewer are
counted and shown.

What is refused, besides: nothing in it, a page in place of a list, what is no text, a format that is none of these, a
prefix wider than /8 (IPv6 /16), a prefix that covers the inside, everything below a public suffix. Real lists did all
of these to their users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clearway.errors import ClearwayError
from clearway.feeds.readers import packing, spared, table
from clearway.feeds.readers.content import Content
from clearway.feeds.readers.rules import MALFORMED
from clearway.policy import arrays, name_limits
from clearway.policy.arrays import U64
from clearway.policy.model import Prefix
from clearway.policy.names import StoredNames

BYTES_MAX = packing.BYTES_MAX
MALFORMED_PERCENT_MAX = 1
REJECTED_KEPT_MAX = 100
LENGTH_MIN = {4: 8, 6: 16}
"""The widest prefix that a list may hold, by IP version."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What is enforced of a list. Arrays as in policy/arrays.py."""

    format: str
    v4: U64
    v6: U64
    counts: dict[str, int]
    """lines, blank, entries (lines that gave one), malformed, unsupported (of a known kind that is not enforced); v4
    and v6: distinct prefixes (a range gives several); names: distinct names; spared: entries that the list's own
    exceptions leave out."""
    rejected: list[tuple[int, str]]
    """The first hundred malformed lines: number from 1, text."""
    names: StoredNames = field(default_factory=StoredNames)


def read(
    data: bytes, format: str | None = None, *, forbidden: Sequence[Prefix] = (), origin: str = "the list"
) -> Parsed:
    """Reads a list, packed or not. `format` None: found from its look. `forbidden`: inside prefixes.

    Raises feeds.E001 to E009, E016 to E023; `origin` names the list in them.
    """
    found = table.read(data, format, origin=origin)
    counts = found.content.counts
    _check_lines(found.format, found.content, origin)
    kept, left_out = spared.without_excepted(found.content)
    if not len(kept):
        raise ClearwayError.of("feeds.E002", origin=origin, lines=counts["lines"])
    _check_width(kept.v4, kept.v6, forbidden, origin)
    name_limits.check_list(kept.names, origin)
    names = sum(kept.names.counts().values())
    lines = {key: counts[key] for key in ("lines", "blank", "entries", "malformed", "unsupported")}
    made = {**lines, "v4": len(kept.v4), "v6": len(kept.v6), "names": names, "spared": left_out}
    return Parsed(found.format, kept.v4, kept.v6, made, _first_malformed(found.content), kept.names)


def _check_lines(format: str, content: Content, origin: str) -> None:
    """Refuses a list with nothing in it (feeds.E002), and one with too much in it that is none of its format (E004)."""
    counts = content.counts
    first = content.rejects.first(MALFORMED)
    if first is None:
        if not counts["entries"]:
            raise ClearwayError.of("feeds.E002", origin=origin, lines=counts["lines"])
        return
    malformed, lines = counts["malformed"], counts["lines"]
    if malformed * 100 > (counts["entries"] + malformed) * MALFORMED_PERCENT_MAX:
        shown = {"format": format, "number": first.line, "text": first.text}
        raise ClearwayError.of("feeds.E004", origin=origin, malformed=malformed, lines=lines, **shown)


def _first_malformed(content: Content) -> list[tuple[int, str]]:
    rejected = []
    for reject in content.rejects:
        if reject.rule.kind == MALFORMED:
            rejected.append((reject.line, reject.text))
            if len(rejected) == REJECTED_KEPT_MAX:
                break
    return rejected


def _check_width(v4: U64, v6: U64, forbidden: Sequence[Prefix], origin: str) -> None:
    """Refuses what would cut off far too much (feeds.E005) or the inside itself (E006)."""
    for version, lengths in ((4, v4 & np.uint64(0xFF)), (6, v6[:, 2])):
        wide = np.flatnonzero(lengths < LENGTH_MIN[version])
        if len(wide):
            at = int(wide[0])
            high, low, length = (0, int(v4[at]) >> 8, int(v4[at]) & 0xFF) if version == 4 else v6[at].tolist()
            prefix = Prefix(version, high << 64 | low, length)
            raise ClearwayError.of("feeds.E005", origin=origin, prefix=prefix, limit=LENGTH_MIN[version])
    for inside in forbidden:
        for prefix in arrays.covering(v4, v6, inside):
            raise ClearwayError.of("feeds.E006", origin=origin, prefix=prefix, inside=inside)
