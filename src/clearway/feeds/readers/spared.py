"""What is left of a list once its own exceptions are heard: they act inside the list, and no other part knows them.

An entry that an exception covers is left out. So is one that is wider than an exception: enforced, it would refuse what
the list spares. Where only scopes differ at one name, the entry keeps the rest.
"""

from __future__ import annotations

import numpy as np

from clearway._engine import NameScope
from clearway.feeds.readers.content import Content, Entries
from clearway.policy.arrays import U64
from clearway.policy.model import BITS, Prefix
from clearway.policy.names import StoredNames

EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE

_REST = {(SUBTREE, EXACT): BELOW, (SUBTREE, BELOW): EXACT, (BELOW, EXACT): BELOW, (EXACT, BELOW): EXACT}
"""What an entry of the first scope covers besides an exception of the second at the same name; else nothing."""


def without_excepted(content: Content) -> tuple[Entries, int]:
    """The entries to enforce, and how many were left out whole."""
    blocked, excepted = content.blocked, content.excepted
    if not len(excepted):
        return blocked, 0
    v4, v6 = _without(blocked, excepted)
    names = _names_without(blocked.names, excepted.names)
    kept = Entries(v4, v6, names)
    return kept, len(blocked) - len(kept)


def _without(blocked: Entries, excepted: Entries) -> tuple[U64, U64]:
    v4, v6 = blocked.v4, blocked.v6
    for key in excepted.v4.tolist():
        v4 = v4[~_touch(v4 >> np.uint64(8), v4 & np.uint64(0xFF), Prefix(4, key >> 8, key & 0xFF))]
    for high, low, length in excepted.v6.tolist():
        prefix = Prefix(6, high << 64 | low, length)
        v6 = v6[[not _meet(prefix, Prefix(6, h << 64 | w, n)) for h, w, n in v6.tolist()]]
    return v4, v6


def _touch(addresses: U64, lengths: U64, prefix: Prefix) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which IPv4 prefixes lie within another or cover it."""
    shorter = np.minimum(lengths, np.uint64(prefix.length))
    shift = np.uint64(BITS[4]) - shorter
    touching: np.ndarray[tuple[int], np.dtype[np.bool_]] = (addresses >> shift) == (np.uint64(prefix.address) >> shift)
    return touching


def _meet(a: Prefix, b: Prefix) -> bool:
    return a.covers(b) or b.covers(a)


def _names_without(blocked: StoredNames, excepted: StoredNames) -> StoredNames:
    spared = {scope: set(_lines(excepted, scope)) for scope in NameScope}
    above_spared = {suffix for names in spared.values() for name in names for suffix in _above(name)}
    kept: dict[NameScope, list[str]] = {scope: [] for scope in NameScope}
    for scope in NameScope:
        for name in _lines(blocked, scope):
            rest = _rest_of(name, scope, spared, above_spared)
            if rest is not None:
                kept[rest].append(name)
    blobs = ("\n".join([*sorted(set(kept[scope])), ""]).encode("ascii") for scope in NameScope)
    return StoredNames(*(np.frombuffer(blob, dtype=np.uint8) for blob in blobs))


def _rest_of(
    name: str, scope: NameScope, spared: dict[NameScope, set[str]], above_spared: set[str]
) -> NameScope | None:
    """The scope that an entry keeps; None: it is left out."""
    if any(suffix in spared[SUBTREE] or suffix in spared[BELOW] for suffix in _above(name)):
        return None
    if scope != EXACT and name in above_spared:
        return None
    rest: NameScope | None = scope
    for exception in NameScope:
        if rest is not None and name in spared[exception]:
            rest = _REST.get((rest, exception))
    return rest


def _above(name: str) -> list[str]:
    """What the name is below of."""
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(1, len(labels))]


def _lines(names: StoredNames, scope: NameScope) -> list[str]:
    return names.blobs()[scope].tobytes().decode("ascii").splitlines()
