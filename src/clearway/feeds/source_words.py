"""What a source of lists looks like, and what of it may be shown: keys stand in many a URL."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit, urlunsplit

STANDARD_INPUT = "-"
WEB = ("http://", "https://")
ZONE = "axfr://"
COLLECTION = ("taxii+https://", "taxii+http://")
EVENTS = ("misp+https://", "misp+http://")
SCHEMES = (*WEB, ZONE, *COLLECTION, *EVENTS)
"""Of sources that are fetched over the network."""
MANIFEST = "/manifest.json"
"""What a MISP feed is named by where its address is one of the web."""

Kind = Literal["file", "input", "web", "zone", "collection", "events"]


def kind(source: str) -> Kind:
    """Which way a source is fetched. What is no source at all counts as a file."""
    lower = source.lower()
    if lower.startswith(ZONE):
        return "zone"
    if lower.startswith(COLLECTION):
        return "collection"
    if lower.startswith(EVENTS):
        return "events"
    if lower.startswith(WEB):
        return "events" if lower.partition("?")[0].endswith(MANIFEST) else "web"
    return "input" if source == STANDARD_INPUT else "file"


def is_url(source: str) -> bool:
    """Whether a source is fetched over the network."""
    return source.lower().startswith(SCHEMES)


def shown(source: str) -> str:
    """A source as people and rows may see it: of a URL neither user, query nor fragment, which may hold a key.

    A query shows as "?…". A key in the path cannot be told from a path. Never raises.
    """
    scheme, mark, _ = source.partition("://")
    if not mark or "/" in scheme:
        return source
    try:
        divided = urlsplit(source)
        if divided.port == 0:  # of user:pass/word@host, what is before the slash looks like a host and port
            raise ValueError
    except ValueError:
        return f"{scheme}://…"
    bare = urlunsplit(divided._replace(netloc=divided.netloc.rpartition("@")[2], query="", fragment=""))
    return f"{bare}?…" if divided.query else bare
