"""What stands in a list, whatever its format: entries, exceptions, and every line that gave none with the rule why.

`Content` is what readers make and all others take. Memory: an IPv4 prefix 8 bytes, IPv6 24, a name its own; a reject
its text (200 characters at most) and 18 bytes.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np

from clearway import _engine
from clearway._engine import ListLines, NameScope
from clearway.feeds.readers import values
from clearway.feeds.readers.rules import NUMBERS, RULES, UNSUPPORTED, Rule
from clearway.feeds.readers.values import Address
from clearway.policy.arrays import U64, merged4
from clearway.policy.names import StoredNames

REJECT_CHARACTERS_MAX = 200
CATEGORIES_MAX = 1000
"""Different categories of one list that are counted."""
CATEGORY_CHARACTERS_MAX = 255


class Unfit(Exception):
    """The list cannot be read as that format at all: id and fields of an error, which a caller gives its origin."""

    def __init__(self, id: str, **fields: object) -> None:
        super().__init__(id)
        self.id = id
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants of a reader, besides the entries."""

    now: datetime | None = None
    """What is past its own time then gives nothing; None: nothing is judged by time."""
    reasons: Mapping[str, str] | None = None
    """The source's category, casefolded → the reason of its entries. An entry of no category in it is left out; None:
    categories are not looked at."""


NOTHING_MORE = Asked()


class Said(NamedTuple):
    """One thing that a line says, as it is written there: a name with its scope, or an address, by its look."""

    text: str
    scope: NameScope = NameScope.EXACT
    exception: bool = False
    categories: tuple[str, ...] = ()
    """What the source says that it is, in its own words, the closest first."""


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
        self._starts = array("Q")
        self._ends = array("Q")
        self._rules = bytearray()
        self._texts = bytearray()
        self._is_sorted = True

    def add(self, line: int, rule: Rule, text: str) -> None:
        """In any order. Text is cut at REJECT_CHARACTERS_MAX."""
        self._is_sorted = self._is_sorted and (not self._lines or self._lines[-1] <= line)
        self._lines.append(line)
        self._rules.append(NUMBERS[rule])
        self._starts.append(len(self._texts))
        self._texts += text.strip()[:REJECT_CHARACTERS_MAX].encode("utf-8", "replace")
        self._ends.append(len(self._texts))

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Reject]:
        for at in self._order():
            text = self._texts[self._starts[at] : self._ends[at]].decode()
            yield Reject(self._lines[at], RULES[self._rules[at]], text)

    def _order(self) -> Iterable[int]:
        if self._is_sorted:
            return range(len(self._lines))
        return map(int, np.argsort(np.frombuffer(self._lines, dtype=np.uint64), kind="stable"))

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
    excepted: StoredNames = field(default_factory=StoredNames)
    """Names that the list spares of wider ones of its own: no entries, but a part of what those mean."""

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
    published_at: datetime | None = None
    """The same as a time in UTC, where it is one. None too where it is the age of what is told, not of the list."""
    has_metadata: bool | None = None
    """Whether the line that closes each list of its format is there; None: its format has none."""
    is_unterminated: bool = False
    """The last line has no end."""
    by_reason: dict[str, Entries] = field(default_factory=dict)
    """`blocked` by the reasons of a table of categories; empty where none was given."""
    categories: dict[str, int] = field(default_factory=dict)
    """The source's categories as it writes them, and how many lines are of each; the first CATEGORIES_MAX."""

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
    """Entries of one kind (blocked or excepted) as they come: one by one, or as the engine read them."""

    v4: list[int] = field(default_factory=list)
    v6: list[tuple[int, int, int]] = field(default_factory=list)
    names: dict[NameScope, list[str]] = field(default_factory=lambda: {scope: [] for scope in NameScope})
    read: list[Entries] = field(default_factory=list)

    def add(self, value: Address | tuple[str, NameScope]) -> None:
        if not isinstance(value, Address):
            self.names[value[1]].append(value[0])
        elif value.version == 4:
            self.v4.append(value.address << 8 | value.length)
        else:
            self.v6.append((value.address >> 64, value.address & (1 << 64) - 1, value.length))

    def entries(self, merge: bool) -> Entries:
        v4 = [each.v4 for each in self.read if len(each.v4)]
        v6 = [each.v6 for each in self.read if len(each.v6)]
        if self.v4:
            v4.append(np.unique(np.array(self.v4, dtype=np.uint64)))
        if self.v6:
            v6.append(np.unique(np.array(self.v6, dtype=np.uint64).reshape(-1, 3), axis=0))
        blobs = [self._blob(scope) for scope in NameScope]
        if merge and sum(map(bool, blobs)) > 1:
            blobs = _engine.merge_names(*blobs)
        return Entries(
            _distinct(v4, NO_V4),
            _distinct(v6, NO_V6),
            StoredNames(*(np.frombuffer(blob, dtype=np.uint8) for blob in blobs)),
        )

    def _blob(self, scope: NameScope) -> bytes:
        parts = [blob.tobytes() for each in self.read if len(blob := each.names.blobs()[scope])]
        if self.names[scope]:
            parts.append("\n".join(self.names[scope]).encode("ascii") + b"\n")
        elif len(parts) < 2:
            return parts[0] if parts else b""
        return _engine.sort_names(b"".join(parts))


