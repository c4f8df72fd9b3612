"""How many addresses prefixes hold: as counted one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clearway.feeds.guard_entries import addresses_of

PREFIXES = st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=12)


@given(PREFIXES)
def test_each_address_is_counted_once_however_prefixes_nest(prefixes: list[tuple[int, int]]) -> None:
    cut = {(8 << 24 | last >> (32 - length) << (32 - length), length) for last, length in prefixes}
    one_by_one = {address + more for address, length in cut for more in range(1 << (32 - length))}
    keys = np.array(sorted(address << 8 | length for address, length in cut), dtype=np.uint64)
    assert addresses_of(keys) == len(one_by_one)
