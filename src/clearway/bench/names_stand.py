"""The test stand of names: that of the other figures, with lists of names and the gateway that holds them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count

from clearway.bench import names_hellos as first_bytes
from clearway.bench import names_lists
from clearway.bench.machine import Cpus
from clearway.bench.names_flows import Load, Protocol
from clearway.bench.names_gateway import NamesGateway, compiled
from clearway.bench.names_hellos import HELLO_BYTES, LARGE_HELLO_BYTES
from clearway.bench.names_plan import NamesPlan
from clearway.bench.stand import Stand
from clearway.bench.turns import Progress
from clearway.policy.names import Blob, CompiledNames, StoredNames

EXCEPTED_FIRST = 5_500_000
CLEAN_FIRST = 6_000_000
"""Numbers of names: those of the list begin at 0, those of the list of exceptions and those on no list at these."""
STRIDE = 977
"""Payloads between the beginnings of two turns."""


@dataclass(frozen=True)
class Parsed:
    """Both lists as a feed's file gives them."""

    listed: Blob
    excepted: Blob

    @property
    def bytes_a_name(self) -> float:
        return len(self.listed) / max(1, self.listed.tobytes().count(b"\n")) - 1


class NamesStand(Stand):
    """Use as a context: whatever was built goes at its end."""

    def __init__(self, plan: NamesPlan, cpus: Cpus, progress: Progress) -> None:
        super().__init__(plan, cpus, progress)
        self.names_plan = plan
        self._payloads: dict[str, list[bytes]] = {}
        self._turns = count()

    @cached_property
    def parsed(self) -> Parsed:
        """The listed names, read as a feed's file is."""
        from clearway._engine import NameScope, parse_names

        self.progress.say(f"making a list of {self.names_plan.names:,} names")
        blobs = []
        for first, number in ((0, self.names_plan.names), (EXCEPTED_FIRST, self.names_plan.payloads)):
            lines = parse_names(names_lists.lines(first, number), NameScope.SUBTREE, NameScope.SUBTREE)
            blobs.append(StoredNames.of_lines(lines).subtree)
        return Parsed(*blobs)

    @cached_property
    def compiled(self) -> CompiledNames:
        return compiled(self.parsed.listed, self.parsed.excepted)

    def gateway(self) -> NamesGateway:
        """With the large list of addresses."""
        return self._built("names", lambda: NamesGateway(self.entries("large"), self.compiled, self.green))

    def load(self, what: str) -> Load:
        """First bytes of flows: "hello", "large hello", "excepted hello", "initial", "query". Each call begins with
        others of them. Their names are on no list; excepted ones are on both."""
        protocol, make = _LOADS[what]
        if what not in self._payloads:
            first = EXCEPTED_FIRST if what.startswith("excepted") else CLEAN_FIRST
            self._payloads[what] = make(names_lists.some(first, self.names_plan.payloads))
        return Load(protocol, self._payloads[what], next(self._turns) * STRIDE)


_LOADS: dict[str, tuple[Protocol, Callable[[list[bytes]], list[bytes]]]] = {
    "hello": ("tls", partial(first_bytes.hellos, size=HELLO_BYTES)),
    "large hello": ("tls", partial(first_bytes.hellos, size=LARGE_HELLO_BYTES)),
    "excepted hello": ("tls", partial(first_bytes.hellos, size=HELLO_BYTES)),
    "initial": ("quic", first_bytes.initials),
    "query": ("dns", first_bytes.queries),
}
