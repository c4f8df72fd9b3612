"""Names of lists → the exact set and the filter that packets are held to. Pure; no clock, no files.

The longest suffix that is listed decides, over all lists together; at the same suffix an exception beats a block, then
the first list is named. Lists that are only observed are a class by themselves, asked where the enforced ones refuse
nothing. The set answers exactly (engine/inspector/src/name_set.rs has its form); its filter, asked in the kernel,
misses nothing and mistakes one in 65,536.

The keys that names are hashed with follow from the lists and from a secret of this installation: another snapshot has
others, the same lists have the same, and who knows the lists but not the secret cannot choose names that the filter
mistakes. They stand in the set: a thief of a snapshot could, until the next one.

Memory at its peak, beyond the lists: 85 bytes a name of 18 characters, more as names are longer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clearway._engine import NameLines, NameScope, NameSet
from clearway.policy import own_exceptions
from clearway.policy.arrays import U64
from clearway.policy.model import Reason
from clearway.policy.name_table import NameEntry, suffixes

Blob = npt.NDArray[np.uint8]
"""Names in canonical form, sorted by byte, distinct, each ended by a newline."""

SECRET_BYTES_MIN = 16
_LINE_BYTES_MAX = 254
NO_BLOB: Blob = np.empty(0, dtype=np.uint8)


def _no_blob() -> Blob:
    return NO_BLOB


@dataclass(frozen=True, slots=True, eq=False)
class StoredNames:
    """The names of one version of a list by what they cover, in memory or mapped from files."""

    exact: Blob = field(default_factory=_no_blob)
    below: Blob = field(default_factory=_no_blob)
    subtree: Blob = field(default_factory=_no_blob)
    _counted: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    """What `counts` has found: blobs do not change."""

    @classmethod
    def of_lines(cls, lines: NameLines) -> StoredNames:
        """As engine.parse_names read them."""
        return cls(*(np.frombuffer(blob, dtype=np.uint8) for blob in (lines.exact, lines.below, lines.subtree)))

    def blobs(self) -> dict[NameScope, Blob]:
        """The three by their scope, the widest first."""
        return {NameScope.SUBTREE: self.subtree, NameScope.BELOW: self.below, NameScope.EXACT: self.exact}

    def __bool__(self) -> bool:
        return any(len(blob) for blob in self.blobs().values())

    def counts(self) -> dict[str, int]:
        """How many by the word of their scope; reads every byte, once."""
        if not self._counted:
            found = {scope.name.lower(): blob.tobytes().count(b"\n") for scope, blob in self.blobs().items()}
            self._counted.update(found)
        return dict(self._counted)

    def covering(self, name: str) -> list[NameEntry]:
        """Entries that cover it, longest first; at one name the widest first."""
        return [
            NameEntry(suffix, scope)
            for suffix in suffixes(name)
            for scope, blob in self.blobs().items()
            if scope != (NameScope.BELOW if suffix == name else NameScope.EXACT) and _holds(blob, suffix.encode())
        ]


@dataclass(frozen=True, slots=True, eq=False)
class ListNames:
    """The names of one list. `exception`: what they cover is spared. `observe`: it is told of, and goes on."""

    name: str
    reason: Reason
    names: StoredNames
    exception: bool = False
    excepted: StoredNames = field(default_factory=StoredNames)
    """What the list spares of its own; other lists refuse it all the same."""
    observe: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CompiledNames:
    """Both parts of a snapshot; empty where no list has names."""

    names: Blob = field(default_factory=_no_blob)
    """For engine.NameSet; its list numbers are places among the lists of the snapshot."""
    name_filter: U64 = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    """Words for the kernel's map; how to ask them stands in the set."""
    counts: Mapping[str, int] = field(default_factory=lambda: {"names": 0, "filter_keys": 0})
    """names in the set, filter_keys in the filter."""

    def __bool__(self) -> bool:
        return len(self.names) > 0

    def opened(self) -> NameSet:
        """To ask the set. Raises BadSnapshotPart; ValueError where there is none."""
        if not self:
            raise ValueError("this policy has no names")
        return NameSet(self.names.data)


def compile_names(lists: Sequence[ListNames], secret: bytes) -> CompiledNames:
    """Compiles all lists together: one for each list of the snapshot, in its order, those without names among them.

    ValueError for names that are not what StoredNames says, and for a secret shorter than SECRET_BYTES_MIN.
    """
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a secret has {SECRET_BYTES_MIN} bytes at least")
    enforced, observed = (_parts_of(lists, observe=observe) for observe in (False, True))
    if not enforced and not observed:
        return CompiledNames()
    names, words = NameSet.build(enforced, *_keys(enforced, observed, secret), observed)
    made = NameSet(names)
    counts = {"names": made.names, "filter_keys": made.filter.entries}
    return CompiledNames(np.frombuffer(names, dtype=np.uint8), np.frombuffer(words, dtype=np.uint64), counts)


_Parts = Sequence[tuple[int, int, bool, memoryview]]


def _parts_of(lists: Sequence[ListNames], *, observe: bool) -> _Parts:
    """One class of lists as engine.NameSet takes them."""
    numbers = [number for number, each in enumerate(lists) if each.observe == observe]
    of_class = [lists[number] for number in numbers]
    parts = [
        (number, int(scope), each.exception, blob.data)
        for number, each in zip(numbers, of_class, strict=True)
        for scope, blob in each.names.blobs().items()
        if len(blob)
    ]
    own = own_exceptions.parts(of_class)
    return parts + [(numbers[part.number], int(part.scope), part.exception, part.names.data) for part in own]


def _keys(enforced: _Parts, observed: _Parts, secret: bytes) -> tuple[int, int]:
    content = hashlib.sha256()
    for parts, class_word in ((enforced, ""), (observed, " observed")):
        for number, scope, exception, blob in parts:
            told = f"{number} {scope} {exception:d} {hashlib.sha256(blob).hexdigest()}{class_word}\n"
            content.update(told.encode())
    made = hmac.digest(secret, b"clearway name keys\n" + content.digest(), "sha256")
    return int.from_bytes(made[:8], "little"), int.from_bytes(made[8:16], "little")


def _holds(blob: Blob, name: bytes) -> bool:
    """Whether a line of the blob is this name: a bisection over bytes."""
    low, high = 0, len(blob)  # line beginnings, or the end
    while low < high:
        middle = (low + high) // 2
        before = blob[max(low, middle - _LINE_BYTES_MAX) : middle].tobytes()
        start = middle - len(before) + before.rfind(b"\n") + 1
        line, newline, _ = blob[start : start + _LINE_BYTES_MAX].tobytes().partition(b"\n")
        if line == name:
            return bool(newline)
        if line < name:
            low = start + len(line) + 1
        else:
            high = start
    return False
