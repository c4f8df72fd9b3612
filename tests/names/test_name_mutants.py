"""Break a line of the kernel's reader of names, or of the name step, and something is said or counted otherwise."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hold_step import (
    ACK,
    FAR_NS,
    IN,
    NO_ADDRESSES,
    PASSING,
    REFUSED,
    Gateway,
    answer,
    hello,
    query,
    syn,
    tcp,
    udp,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))

import mutants

from clearway import _engine as engine
from clearway.lab.namespace import End

MUTANTS = mutants.mutants_of(Path(__file__).parent / "mutants-names.patch")
ASKED = MUTANTS if os.environ.get("CLEARWAY_TESTS") == "all" else MUTANTS[::4]
"""Each costs a load of the programs."""
GENERATED = 30_000
LISTS = [
    (0, engine.NameScope.EXACT, False, b"exact.example\n"),
    (1, engine.NameScope.BELOW, False, b"below.example\n"),
]
HOSTS = ["exact.example", "EXACT.Example.", "a.exact.example", "below.example", "a.b.below.example", "clean.example"]


def what_is_said(outside: End, program: str | None) -> list[object]:
    """Everything that a short life shows: answers of the reader, then states, facts and counters."""
    made = Gateway(outside, tcx_object=program)
    built, words = engine.NameSet.build(LISTS, 3, 4)
    made.tables.fill(NO_ADDRESSES, engine.NameFilter(engine.NameSet(built), words))
    made.tables.flip()
    answers, _ = made.loader.check_generated_names(1, GENERATED)
    said: list[object] = [answers]
    for number, host in enumerate(HOSTS):
        ports = (30000 + number, 443)
        made.send(syn(ports=ports), tcp(hello(host), ports=ports), tcp(hello(host), at=518, ports=ports))
        made.send(udp(query(host.rstrip(".")), 53, source_port=ports[0]))
        said.append((made.facts(), made.seen(), len(made.slots()), made.total()))
    return said + _of_holding(outside, program)


def _of_holding(outside: End, program: str | None) -> list[object]:
    said: list[object] = []
    made = Gateway(outside, tcx_object=program)
    made.tables.set_overlay_names([("listed.example", "exact")])
    made.send(syn(), tcp(b"second", at=518), tcp(hello("listed.example")))
    made.send(answer(), direction=IN)
    said.append((made.facts(), made.slot()[:6], made.marks()))
    for released in (1, 2):
        made.set_state(PASSING)
        made.set_slot(16, "=I", released)
        made.send(tcp(b"more", at=900, flags=ACK))
        said.append((made.facts(), made.slot()[:4]))
    made.set_slot(16, "=I", made.slot().held[0])
    made.send(tcp(b"more", at=900))
    made.send(*[syn(), tcp(hello("listed.example"))] * 2)
    made.set_state(1)
    made.send(*[tcp(b"more", at=900)] * 70)
    said.append((made.facts(), made.slot()[:4], made.forwarded()))
    for until_ns in (FAR_NS, 1):
        made.set_state(REFUSED, until_ns)
        made.send(tcp(b"more", at=900))
        said.append((made.dropped("REFUSED_NAME"), made.forwarded()))
    made.tables.set_on_failure("closed")
    made.die()
    made.send(udp(query("listed.example"), 53))
    said.append((made.facts(), made.dropped("NOT_INSPECTED")))
    return said


@pytest.fixture(scope="module")
def expected(outside: End) -> list[object]:
    return what_is_said(outside, None)


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize("mutant", ASKED, ids=lambda mutant: mutant.name)
def test_a_broken_line_shows(mutant: mutants.Mutant, outside: End, expected: list[object], tmp_path: Path) -> None:
    assert what_is_said(outside, str(mutant.build(tmp_path))) != expected


def test_reader_and_step_are_both_broken() -> None:
    assert {mutant.file for mutant in MUTANTS} == {"names.h", "hold.h"}
    assert len({mutant.name for mutant in MUTANTS}) >= 25
