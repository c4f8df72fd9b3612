"""Names in lists: compiled under this installation's secret, and who holds a name. lists.py has what is common.

Imported after `store.setup`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clearway._engine import NameScope
from clearway.config import StateDirectory
from clearway.feeds.fetch import shown
from clearway.policy.entries import StoredEntries
from clearway.policy.name_table import NameEntry
from clearway.policy.names import Blob, CompiledNames, ListNames, StoredNames, compile_names
from clearway.store.change import ListWanted, NameHit

HITS_MAX = 5
"""Entries below a name that are shown of one list."""
SECRET_BYTES = 32
_PIECE_BYTES = 4 << 20
_LINE_BYTES_MAX = 254


def compile_held(state: StateDirectory, lists: Sequence[ListNames]) -> CompiledNames:
    """The names of all lists of a snapshot, in its order; the secret is made when the first list has names.

    Lets OSError through. Only for the one that compiles.
    """
    if not any(each.names for each in lists):
        return CompiledNames()
    return compile_names(lists, secret(state))


def secret(state: StateDirectory) -> bytes:
    """What the keys of name hashes follow from, beside the lists: made once, 0600. Lets OSError through.

    Who has it can choose names that the filter mistakes for listed ones: they cost a hold each, and no wrong verdict.
    """
    path = state.keys / "names.key"
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        held = b""
    if len(held) == SECRET_BYTES:
        return held
    made = secrets.token_bytes(SECRET_BYTES)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    state.adopt(path)
    return made


def holders(entry: NameEntry, opened: Sequence[tuple[ListWanted, StoredEntries]]) -> list[NameHit]:
    """Entries of lists that cover a name, longest first; then, where the entry reaches below it, those below it.

    Of each list at most HITS_MAX below.
    """
    covering = [
        replace(_hit(each, found), spared_by=_own_exception(stored, entry.name, found))
        for each, stored in opened
        for found in stored.names.covering(entry.name)
    ]
    covering.sort(key=lambda hit: (-len(hit.entry.name), hit.feed))
    if entry.scope == NameScope.EXACT:
        return covering
    return [*covering, *(_hit(each, found) for each, stored in opened for found in within(stored.names, entry.name))]


def _own_exception(stored: StoredEntries, name: str, entry: NameEntry) -> str:
    """What the list says that keeps an entry of its own from covering a name; ""."""
    own = [each.name for each in stored.excepted.covering(name) if len(each.name) >= len(entry.name)]
    return f"the list's own exception {own[0]}" if own else ""


def within(names: StoredNames, name: str, limit: int = HITS_MAX) -> list[NameEntry]:
    """At most `limit` entries below a name, or about what is below it alone. Reads every byte."""
    found = [NameEntry(each.name, each.scope) for each in _at(names, name) if each.scope == NameScope.BELOW]
    for scope, blob in names.blobs().items():
        for line in _ending(blob, f".{name}\n".encode()):
            if len(found) >= limit:
                return found
            found.append(NameEntry(line, scope))
    return found


def _at(names: StoredNames, name: str) -> list[NameEntry]:
    """What stands at exactly that name, and is about names below it: asked by way of one of them."""
    return [each for each in names.covering(f"any.{name}") if each.name == name]


def _ending(blob: Blob, end: bytes) -> Iterator[str]:
    """Lines of a blob that end so, in pieces: a blob can be larger than memory should be."""
    for start in range(0, len(blob), _PIECE_BYTES):
        first = max(0, start - _LINE_BYTES_MAX)
        piece = blob[first : start + _PIECE_BYTES].tobytes()
        at = piece.find(end, max(0, start - first - len(end) + 1))
        while at >= 0:
            yield (piece[piece.rfind(b"\n", 0, at) + 1 : at] + end[:-1]).decode("ascii")
            at = piece.find(end, at + len(end))


def _hit(each: ListWanted, entry: NameEntry) -> NameHit:
    return NameHit(each.feed, each.reason, entry, each.fetched_at, each.until, shown(each.source), each.decision_id)
