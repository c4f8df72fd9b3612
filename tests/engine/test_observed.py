"""Lists that are only observed, in the kernel: told of, counted and forwarded; compare sees each of their bits."""

from __future__ import annotations

import pytest
from bases import base, frame
from loaded_gateway import ROOM, Gateway, load
from raw_maps import index, update

from clearway import _engine as engine
from clearway._engine import DropReason, Fact, Verdict
from clearway.errors import BadSnapshotPart, CapacityExceeded
from clearway.policy import arrays
from clearway.policy.compile import CompiledBase, ListEntries, compile_base
from clearway.policy.model import Prefix, Reason

pytestmark = pytest.mark.kernel

OBSERVING = engine.Capacity(1024, 4, 16, observed=1024)
LISTED = ["192.0.2.0/25", "2001:db8:1::/48"]
SEEN = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"]


def compiled(listed: list[str], seen: list[str]) -> CompiledBase:
    lists = []
    for texts, observe in ((listed, False), (seen, True)):
        entries = arrays.of_prefixes(map(Prefix.parse, texts))
        lists.append(ListEntries(str(observe), Reason.MALWARE, *entries, observe=observe))
    return compile_base(lists)


@pytest.fixture
def observing(request: pytest.FixtureRequest) -> Gateway:
    made = load(engine.Loader(None), OBSERVING, xdp=True)
    made.tables.fill(compiled(LISTED, SEEN).for_engine())
    made.tables.flip()
    return made


@pytest.mark.parametrize("hook", ["tcx", "xdp"])
def test_what_only_observed_lists_hold_is_forwarded_with_the_reason(observing: Gateway, hook: str) -> None:
    for source, dropped, reason in (
        ("192.0.2.1", True, DropReason.LISTED_SOURCE),
        ("192.0.2.200", False, DropReason.LISTED_SOURCE),
        ("198.51.100.7", False, DropReason.LISTED_SOURCE),
        ("203.0.113.7", False, DropReason.FORWARDED),
        ("2001:db8:1::1", True, DropReason.LISTED_SOURCE),
        ("2001:db8:2::1", False, DropReason.LISTED_SOURCE),
    ):
        other = "fd00::1" if ":" in source else "8.8.8.8"
        said = observing.loader.probe(hook, engine.Direction.INBOUND, frame(source, other))
        assert (said.verdict == Verdict.DROP, said.drop_reason) == (dropped, reason), source
        assert (Fact.OBSERVED in said.facts) == (reason != DropReason.FORWARDED and not dropped), source


def test_an_enforced_list_at_the_other_address_still_drops(observing: Gateway) -> None:
    said = observing.loader.probe("tcx", engine.Direction.INBOUND, frame("198.51.100.7", "192.0.2.1"))
    assert (said.verdict, said.drop_reason) == (Verdict.DROP, DropReason.LISTED_DESTINATION)
    assert Fact.OBSERVED not in said.facts


def test_an_observed_hit_is_counted_and_told_once(observing: Gateway) -> None:
    events = engine.Events(observing.loader.map_fds()["events"])
    observing.loader.cost_ns("tcx", engine.Direction.INBOUND, frame("198.51.100.7", "203.0.113.9"), 1)
    (event,) = events.poll(1000)
    assert (event.drop_reason, event.observed, event.weight) == (DropReason.LISTED_SOURCE, True, 1)
    assert observing.tables.observed() == [(DropReason.LISTED_SOURCE, 1, 42)]
    ((_, _, reason, packets, _),) = observing.tables.counters()
    assert (reason, packets) == (DropReason.FORWARDED, 1)
    assert observing.tables.facts() == {Fact.OBSERVED: (1, 42)}


def test_compare_sees_an_observed_bit_that_is_gone_and_a_fill_mends(observing: Gateway) -> None:
    wanted = compiled(LISTED, SEEN).for_engine()
    copy = observing.tables.epoch & 1
    update(observing.loader.map_fds()["base_observed"], index(copy * OBSERVING.observed), bytes(32))
    found = observing.tables.compare_base(wanted)
    assert (found.missing, found.foreign, found.wrong) == (0, 0, 1)
    assert found.examples[0].startswith("observed bits of 192.0.2.0/24"), found.examples
    observing.tables.fill(wanted)
    observing.tables.flip()
    assert observing.tables.compare_base(wanted).wrong == 0


def test_lists_that_are_observed_no_more_leave_no_bit(observing: Gateway) -> None:
    for _ in range(2):
        observing.tables.fill(compiled(LISTED + SEEN, []).for_engine())
        observing.tables.flip()
    for source in ("192.0.2.200", "198.51.100.7"):
        said = observing.loader.probe("tcx", engine.Direction.INBOUND, frame(source, "8.8.8.8"))
        assert said.verdict == Verdict.DROP, source


def test_the_first_observed_list_asks_for_larger_maps(gateway: Gateway) -> None:
    made = compiled(LISTED, SEEN).for_engine()
    assert made.needs().observed == made.needs().bitmaps == 2
    assert compiled(LISTED, []).for_engine().needs().observed == 1 == ROOM.observed
    assert compiled([], ["2001:db8::/32"]).for_engine().needs().observed == 2, "or IPv6 alone would be enforced"
    with pytest.raises(CapacityExceeded, match="bitmaps of observed lists"):
        gateway.tables.fill(made)


def test_observed_bits_are_those_of_a_bitmap() -> None:
    good = compiled(["192.0.2.0/26"], ["192.0.2.64/26"])
    parts = {
        "v4_cell_numbers": good.v4_cell_numbers.data,
        "v4_cells": good.v4_cells.data,
        "v4_bitmaps": good.v4_bitmaps.data,
        "v6_buckets": good.v6_buckets.data,
        "v6_slots": b"",
        "v6_lengths": b"",
        "v6_seed": good.v6_seed,
    }
    engine.Base(**parts, v4_observed=good.v4_observed.data)  # type: ignore[arg-type]
    for wrong in (bytes(64), bytes([0] * 31 + [1])):
        with pytest.raises(BadSnapshotPart, match="v4_observed"):
            engine.Base(**parts, v4_observed=wrong)  # type: ignore[arg-type]
    assert base("192.0.2.0/24").needs().observed == 1
