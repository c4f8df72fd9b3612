"""Sites that all visit, from a list that an operator gives: no other list may hold their own names (G10.top-site).

None comes with the package: which list of sites is right for a network is its operator's to say.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from clearway.errors import ClearwayError
from clearway.feeds.fetch import fetch
from clearway.feeds.readers import packing, table

_RANKED = re.compile(rb"\d+,[^,\s]+\r?\n")


def read(source: str) -> tuple[str, ...]:
    """Names of a list of any format, packed or not, or of one with a rank before each name.

    Raises what fetch.fetch and readers/table.read raise, and feeds.E002 where there are none.
    """
    fetched = fetch(source)
    text = packing.unpacked(fetched.data, fetched.origin)
    if _RANKED.match(text):
        text = re.sub(rb"(?m)^\d+,", b"", text)
    content = table.read(text, fetched.format, origin=fetched.origin).content
    blobs = content.blocked.names.blobs().values()
    names = tuple(name for blob in blobs for name in blob.tobytes().decode("ascii").split())
    if not names:
        raise ClearwayError.of("feeds.E002", origin=fetched.origin, lines=content.counts["lines"])
    return names


def in_one_word(path: str) -> str:
    """Another word where the file is another. Raises feeds.E013."""
    try:
        about = Path(path).stat()
    except OSError as error:
        raise ClearwayError.of("feeds.E013", path=path, detail=error.strerror or error) from None
    return f"{about.st_ino}-{about.st_size}-{about.st_mtime_ns}"


@lru_cache(maxsize=1)
def kept(path: str, word: str) -> tuple[str, ...]:
    """`read`, once for each `word` that in_one_word gives."""
    return read(path)
