"""Prefixes as sorted arrays, and searches in them: how the entries of lists are held, in files and in memory.

IPv4: uint64, address << 8 | length. IPv6: rows of three uint64, high, low, length. Sorted, distinct, bits past the
length 0. So a network stands before what lies within it, and a search is a bisection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from clearway.policy.model import BITS, Prefix

U64 = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.uint8]
_M64 = (1 << 64) - 1


def v4_array(prefixes: Iterable[tuple[int, int]]) -> U64:
    """From (address, length) pairs in any order."""
    return np.array(sorted({address << 8 | length for address, length in prefixes}), dtype=np.uint64)


def v6_array(prefixes: Iterable[tuple[int, int]]) -> U64:
    """From (address, length) pairs in any order."""
    rows = sorted({(address >> 64, address & _M64, length) for address, length in prefixes})
    return np.array(rows, dtype=np.uint64).reshape(-1, 3)


def merged4(parts: Sequence[U64]) -> U64:
    """Sorted IPv4 keys of several parts as one, each once. Runs in order are merged, where np.unique would hash: a
    million take 2 ms, not a second."""
    keys = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
    keys.sort(kind="stable")
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys


def of_prefixes(prefixes: Iterable[Prefix]) -> tuple[U64, U64]:
    """Both arrays."""
    given = list(prefixes)
    return (
        v4_array((p.address, p.length) for p in given if p.version == 4),
        v6_array((p.address, p.length) for p in given if p.version == 6),
    )


def covering(v4: U64, v6: U64, prefix: Prefix, lengths: Iterable[int] = ()) -> list[Prefix]:
    """Entries that cover `prefix`, itself included, longest first. `lengths`: those that occur, when known."""
    asked = sorted({n for n in (lengths or range(prefix.length + 1)) if n <= prefix.length}, reverse=True)
    if prefix.version == 6:
        candidates = [Prefix.cut(6, prefix.address, length) for length in asked]
        return [c for c in candidates if _row(v6, _position(v6, _key(c))) == _key(c)]
    keys = np.array([prefix.address >> (32 - n) << (40 - n) | n for n in asked], dtype=np.uint64)
    positions = np.searchsorted(v4, keys)
    found = [key for key, at in zip(keys.tolist(), positions.tolist(), strict=True) if at < len(v4) and v4[at] == key]
    return [Prefix(4, key >> 8, key & 0xFF) for key in found]


def within(v4: U64, v6: U64, prefix: Prefix, limit: int) -> list[Prefix]:
    """At most `limit` entries that lie within `prefix` and are longer, in order."""
    found: list[Prefix] = []
    for entry in _from(v4, v6, prefix):
        if len(found) == limit or not prefix.covers(entry):
            break
        found.append(entry)
    return found


def _from(v4: U64, v6: U64, prefix: Prefix) -> Iterator[Prefix]:
    """Entries behind `prefix` in the order of the array."""
    if prefix.version == 4:
        start = int(np.searchsorted(v4, np.uint64(prefix.address << 8 | prefix.length), side="right"))
        for at in range(start, len(v4)):
            yield Prefix(4, int(v4[at]) >> 8, int(v4[at]) & 0xFF)
    else:
        high, low, length = _key(prefix)
        for at in range(_position(v6, (high, low, length + 1)), len(v6)):
            high, low, length = _row(v6, at)
            yield Prefix(6, high << 64 | low, length)


def _key(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.address >> 64, prefix.address & _M64, prefix.length


def _row(v6: U64, at: int) -> tuple[int, int, int]:
    if at >= len(v6):
        return (-1, -1, -1)
    high, low, length = v6[at].tolist()
    return high, low, length


def _position(v6: U64, key: tuple[int, int, int]) -> int:
    """Where `key` stands, or would; the column of a table cannot be searched without copying it."""
    return bisect_left(range(len(v6)), key, key=lambda at: _row(v6, at))


def lengths4(v4: U64) -> Lengths:
    """The prefix length of each IPv4 key: its last byte."""
    return v4.astype(np.uint8)


def lengths_of(v4: U64, v6: U64) -> dict[int, list[int]]:
    """The prefix lengths that occur, by IP version."""
    return {4: _occurring(lengths4(v4), BITS[4]), 6: _occurring(v6[:, 2].astype(np.uint8), BITS[6])}


def _occurring(lengths: Lengths, most: int) -> list[int]:
    """`most`: the length that nearly all have; to count them all would cost more than to look at the others."""
    others = lengths[lengths != most]
    found = np.flatnonzero(np.bincount(others)).tolist()
    return [*found, most] if len(others) < len(lengths) else found


def split_mapped(v6: U64) -> tuple[U64, U64]:
    """IPv6 rows, and those within ::ffff:0:0/96 as the IPv4 keys that they are."""
    mapped = (v6[:, 0] == 0) & (v6[:, 1] >> np.uint64(32) == 0xFFFF) & (v6[:, 2] >= 96)
    if not mapped.any():
        return v6, np.empty(0, dtype=np.uint64)
    inner = v6[mapped]
    keys = (inner[:, 1] & np.uint64(0xFFFFFFFF)) << np.uint64(8) | (inner[:, 2] - np.uint64(96))
    return v6[~mapped], keys
