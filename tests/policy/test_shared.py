"""Sets of addresses held to a naive reference: every range one by one, by `ipaddress`."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearway.policy import arrays
from clearway.policy.model import Prefix
from clearway.policy.shared import NOWHERE, Ranges, Shared, SharedClass, hosts

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
POOL = {
    4: [0, 0xC0000200, 0xC00002FF, 0xC0000300, 0xFFFFFF00, 0xFFFFFFFF],
    6: [
        0,
        0x20010DB8 << 96,
        (0x20010DB8 << 96) + (1 << 64) - 1,
        (0x20010DB8 << 96) + (1 << 64),
        (0x20010D00 << 96),
        (1 << 128) - 1,
    ],
}


@st.composite
def near(draw: st.DrawFn) -> Prefix:
    """Prefixes of a few neighbourhoods, so that they nest, touch and stand side by side."""
    version = draw(st.sampled_from([4, 6]))
    bits = 32 if version == 4 else 128
    moved = draw(st.one_of(st.just(0), st.integers(0, 300), st.integers(0, bits - 1).map(lambda n: 1 << n)))
    length = draw(st.one_of(st.integers(0, bits), st.integers(bits - 9, bits)))
    return Prefix.cut(version, draw(st.sampled_from(POOL[version])) ^ moved, length)


def network(prefix: Prefix) -> Network:
    return ipaddress.ip_network((prefix.address, prefix.length)) if prefix.version == 4 else ipaddress.IPv6Network(
        (prefix.address, prefix.length)
    )  # fmt: skip


def spans(prefixes: Sequence[Prefix], version: int) -> list[tuple[int, int]]:
    """What `ipaddress` makes of them: intervals, those side by side as one."""
    found: list[tuple[int, int]] = []
    networks = [network(each) for each in prefixes if each.version == version]
    for each in sorted(ipaddress.collapse_addresses(networks), key=lambda n: int(n.network_address)):  # type: ignore[type-var]
        first, last = int(each.network_address), int(each.broadcast_address)
        if found and found[-1][1] + 1 == first:
            first = found.pop()[0]
        found.append((first, last))
    return found


def ends(prefix: Prefix) -> tuple[int, int]:
    each = network(prefix)
    return int(each.network_address), int(each.broadcast_address)


def touches(prefix: Prefix, ranges: Sequence[Prefix]) -> bool:
    first, last = ends(prefix)
    return any(a <= last and first <= b for a, b in spans(ranges, prefix.version))


def covered(prefix: Prefix, ranges: Sequence[Prefix]) -> bool:
    first, last = ends(prefix)
    return any(a <= first and last <= b for a, b in spans(ranges, prefix.version))


def in_order(prefixes: Sequence[Prefix]) -> list[Prefix]:
    return sorted(set(prefixes))


@settings(max_examples=80, deadline=None)
@given(st.lists(near(), max_size=12), st.lists(near(), max_size=12))
def test_every_prefix_touches_and_lies_within_what_ipaddress_says(ranges: list[Prefix], asked: list[Prefix]) -> None:
    held, asked = Ranges.of_prefixes(ranges), in_order(asked)
    v4, v6 = arrays.of_prefixes(asked)
    by_version = [[each for each in asked if each.version == version] for version in (4, 6)]
    for masks, naive, one in (
        (held.touching(v4, v6), touches, held.touches),
        (held.within(v4, v6), covered, held.covers),
    ):
        for mask, prefixes in zip(masks, by_version, strict=True):
            assert mask.tolist() == [naive(each, ranges) for each in prefixes]
            assert mask.tolist() == [one(each) for each in prefixes]


@settings(max_examples=50, deadline=None)
@given(st.lists(near(), max_size=15))
def test_ranges_are_the_intervals_and_prefixes_that_ipaddress_makes_of_them(ranges: list[Prefix]) -> None:
    held = Ranges.of_prefixes(ranges)
    assert [tuple(row) for row in held.v4.tolist()] == spans(ranges, 4)
    assert [(a << 64 | b, c << 64 | d) for a, b, c, d in held.v6.tolist()] == spans(ranges, 6)
    for version in (4, 6):
        assert held.count(version) == sum(last - first + 1 for first, last in spans(ranges, version))
    v4, v6 = held.prefixes()
    collapsed = [
        Prefix(version, int(each.network_address), each.prefixlen)
        for version in (4, 6)
        for each in ipaddress.collapse_addresses([network(p) for p in ranges if p.version == version])  # type: ignore[type-var]
    ]
    wanted4, wanted6 = arrays.of_prefixes(collapsed)
    assert v4.tolist() == wanted4.tolist()
    assert v6.tolist() == wanted6.tolist()
    assert Ranges.of(v4, v6) == held


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(near(), max_size=6), max_size=4))
def test_a_union_holds_what_all_hold(parts: list[list[Prefix]]) -> None:
    union = NOWHERE.union(*(Ranges.of_prefixes(each) for each in parts))
    assert union == Ranges.of_prefixes(prefix for each in parts for prefix in each)


def _first_last(ranges: Ranges) -> list[Prefix]:
    """Addresses at which something may change."""
    rows = [(4, bound) for row in ranges.v4.tolist() for bound in row]
    rows += [(6, high << 64 | low) for a, b, c, d in ranges.v6.tolist() for high, low in ((a, b), (c, d))]
    return [
        Prefix.cut(version, at, 32 if version == 4 else 128)  # the last address of ::/80 is an IPv4-mapped one
        for version, bound in rows
        for at in (bound - 1, bound, bound + 1)
        if at in range(1 << (32 if version == 4 else 128))
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(near(), max_size=6), st.lists(near(), max_size=6))
def test_a_difference_holds_what_only_the_first_holds(kept: list[Prefix], taken: list[Prefix]) -> None:
    first, second = Ranges.of_prefixes(kept), Ranges.of_prefixes(taken)
    left = first.minus(second)
    assert left.union() == left
    for address in [each for ranges in (first, second, left) for each in _first_last(ranges)]:
        assert left.covers(address) == (first.covers(address) and not second.covers(address)), address


@settings(max_examples=40, deadline=None)
@given(st.lists(near(), max_size=6), st.lists(near(), max_size=6), near())
def test_a_front_end_wins_over_a_single_tenant(fronts: list[Prefix], tenants: list[Prefix], asked: Prefix) -> None:
    shared = Shared(Ranges.of_prefixes(fronts), Ranges.of_prefixes(tenants))
    wanted = SharedClass.ELSEWHERE
    if touches(asked, tenants):
        wanted = SharedClass.SINGLE_TENANT
    if touches(asked, fronts):
        wanted = SharedClass.FRONT_END
    assert shared.class_of(asked) == wanted


def test_many_prefixes_in_order_are_answered_as_they_are_one_by_one() -> None:
    source = random.Random(3)
    held = Ranges.of_prefixes(Prefix.cut(4, source.getrandbits(12) << 20, length) for length in (9, 12, 20, 32, 32))
    keys = {(source.getrandbits(12) << 20) + source.choice([0, 0, 1, 255]): source.choice([12, 20, 24, 32])
            for _ in range(3000)}  # fmt: skip
    prefixes = [Prefix.cut(4, address, length) for address, length in keys.items()]
    prefixes += [Prefix(4, first, 32) for row in held.v4.tolist() for first in row]
    v4, v6 = arrays.of_prefixes(prefixes)
    for asked in (held.within, held.touching):
        in_order = asked(v4, v6)[0]
        one_by_one = np.array([bool(asked(v4[at : at + 1], v6)[0][0]) for at in range(len(v4))])
        assert in_order.any()
        assert np.array_equal(in_order, one_by_one)
        assert np.array_equal(asked(v4[::-1], v6)[0], one_by_one[::-1])


def test_ipv6_is_compared_as_numbers_whatever_its_bytes() -> None:
    """Bytes over 127, NULs at the end and in the middle."""
    source = random.Random(7)
    values = [source.choice([0, 1, 0x7F, 0x80, 0xFF]) for _ in range(16 * 400)]
    addresses = [int.from_bytes(bytes(values[at : at + 16]), "big") for at in range(0, len(values), 16)]
    listed, asked = addresses[:200], addresses[100:]
    held = Ranges.of(arrays.v4_array([]), arrays.v6_array([(each, 128) for each in listed]))
    rows = arrays.v6_array([(each, 128) for each in asked])
    found = held.within(arrays.v4_array([]), rows)[1]
    assert found.tolist() == [(high << 64 | low) in set(listed) for high, low, _ in rows.tolist()]


@pytest.mark.parametrize("whole", ["0.0.0.0/0", "::/0"])
def test_all_of_a_version_is_one_range(whole: str) -> None:
    prefix = Prefix.parse(whole)
    held = Ranges.of_prefixes([prefix, Prefix.parse("255.255.255.255"), Prefix.parse("ffff::/16")])
    assert held.covers(prefix)
    assert held.count(prefix.version) == 1 << (32 if prefix.version == 4 else 128)


def test_nothing_is_touched_by_no_ranges() -> None:
    v4, v6 = arrays.of_prefixes([Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0")])
    assert not any(mask.any() for mask in (*NOWHERE.touching(v4, v6), *NOWHERE.within(v4, v6)))
    assert not NOWHERE
    assert not Shared()


def test_hosts_are_single_addresses() -> None:
    v4, v6 = arrays.of_prefixes(map(Prefix.parse, ["192.0.2.0/24", "192.0.2.0/32", "2001:db8::/64", "2001:db8::1"]))
    assert [mask.tolist() for mask in hosts(v4, v6)] == [[False, True], [False, True]]
    assert np.array_equal(v4 & np.uint64(0xFF), np.array([24, 32], dtype=np.uint64))
