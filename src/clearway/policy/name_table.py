"""Names in memory, each with what stands there: who covers a name is found by asking suffix after suffix.

The slow, obvious counterpart of engine.NameSet, for rules of people and for tests. A name that is asked is text in the
form of the inspector: small letters, A-labels, no final dot; it may hold labels that no entry has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from clearway._engine import NameScope
from clearway.policy.model import Name

Value = TypeVar("Value")


class NameEntry(NamedTuple):
    """A name and what of it and below it is meant."""

    name: str
    scope: NameScope


def suffixes(name: str) -> list[str]:
    """The name and what follows its dots, longest first, as far as it has two labels or more."""
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels) - 1)]


def covers(entry: NameEntry, name: str) -> bool:
    """Whether the entry is about this name."""
    if name == entry.name:
        return entry.scope != NameScope.BELOW
    return entry.scope != NameScope.EXACT and name.endswith(f".{entry.name}")


class NameTable(Generic[Value]):
    """Immutable after it is made. Several values may stand at one entry, in the order given."""

    def __init__(self, items: Iterable[tuple[NameEntry, Value]]) -> None:
        self._at: dict[str, list[tuple[NameEntry, Value]]] = {}
        for entry, value in items:
            self._at.setdefault(entry.name, []).append((entry, value))

    def covering(self, name: str) -> list[tuple[NameEntry, Value]]:
        """What covers the name, longest entry first; at one name the widest scope first, then as given."""
        return [
            (entry, value)
            for suffix in suffixes(name)
            for entry, value in sorted(self._at.get(suffix, []), key=lambda standing: -standing[0].scope)
            if covers(entry, name)
        ]


class NameEntries:
    """Entries alone: the names of a list, as policy.names.StoredNames has them in files."""

    def __init__(self, entries: Iterable[tuple[Name | str, NameScope]] = ()) -> None:
        self._table = NameTable((NameEntry(str(name), scope), None) for name, scope in entries)

    def covering(self, name: str) -> list[NameEntry]:
        """Entries that cover it, longest first."""
        return [entry for entry, _ in self._table.covering(name)]


NO_NAMES = NameEntries()
