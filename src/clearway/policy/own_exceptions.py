"""Exceptions that a list makes from its own blocks: they act inside it alone, and another list still refuses there.

The compiled set knows only one kind of exception, which beats shorter blocks of every list. So each exception is taken
apart into the name itself and what is below it, and each of the two becomes an exception of the set only where no other
list covers it; where one does, that list's block stands there instead, so that it is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clearway import _engine
from clearway._engine import NameScope
from clearway.policy.name_table import suffixes

if TYPE_CHECKING:
    from clearway.policy.names import Blob, ListNames

EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE


class Part(NamedTuple):
    """Names of one list as compile_names takes them."""

    number: int
    scope: NameScope
    exception: bool
    names: Blob


class _Asked(NamedTuple):
    """The name itself (EXACT) or all below it (BELOW), which a list spares."""

    number: int
    name: str
    scope: NameScope


def parts(lists: Sequence[ListNames]) -> list[Part]:
    """What to compile beside the lists themselves. Lists must be of one class: all enforced, or all observed."""
    asked = [each for number, listed in enumerate(lists) for each in _asked(number, listed)]
    if not asked:
        return []
    standing = _Standing(lists, {suffix for each in asked for suffix in suffixes(each.name)})
    made: dict[tuple[int, bool], dict[NameScope, set[str]]] = {}
    for each in asked:
        other = standing.who_blocks(each)
        key = (each.number, True) if other is None else (other, False)
        made.setdefault(key, {EXACT: set(), BELOW: set()})[each.scope].add(each.name)
    return [
        Part(number, scope, exception, _blob(names))
        for (number, exception), by_scope in sorted(made.items())
        for scope, names in sorted(by_scope.items())
        if names
    ]


def _asked(number: int, listed: ListNames) -> Iterable[_Asked]:
    for scope, blob in listed.excepted.blobs().items():
        for name in blob.tobytes().decode("ascii").splitlines():
            for part in (EXACT, BELOW):
                if scope in (part, SUBTREE):
                    yield _Asked(number, name, part)


class _Standing:
    """What of some names stands in which list, with which scope: asked of each blob once."""

    def __init__(self, lists: Sequence[ListNames], names: set[str]) -> None:
        ordered = sorted(names)
        sought = _blob(ordered)
        self._blocks = [_found(listed.names.blobs(), ordered, sought) for listed in lists]
        self._spared = [_found(listed.excepted.blobs(), ordered, sought) for listed in lists]
        self._is_exception = [listed.exception for listed in lists]

    def who_blocks(self, asked: _Asked) -> int | None:
        """The list whose longest entry covers all that is asked and that spares none of it; at one name the first."""
        best: tuple[int, int] | None = None
        for number, blocks in enumerate(self._blocks):
            if number == asked.number or self._is_exception[number]:
                continue
            blocked = _longest(blocks, asked)
            if blocked and blocked > _longest(self._spared[number], asked) and (best is None or blocked > best[0]):
                best = blocked, number
        return None if best is None else best[1]


Found = dict[str, set[NameScope]]


def _found(blobs: dict[NameScope, Blob], names: Sequence[str], sought: Blob) -> Found:
    found: Found = {}
    for scope, blob in blobs.items():
        if len(blob):
            for at, held in enumerate(_engine.find_names(blob.data, sought.data)):
                if held:
                    found.setdefault(names[at], set()).add(scope)
    return found


def _longest(found: Found, asked: _Asked) -> int:
    """Labels of the longest entry that covers what is asked; 0: none."""
    for suffix in suffixes(asked.name):
        covers = {SUBTREE, asked.scope if suffix == asked.name else BELOW}
        if not covers.isdisjoint(found.get(suffix, ())):
            return suffix.count(".") + 1
    return 0


def _blob(names: Iterable[str]) -> Blob:
    return np.frombuffer("".join(f"{name}\n" for name in sorted(names)).encode("ascii"), dtype=np.uint8)
