"""How much of each list stands in others: held to asking every entry of every list about every other."""

import numpy as np
import pytest

from clearway._engine import NameScope
from clearway.policy import arrays
from clearway.policy.model import Prefix
from clearway.policy.name_table import NameEntry, covers
from clearway.policy.names import Blob, StoredNames
from clearway.policy.overlap import Listed, overlap

LABELS = ("a", "b", "cc", "ddd", "example", "a-label-of-more-than-one-word")
Entry = tuple[str, object, object]


def blob(names: set[str]) -> Blob:
    return np.frombuffer("".join(sorted(f"{name}\n" for name in names)).encode(), dtype=np.uint8)


def a_list(chance: np.random.Generator) -> Listed:
    def prefix(version: int, address: int, length: int) -> Prefix:
        return Prefix.cut(version, address, length)

    v4 = [
        prefix(4, int(chance.integers(0, 1 << 12)) << 20 | int(chance.integers(0, 4)), int(chance.integers(8, 33)))
        for _ in range(30)
    ]
    v6 = [
        prefix(6, 0x2A00 << 112 | int(chance.integers(0, 16)) << 100 | int(chance.integers(0, 4)), length)
        for length in chance.integers(16, 129, 20).tolist()
    ]

    def names(count: int) -> Blob:
        return blob({".".join(chance.choice(LABELS, chance.integers(2, 6))) for _ in range(count)})

    return Listed(*arrays.of_prefixes([*v4, *v6]), StoredNames(names(15), names(8), names(8)))


def prefixes_of(each: Listed) -> list[Prefix]:
    found = [Prefix(4, key >> 8, key & 255) for key in each.v4.tolist()]
    return found + [Prefix(6, high << 64 | low, length) for high, low, length in each.v6.tolist()]


def names_of(each: Listed) -> list[NameEntry]:
    return [
        NameEntry(line.decode(), scope) for scope, held in each.names.blobs().items() for line in held.tobytes().split()
    ]


def holds_prefix(each: Listed, asked: Prefix) -> bool:
    """All addresses of it, by one entry or by several together."""
    held = prefixes_of(each)
    if any(entry.covers(asked) for entry in held):
        return True
    if asked.is_host or not any(asked.covers(entry) for entry in held):
        return False
    half = Prefix(asked.version, asked.address, asked.length + 1)
    bits = 32 if asked.version == 4 else 128
    other = Prefix(asked.version, asked.address | 1 << (bits - half.length), half.length)
    return holds_prefix(each, half) and holds_prefix(each, other)


def holds_name(each: Listed, asked: NameEntry) -> bool:
    for entry in names_of(each):
        if entry.name == asked.name and entry.scope in (asked.scope, NameScope.SUBTREE):
            return True
        if entry.name != asked.name and covers(entry, asked.name):
            return True
    return False


@pytest.mark.parametrize("count", [0, 1, 4, 67])
def test_it_says_what_asking_each_entry_says(count: int) -> None:
    chance = np.random.default_rng(count)
    lists = [a_list(chance) for _ in range(count)]
    found = overlap(lists)
    asked = range(count) if count < 10 else [0, 3, 63, 64, count - 1]
    for at in asked:
        rows = [[holds_prefix(each, entry) for each in lists] for entry in prefixes_of(lists[at])]
        rows += [[holds_name(each, entry) for each in lists] for entry in names_of(lists[at])]
        assert found.entries[at] == len(rows)
        assert found.held_by[at].tolist() == [sum(row[other] for row in rows) for other in range(count)]
        assert found.unique[at] == sum(not any(row[:at] + row[at + 1 :]) for row in rows)


def test_empty_lists_and_whole_spaces_are_lists_too() -> None:
    nothing = Listed(*arrays.of_prefixes([]), StoredNames())
    all_of_it = Listed(*arrays.of_prefixes([Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0")]), StoredNames())
    last = Listed(*arrays.of_prefixes([Prefix.parse("255.255.255.255"), Prefix.parse("ffff::/16")]), StoredNames())
    found = overlap([nothing, all_of_it, last])
    assert found.entries.tolist() == [0, 2, 2]
    assert found.unique.tolist() == [0, 2, 0]
    assert found.held_by.tolist() == [[0, 0, 0], [0, 2, 0], [0, 2, 2]]
