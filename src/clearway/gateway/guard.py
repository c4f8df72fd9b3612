"""What the spoof guard knows: inside prefixes, and sources that nobody may use. Each only where it was asked for."""

from collections.abc import Sequence

from clearway.policy.bogons import BOGONS, LINK
from clearway.policy.model import Prefix

GUARD_INSIDE, GUARD_BOGON, GUARD_LINK = 1, 2, 4
"""enum guard_flag of abi.h; a test holds them to it."""

Guard = tuple[tuple[bytes, int, int], ...]
"""Prefix (16 bytes, length) and its own flags; the engine adds those of the prefixes that cover it."""


def rows(inside: Sequence[Prefix], drop_bogons: bool) -> Guard:
    """The guard map for these settings; empty when neither is asked for."""
    found: list[tuple[Prefix, int]] = [(prefix, GUARD_INSIDE) for prefix in inside]
    if drop_bogons:
        found += [(prefix, GUARD_BOGON) for prefix in BOGONS]
    if found:
        found += [(prefix, GUARD_LINK) for prefix in LINK]
    merged: dict[Prefix, int] = {}
    for prefix, flag in found:
        merged[prefix] = merged.get(prefix, 0) | flag
    return tuple((*prefix.mapped(), flags) for prefix, flags in merged.items())
