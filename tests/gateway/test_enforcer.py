"""What the daemon believes to be enforced is what the ports run, also when a step on the way fails. No kernel here."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearway._engine import Capacity, Direction, DropReason, Lane, Verdict
from clearway.errors import CapacityExceeded, ClearwayError
from clearway.gateway import canary, canary_choice, daemon
from clearway.gateway import enforcer as enforcing
from clearway.gateway.clock import Clock
from clearway.gateway.enforced import Report, Watch
from clearway.gateway.enforcer import Enforcer
from clearway.gateway.loader_client import Loaded, Outcome
from clearway.policy.model import Prefix
from clearway.policy.names import CompiledNames
from clearway.store.change import OverlayWanted

NOW = datetime(2030, 3, 31, 12, tzinfo=UTC)
STEPS = ("reconcile", "fill", "flip", "attach")
SMALL = Loaded((), {}, (1, 1, 1, 1, 1), 2, 3, False, False, "by test")


@dataclass
class Machine:
    """The loader's side and the kernel's: what is on the ports, and which step fails next."""

    failing: str | None = None
    on_ports: "Tables | None" = None
    newest: "Tables | None" = None
    loads: int = 0
    passed: timedelta = timedelta()

    def step(self, name: str) -> None:
        if self.failing == name:
            raise ClearwayError.of("gateway.E016", why=name)

    def load(self, capacity: tuple[int, int, int, int, int]) -> Loaded:
        self.loads += 1
        return replace(SMALL, capacity=capacity)

    def attach(self) -> dict[str, str]:
        self.step("attach")
        self.on_ports = self.newest
        return {"tcx-inside": "updated"}


@dataclass
class Difference:
    """A comparison that found nothing: of what was written, by who wrote it."""

    wanted: int = 0
    missing: int = 0
    foreign: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Tables:
    machine: Machine
    room: int = 2
    epoch: int = 0
    idle: Any = None
    live: Any = None
    bypass: int = 0
    overlay: dict[tuple[bytes, int], tuple[int, int]] = field(default_factory=dict)

    def fill(self, base: Any, names: Any, public_ech: Any) -> None:
        self.machine.step("fill")
        self.idle = base

    def flip(self) -> int:
        self.machine.step("flip")
        self.live = self.idle
        self.epoch += 1
        return self.epoch

    def reconcile(self, overlay: list[tuple[bytes, int, int, int]], green: list[Any]) -> None:
        self.machine.step("reconcile")
        self.overlay = {(address, length): (block, exception) for address, length, block, exception in overlay}

    def put_overlay(self, address: bytes, length: int, block: int, exception: int) -> None:
        self.machine.step("put")
        if (address, length) not in self.overlay and len(self.overlay) >= self.room:
            raise CapacityExceeded("the overlay is full")
        self.overlay[address, length] = block, exception

    def remove_overlay(self, address: bytes, length: int) -> None:
        self.overlay.pop((address, length), None)

    def compare_overlay(self) -> Difference:
        return Difference()

    def set_names_active(self, active: bool) -> None:
        assert not active  # no list here has names

    def hold_state(self) -> dict[str, object]:
        return {"names_active": False}

    def set_on_failure(self, policy: str) -> None:
        pass

    def set_bypass_until(self, deadline: int) -> None:
        self.bypass = deadline

    def bypass_until(self) -> int:
        return self.bypass


@dataclass
class Base:
    """A snapshot and its base in one."""

    size: int
    names = CompiledNames()

    def base(self) -> "Base":
        return self

    def needs(self) -> Capacity:
        return Capacity(self.size, 1, 1)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def enforcer(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enforcer:
    def opened(loaded: Loaded) -> Tables:
        machine.newest = Tables(machine, epoch=machine.on_ports.epoch if machine.on_ports else 0)
        return machine.newest

    monkeypatch.setattr(enforcing, "_opened", opened)
    loader: Any = machine
    wall = lambda: int((NOW + machine.passed).timestamp() * 1e9)  # noqa: E731
    made = Enforcer(loader, Clock(tmp_path / "clock.json", wall=wall, boot=lambda: 10**12))
    made.tables, made.loaded = opened(SMALL), SMALL  # type: ignore[assignment]
    publish(made, Base(1))
    made.attach()
    return made


def publish(enforcer: Any, base: Base) -> int:
    return int(enforcer.publish(base))


@pytest.mark.parametrize("step", STEPS)
def test_larger_tables_count_only_once_the_ports_run_them(machine: Any, enforcer: Any, step: str) -> None:
    before: Any = enforcer.tables
    machine.failing = step
    with pytest.raises(ClearwayError):
        publish(enforcer, Base(9))
    assert enforcer.tables is machine.on_ports is before
    assert enforcer.waiting and enforcer.loaded.capacity == (1, 1, 1, 1, 1) and before.live == Base(1)
    machine.failing = None
    publish(enforcer, Base(9))
    assert enforcer.tables is machine.on_ports is not before
    assert machine.on_ports.live == Base(9)
    assert not enforcer.waiting and (enforcer.grown, machine.loads) == (1, 1)


def test_a_bypass_reaches_what_the_ports_run_and_what_waits(machine: Machine, enforcer: Any) -> None:
    before: Any = enforcer.tables
    machine.failing = "attach"
    with pytest.raises(ClearwayError):
        publish(enforcer, Base(9))
    enforcer.set_bypass(NOW + timedelta(hours=1))
    assert machine.newest is not before and machine.newest is not None
    assert before.bypass == machine.newest.bypass > 0
    enforcer.set_bypass(None)
    assert before.bypass == machine.newest.bypass == 0


def test_a_decision_about_the_bypass_in_the_middle_of_a_reconcile_stands(
    enforcer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person ends it just when the wall clock stepped: it was told that every packet is judged again."""
    enforcer.set_bypass(NOW + timedelta(hours=1))
    turn, entered = enforcer._overlay_turn, []

    class Turn:
        def __enter__(self) -> None:
            entered.append(True)
            if len(entered) == 2:  # the first is of the single entries
                enforcer.set_bypass(None)
            turn.acquire()

        def __exit__(self, *_: object) -> None:
            turn.release()

    monkeypatch.setattr(enforcer, "_overlay_turn", Turn())
    enforcer.reconcile()
    assert len(entered) == 3 and enforcer.tables.bypass == 0