def _distinct(parts: list[U64], nothing: U64) -> U64:
    """All parts as one, sorted; a single one is already."""
    if len(parts) < 2:
        return parts[0] if parts else nothing
    return merged4(parts) if nothing.ndim == 1 else np.unique(np.concatenate(parts), axis=0)


def entries_of(lines: ListLines) -> Entries:
    """As the engine read them."""
    return Entries(
        np.frombuffer(lines.v4, dtype=np.uint64),
        np.frombuffer(lines.v6, dtype=np.uint64).reshape(-1, 3),
        StoredNames(*(np.frombuffer(blob, dtype=np.uint8) for blob in (lines.exact, lines.below, lines.subtree))),
    )


_Heap = tuple[str | None, bool]
"""Which entries belong together: their reason (None without a table, and of exceptions), whether they are excepted."""

LEFT_OUT = ""
"""In place of a reason: its category has none. Such lines are held against their format all the same."""

RANGE_PREFIXES_MAX = 500_000
"""That ranges may make which the engine did not read: each can stand for 254. Those after them are refused."""
ITEMS_MAX = 4_000_000
"""Values of one list that a reader looks at one by one: a document can hold more of them than bytes in memory."""
MALFORMED_MAX = 500_000
"""Malformed lines past which a list with fewer entries is given up: it is none, whatever the rest of it is."""
BATCH_ITEMS = 1 << 14
"""Items that say one thing are read by the engine, so many at a time."""


