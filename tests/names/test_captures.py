"""Names in captures of other projects, against answers by another reader (tshark; see their README).

Every name that an inspector in the path of ordinary traffic has to find is found, and none that is not there. Where the
two readers differ, a row here says who is right; a difference without a row fails.
"""

from __future__ import annotations

from typing import Any

import capture_files
import pytest
from capture_files import SHARED, Name, expected, names, shared_files

from clearway._engine import ABSENCES

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data/captures beside the checkout")

FOUND_BY_US_ALONE: dict[tuple[str, Name], str] = {}
"""(file, name) that the answers lack, and why it is there all the same."""

LINK_LOCAL_PORTS = {5353, 5355}
"""Multicast DNS and its like stay within their link: no gateway sees them, so they are not read."""
LEFT_OUT = {
    frozenset({"other-port"}): "DNS is read at port 53; elsewhere a query looks like much else",
    frozenset({"opcode"}): "UPDATE and NOTIFY name a zone, they ask for nothing",
    frozenset({"tunnel"}): "what lies in a tunnel is not opened",
    frozenset({"upgrade"}): "STARTTLS, or TLS within CONNECT: what a flow begins with decides how it is read",
    frozenset({"connect", "odd"}): "bytes that no host name has are a fact of their own",
    frozenset({"odd"}): "likewise",
    frozenset({"literal"}): "an address is no name",
    frozenset({"gquic"}): "Google QUIC went out of use in 2023",
    frozenset({"quic-draft-28"}): "drafts of QUIC likewise",
}
"""Tags of names that tshark finds and we do not; tshark is right each time, and none is needed."""


@pytest.mark.parametrize("file", shared_files())
def test_every_needed_name_is_found_and_none_that_is_not_there(file: str) -> None:
    answers = expected()[file]
    found = names(SHARED / file)
    missing = {name: line for name, line in answers.items() if line["must"] and name not in found}
    assert not missing
    unexplained = [name for name in found if name not in answers and (file, name) not in FOUND_BY_US_ALONE]
    assert not unexplained
    late = {
        name: (found[name]["frame"], line["frame"])
        for name, line in answers.items()
        if name in found and found[name]["frame"] > line["frame"]
    }
    assert not late, "told later than the frame with which the name is complete"


def _optional_unfound() -> list[dict[str, Any]]:
    return [
        line
        for file, answers in expected().items()
        for found in [names(SHARED / file)]
        for name, line in answers.items()
        if name not in found
    ]


def test_each_name_that_another_reader_finds_alone_has_a_reason() -> None:
    unexplained = [
        line
        for line in _optional_unfound()
        if line["dport"] not in LINK_LOCAL_PORTS and not any(tags <= set(line["tags"]) for tags in LEFT_OUT)
    ]
    assert not unexplained


def test_each_row_of_the_table_of_differences_is_used() -> None:
    unfound = _optional_unfound()
    unused = [set(tags) for tags in LEFT_OUT if not any(tags <= set(line["tags"]) for line in unfound)]
    assert not unused


@pytest.mark.parametrize("file", shared_files())
def test_a_flow_without_a_name_says_why_in_a_word_of_the_closed_list(file: str) -> None:
    for line in capture_files.lines(SHARED / file):
        assert line["proto"] in ("tls", "quic", "http", "dns", "other")
        assert line["frame"] >= 1
        assert ("name" in line) != ("none" in line)
        assert line.get("none", ABSENCES[0]) in ABSENCES
