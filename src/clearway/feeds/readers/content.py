"""What stands in a list, whatever its format: entries, exceptions, and every line that gave none with the rule why.

`Content` is what readers make and all others take. Memory: an IPv4 prefix 8 bytes, IPv6 24, a name its own; a reject
its text (200 characters at most) and 18 bytes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from clearway import _engine
from clearway._engine import NameScope
from clearway.feeds.readers import values
from clearway.feeds.readers.rules import NUMBERS, RULES, UNSUPPORTED, Rule
from clearway.feeds.readers.values import Address
from clearway.policy.arrays import U64
from clearway.policy.names import StoredNames

REJECT_CHARACTERS_MAX = 200


class Unfit(Exception):
    """The list cannot be read as that format at all: id and fields of an error, which a caller gives its origin."""

    def __init__(self, id: str, **fields: object) -> None:
        super().__init__(id)
        self.id = id
        self.fields = fields


class Said(NamedTuple):
    """One thing that a line says, as it is written there: a name with its scope, or an address, by its look."""

    text: str
    scope: NameScope = NameScope.EXACT
    exception: bool = False


Meaning = list[Said] | Rule
"""Of a line or an item: what it says (nothing, where that is empty), or why it gives no entry."""


class Item(NamedTuple):
    """A line of a text, a row of a table, a value of a document."""

    line: int
    """From 1."""
    text: str
    meaning: Meaning


class Reject(NamedTuple):
    """A line that gave no entry."""

    line: int
    rule: Rule
    text: str


class Rejects:
    """All of them, in the order of their lines; counted by rule."""

    def __init__(self) -> None:
        self._lines = array("Q")
        self._ends = array("Q")
        self._rules = bytearray()
        self._texts = bytearray()

    def add(self, line: int, rule: Rule, text: str) -> None:
        """Text is cut at REJECT_CHARACTERS_MAX."""
        self._lines.append(line)
        self._rules.append(NUMBERS[rule])
        self._texts += text.strip()[:REJECT_CHARACTERS_MAX].encode("utf-8", "replace")
        self._ends.append(len(self._texts))

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Reject]:
        start = 0
        for line, number, end in zip(self._lines, self._rules, self._ends, strict=True):
            yield Reject(line, RULES[number], self._texts[start:end].decode())
            start = end

    def by_rule(self) -> dict[Rule, int]:
        """How many of each, in the order of the rules."""
        counted = Counter(self._rules)
        return {rule: counted[number] for number, rule in enumerate(RULES) if counted[number]}

    def count(self, kind: str) -> int:
        """How many of a class."""
        return sum(count for rule, count in self.by_rule().items() if rule.kind == kind)

    def first(self, kind: str) -> Reject | None:
        """The first of a class."""
        return next((reject for reject in self if reject.rule.kind == kind), None)


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Sorted, distinct. Arrays as in policy/arrays.py."""

    v4: U64
    v6: U64
    names: StoredNames

    def __len__(self) -> int:
        return len(self.v4) + len(self.v6) + sum(self.names.counts().values())


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """All of a list."""

    blocked: Entries
    excepted: Entries
    """What the list itself spares; inside this list alone."""
    blank: int
    """Lines that say nothing."""
    entry_lines: int
    """Lines that gave an entry, duplicates included."""
    rejects: Rejects
    declared: int | None = None
    """How many entries the list says that it has, where its format has a place for that."""
    published: str | None = None
    """When it was made, in its own words, where its format has a place for that."""

    @property
    def counts(self) -> dict[str, int]:
        """Every line once: lines = blank + entries + unsupported + malformed; then distinct entries by kind."""
        malformed = len(self.rejects) - self.rejects.count(UNSUPPORTED)
        return {
            "lines": self.blank + self.entry_lines + len(self.rejects),
            "blank": self.blank,
            "entries": self.entry_lines,
            "malformed": malformed,
            "unsupported": len(self.rejects) - malformed,
            "v4": len(self.blocked.v4),
            "v6": len(self.blocked.v6),
            "names": sum(self.blocked.names.counts().values()),
            "exceptions": len(self.excepted),
        }


NO_V4: U64 = np.empty(0, dtype=np.uint64)
NO_V6: U64 = np.empty((0, 3), dtype=np.uint64)