class Gatherer:
    """Takes meanings one after another, and makes the content of them."""

    def __init__(self, asked: Asked = NOTHING_MORE, *, labels_min: int = 2) -> None:
        self.blank = 0
        self.entry_lines = 0
        self.rejects = Rejects()
        self.declared: int | None = None
        self.published: str | None = None
        self.has_metadata: bool | None = None
        self._reasons = asked.reasons
        self._categories: Counter[str] = Counter()
        self._labels_min = labels_min
        self._items = 0
        self._range_room = RANGE_PREFIXES_MAX
        self._piles: dict[_Heap, _Pile] = defaultdict(_Pile)
        self._batches: dict[tuple[NameScope, _Heap], list[Item]] = {}

    def take(self, item: Item) -> None:
        """A line counts once: where one of its values is refused, all of it is. Raises feeds.E019 for too many."""
        self._items += 1
        if self._items > ITEMS_MAX:
            raise Unfit("feeds.E019", lines=ITEMS_MAX)
        if self._items % BATCH_ITEMS == 0 and len(self.rejects) > max(MALFORMED_MAX, self.entry_lines):
            malformed = len(self.rejects) - self.rejects.count(UNSUPPORTED)
            if malformed > max(MALFORMED_MAX, self.entry_lines):
                raise Unfit("feeds.E019", lines=MALFORMED_MAX)
        meaning = item.meaning
        if isinstance(meaning, Rule):
            self.rejects.add(item.line, meaning, item.text)
            return
        if not meaning:
            self.blank += 1
            return
        said = meaning[0]
        if said.categories:
            self._count(said.categories)
        reason = None if self._reasons is None or said.exception else self._reason_of(said.categories)
        if len(meaning) == 1:
            heap = (reason, said.exception)
            batch = self._batches.setdefault((said.scope, heap), [])
            batch.append(item)
            if len(batch) == BATCH_ITEMS:
                self._read_batch(said.scope, heap)
        else:
            self._take_slowly(item, meaning, reason)

    def _count(self, categories: tuple[str, ...]) -> None:
        for category in categories:
            shown = category[:CATEGORY_CHARACTERS_MAX]
            if shown in self._categories or len(self._categories) < CATEGORIES_MAX:
                self._categories[shown] += 1

    def _reason_of(self, categories: tuple[str, ...]) -> str:
        """By the first category that the table has; LEFT_OUT where it has none."""
        table = self._reasons or {}
        keys = (category.strip().casefold() for category in categories)
        return next((table[key] for key in keys if key in table), LEFT_OUT)

    def take_read(self, lines: ListLines) -> None:
        """Lines that the engine read; not its others."""
        self.blank += lines.blank
        self.entry_lines += lines.entries
        self._piles[None, False].read.append(entries_of(lines))

    def _read_batch(self, scope: NameScope, heap: _Heap) -> None:
        """Most names and addresses are usual: those that are not come out as others, and are looked at one by one."""
        items = self._batches.pop((scope, heap))
        texts = [item.meaning[0].text for item in items if not isinstance(item.meaning, Rule)]
        joined = "\n".join(texts)
        usual = joined.count("\n") == len(texts) - 1 and "\r" not in joined and not joined.startswith("\ufeff")
        if not usual or not all(texts):
            others: Iterable[int] = range(len(items))
        else:
            frame = (b"", b"", int(scope), scope != NameScope.BELOW)
            lines = _engine.parse_list(joined.encode("utf-8", "replace"), [frame], [], [])
            others = (np.frombuffer(lines.others, dtype=np.uint64)[::3] - np.uint64(1)).tolist()
            for at in (at for at, text in enumerate(texts) if text.isspace()) if lines.blank else ():
                self._take_slowly(items[at], items[at].meaning, heap[0])
            if heap[0] == LEFT_OUT:
                unusual = {*others, *(at for at, text in enumerate(texts) if text.isspace())}
                for item in (item for at, item in enumerate(items) if at not in unusual):
                    self.rejects.add(item.line, Rule.CATEGORY, item.text)
            else:
                self.entry_lines += lines.entries
                self._piles[heap].read.append(entries_of(lines))
        for at in others:
            self._take_slowly(items[at], items[at].meaning, heap[0])

    def _take_slowly(self, item: Item, meaning: Meaning, reason: str | None) -> None:
        found: list[tuple[bool, Address | tuple[str, NameScope]]] = []
        for said in [] if isinstance(meaning, Rule) else meaning:
            value = self._value_of(said)
            if isinstance(value, Rule):
                self.rejects.add(item.line, value, item.text)
                return
            found += [(said.exception, each) for each in value]
        if reason == LEFT_OUT:
            self.rejects.add(item.line, Rule.CATEGORY, item.text)
            return
        for exception, each in found:
            self._piles[None if exception else reason, exception].add(each)
        self.entry_lines += 1

    def take_all(self, items: Iterable[Item]) -> Gatherer:
        """Each of them."""
        for item in items:
            self.take(item)
        return self

    def content(self, *, merge: bool = False) -> Content:
        """All of it. `merge`: a name and what is below it are one entry."""
        for scope, heap in list(self._batches):
            self._read_batch(scope, heap)
        excepted = self._piles.pop((None, True), _Pile()).entries(merge)
        by_reason = {reason: pile.entries(merge) for (reason, _), pile in self._piles.items() if reason is not None}
        whole = self._piles[None, False]
        whole.read += by_reason.values()
        return Content(
            whole.entries(merge),
            excepted,
            self.blank,
            self.entry_lines,
            self.rejects,
            self.declared,
            self.published,
            has_metadata=self.has_metadata,
            by_reason=dict(sorted(by_reason.items())),
            categories=dict(self._categories),
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
            made = values.range_of(first.strip(), last.strip()) if self._range_room > 0 else Rule.RANGE
            self._range_room -= 0 if isinstance(made, Rule) else len(made)
            return made if isinstance(made, Rule) else [*made]
        name = values.name_of(text, labels_min=self._labels_min)
        if name is Rule.SINGLE_LABEL and said.scope == NameScope.BELOW:
            return Rule.SUFFIX
        return name if isinstance(name, Rule) else [(name, said.scope)]
