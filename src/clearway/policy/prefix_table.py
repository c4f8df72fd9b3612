"""Prefixes in memory, each with what stands there: who covers an address is found by asking length after length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from clearway.policy.model import BITS, Prefix

Value = TypeVar("Value")


class PrefixTable(Generic[Value]):
    """Immutable after it is made. Several values may stand at one prefix, in the order given."""

    def __init__(self, items: Iterable[tuple[Prefix, Value]]) -> None:
        self._at: dict[tuple[int, int, int], tuple[Prefix, list[Value]]] = {}
        for prefix, value in items:
            key = prefix.version, prefix.length, prefix.address
            self._at.setdefault(key, (prefix, []))[1].append(value)
        self._lengths = {
            version: sorted({length for v, length, _ in self._at if v == version}, reverse=True) for version in BITS
        }

    def covering(self, prefix: Prefix) -> list[tuple[Prefix, list[Value]]]:
        """What stands at prefixes that cover this one, itself included, longest first."""
        found = []
        bits = BITS[prefix.version]
        for length in self._lengths[prefix.version]:
            shift = bits - length
            standing = self._at.get((prefix.version, length, prefix.address >> shift << shift))
            if standing and length <= prefix.length:
                found.append(standing)
        return found

    def within(self, prefix: Prefix) -> list[tuple[Prefix, list[Value]]]:
        """What stands at longer prefixes within this one, in order."""
        inner = (s for s in self._at.values() if s[0].length > prefix.length and prefix.covers(s[0]))
        return sorted(inner, key=lambda standing: standing[0])


class PrefixSet:
    """Prefixes alone: the entries of a list, as policy.entries.StoredEntries has them in files."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._table = PrefixTable((prefix, None) for prefix in prefixes)

    def covering(self, prefix: Prefix) -> list[Prefix]:
        """Entries that cover it, itself included, longest first."""
        return [entry for entry, _ in self._table.covering(prefix)]

    def within(self, prefix: Prefix, limit: int) -> list[Prefix]:
        """At most `limit` longer entries that lie within it, in order."""
        return [entry for entry, _ in self._table.within(prefix)][:limit]
