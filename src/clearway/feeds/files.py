"""Keeps the entries of lists below feeds/ of the state, a folder for each content (policy/entries.py has the form)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from clearway.policy import entries, parts
from clearway.policy.arrays import U64
from clearway.policy.entries import StoredEntries as FeedFile
from clearway.policy.names import StoredNames

__all__ = ["FeedFile", "open", "store"]


class HasArrays(Protocol):
    """What readers' Entries have of it."""

    @property
    def v4(self) -> U64: ...
    @property
    def v6(self) -> U64: ...


def store(
    directory: Path, parsed: HasArrays, names: StoredNames | None = None, excepted: StoredNames | None = None
) -> FeedFile:
    """Keeps sorted distinct entries, and what of their names the list spares; those that are there already are left
    alone. Lets OSError through, writes all or nothing."""
    written: dict[str, parts.Array] = {
        "v4": parsed.v4.astype("<u8", copy=False),
        "v6": parsed.v6.astype("<u8", copy=False),
    }
    if names is not None:
        written.update(entries.name_parts(names))
    if excepted is not None:
        written.update(entries.name_parts(excepted, entries.EXCEPTED))
    path = parts.write(directory, entries.hash_of, entries.document_of(parsed.v4, parsed.v6, names), written)
    return entries.open_entries(path, verify=False)


def open(directory: Path, hash: str, *, verify: bool = True) -> FeedFile:
    """The entries of that hash. Raises feeds.E014 when they are missing or damaged; see entries.open_entries."""
    return entries.open_entries(directory / hash, verify=verify)