@dataclass(slots=True)
class _Pile:
    """Entries of one kind (blocked or excepted) as they come."""

    v4: list[int] = field(default_factory=list)
    v6: list[tuple[int, int, int]] = field(default_factory=list)
    names: dict[NameScope, list[str]] = field(default_factory=lambda: {scope: [] for scope in NameScope})

    def add(self, value: Address | tuple[str, NameScope]) -> None:
        if not isinstance(value, Address):
            self.names[value[1]].append(value[0])
        elif value.version == 4:
            self.v4.append(value.address << 8 | value.length)
        else:
            self.v6.append((value.address >> 64, value.address & (1 << 64) - 1, value.length))

    def with_usual(self, usual: Entries, merge: bool) -> Entries:
        v4 = np.unique(np.concatenate([usual.v4, np.array(self.v4, dtype=np.uint64)])) if self.v4 else usual.v4
        rows = np.array(self.v6, dtype=np.uint64).reshape(-1, 3)
        v6 = np.unique(np.concatenate([usual.v6, rows]), axis=0) if self.v6 else usual.v6
        blobs = [self._blob(usual.names, scope) for scope in NameScope]
        if merge and sum(map(bool, blobs)) > 1:
            blobs = _engine.merge_names(*blobs)
        return Entries(v4, v6, StoredNames(*(np.frombuffer(blob, dtype=np.uint8) for blob in blobs)))

    def _blob(self, usual: StoredNames, scope: NameScope) -> bytes:
        blob = usual.blobs()[scope].tobytes()
        if not self.names[scope]:
            return blob
        return _engine.sort_names(blob + "\n".join(self.names[scope]).encode("ascii") + b"\n")


NO_ENTRIES = Entries(NO_V4, NO_V6, StoredNames())


class Gatherer:
    """Takes meanings one after another, and makes the content of them."""

    def __init__(self, *, labels_min: int = 2) -> None:
        self.blank = 0
        self.entry_lines = 0
        self.rejects = Rejects()
        self.declared: int | None = None
        self.published: str | None = None
        self._labels_min = labels_min
        self._blocked = _Pile()
        self._excepted = _Pile()

    def take(self, item: Item) -> None:
        """A line counts once: where one of its values is refused, all of it is."""
        line, text, meaning = item
        if isinstance(meaning, Rule):
            self.rejects.add(line, meaning, text)
            return
        if not meaning:
            self.blank += 1
            return
        found: list[tuple[bool, Address | tuple[str, NameScope]]] = []
        for said in meaning:
            value = self._value_of(said)
            if isinstance(value, Rule):
                self.rejects.add(line, value, text)
                return
            found += [(said.exception, each) for each in value]
        for exception, each in found:
            (self._excepted if exception else self._blocked).add(each)
        self.entry_lines += 1

    def take_all(self, items: Iterable[Item]) -> Gatherer:
        """Each of them."""
        for item in items:
            self.take(item)
        return self

    def content(self, usual: Entries = NO_ENTRIES, *, merge: bool = False) -> Content:
        """All of it. `usual`: entries that were read otherwise. `merge`: a name and what is below it are one entry."""
        return Content(
            self._blocked.with_usual(usual, merge),
            self._excepted.with_usual(NO_ENTRIES, merge),
            self.blank,
            self.entry_lines,
            self.rejects,
            self.declared,
            self.published,
        )

    def _value_of(self, said: Said) -> list[Address | tuple[str, NameScope]] | Rule:
        text = said.text
        if not text:
            return Rule.FIELD
        if values.looks_like_address(text):
            if said.scope == NameScope.BELOW:
                return Rule.ADDRESS_WILDCARD
            address = values.address_of(text)
            return address if isinstance(address, Rule) else [address]
        first, dash, last = text.partition("-")
        if dash and values.looks_like_address(first.strip()) and values.looks_like_address(last.strip()):
            made = values.range_of(first.strip(), last.strip())
            return made if isinstance(made, Rule) else [*made]
        name = values.name_of(text, labels_min=self._labels_min)
        if name is Rule.SINGLE_LABEL and said.scope != NameScope.EXACT:
            return Rule.SUFFIX
        return name if isinstance(name, Rule) else [(name, said.scope)]
