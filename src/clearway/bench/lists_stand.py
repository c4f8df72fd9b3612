"""The test stand of lists: files of forty lists, a gateway that holds them all, single lists for the peers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path

from clearway.bench import lists, lists_feeds
from clearway.bench.lists_feeds import FeedFile, Kind, Many
from clearway.bench.lists_gateway import ListsGateway, Loaded, gateway
from clearway.bench.lists_memory import map_bytes, mapped_map_bytes, resident_bytes
from clearway.bench.lists_plan import ListsPlan
from clearway.bench.machine import Cpus
from clearway.bench.measurement import Measurement, Series
from clearway.bench.stand import Stand
from clearway.bench.topology import PREFIX
from clearway.bench.turns import Progress

LIFE = "1d"


class ListsStand(Stand):
    """Use as a context: whatever was built goes at its end."""

    def __init__(self, plan: ListsPlan, cpus: Cpus, progress: Progress) -> None:
        super().__init__(plan, cpus, progress)
        self.lists_plan = plan
        self._files = ExitStack()
        self._gateway = ExitStack()
        self._loaded: ListsGateway | None = None
        self._series: dict[str, tuple[Series, ...]] = {}
        self._changes = count()
        self._is_warm = False

    def close(self) -> None:
        self._gateway.close()
        self._files.close()
        super().close()

    @cached_property
    def folder(self) -> Path:
        """For files that gateways read; removed at the end."""
        made = Path(self._files.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
        made.chmod(0o755)  # a gateway has no rights of root
        return made

    @cached_property
    def many(self) -> Many:
        """The forty lists."""
        plan = self.lists_plan.many
        number = plan.address_lists + plan.name_lists
        self.progress.say(f"writing {number} lists of {plan.addresses:,} addresses and {plan.names:,} names")
        folder = self.folder / "many"
        folder.mkdir()
        return lists_feeds.write(plan, folder)

    @cached_property
    def many_file(self) -> Path:
        """What `feed load` takes."""
        path = self.folder / "lists"
        path.write_text("".join(f"{_line(each)}\n" for each in self.many.files))
        return path

    @contextmanager
    def gateway(self) -> Iterator[ListsGateway]:
        """An empty one; the first time, all programs are started once before."""
        if not self._is_warm:
            self._is_warm = True
            self.progress.say("starting each program once")
            with gateway(self.lists_plan.settle_s) as first:
                first.start_programs()
        with gateway(self.lists_plan.settle_s) as made:
            yield made

    def load_many(self) -> Loaded:
        """All of them into an empty gateway, which stays as `loaded`."""
        self.end_loaded()
        made = self._gateway.enter_context(self.gateway())
        found = made.timed("feed", "load", str(self.many_file))
        made.check_dropped(*self.many.addresses_listed)
        self._loaded = made
        return found

    @property
    def loaded(self) -> ListsGateway:
        """A gateway that holds all the lists."""
        if self._loaded is None:
            self.progress.say("loading all lists")
            self.load_many()
        assert self._loaded is not None
        return self._loaded

    def end_loaded(self) -> None:
        """Takes that gateway down, if there is one."""
        self._loaded = None
        self._gateway.close()

    def change(self, kind: Kind) -> str:
        """Changes a list that is to change, by other entries each time; one of those that it holds from now on."""
        turn = next(self._changes)
        file = self.many.changing(kind)
        lists_feeds.change(file, turn)
        return lists_feeds.changed_example(file, turn)

    def series(self, key: str, measure: Callable[[], tuple[Series, ...]]) -> tuple[Series, ...]:
        """Measured once in a run, for the figures that look at it from different sides."""
        if key not in self._series:
            self._series[key] = measure()
        return self._series[key]

    def _first(self) -> Path:
        """A list of next to nothing."""
        path = self.folder / "first"
        path.write_text("45.9.4.1\nfirst.example.com\n")
        return path

    @cached_property
    def prefixes(self) -> bytes:
        """A list of addresses, one a line."""
        path = self.folder / "prefixes"
        lists.write_text(lists.make(lists.ListPlan(self.lists_plan.peer_prefixes)), path)
        return path.read_bytes()

    def one_list(self, text: bytes, format: str) -> Measurement:
        """Clearway's load of one list, with the same details as the peers'."""
        path = self.folder / "one"
        path.write_bytes(text)
        path.chmod(0o644)
        with self.gateway() as made:
            family = made.family()
            resident = sum(resident_bytes(pid)[0] for pid in family)
            empty = resident - mapped_map_bytes(family) + map_bytes(family)
            made.add("first", self._first(), "domains")  # a gateway that runs has taken lists in before
            began = time.monotonic()
            made.add("one", path, format)
            took = time.monotonic() - began
            family = made.family()
            own, kernel = made.resident_peak_bytes() - mapped_map_bytes(family), map_bytes(family)
        details = {
            "loader_mb": own / 1e6,
            "kernel_mb": kernel / 1e6,
            "together_mb": (own + kernel) / 1e6,
            "empty_mb": empty / 1e6,
            "more_mb": (own + kernel - empty) / 1e6,
        }
        if self.plan.name != "smoke":
            with self.gateway() as made:
                command = made.timed("feed", "add", "one", str(path), "--reason", "malware", "--format", format)
                details["command_s"] = command.seconds
        return Measurement(took, details)


def _line(each: FeedFile) -> str:
    return f"{each.name} {each.path} --reason {each.reason} --format {each.format} --life {LIFE}"
