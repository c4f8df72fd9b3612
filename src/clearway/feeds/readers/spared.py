"""What is left of a list once its own exceptions are heard: they act inside the list, and no other part knows them.

An address that an exception covers is left out, and of a prefix around it the rest is kept, in the prefixes that make
it up. A name that an exception covers is left out as well; one that is wider stays, and the exception stays with it
(policy/own_exceptions.py). Where only scopes differ at one name, the entry keeps the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from clearway import _engine
from clearway._engine import NameScope
from clearway.feeds.name_scan import Wanted, chunks_of, without
from clearway.feeds.readers.content import Content, Entries
from clearway.policy.arrays import U64, merged4
from clearway.policy.model import BITS
from clearway.policy.names import Blob, StoredNames
from clearway.policy.shared import Ranges

EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE

_REST = {(SUBTREE, EXACT): BELOW, (SUBTREE, BELOW): EXACT, (BELOW, EXACT): BELOW, (EXACT, BELOW): EXACT}
"""What an entry of the first scope covers besides an exception of the second at the same name; else nothing."""


def without_excepted(content: Content) -> tuple[Entries, int]:
    """The entries to enforce, and how many of the list's are not among them."""
    blocked, excepted = content.blocked, content.excepted
    if not len(excepted):
        return blocked, 0
    near4, near6 = Ranges.of(excepted.v4, excepted.v6).touching(blocked.v4, blocked.v6)
    v4, gone4 = _without(4, _keys4(blocked.v4[near4]), _keys4(excepted.v4))
    v6, gone6 = _without(6, _keys6(blocked.v6[near6]), _keys6(excepted.v6))
    names, spared = _names_without(blocked.names, excepted.names)
    before, after = (sum(each.counts().values()) for each in (blocked.names, names))
    kept = Entries(
        blocked.v4 if v4 is None else merged4([blocked.v4[~near4], np.array(v4, dtype=np.uint64)]),
        blocked.v6 if v6 is None else np.unique(np.concatenate([blocked.v6[~near6], _rows6(v6)]), axis=0),
        names,
        spared,
    )
    return kept, gone4 + gone6 + before - after


# ---- addresses: a prefix is its number and length, so that those of one length are found by a shift ----

Key = tuple[int, int]
"""Address and length."""


def _keys4(v4: U64) -> list[Key]:
    return [(key >> 8, key & 0xFF) for key in v4.tolist()]


def _keys6(v6: U64) -> list[Key]:
    return [(high << 64 | low, length) for high, low, length in v6.tolist()]


def _rows6(keys: Sequence[int]) -> U64:
    rows = [(key >> 72, key >> 8 & (1 << 64) - 1, key & 0xFF) for key in keys]
    return np.array(rows, dtype=np.uint64).reshape(-1, 3)


def _without(version: int, blocked: list[Key], excepted: list[Key]) -> tuple[list[int] | None, int]:
    """What is left as address << 8 | length; None: all of it. And how many prefixes are left no longer."""
    if not excepted or not blocked:
        return None, 0
    bits = BITS[version]
    spared = {(address >> bits - length, length) for address, length in excepted}
    lengths = sorted({length for _, length in excepted})
    standing = [key for key in blocked if not _covered(key, spared, lengths, bits)]
    stands = {(address >> bits - length, length) for address, length in standing}
    wider = sorted({length for _, length in standing})
    holes: dict[Key, list[Key]] = {}
    for address, length in excepted:
        for around in (each for each in wider if each < length):
            if (address >> bits - around, around) in stands:
                holes.setdefault((address >> bits - around, around), []).append((address, length))
    kept = {address << 8 | length for address, length in standing if (address >> bits - length, length) not in holes}
    for (number, length), inner in holes.items():
        kept.update(address << 8 | rest for address, rest in _around(number << bits - length, length, inner, bits))
    return list(kept), len(blocked) - len(standing)


def _covered(key: Key, spared: set[Key], lengths: Sequence[int], bits: int) -> bool:
    address, length = key
    return any((address >> bits - shorter, shorter) in spared for shorter in lengths if shorter <= length)


def _around(address: int, length: int, holes: Sequence[Key], bits: int) -> Iterator[Key]:
    """The prefixes of a prefix that hold none of its holes, each as wide as it can be."""
    if not holes:
        yield address, length
    elif all(inner > length for _, inner in holes):
        half = 1 << bits - length - 1
        yield from _around(address, length + 1, [each for each in holes if not each[0] & half], bits)
        yield from _around(address | half, length + 1, [each for each in holes if each[0] & half], bits)


# ---- names ----


def _names_without(blocked: StoredNames, excepted: StoredNames) -> tuple[StoredNames, StoredNames]:
    """The names to refuse, and what is spared below them."""
    if not excepted or not blocked:
        return blocked, StoredNames()
    spared = {scope: set(_lines(excepted, scope)) for scope in NameScope}
    wanted = Wanted.of(
        [name.encode("ascii") for names in spared.values() for name in names],
        [f".{name}".encode("ascii") for name in spared[BELOW] | spared[SUBTREE]],
    )
    kept: dict[NameScope, Blob] = {}
    moved: dict[NameScope, set[str]] = {scope: set() for scope in NameScope}
    for scope, blob in blocked.blobs().items():
        looked_at = [line.decode("ascii") for chunk in chunks_of(blob) for line in wanted.found_in(chunk)]
        rests = {name: _rest_of(name, scope, spared) for name in looked_at}
        changed = {name: rest for name, rest in rests.items() if rest != scope}
        kept[scope] = without(blob, map(str.encode, changed)) if changed else blob
        for name, rest in changed.items():
            if rest is not None:
                moved[rest].add(name)
    left = StoredNames(*(_with(kept[scope], moved[scope]) for scope in NameScope))
    above = _held(left, {suffix for names in spared.values() for name in names for suffix in _above(name)})
    below = {scope: {name for name in spared[scope] if not above.isdisjoint(_above(name))} for scope in NameScope}
    return left, StoredNames(*(_blob(below[scope]) for scope in NameScope))


def _with(blob: Blob, names: set[str]) -> Blob:
    """A blob with more names."""
    if not names:
        return blob
    return np.frombuffer(_engine.sort_names(np.concatenate([blob, _blob(names)]).data), dtype=np.uint8)


def _held(names: StoredNames, asked: Iterable[str]) -> set[str]:
    """Those of these names below which an entry covers."""
    ordered = sorted(asked)
    sought = _blob(ordered)
    found: set[str] = set()
    for blob in (names.below, names.subtree):
        if len(blob):
            flags = _engine.find_names(blob.data, sought.data)
            found |= {name for name, held in zip(ordered, flags, strict=True) if held}
    return found


def _blob(names: Iterable[str]) -> Blob:
    return np.frombuffer("".join(f"{name}\n" for name in sorted(names)).encode("ascii"), dtype=np.uint8)


def _rest_of(name: str, scope: NameScope, spared: dict[NameScope, set[str]]) -> NameScope | None:
    """The scope that an entry keeps; None: it is left out."""
    if any(suffix in spared[SUBTREE] or suffix in spared[BELOW] for suffix in _above(name)):
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
