"""Addresses that many strangers share, as vendors publish them: what never is refused by address, or as a host only.

    front end        many names behind one address (a CDN, a load balancer, storage): refused by name only
    single tenant    a machine that somebody rents for a while (EC2, a droplet): refused as a single host, for a day
    elsewhere        everything else

A front end wins over a single tenant where both claim an address: clouds publish all that they have, their front ends
with it. Pure numpy; entries of lists are arrays as in policy/arrays.py, and are asked about all at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from clearway.policy import arrays
from clearway.policy.arrays import U64
from clearway.policy.model import BITS, Prefix

Mask = npt.NDArray[np.bool_]
_Keys = npt.NDArray[Any]
"""Addresses that numpy compares: uint64 of IPv4, 16 bytes of IPv6."""
_M64 = (1 << 64) - 1
_MANY = 16
"""Times as many prefixes as ranges."""
_FULL = ~np.uint64(0)


class SharedClass(Enum):
    """Who is behind an address."""

    FRONT_END = "front-end"
    SINGLE_TENANT = "single-tenant"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Ranges:
    """A set of addresses as intervals: ascending, disjoint, and never two that touch. Made by `of`, `of_prefixes`."""

    v4: U64
    """Rows of first and last address."""
    v6: U64
    """Rows of first (high, low) and last (high, low) address."""

    @classmethod
    def of(cls, v4: U64, v6: U64) -> Ranges:
        """The addresses of these prefixes, in any order, nested or not."""
        return cls(_rows4(*_merged(*_ends4(v4))), _rows6(*_merged(*_ends6(v6))))

    @classmethod
    def of_prefixes(cls, prefixes: Iterable[Prefix]) -> Ranges:
        """The same, from prefixes one by one."""
        return cls.of(*arrays.of_prefixes(prefixes))

    def union(self, *others: Ranges) -> Ranges:
        """All addresses of all of them."""
        sets = (self, *others)
        v4, v6 = np.concatenate([each.v4 for each in sets]), np.concatenate([each.v6 for each in sets])
        return Ranges(_rows4(*_merged(v4[:, 0], v4[:, 1])), _rows6(*_merged(_keys6(v6[:, :2]), _keys6(v6[:, 2:]))))

    def minus(self, other: Ranges) -> Ranges:
        """Addresses of this set that are none of `other`."""
        v4 = _merged(*_joined(_outside(*self._bounds4, _ENDS4), other._bounds4))
        v6 = _merged(*_joined(_outside(*self._bounds6, _ENDS6), other._bounds6))
        return Ranges(_rows4(*_outside(*v4, _ENDS4)), _rows6(*_outside(*v6, _ENDS6)))

    def touching(self, v4: U64, v6: U64) -> tuple[Mask, Mask]:
        """For each prefix: does any of its addresses lie here? It may lie within, or cover.

        IPv4 prefixes in order are answered from fewer looks; so does `within`.
        """
        of_v6 = _touching(*self._bounds6, *_ends6(v6))
        if not self._is_short_for(v4):
            return _touching(*self._bounds4, *_ends4(v4)), of_v6
        found = np.zeros(len(v4), dtype=bool)
        found[self._beginning_here(v4)[0]] = True
        wide = np.flatnonzero(arrays.lengths4(v4) != BITS[4])
        found[wide] |= _touching(*self._bounds4, *_ends4(v4[wide]))
        return found, of_v6

    def within(self, v4: U64, v6: U64) -> tuple[Mask, Mask]:
        """For each prefix: do all of its addresses lie here?"""
        of_v6 = _within(*self._bounds6, *_ends6(v6))
        if not self._is_short_for(v4):
            return _within(*self._bounds4, *_ends4(v4)), of_v6
        found = np.zeros(len(v4), dtype=bool)
        at, ranks = self._beginning_here(v4)
        found[at] = _ends4(v4[at])[1] <= self._bounds4[1][ranks]
        return found, of_v6

    def _is_short_for(self, v4: U64) -> bool:
        """Whether each range is better looked for among the prefixes than each prefix among the ranges."""
        return len(v4) > _MANY * len(self.v4) and bool((v4[1:] > v4[:-1]).all())

    def _beginning_here(self, v4: U64) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Where the prefixes stand, of those in order, whose first address lies here; and in which range."""
        firsts, lasts = self._bounds4
        starts = np.searchsorted(v4, firsts << np.uint64(8))
        counts = np.searchsorted(v4, lasts + np.uint64(1) << np.uint64(8)) - starts
        ranks = np.repeat(np.arange(len(firsts)), counts)
        return np.arange(len(ranks)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[ranks], ranks

    def touches(self, prefix: Prefix) -> bool:
        """`touching`, of one prefix."""
        return any(bool(mask.any()) for mask in self.touching(*arrays.of_prefixes([prefix])))

    def covers(self, prefix: Prefix) -> bool:
        """`within`, of one prefix."""
        return any(bool(mask.any()) for mask in self.within(*arrays.of_prefixes([prefix])))

    def prefixes(self) -> tuple[U64, U64]:
        """The fewest prefixes that hold exactly these addresses, sorted: policy/arrays form."""
        return self._prefixes

    @cached_property
    def _prefixes(self) -> tuple[U64, U64]:
        v4 = [pair for first, last in self.v4.tolist() for pair in _blocks(first, last, BITS[4])]
        spans = [(a << 64 | b, c << 64 | d) for a, b, c, d in self.v6.tolist()]
        return arrays.v4_array(v4), arrays.v6_array([pair for span in spans for pair in _blocks(*span, BITS[6])])

    def count(self, version: int) -> int:
        """Addresses of that IP version."""
        if version == 4:
            return sum(last - first + 1 for first, last in self.v4.tolist())
        return sum((c << 64 | d) - (a << 64 | b) + 1 for a, b, c, d in self.v6.tolist())

    def __bool__(self) -> bool:
        return bool(len(self.v4) or len(self.v6))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranges):
            return NotImplemented
        return np.array_equal(self.v4, other.v4) and np.array_equal(self.v6, other.v6)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _bounds4(self) -> tuple[_Keys, _Keys]:
        return np.ascontiguousarray(self.v4[:, 0]), np.ascontiguousarray(self.v4[:, 1])

    @cached_property
    def _bounds6(self) -> tuple[_Keys, _Keys]:
        return _keys6(self.v6[:, :2]), _keys6(self.v6[:, 2:])


