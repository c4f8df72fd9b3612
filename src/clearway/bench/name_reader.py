"""Holds the kernel's reader of names to the inspector's: first packets that nobody sent, read by both.

What the program says of a packet must be what the inspector says of it, or "not here": then the packet is held, and the
inspector's word counts. The packets (TLS hellos, HTTP requests, DNS queries, other beginnings, most of them right, many
broken) follow from the seed alone, so any difference can be run again.

Needs the rights to load programs. Prints nothing.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from clearway._engine import Base, Capacity, Loader, NameFilter, NameScope, NameSet, Settings, Tables
from clearway.errors import ClearwayError

CASES_A_BATCH = 10_000
"""Between two reports of progress: a tenth of a second or so."""
EXAMPLES_KEPT_MAX = 10
ANSWERS = ("clean", "listed", "none", "not-here")
"""Words of enum name_answer, in the order in which they are told."""
_LISTED = b"listed.example\n"
_NO_ADDRESSES = Base(
    v4_cell_numbers=b"", v4_cells=b"", v4_bitmaps=b"", v6_buckets=b"", v6_slots=b"", v6_lengths=b"", v6_seed=0
)
_DIFFERENT = "different"


@dataclass
class ReaderReport:
    """What a run found. 0 differences is the claim."""

    seed: str
    cases: int = 0
    differences: int = 0
    examples: list[str] = field(default_factory=list)
    """The first EXAMPLES_KEPT_MAX: what each said, and the frame's bytes in hexadecimal."""
    answers: Counter[str] = field(default_factory=Counter)
    """Cases by what the program said."""
    seconds: float = 0.0


def run(cases: int, seed: str, progress: Callable[[int, int], None] = lambda done, differences: None) -> ReaderReport:
    """Exactly `cases` of them. `progress` is told cases done and differences so far.

    Raises KernelRefused where programs cannot be loaded, ClearwayError bench.E005 where the kernel has no reader.
    """
    start = time.monotonic()
    loader = _loaded()
    seeds = random.Random(seed)
    report = ReaderReport(seed)
    while report.cases < cases:
        batch = min(CASES_A_BATCH, cases - report.cases)
        answers, examples = loader.check_generated_names(seeds.getrandbits(64), batch)
        report.cases += batch
        report.differences += answers.pop(_DIFFERENT)
        report.answers.update(answers)
        report.examples += examples[: EXAMPLES_KEPT_MAX - len(report.examples)]
        progress(report.cases, report.differences)
    report.seconds = time.monotonic() - start
    return report


def _loaded() -> Loader:
    """Programs on no port, with nothing pinned; one name is listed."""
    loader = Loader(None)
    loader.load(Settings(inside_ifindex=1, outside_ifindex=1), Capacity(1, 2, 1, 1 << 10), xdp=False)
    if loader.names_held():
        raise ClearwayError.of("bench.E005")
    tables = Tables(loader.map_fds(), loader.capacity())
    keys = random.Random(_LISTED)
    built, words = NameSet.build([(0, NameScope.SUBTREE, False, _LISTED)], keys.getrandbits(64), keys.getrandbits(64))
    tables.fill(_NO_ADDRESSES, NameFilter(NameSet(built), words))
    tables.flip(grace=False)  # no packet runs meanwhile
    tables.set_names_active(True)
    return loader
