"""What is told of a list's source: nothing of the machine, and no key. How names that ran out go."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from clearway.errors import ClearwayError
from clearway.gateway import inspector_names
from clearway.gateway.clock import Clock
from clearway.gateway.inspector_names import NamesInForce, told_of
from clearway.policy import snapshot
from clearway.policy.compile import compile_base
from clearway.policy.model import Reason
from clearway.store.change import NameWanted

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class SlowInspector:
    """Stands in for the client of a process: knows what it was told, and takes its time."""

    untaken = ""

    def __init__(self) -> None:
        self.single: dict[str, Any] = {}
        self.messages = 0
        self.away = False

    def wait_begun(self) -> None: ...

    def publish_lists(self, *lists: Any) -> None: ...

    def replace_single(self, names: dict[str, Any]) -> None:
        self.single = dict(names)

    def put_single(self, names: dict[str, Any]) -> None:
        if self.away:
            raise ClearwayError.of("gateway.E027", why="it is away")
        time.sleep(0.01)
        self.messages += 1
        for name, entries in names.items():
            self.single.pop(name, None)
            if entries:
                self.single[name] = entries


class SetClock:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def boot_deadline(self, until: datetime | None) -> int:
        return int(until.timestamp()) if until is not None else 0


def blocked(name: str, until: datetime) -> NameWanted:
    return NameWanted(name, "subtree", until, None, "decision 1", "malware", "alice")


@pytest.fixture
def names() -> tuple[NamesInForce, SlowInspector, SetClock]:
    """Without a kernel: 2,000 names for an hour, 10 for two."""
    clock, inspector = SetClock(), SlowInspector()
    in_force = NamesInForce(cast(Any, None), cast(Clock, clock), None)
    in_force.inspector = cast(Any, inspector)
    short = [blocked(f"n{number}.example", NOW + HOUR) for number in range(2000)]
    in_force.replace_single(short + [blocked(f"long{number}.example", NOW + 2 * HOUR) for number in range(10)])
    return in_force, inspector, clock


def test_nothing_is_looked_at_before_the_first_name_ends(names: tuple[NamesInForce, SlowInspector, SetClock]) -> None:
    in_force, inspector, clock = names
    clock.time = NOW + HOUR - timedelta(seconds=1)
    in_force._single = cast(Any, None)  # would fail
    assert (in_force.sweep(), inspector.messages) == (0, 0)


def test_who_blocks_a_name_does_not_wait_for_all_that_end(names: tuple[NamesInForce, SlowInspector, SetClock]) -> None:
    in_force, inspector, clock = names
    clock.time = NOW + HOUR
    swept: list[int] = []
    sweeping = threading.Thread(target=lambda: swept.append(in_force.sweep()))
    sweeping.start()
    while inspector.messages < 2:
        time.sleep(0.001)
    in_force.put_single("new.example", [blocked("new.example", NOW + 3 * HOUR)])
    in_force.put_single("n1999.example", [blocked("n1999.example", NOW + 3 * HOUR)])
    assert sweeping.is_alive(), "it waited to the end"
    sweeping.join()
    assert swept == [2000]
    assert sorted(inspector.single) == sorted(
        ["new.example", "n1999.example", *(f"long{n}.example" for n in range(10))]
    )
    clock.time = NOW + 2 * HOUR
    assert (in_force.sweep(), in_force.sweep()) == (10, 0)
    assert sorted(inspector.single) == ["n1999.example", "new.example"]


def test_names_that_ended_without_an_inspector_go_when_there_is_one(
    names: tuple[NamesInForce, SlowInspector, SetClock],
) -> None:
    in_force, inspector, clock = names
    clock.time, inspector.away = NOW + HOUR, True
    with pytest.raises(ClearwayError):
        in_force.sweep()
    inspector.away, in_force.failure = False, None
    assert in_force.sweep() > 0
    assert sorted(in_force._single) == sorted(f"long{number}.example" for number in range(10))
    assert inspector_names.SWEPT_AT_ONCE < 2000


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("https://user:secret@lists.example/bad.txt?key=secret#secret", "https://lists.example/bad.txt?…"),
        ("HTTP://lists.example/bad.txt", "http://lists.example/bad.txt"),
        ("/srv/private/bad.txt", "bad names"),
        ("file:///srv/private/bad.txt", "bad names"),
        ("~/bad.txt", "bad names"),
    ],
)
def test_a_source_is_told_without_its_keys_and_a_file_by_the_name_of_its_list(
    tmp_path: Path, source: str, told: str
) -> None:
    listed = snapshot.SnapshotList("bad names", Reason.MALWARE, "0" * 64, source, NOW, NOW)
    snapshot.write(tmp_path, compile_base([]), [listed], created=NOW)
    ((rule, reason, _, found, _),) = told_of(snapshot.load(tmp_path / snapshot.CURRENT))
    assert (rule, reason, found) == ("bad names", "malware", told)