NOWHERE = Ranges(np.empty((0, 2), dtype=np.uint64), np.empty((0, 4), dtype=np.uint64))
"""No address."""


@dataclass(frozen=True)
class Shared:
    """The shared addresses that are known, of all vendors together."""

    front_ends: Ranges = field(default=NOWHERE)
    single_tenant: Ranges = field(default=NOWHERE)

    @cached_property
    def guarded(self) -> Ranges:
        """Both together."""
        return self.front_ends.union(self.single_tenant)

    def class_of(self, prefix: Prefix) -> SharedClass:
        """The strictest class that any address of `prefix` is of."""
        if self.front_ends.touches(prefix):
            return SharedClass.FRONT_END
        return SharedClass.SINGLE_TENANT if self.single_tenant.touches(prefix) else SharedClass.ELSEWHERE

    def __bool__(self) -> bool:
        return bool(self.front_ends or self.single_tenant)


NOTHING_SHARED = Shared()


def hosts(v4: U64, v6: U64) -> tuple[Mask, Mask]:
    """For each prefix: is it one address?"""
    return arrays.lengths4(v4) == BITS[4], v6[:, 2] == BITS[6]


_HOST4 = np.array([(1 << 32 - length) - 1 for length in range(33)], dtype=np.uint64)
_HOST6_HIGH = np.array([_M64 >> min(length, 64) for length in range(129)], dtype=np.uint64)
_HOST6_LOW = np.array([_M64 >> max(length - 64, 0) for length in range(129)], dtype=np.uint64)
"""Bits behind a prefix of that length."""


def _ends4(v4: U64) -> tuple[U64, U64]:
    """First and last address of each prefix."""
    first = v4 >> np.uint64(8)
    return first, first | _HOST4[arrays.lengths4(v4)]


def _ends6(v6: U64) -> tuple[_Keys, _Keys]:
    lengths = v6[:, 2].astype(np.intp)
    last = np.column_stack([v6[:, 0] | _HOST6_HIGH[lengths], v6[:, 1] | _HOST6_LOW[lengths]])
    return _keys6(v6[:, :2]), _keys6(last)


