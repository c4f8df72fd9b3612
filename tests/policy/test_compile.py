"""The compiled arrays say of every address what the longest prefix that covers it says, one prefix at a time."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearway._engine import LIMITS
from clearway.policy.arrays import v4_array, v6_array
from clearway.policy.compile import (
    CELL_BITMAP,
    CELL_LISTED,
    CELL_OBSERVED,
    SLOT,
    CompiledBase,
    ListEntries,
    compile_base,
    v6_hash,
)
from clearway.policy.model import Prefix, Reason

Written = list[tuple[Prefix, bool]]
"""Prefixes, True for an exception."""
M64 = (1 << 64) - 1


def lists_of(written: Written) -> list[ListEntries]:
    return [
        ListEntries(
            name="spared" if exception else "listed",
            reason=Reason.MALWARE,
            v4=v4_array([(p.address, p.length) for p, e in written if p.version == 4 and e == exception]),
            v6=v6_array([(p.address, p.length) for p, e in written if p.version == 6 and e == exception]),
            exception=exception,
        )
        for exception in (False, True)
    ]


def brute_force(written: Written, address: Prefix) -> bool:
    covering = [(p.length, exception) for p, exception in written if p.covers(address)]
    return bool(covering) and not max(covering)[1]


def looked_up(base: CompiledBase, address: Prefix) -> int:
    """0: nothing, 1: listed, 2: by observed lists alone."""
    return _v4(base, address.address) if address.version == 4 else _v6(base, address.address)


def _v4(base: CompiledBase, address: int) -> int:
    at = int(np.searchsorted(base.v4_cell_numbers, address >> 8))
    if at == len(base.v4_cell_numbers) or base.v4_cell_numbers[at] != address >> 8:
        return 0
    cell = int(base.v4_cells[at])
    if cell in (CELL_LISTED, CELL_OBSERVED):
        return cell
    bits = [base.v4_bitmaps[cell - CELL_BITMAP]]
    if len(base.v4_observed):
        bits.append(base.v4_observed[cell - CELL_BITMAP])
    return sum(int(words[address >> 6 & 3]) >> (address & 63) & 1 for words in bits)


def _mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & M64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & M64
    return x ^ x >> 31


def _v6(base: CompiledBase, address: int) -> int:
    for length in base.v6_lengths:
        prefix = address >> (128 - length) << (128 - length)
        high, low = prefix >> 64, prefix & M64
        hashed = _mix((_mix(high ^ base.v6_seed) + low + length) & M64)
        first, count = base.v6_buckets[hashed & (len(base.v6_buckets) - 1)].tolist()
        for slot in base.v6_slots[first : first + count].tolist():
            if slot[:3] == (high, low, length):
                return int(slot[3])
    return 0


POOL_V4 = [0, 0xC0000200, 0xC00002FF, 0xC0000300, 0xC0000280, 0xFFFFFFFF, 0xC0FFFF00]
POOL_V6 = [
    0,
    0x20010DB8 << 96,
    (0x20010DB8 << 96) + (1 << 64),
    (1 << 128) - 1,
    0xFFFF << 32,
    (0xFFFF << 32) + 0xC0000201,
]


@st.composite
def near(draw: st.DrawFn, whole: bool = False) -> Prefix:
    """Prefixes of a few neighbourhoods, so that they nest and touch."""
    if draw(st.booleans()):
        address = draw(st.sampled_from(POOL_V4)) ^ draw(
            st.one_of(st.just(0), st.integers(0, 511), st.integers(0, 31).map(lambda n: 1 << n))
        )
        return Prefix.cut(4, address, 32 if whole else draw(st.integers(0, 32)))
    address = draw(st.sampled_from(POOL_V6)) ^ draw(
        st.one_of(st.just(0), st.integers(0, 255), st.integers(0, 127).map(lambda n: 1 << n))
    )
    return Prefix.cut(6, address, 128 if whole else draw(st.integers(0, 128)))


def edges(prefix: Prefix) -> list[Prefix]:
    """First and last address of a prefix and their neighbours outside."""
    bits = 32 if prefix.version == 4 else 128
    last = prefix.address | (1 << bits - prefix.length) - 1
    inside = range(1 << bits)
    return [
        Prefix.cut(prefix.version, a, bits) for a in (prefix.address - 1, prefix.address, last, last + 1) if a in inside
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(near(), st.booleans()), max_size=30), st.lists(near(whole=True), max_size=10))
def test_every_address_gets_the_answer_of_its_longest_prefix(written: Written, addresses: list[Prefix]) -> None:
    base = compile_base(lists_of(written))
    for address in addresses + [edge for prefix, _ in written for edge in edges(prefix)]:
        assert looked_up(base, address) == brute_force(written, address), address
    assert_in_form(base)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(near(), st.booleans()), max_size=15),
    st.lists(st.tuples(near(), st.booleans()), max_size=15),
    st.lists(near(whole=True), max_size=10),
)
def test_observed_lists_count_where_the_enforced_ones_refuse_nothing(
    enforced: Written, observed: Written, addresses: list[Prefix]
) -> None:
    base = compile_base([*lists_of(enforced), *(replace(each, observe=True) for each in lists_of(observed))])
    for address in addresses + [edge for prefix, _ in enforced + observed for edge in edges(prefix)]:
        seen = 2 if brute_force(observed, address) else 0
        assert looked_up(base, address) == (brute_force(enforced, address) or seen), address
    assert_in_form(base)


def test_a_slash_24_that_only_observed_lists_hold_is_a_plain_cell() -> None:
    seen = [replace(each, observe=True) for each in lists_of([(Prefix.parse("192.0.2.0/24"), False)])]
    base = compile_base(seen)
    assert (base.v4_cells.tolist(), len(base.v4_observed)) == ([CELL_OBSERVED], 0)
    half = compile_base([*lists_of([(Prefix.parse("192.0.2.0/25"), False)]), *seen])
    assert half.v4_bitmaps.tolist() == [[M64] * 4] and half.v4_observed.tolist() == [[0, 0, M64, M64]]
    assert compile_base([*lists_of([(Prefix.parse("192.0.2.0/23"), False)]), *seen]).v4_cells.tolist() == [1, 1]


def assert_in_form(base: CompiledBase) -> None:
    """What engine.Base relies on."""
    assert (np.diff(base.v4_cell_numbers.astype(np.int64)) > 0).all()
    bitmap_cells = base.v4_cells[base.v4_cells >= CELL_BITMAP]
    assert (bitmap_cells == np.arange(CELL_BITMAP, CELL_BITMAP + len(base.v4_bitmaps))).all()
    assert set(base.v4_cells[base.v4_cells < CELL_BITMAP].tolist()) <= {CELL_LISTED, CELL_OBSERVED}
    assert not (base.v4_bitmaps == 0).all(axis=1).any()
    observed = base.v4_observed if len(base.v4_observed) else np.zeros_like(base.v4_bitmaps)
    assert not (observed & ~base.v4_bitmaps).any()
    of_one_class = (observed == 0).all(axis=1) | (observed == M64).all(axis=1)
    assert not ((base.v4_bitmaps == M64).all(axis=1) & of_one_class).any()
    assert len(base.v6_buckets) & (len(base.v6_buckets) - 1) == 0
    assert base.v6_buckets[:, 1].sum() == len(base.v6_slots)
    assert base.v6_buckets[:, 1].max() <= LIMITS["V6_BUCKET_SLOTS_MAX"]
    assert list(base.v6_lengths) == sorted(set(base.v6_lengths), reverse=True)
    assert SLOT.itemsize == 24


def random_lists(seed: int, count: int) -> list[ListEntries]:
    rng = np.random.default_rng(seed)
    made = []
    for exception in (False, True):
        lengths = rng.choice(np.arange(8, 33), count, p=_LENGTH_WEIGHTS).astype(np.uint64)
        addresses = rng.integers(0, 1 << 32, count).astype(np.uint64) & np.uint64(0x0FFFFFFF)
        addresses = addresses >> np.uint64(32) - lengths << np.uint64(32) - lengths
        v4: npt.NDArray[np.uint64] = np.unique(addresses << np.uint64(8) | lengths)
        r = random.Random(f"{seed}/{exception}")
        v6 = v6_array([(r.getrandbits(48) << 80, 48) for _ in range(count // 20)])
        made.append(ListEntries(f"l{exception}", Reason.SCANNER, v4, v6, exception))
    return made


_LENGTH_WEIGHTS = np.array([1] * 16 + [400] + [40] * 7 + [4000], dtype=float)
_LENGTH_WEIGHTS /= _LENGTH_WEIGHTS.sum()


def test_three_hundred_thousand_prefixes_agree_with_a_walk_over_lengths() -> None:
    """Larger than one chunk of prefixes."""
    lists = random_lists(7, 300_000)
    base = compile_base(lists)
    assert_in_form(base)
    rng = np.random.default_rng(8)
    asked = np.concatenate(
        [rng.integers(0, 1 << 28, 3000).astype(np.uint64), lists[0].v4[:: len(lists[0].v4) // 3000] >> np.uint64(8)]
    )
    table: dict[int, bool] = {}
    for entries in lists:
        for key in entries.v4.tolist():
            table[key] = not entries.exception  # the list of exceptions comes second, and wins
    for address in asked.tolist():
        covering = (table.get((address >> 32 - n << 32 - n) << 8 | n) for n in range(32, -1, -1))
        assert _v4(base, address) == next((listed for listed in covering if listed is not None), False)


def test_the_same_prefixes_give_the_same_bytes_in_any_order_and_division() -> None:
    blocked, spared = random_lists(3, 20_000)
    halves = [
        ListEntries("a", Reason.MALWARE, blocked.v4[::2], blocked.v6[1::2]),
        ListEntries("b", Reason.PHISHING, blocked.v4[::-1].copy(), blocked.v6[::-1].copy()),
    ]
    once, again = compile_base([blocked, spared]), compile_base([spared, *halves])
    for part in ("v4_cell_numbers", "v4_cells", "v4_bitmaps", "v6_buckets", "v6_slots"):
        assert getattr(once, part).tobytes() == getattr(again, part).tobytes(), part
    assert (once.v6_seed, once.v6_lengths, once.counts) == (again.v6_seed, again.v6_lengths, again.counts)


def test_nothing_listed_compiles_to_empty_parts() -> None:
    base = compile_base([])
    assert [len(base.v4_cell_numbers), len(base.v4_cells), len(base.v4_bitmaps), len(base.v6_slots)] == [0, 0, 0, 0]
    assert (base.v6_buckets.tolist(), base.v6_lengths) == ([[0, 0]], b"")


def test_everything_listed_is_two_to_the_24_plain_cells() -> None:
    base = compile_base(lists_of([(Prefix.parse("0.0.0.0/0"), False)]))
    assert len(base.v4_cells) == 1 << 24 and not len(base.v4_bitmaps)


def test_a_bitmap_that_comes_out_full_or_empty_is_a_plain_cell() -> None:
    quarters = [(Prefix.cut(4, 0xC0000200 + 64 * n, 26), False) for n in range(4)]
    base = compile_base(lists_of(quarters))
    assert (base.v4_cells.tolist(), len(base.v4_bitmaps)) == ([CELL_LISTED], 0)
    spared = [(p, True) for p, _ in quarters]
    base = compile_base(lists_of([(Prefix.parse("192.0.2.0/24"), False), *spared]))
    assert len(base.v4_cells) == 0


def test_the_hash_is_that_of_the_kernel() -> None:
    rows = v6_array([(0x20010DB8 << 96, 32), ((1 << 128) - 1, 128), (0, 0)])
    for seed in (0, 1, M64):
        for row, hashed in zip(rows.tolist(), v6_hash(seed, rows).tolist(), strict=True):
            assert hashed == _mix((_mix(row[0] ^ seed) + row[1] + row[2]) & M64)


@pytest.mark.parametrize(
    ("v4", "v6", "message"),
    [
        (np.array([1 << 8 | 31], np.uint64), None, "an IPv4 prefix with bits beyond its length"),
        (np.array([33], np.uint64), None, "an IPv4 prefix with bits beyond its length"),
        (np.array([1 << 40 | 32], np.uint64), None, "an IPv4 address of more than 32 bits"),
        (np.array([32], np.int64), None, "entries of the wrong type or shape"),
        (None, np.array([[0, 1, 127]], np.uint64), "an IPv6 prefix with bits beyond its length"),
        (None, np.array([[0, 0, 129]], np.uint64), "an IPv6 prefix with bits beyond its length"),
        (None, np.array([0, 0, 0], np.uint64), "entries of the wrong type or shape"),
    ],
)
def test_arrays_that_are_not_what_they_should_be_are_refused(
    v4: npt.NDArray[np.uint64] | None, v6: npt.NDArray[np.uint64] | None, message: str
) -> None:
    nothing = v4_array([]), v6_array([])
    entries = ListEntries("odd", Reason.MALWARE, nothing[0] if v4 is None else v4, nothing[1] if v6 is None else v6)
    with pytest.raises(ValueError, match=message):
        compile_base([entries])
