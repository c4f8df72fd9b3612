"""A base compiled from the one before it has the bytes of the one that is compiled of all lists."""

import shutil
from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clearway.policy import snapshot
from clearway.policy.arrays import v4_array, v6_array
from clearway.policy.compile import CompiledBase, ListEntries, compile_base
from clearway.policy.incremental import recompile
from clearway.policy.model import Reason
from clearway.policy.names import ListNames, StoredNames, compile_names

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
NAMES = StoredNames(subtree=np.frombuffer(b"a.example\nb.example\n", dtype=np.uint8))

ROOMS = (0x0A0000, 0x0A0001, 0x0AFFFF, 0x0B0000, 0x000000, 0xFFFFFF)
"""A few /24s, so that entries meet."""


@st.composite
def v4_entries(draw: st.DrawFn) -> list[tuple[int, int]]:
    made = []
    for _ in range(draw(st.integers(0, 12))):
        length = draw(st.one_of(st.integers(24, 32), st.integers(6, 32)))
        address = draw(st.sampled_from(ROOMS)) << 8 | draw(st.sampled_from((0, 1, 2, 64, 127, 128, 255)))
        made.append((address >> (32 - length) << (32 - length), length))
    return made


V6 = st.lists(st.sampled_from([(0x20010DB8 << 96, 32), (0x20010DB8 << 96 | 1, 128), (0, 0), (1 << 64, 64)]), max_size=3)
LISTS = st.lists(st.tuples(v4_entries(), V6, st.booleans(), st.booleans()), max_size=4)
Rows = Sequence[tuple[list[tuple[int, int]], list[tuple[int, int]], bool, bool]]


def made(rows: Rows) -> list[ListEntries]:
    return [
        ListEntries(f"list-{number}", Reason.SCANNER, v4_array(v4), v6_array(v6), exception, observe=observe)
        for number, (v4, v6, exception, observe) in enumerate(rows)
    ]


def same(one: CompiledBase, other: CompiledBase) -> bool:
    def parts(base: CompiledBase) -> list[object]:
        return [(part.dtype, part.tobytes()) if isinstance(part, np.ndarray) else part for part in astuple(base)]

    return parts(one) == parts(other)


@settings(max_examples=150, deadline=None)
@given(LISTS, LISTS, st.lists(st.integers(0, 3), max_size=3))
def test_what_is_compiled_from_the_one_before_has_the_bytes_of_the_full_compilation(
    old: Rows, new: Rows, kept: list[int]
) -> None:
    before = made(old)
    after = [before[at] for at in dict.fromkeys(kept) if at < len(before)] + made(new)
    found = recompile(compile_base, before, compile_base(before), after, share_max=1)
    assert found is not None
    assert same(found, compile_base(after))


def test_a_large_list_with_few_changes_is_not_compiled_anew() -> None:
    random = np.random.default_rng(3)
    hosts = np.unique(random.integers(0x01000000, 0xDF000000, 60_000, dtype=np.uint64)) << np.uint64(8) | np.uint64(32)
    none = np.empty((0, 3), dtype=np.uint64)
    large = ListEntries("large", Reason.SCANNER, hosts, none)
    old = ListEntries("small", Reason.SCANNER, hosts[::7].copy(), none)
    new = ListEntries("small", Reason.SCANNER, v4_array([(0x08080800, 24), (0x08080900, 32), (0x0A000000, 15)]), none)
    spared = ListEntries("spared", Reason.SCANNER, hosts[::9].copy(), none, exception=True)
    base = compile_base([large, old])
    asked = []

    def compile(lists: Sequence[ListEntries]) -> CompiledBase:
        asked.append(sum(len(each.v4) for each in lists))
        return compile_base(lists)

    found = recompile(compile, [large, old], base, [large, old, new])
    assert found is not None
    assert max(asked) < 2000
    assert same(found, compile_base([large, old, new]))
    assert recompile(compile, [large, old, new], found, [new, large, old]) is found
    assert recompile(compile, [large], compile_base([large]), [large, spared, new]) is None  # too much of it


def test_ipv4_within_ipv6_is_left_to_the_full_compilation() -> None:
    mapped = ListEntries("mapped", Reason.SCANNER, v4_array([]), v6_array([(0xFFFF << 32 | 0x08080808, 128)]))
    assert recompile(compile_base, [], compile_base([]), [mapped]) is None


def test_parts_that_stay_the_same_are_linked_and_the_snapshot_has_the_bytes_of_one_that_is_written_whole(
    tmp_path: Path,
) -> None:
    lists = made([([(0x08080800, 24), (0x09090909, 32)], [(0x20010DB8 << 96, 32)], False, False)])
    names = compile_names([ListNames("list-0", Reason.SCANNER, NAMES)], bytes(16))
    one, other = tmp_path / "one", tmp_path / "other"
    first = snapshot.load(snapshot.write(one, compile_base(lists), [], created=NOW, names=names))
    more = [*lists, *made([([(0x07070707, 32)], [], False, False)])]
    base = recompile(compile_base, lists, first.compiled, more, share_max=1)
    assert base is not None
    linked = snapshot.write(one, base, [], created=NOW, names=first.names, before=first)
    whole = snapshot.write(other, compile_base(more), [], created=NOW, names=names)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert {path.name: path.read_bytes() for path in linked.iterdir()} == files
    same = {path.name for path in linked.iterdir() if path.stat().st_nlink > 1}
    assert same == {"v6_buckets.bin", "v6_slots.bin", "names.bin", "name_filter.bin"}
    shutil.rmtree(first.path)
    assert snapshot.load(linked).names.counts == names.counts