@pytest.mark.parametrize("when", ["loading", "asked"])
def test_canaries_say_nothing_of_programs_that_are_not_on_the_ports_yet(
    machine: Machine, enforcer: Any, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Larger tables begin empty and under the same epoch: what is listed passes them until they are filled."""
    watch = Watch(enforcer, enforcer._loader, enforcer._clock, (), False)
    listed = canary.inbound("listed", bytes(16), bytes(16), DropReason.LISTED_SOURCE)
    report = Report()
    asked: list[int] = []
    monkeypatch.setattr(canary_choice, "choose", lambda *_: [listed])
    monkeypatch.setattr(watch, "_still_holds", lambda _: True)

    def probe(*_: object) -> Outcome:
        epoch = enforcer.tables.epoch
        asked.append(epoch)
        if when == "asked" and len(asked) == 2:  # all the rest of it while the answer is on its way
            publish(enforcer, Base(9))
        return Outcome(Verdict.FORWARD, DropReason.FORWARDED, Lane.INSPECTED, epoch, frozenset(), 0)

    def load(capacity: tuple[int, int, int, int, int]) -> Loaded:
        with ThreadPoolExecutor(1) as another:
            another.submit(watch._send_canaries, report).result()
        return Machine.load(machine, capacity)

    monkeypatch.setattr(machine, "probe", probe, raising=False)
    if when == "loading":
        monkeypatch.setattr(machine, "load", load)
        publish(enforcer, Base(9))
    else:
        watch._send_canaries(report)
    assert enforcer.grown == 1 and not report.canaries_failed


def test_a_person_is_told_what_the_programs_on_the_ports_say(
    machine: Machine, enforcer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`explain --live` beside a list that outgrows the tables: the new programs know of none yet."""
    answers = iter([(Verdict.FORWARD, DropReason.FORWARDED), (Verdict.DROP, DropReason.LISTED_SOURCE)])

    def probe(*_: object) -> Outcome:
        told = next(answers)
        if told[0] is Verdict.FORWARD:
            publish(enforcer, Base(9))
        return Outcome(*told, Lane.INSPECTED, enforcer.tables.epoch, frozenset(), 0)

    monkeypatch.setattr(machine, "probe", probe, raising=False)
    asked: Any = object.__new__(daemon.Daemon)
    asked._started = SimpleNamespace(enforcer=enforcer, loader=machine)
    ports = {"inside": SimpleNamespace(name="port0")}
    asked._wire = SimpleNamespace(absent=set(), runtime=SimpleNamespace(ports=ports))
    assert asyncio.run(asked.probe(Direction.INBOUND, b""))["tcx"].verdict is Verdict.DROP
    machine.failing = "attach"
    with pytest.raises(ClearwayError):
        publish(enforcer, Base(99))
    monkeypatch.setattr(daemon, "PROBE_S", 0.1)
    with pytest.raises(ClearwayError) as raised:
        asyncio.run(asked.probe(Direction.INBOUND, b""))
    assert enforcer.waiting and raised.value.id == "gateway.E020"
    asked._wire.absent.add("inside")
    with pytest.raises(ClearwayError, match="port0") as raised:
        asyncio.run(asked.probe(Direction.INBOUND, b""))
    assert raised.value.id == "gateway.E029"


@pytest.mark.parametrize("mend", ["attach", "republish"])
def test_what_waits_gets_the_published_base_before_the_ports_get_it(machine: Machine, enforcer: Any, mend: str) -> None:
    machine.failing = "fill"
    with pytest.raises(ClearwayError):
        publish(enforcer, Base(9))
    machine.failing = None
    getattr(enforcer, mend)()
    assert machine.on_ports is enforcer.tables is machine.newest
    assert machine.on_ports is not None and machine.on_ports.live == Base(1)


def test_a_reload_that_fails_is_ended_by_the_next_attach(machine: Machine, enforcer: Any) -> None:
    machine.failing = "attach"
    with pytest.raises(ClearwayError):
        enforcer.reload()
    machine.failing = None
    enforcer.attach()
    assert enforcer.tables is machine.on_ports is machine.newest and enforcer.grown == 0


def block(target: str, hours: int = 1) -> tuple[Prefix, OverlayWanted]:
    prefix = Prefix.parse(target)
    return prefix, OverlayWanted(prefix, NOW + timedelta(hours=hours), None)


def test_a_decision_that_could_not_be_written_is_told_and_written_later(machine: Machine, enforcer: Any) -> None:
    watch = Watch(enforcer, enforcer._loader, enforcer._clock, (), False)
    machine.failing = "put"
    with pytest.raises(ClearwayError):
        enforcer.enforce([block("192.0.2.1"), block("192.0.2.2")], [])
    assert enforcer.dirty and not enforcer.tables.overlay
    machine.failing = "reconcile"
    report = Report()
    watch._check_overlay(report)
    assert enforcer.dirty and "not in the kernel" in report.faults[0]
    machine.failing = None
    report = Report()
    watch._check_overlay(report)
    assert not enforcer.dirty and not report.faults and len(enforcer.tables.overlay) == 2


def test_what_is_decided_once_larger_tables_are_in_place_is_no_foreign_entry(
    machine: Machine, enforcer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look began at the old ones: they never heard of it, and would take it out."""
    watch = Watch(enforcer, enforcer._loader, enforcer._clock, (), False)
    old = enforcer.tables
    mended: list[Tables] = []

    def meanwhile() -> Difference:
        publish(enforcer, Base(9))
        enforcer.enforce([block("192.0.2.1")], [])
        return Difference(foreign=1)

    monkeypatch.setattr(old, "compare_overlay", meanwhile, raising=False)
    monkeypatch.setattr(Tables, "mend_overlay", mended.append, raising=False)
    report = Report()
    watch._check_overlay(report)
    assert enforcer.tables is not old and not mended
    assert (report.foreign, watch.mended["overlay"]) == (0, 0)


def test_nobody_moves_to_larger_tables_while_the_overlay_is_mended(
    machine: Machine, enforcer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old ones never hear of what is decided from then on, and would take it out of the maps that both write."""
    old = enforcer.tables
    with ThreadPoolExecutor(1) as another:

        def mend(tables: Tables) -> None:
            growing = another.submit(publish, enforcer, Base(9))
            with contextlib.suppress(TimeoutError):  # it waits until this has ended
                growing.result(0.2)
            assert tables is enforcer.tables

        monkeypatch.setattr(Tables, "mend_overlay", mend, raising=False)
        enforcer.mend_overlay()
    assert enforcer.tables is machine.on_ports is not old


def test_what_has_expired_makes_room_in_a_full_table(machine: Machine, enforcer: Any) -> None:
    enforcer.enforce([block("192.0.2.1"), block("192.0.2.2", hours=9)], [])
    with pytest.raises(CapacityExceeded):
        enforcer.enforce([block("192.0.2.3", hours=9)], [])
    machine.passed = timedelta(hours=2)
    enforcer.enforce([block("192.0.2.3", hours=9)], [])
    assert sorted(address[-1] for address, _ in enforcer.tables.overlay) == [2, 3]
