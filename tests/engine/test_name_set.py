"""Lists of names, sets and filters as Python sees them. What they answer is tested beside them, in Rust."""

import csv
import threading
from pathlib import Path

import pytest

from clearway import _engine as engine
from clearway._engine import NameScope
from clearway.errors import BadSnapshotPart

K0, K1 = 0x0123456789ABCDEF, 0xFEDCBA9876543210
_M64 = (1 << 64) - 1


def built(text: bytes = b"a.example\nb.example\n", scope: NameScope = NameScope.SUBTREE) -> tuple[bytes, bytes]:
    return engine.NameSet.build([(3, scope, False, text)], K0, K1)


def slow_hash(name: str) -> int:
    """As written in bpf/names.h and name_hash.rs."""
    state = K0
    for byte in reversed(name.encode()):
        state = ((state << 5 | state >> 59) & _M64 ^ byte) * (K1 | 1) & _M64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ state >> shift) * factor & _M64
    return state ^ state >> 31


def test_lines_are_read_by_what_they_cover_and_each_is_counted_once() -> None:
    found = engine.parse_names(b"B.example\n*.a.example # x\n\n192.0.2.1\n*.zip\nhttp://x/\nb.example.\r\n", 0, 1)
    assert (found.exact, found.below, found.subtree) == (b"b.example\n", b"a.example\n", b"")
    assert (found.entries, found.blank, found.address_lines, found.unsupported, found.malformed) == (3, 1, 1, 1, 1)
    assert (found.addresses, found.rejected) == (b"192.0.2.1\n", [(6, "http://x/")])
    with pytest.raises(ValueError, match="no scope"):
        engine.parse_names(b"", 0, 3)


def test_real_lists_hold_the_names_that_were_counted_by_other_means(shared_data: Path) -> None:
    feeds = shared_data / "feeds"
    with (feeds / "INDEX.tsv").open() as index:
        rows = [row for row in csv.DictReader(index, delimiter="\t") if row["format"].endswith("domains")]
    assert len(rows) >= 5
    for row in rows:
        found = engine.parse_names((feeds / row["file"]).read_bytes(), NameScope.EXACT, NameScope.SUBTREE)
        names = found.exact.count(b"\n") + found.subtree.count(b"\n")
        assert (names, found.address_lines) == (int(row["names"]), int(row["addrs"])), row["file"]
        assert (found.unsupported + found.malformed, found.rejected) == (int(row["rejected"]), []), row["file"]


def test_scopes_have_the_numbers_that_lists_are_built_with() -> None:
    assert [(scope.name, int(scope)) for scope in NameScope] == [("EXACT", 0), ("BELOW", 1), ("SUBTREE", 2)]


@pytest.mark.parametrize("name", ["", "a", "evil.example", "a-very-long-name-of-nobody." * 8 + "example"])
def test_the_hash_is_the_one_written_down(name: str) -> None:
    assert engine.name_hash(name, K0, K1) == slow_hash(name)


def test_what_is_found_says_list_entry_and_scope() -> None:
    names, words = built()
    held = engine.NameSet(names)
    found = held.find("x.a.example")
    assert found is not None
    assert (found.list, found.entry, found.scope, found.exception) == (3, "a.example", NameScope.SUBTREE, False)
    assert isinstance(found.scope, NameScope)
    assert held.find("c.example") is None
    assert (held.names, held.keys, held.filter.entries, len(words) % 8) == (2, (K0, K1), 4, 0)


def test_bytes_that_are_no_set_or_not_its_filter_are_refused() -> None:
    names, words = built()
    for bad in (b"", names[:-1], b"x" * 100, names + b"\0"):
        with pytest.raises(BadSnapshotPart, match="names"):
            engine.NameSet(bad)
    with pytest.raises(BadSnapshotPart, match="name_filter"):
        engine.NameFilter(engine.NameSet(names), words[:-8])


def test_lists_that_are_no_names_are_the_callers_mistake() -> None:
    for text in (b"a.example", b"\n", b"x" * 254 + b"\n"):
        with pytest.raises(ValueError, match="list 3"):
            built(text)
    with pytest.raises(ValueError, match="no scope"):
        engine.NameSet.build([(0, 9, False, b"")], K0, K1)


def test_any_contiguous_buffer_serves_and_stays_alive() -> None:
    names, words = built()
    held = engine.NameSet(memoryview(bytearray(names)))
    held_filter = engine.NameFilter(held, memoryview(b"\0" + words)[1:])  # not aligned
    del names, words
    assert held.find("a.example") is not None and held_filter.may_hold("q.b.example")


def test_the_filter_mistakes_few_names() -> None:
    text = b"".join(b"n%d.example\n" % number for number in range(20_000))
    names, words = engine.NameSet.build([(0, NameScope.EXACT, False, text)], K0, K1)
    held = engine.NameFilter(engine.NameSet(names), words)
    assert all(held.may_hold(f"n{number}.example") for number in range(0, 20_000, 7))
    mistaken = sum(held.may_hold(f"m{number}.example") for number in range(100_000))
    assert mistaken <= 12  # two questions each, 3 expected


def test_a_set_may_be_asked_by_several_threads() -> None:
    held, failed = engine.NameSet(built()[0]), []

    def ask() -> None:
        for _ in range(2000):
            if held.find("x.a.example") is None or held.find("c.example") is not None:
                failed.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