def _keys6(rows: U64) -> _Keys:
    """Of rows of high and low. Big-endian bytes sort as the numbers do; numpy pads with NULs where it cuts them off."""
    return np.ascontiguousarray(rows.astype(">u8")).view("S16").reshape(-1)


def _rows4(first: U64, last: U64) -> U64:
    return np.column_stack([first, last]).astype(np.uint64)


def _rows6(first: _Keys, last: _Keys) -> U64:
    return np.column_stack([_numbers6(first), _numbers6(last)])


def _numbers6(keys: _Keys) -> U64:
    return np.ascontiguousarray(keys, dtype="S16").view(">u8").reshape(-1, 2).astype(np.uint64)


def _after(keys: _Keys) -> _Keys:
    """The address behind each; behind the last one there is none, and the first comes back."""
    if keys.dtype.kind == "u":
        return keys + np.uint64(1)
    numbers = _numbers6(keys)
    return _keys6(np.column_stack([numbers[:, 0] + (numbers[:, 1] == _FULL), numbers[:, 1] + np.uint64(1)]))


def _merged(first: _Keys, last: _Keys) -> tuple[_Keys, _Keys]:
    """Intervals in any order as the fewest that hold the same."""
    if not len(first):
        return first, last
    order = np.argsort(first, kind="stable")
    first = first[order]
    values, ranks = np.unique(last[order], return_inverse=True)
    reached = values[np.maximum.accumulate(ranks.reshape(-1))]
    begins = np.ones(len(first), dtype=bool)
    begins[1:] = (first[1:] > reached[:-1]) & (first[1:] != _after(reached[:-1]))
    ends = np.append(begins[1:], True)
    return first[begins], reached[ends]


def _before(keys: _Keys) -> _Keys:
    """The address before each; of the first one there is none, and the last comes."""
    if keys.dtype.kind == "u":
        return keys - np.uint64(1)
    numbers = _numbers6(keys)
    return _keys6(np.column_stack([numbers[:, 0] - (numbers[:, 1] == 0), numbers[:, 1] - np.uint64(1)]))


def _joined(*intervals: tuple[_Keys, _Keys]) -> tuple[_Keys, _Keys]:
    return np.concatenate([first for first, _ in intervals]), np.concatenate([last for _, last in intervals])


def _outside(first: _Keys, last: _Keys, ends: tuple[_Keys, _Keys]) -> tuple[_Keys, _Keys]:
    """The gaps between disjoint intervals that ascend, up to the ends of the version."""
    if not len(first):
        return ends
    begins, closes = np.concatenate([ends[0], _after(last)]), np.concatenate([_before(first), ends[1]])
    kept = np.ones(len(begins), dtype=bool)
    kept[0], kept[-1] = first[0] != ends[0][0], last[-1] != ends[1][0]
    return begins[kept], closes[kept]


_ENDS4 = np.zeros(1, dtype=np.uint64), np.full(1, (1 << 32) - 1, dtype=np.uint64)
_ENDS6 = _keys6(np.zeros((1, 2), dtype=np.uint64)), _keys6(np.full((1, 2), _FULL))
"""The first and the last address."""


def _touching(firsts: _Keys, lasts: _Keys, first: _Keys, last: _Keys) -> Mask:
    """More ranges begin up to the end of it than end before it."""
    return np.searchsorted(firsts, last, side="right") > np.searchsorted(lasts, first, side="left")


def _within(firsts: _Keys, lasts: _Keys, first: _Keys, last: _Keys) -> Mask:
    """The range that begins last before it also ends behind it."""
    at = np.searchsorted(firsts, first, side="right")
    found: Mask = at > 0
    if found.any():
        found[found] = lasts[at[found] - 1] >= last[found]
    return found


def _blocks(first: int, last: int, bits: int) -> Iterable[tuple[int, int]]:
    """The largest aligned blocks from `first` to `last`, as (address, length)."""
    while first <= last:
        size = min((first & -first).bit_length() - 1 if first else bits, (last - first + 1).bit_length() - 1)
        yield first, bits - size
        first += 1 << size
