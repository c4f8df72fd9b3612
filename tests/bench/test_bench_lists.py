"""Lists to measure with: how many, where, how clustered, and what their text says."""

import ipaddress
from pathlib import Path

import numpy as np
import pytest

from clearway._engine import parse_prefixes
from clearway.bench import lists
from clearway.bench.lists import ListPlan


@pytest.mark.parametrize("shape", ["clustered", "uniform"])
@pytest.mark.parametrize("count", [1, 100, 1000, 50_000])
def test_a_list_has_exactly_the_entries_asked_for_and_none_overlaps(shape: lists.Shape, count: int) -> None:
    entries = lists.make(ListPlan(count, shape))
    first = entries >> np.uint64(8)
    past = first + (np.uint64(1) << (np.uint64(32) - (entries & np.uint64(255))))
    assert entries.size == count
    assert (past[:-1] <= first[1:]).all()


def test_the_same_plan_gives_the_same_bytes_and_another_seed_others() -> None:
    one, again = lists.make(ListPlan(1000)), lists.make(ListPlan(1000))
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != lists.make(ListPlan(1000, seed=2)).tobytes()


def test_no_entry_lies_in_space_that_is_private_reserved_or_multicast() -> None:
    entries = lists.make(ListPlan(20_000, "uniform"))
    networks = [ipaddress.ip_network((int(entry) >> 8, int(entry) & 255)) for entry in entries]
    assert [network for network in networks if not network.is_global or network.is_multicast] == []


def test_ten_million_clustered_entries_touch_an_eighth_of_all_24s_and_uniform_ones_almost_half() -> None:
    assert 0.11 < lists.touched_share(lists.make(ListPlan(10_000_000))) < 0.13
    assert 0.40 < lists.touched_share(lists.make(ListPlan(10_000_000, "uniform"))) < 0.46


def test_a_clustered_list_crowds_as_real_ones_do() -> None:
    """IPsum's 20,000 worst addresses: 2.0 to a touched /24, up to 253. The model is no more crowded than that."""
    entries = lists.make(ListPlan(1_000_000))
    populations = np.unique(entries >> np.uint64(16), return_counts=True)[1]
    assert 1.8 < populations.mean() < 3
    assert populations.max() > 200


def test_the_text_of_a_list_is_read_back_as_the_same_entries(tmp_path: Path) -> None:
    entries = lists.make(ListPlan(5000))
    path = tmp_path / "list.txt"
    lists.write_text(entries, path)
    parsed = parse_prefixes(path.read_bytes(), "")
    assert (parsed.entries, parsed.malformed, parsed.blank) == (5000, 0, 0)
    assert parsed.v4 == entries.tobytes()


def test_pairs_are_addresses_with_the_mask_of_their_length() -> None:
    entries = np.array([0x01020300 << 8 | 24, 0x05060708 << 8 | 32, 0x09000000 << 8 | 31], dtype=np.uint64)
    assert lists.pairs(entries).tolist() == [
        [0x01020300, 0xFFFFFF00],
        [0x05060708, 0xFFFFFFFF],
        [0x09000000, 0xFFFFFFFE],
    ]


def test_a_list_is_named_by_its_size_and_by_its_shape_where_that_is_unusual() -> None:
    plans = (ListPlan(10_000_000), ListPlan(1000), ListPlan(300), ListPlan(1_000_000, "uniform"))
    assert [plan.name for plan in plans] == ["10m", "1k", "300", "1m-uniform"]
