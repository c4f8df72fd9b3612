"""The clock never goes back: not when the wall clock is set back, not across a restart, not across a reboot."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from patience import HUNG_S

from clearway.gateway import durable
from clearway.gateway.clock import EXPIRED_NS, Clock

SECOND = 1_000_000_000
YEAR = 365 * 86400 * SECOND
START = 1_800_000_000 * SECOND


class Machine:
    """A machine whose clocks a test turns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = START
        self.boot = 1000 * SECOND
        self.boot_id = "first"

    def clock(self) -> Clock:
        return Clock(self.path, wall=lambda: self.wall, boot=lambda: self.boot, this_boot=lambda: self.boot_id)

    def passes(self, ns: int) -> None:
        self.wall += ns
        self.boot += ns


def at(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)


def test_a_wall_clock_set_back_stops_nothing_and_revives_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")
    clock = machine.clock()
    until = at(START + 60 * SECOND)
    deadline = clock.boot_deadline(until)
    assert deadline == machine.boot + 60 * SECOND
    machine.wall -= YEAR
    assert clock.now_ns() == START
    assert clock.boot_deadline(until) == deadline
    machine.passes(61 * SECOND)
    assert clock.boot_deadline(until) == EXPIRED_NS
    assert clock.ahead_ns() == YEAR


def test_a_restart_after_setting_back_revives_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")
    clock = machine.clock()
    machine.passes(100 * SECOND)
    clock.save()
    machine.wall -= YEAR
    machine.passes(5 * SECOND)
    assert machine.clock().now_ns() == START + 105 * SECOND


def test_a_reboot_after_setting_back_begins_at_the_largest_time_stored(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")
    clock = machine.clock()
    machine.passes(100 * SECOND)
    clock.save()
    machine.wall, machine.boot, machine.boot_id = START - YEAR, 3 * SECOND, "second"
    assert machine.clock().now_ns() == START + 100 * SECOND


def test_a_step_forward_is_noticed_until_it_is_settled_and_shortens_deadlines(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")
    clock = machine.clock()
    until = at(START + 3600 * SECOND)
    machine.passes(SECOND)
    assert not clock.stepped()
    machine.wall += 600 * SECOND
    assert clock.stepped()
    assert clock.stepped(), "what follows from it may have failed"
    clock.settled()
    assert not clock.stepped()
    assert clock.boot_deadline(until) == machine.boot + 2999 * SECOND


def test_what_was_recorded_later_than_the_wall_clock_raises_the_clock(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")
    clock = machine.clock()
    clock.raise_to(at(START) + timedelta(days=2))
    assert clock.now() == at(START) + timedelta(days=2)
    assert clock.stepped()


def test_no_expiry_is_zero_and_an_event_gets_its_wall_time(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")
    clock = machine.clock()
    assert clock.boot_deadline(None) == 0
    assert clock.wall_time(machine.boot - 2 * SECOND) == at(START - 2 * SECOND)


def test_a_clock_file_that_is_no_json_counts_as_none(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")
    machine.path.write_text("{")
    assert machine.clock().now_ns() == START


@pytest.mark.parametrize("at_start", [True, False])
def test_a_pause_between_the_two_readings_puts_nothing_ahead_for_good(tmp_path: Path, at_start: bool) -> None:
    machine = Machine(tmp_path / "clock.json")
    pausing = at_start
    readings = 0

    def paused(read: Callable[[], int]) -> int:
        nonlocal readings
        readings += 1
        if pausing and readings % 2 == 0:
            machine.passes(3 * SECOND)
        return read()

    clock = Clock(machine.path, wall=lambda: paused(lambda: machine.wall), boot=lambda: paused(lambda: machine.boot))
    readings, pausing = 0, True
    clock.now_ns()
    pausing = False
    assert clock.now_ns() == machine.wall
    assert clock.ahead_ns() == 0
    assert clock.boot_deadline(at(machine.wall + 60 * SECOND)) == machine.boot + 60 * SECOND


def test_a_deadline_is_of_one_moment(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "clock.json")

    def slow_boot() -> int:
        now = machine.boot
        machine.passes(SECOND)
        return now

    clock = Clock(machine.path, wall=lambda: machine.wall, boot=slow_boot)
    deadline = clock.boot_deadline(at(machine.wall + 60 * SECOND))
    assert deadline == machine.boot - SECOND + 60 * SECOND


def test_two_saves_at_once_leave_the_time_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one of the loop may still be at the disk when the daemon ends with another."""
    both = threading.Barrier(2)
    sync = os.fsync

    def slow(descriptor: int) -> None:
        sync(descriptor)
        both.wait(HUNG_S)

    monkeypatch.setattr(os, "fsync", slow)
    path = tmp_path / "clock.json"
    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(Clock(path).save) for _ in range(2)]:
            each.result()
    assert durable.read_json(path) and [each.name for each in tmp_path.iterdir()] == [path.name]
