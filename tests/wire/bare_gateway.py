"""The programs on a short wire without a daemon: loaded and filled by the test itself. Nothing is pinned.

Also small compiled bases out of a few prefixes, so that a test of the wire needs no list, file or snapshot.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from shortwire import ShortWire

from clearway import _engine as engine
from clearway.policy.compile import ListEntries, compile_base

ROOM = (64, 64, 256, 64)  # bitmaps, v6 buckets, v6 slots, words of the filter of names


@dataclass
class BareGateway:
    loader: engine.Loader
    tables: engine.Tables

    def counted(self) -> dict[str, int]:
        """Packets by drop reason, over lanes and directions; what is 0 is not there."""
        total: dict[str, int] = {}
        for _, _, reason, packets, _ in self.tables.counters():
            word = reason.name.lower().replace("_", "-")
            total[word] = total.get(word, 0) + packets
        return total


@contextlib.contextmanager
def bare_gateway(
    wire: ShortWire, gro: bool = True, xdp: bool = False, program: Any = None, **settings: Any
) -> Iterator[BareGateway]:
    """Attached to both ports for the length of the block. `settings`: of engine.Settings. `xdp`: that program too.
    `program`: path of an object in place of the TCX program's."""
    for end in (wire.left, wire.right) if xdp else ():
        end.offload(gro=True)  # a veth takes redirected frames only where its far end polls
    for port in (wire.inside, wire.outside):
        port.offload(gro=gro)
        port.namespace.sysctl({f"ipv6/conf/{port.interface}/disable_ipv6": "1"})
    loader = engine.Loader(None, tcx_object=str(program) if program is not None else None)
    made = engine.Settings(inside_ifindex=wire.inside.index(), outside_ifindex=wire.outside.index(), **settings)
    # in there: the map of ports that XDP forwards by takes its interfaces from the namespace of who fills it
    wire.gateway.call(lambda: loader.load(made, engine.Capacity(*ROOM), xdp=xdp))
    tables = engine.Tables(loader.map_fds(), loader.capacity())
    wire.gateway.call(loader.attach)
    try:
        yield BareGateway(loader, tables)
    finally:
        wire.gateway.call(loader.detach)


def base_of(prefixes: Sequence[str]) -> engine.Base:
    """Those prefixes, compiled as any list is."""
    found = engine.parse_prefixes("\n".join(prefixes).encode(), "")
    v4, v6 = np.frombuffer(found.v4, np.uint64), np.frombuffer(found.v6, np.uint64).reshape(-1, 3)
    made = compile_base([ListEntries("test", engine.Reason.MALWARE, v4, v6)])
    return engine.Base(
        v4_cell_numbers=made.v4_cell_numbers.tobytes(),
        v4_cells=made.v4_cells.tobytes(),
        v4_bitmaps=made.v4_bitmaps.tobytes(),
        v6_buckets=made.v6_buckets.tobytes(),
        v6_slots=made.v6_slots.tobytes(),
        v6_lengths=made.v6_lengths,
        v6_seed=made.v6_seed,
    )


def publish(tables: engine.Tables, *prefixes: str) -> int:
    """Fills the idle copy with those prefixes and flips to it; the new epoch."""
    tables.fill(base_of(prefixes))
    return tables.flip()
