"""The gateway that names are measured on: the peer of the other figures, with listed names and an inspector.

The inspector is a process of its own as the daemon starts it; the daemon itself is not needed. The same gateway with
the name step switched off is what it is compared with. A list of exceptions stands beside the list of names: what it
holds is a hit of the filter that the exact set then passes, as a false hit would be.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearway.bench import lists
from clearway.bench.peers import GRANT_S, Clearway, compile_base, promiscuous
from clearway.policy.model import Reason
from clearway.policy.names import Blob, CompiledNames, ListNames, StoredNames, compile_names

SECRET = bytes(range(16))
"""Key of the names' hash in the bench: the same lists give the same filter."""
MTU = 1500


@dataclass(frozen=True)
class Waited:
    """Sums of the hold until now."""

    packets: int  # that went through a TAP
    flows: int
    full: int  # packets that found no room, and passed unread
    away: int  # packets that found no inspector, and passed unread
    refused: int


class NamesGateway(Clearway):
    """Clearway in TCX with a base, names, TAPs and an inspector. The name step is off until `inspecting`."""

    def __init__(self, entries: lists.Entries, names: CompiledNames, green: Any = ()) -> None:
        super().__init__(entries, "names", "tcx", green)
        self.names = names
        self.inspector: Any = None
        self._stack = ExitStack()

    def _join(self) -> None:
        from clearway import _engine as engine

        self.base = compile_base(self.entries)
        inside, outside = self.wire.inside, self.wire.outside
        for port in (inside, outside):
            promiscuous(port)
        needs = self.base.needs()
        words = max(1, len(self.names.name_filter))
        capacity = engine.Capacity(needs.bitmaps, needs.v6_buckets, needs.v6_slots, words)
        settings = engine.Settings(inside_ifindex=inside.index(), outside_ifindex=outside.index())
        self._loader = self.wire.gateway.call(lambda: engine.Loader(None))
        self.wire.gateway.call(lambda: self._loader.load(settings, capacity, xdp=False))
        self.tables = engine.Tables(self._loader.map_fds(), self._loader.capacity())
        self.filter = engine.NameFilter(self.names.opened(), self.names.name_filter.data)
        self.tables.fill(self.base, self.filter)
        self.tables.flip()
        until_ns = engine.boot_clock_ns() + GRANT_S * 1_000_000_000
        for address, length in self.green:
            self.tables.put_green(address, length, until_ns)
        self.wire.gateway.call(self._loader.attach)
        self._hold()

    def _hold(self) -> None:
        """TAPs in the gateway's namespace, the program on them, and the inspector with the exact set."""
        from clearway.gateway import inspector_taps
        from clearway.gateway.inspector_client import Answering, InspectorClient

        taps, numbers = self.wire.gateway.call(lambda: inspector_taps.open_both(self.wire.gateway.name, MTU))
        for descriptor in taps:
            self._stack.callback(os.close, descriptor)
        self.wire.gateway.call(lambda: self._loader.attach_hold(*numbers))
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cwb-")))
        folder.chmod(0o755)
        (folder / "names.bin").write_bytes(self.names.names.tobytes())
        self.inspector = InspectorClient(taps, self._loader.map_fds(), Answering(), lambda _: None)
        self._stack.callback(self.inspector.close)
        self.inspector.wait_begun()
        told = [(name, "scanner", int(Reason.SCANNER), "bench", "") for name in ("bench", "exceptions")]
        self.inspector.publish_lists(str(folder / "names.bin"), told)

    @contextmanager
    def inspecting(self, on: bool) -> Iterator[None]:
        """With the name step on or off."""
        self.tables.set_names_active(on)
        try:
            yield
        finally:
            self.tables.set_names_active(False)

    def waited(self) -> Waited:
        from clearway._engine import Fact

        facts, counts = self.tables.facts(), self.tables.inspector_counts()
        return Waited(
            packets=self.tables.hold_state()["held"],
            flows=counts.get("flows-held", 0),
            full=facts.get(Fact.HOLD_FULL, (0, 0))[0],
            away=facts.get(Fact.INSPECTOR_AWAY, (0, 0))[0],
            refused=sum(count for name, count in counts.items() if name.startswith("refused-")),
        )

    def inspector_pids(self) -> list[int]:
        return [self.inspector.pid] if self.inspector is not None else []

    def down(self) -> None:
        self._stack.close()
        self.inspector = None
        super().down()


def compiled(listed: Blob, excepted: Blob) -> CompiledNames:
    """Both lists as a snapshot has them; each name with everything below it, which is the larger filter."""
    return compile_names(
        [
            ListNames("bench", Reason.SCANNER, StoredNames(subtree=listed)),
            ListNames("exceptions", Reason.NONE, StoredNames(subtree=excepted), exception=True),
        ],
        SECRET,
    )
