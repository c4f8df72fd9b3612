"""Under shared ranges, too, a base compiled from the one before it has the bytes of the one that is compiled of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from test_incremental import LISTS, Rows, made, same, v4_entries

from clearway.policy.arrays import v4_array, v6_array
from clearway.policy.compile import ListEntries, compile_base
from clearway.policy.incremental import recompile
from clearway.policy.shared import Ranges, Shared

FLAGS = st.lists(st.booleans(), min_size=4, max_size=4)


def flagged(lists: Sequence[ListEntries], flags: list[bool]) -> list[ListEntries]:
    return [replace(each, cloud_hosts=flag) for each, flag in zip(lists, flags, strict=False)]


@settings(max_examples=30, deadline=None)
@given(LISTS, LISTS, st.lists(st.integers(0, 3), max_size=3), v4_entries(), v4_entries(), FLAGS, FLAGS)
def test_what_is_compiled_from_the_one_before_is_the_full_compilation(
    old: Rows,
    new: Rows,
    kept: list[int],
    fronts: list[tuple[int, int]],
    tenants: list[tuple[int, int]],
    before_flags: list[bool],
    after_flags: list[bool],
) -> None:
    none = v6_array([])
    shared = Shared(Ranges.of(v4_array(fronts), none), Ranges.of(v4_array(tenants), none))
    compile = partial(compile_base, shared=shared)
    before = flagged(made(old), before_flags)
    stay = [before[at] for at in dict.fromkeys(kept) if at < len(before)]
    aged = [replace(each, cloud_hosts=False) for each in stay[:1]]
    after = [*aged, *stay[1:], *flagged(made(new), after_flags)]
    found = recompile(compile, before, compile(before), after, share_max=1)
    assert found is None or same(found, compile(after))
