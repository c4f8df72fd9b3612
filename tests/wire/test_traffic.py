"""Numbered traffic tells the truth: nothing on a good wire, and exactly what happened on a bad one.

Every claim of "0 lost" in this folder stands on these tests.
"""

import numpy as np
import pytest
from faulty_wire import Faults, faulty_wire
from hypothesis import given
from hypothesis import strategies as st
from patience import until
from shortwire import LEFT, RIGHT, ShortWire, bridge, namespaces, quiet

from clearway.lab import frames
from clearway.lab.namespace import End
from clearway.lab.namespace import wire as join
from clearway.lab.numbered import Report, Stream, judge, stamp
from clearway.lab.traffic import Traffic


def run(one: End, other: End, rate: int, packets: int) -> tuple[Report, Report]:
    """Until so many were sent each way."""
    with Traffic((one, LEFT), (other, RIGHT), rate=rate) as traffic:
        traffic.start()
        until(
            lambda: min(traffic.counts().sent_there, traffic.counts().sent_back) >= packets, "hardly anything is sent"
        )
        return traffic.stop()


def test_an_ordered_whole_list_is_judged_clean() -> None:
    assert judge(np.arange(1000), 1000, 64) == (0, 0, 0, [])


def test_no_arrivals_are_all_lost() -> None:
    assert judge(np.zeros(0, np.int64), 3, 64) == (3, 0, 0, [0, 1, 2])


def test_packets_of_different_flows_may_overtake_each_other() -> None:
    assert judge(np.array([1, 0, 3, 2]), 4, 2) == (0, 0, 0, [])


def test_a_packet_behind_a_later_one_of_its_flow_is_reordered() -> None:
    assert judge(np.array([2, 0, 1, 3]), 4, 2) == (0, 0, 1, [])


def test_a_late_copy_is_a_duplicate_and_not_a_reordering() -> None:
    assert judge(np.array([0, 1, 2, 3, 0]), 4, 2) == (0, 1, 0, [])


@given(
    st.lists(st.integers(0, 40), max_size=60),
    st.integers(1, 5),
)
def test_judging_agrees_with_a_plain_walk_over_the_list(numbers: list[int], flows: int) -> None:
    seen: set[int] = set()
    latest: dict[int, int] = {}
    duplicated = reordered = 0
    for number in numbers:
        if number in seen:
            duplicated += 1
            continue
        seen.add(number)
        reordered += latest.get(number % flows, -1) > number
        latest[number % flows] = max(latest.get(number % flows, -1), number)
    missing = [number for number in range(41) if number not in seen]
    assert judge(np.array(numbers, np.int64), 41, flows) == (len(missing), duplicated, reordered, missing)


@pytest.mark.parametrize("number", [0, 1, 65535, 2**33 + 7])
def test_every_stamped_frame_has_a_valid_checksum(number: int) -> None:
    """The mended checksum is the one computed anew over the datagram, for both families."""
    stream = Stream(LEFT, RIGHT, 1000, flows=2)
    batch = stream.templates(1)
    stamp(batch, np.array([number, number + 1]), 1_234_567_890_123_456_789)
    for row, header, source, destination in (
        (batch[0].tobytes(), 34, LEFT.v4, RIGHT.v4),
        (batch[1].tobytes(), 54, LEFT.v6, RIGHT.v6),
    ):
        datagram = row[header:]
        assert frames.checksum(frames.pseudo_header(source, destination, 17, len(datagram)) + datagram) == 0


@pytest.mark.namespaces
def test_a_bare_wire_carries_everything(wire: ShortWire) -> None:
    with namespaces("one", "other") as (one, other):
        quiet(one)
        quiet(other)
        join(End(one, "eth0"), End(other, "eth0"))
        there, back = run(End(one, "eth0"), End(other, "eth0"), 20_000, 40_000)
    assert there.clean, there
    assert back.clean, back


@pytest.mark.namespaces
def test_a_kernel_bridge_carries_everything(wire: ShortWire) -> None:
    bridge(wire.gateway, "inside", "outside")
    there, back = run(wire.left, wire.right, 20_000, 40_000)
    assert there.clean, there
    assert back.clean, back


@pytest.mark.namespaces
def test_a_cut_wire_loses_everything(wire: ShortWire) -> None:
    there, back = run(wire.left, wire.right, 1000, 300)
    assert there.lost == there.sent > 0
    assert back.lost == back.sent > 0
    assert not there.clean


@pytest.mark.namespaces
def test_each_fault_of_a_bad_wire_is_found_and_no_other(wire: ShortWire) -> None:
    """The wire loses, repeats, delays and alters given numbers; both directions report exactly those."""
    faults = Faults(lose={100, 101, 777}, repeat={200, 333}, delay={500}, alter={900, 901, 1500, 2000})
    with faulty_wire(wire.inside, wire.outside, faults):
        there, back = run(wire.left, wire.right, 2000, 4000)
    for report in (there, back):
        assert report.lost_numbers == [100, 101, 777]
        assert (report.lost, report.duplicated, report.reordered, report.altered) == (3, 2, 1, 4)
        assert not report.clean
