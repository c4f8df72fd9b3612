"""Lists of names to measure with are what they are said to be."""

import pytest

from clearway._engine import NameScope, parse_names
from clearway.bench import names_lists


def test_a_list_has_exactly_as_many_names_as_were_asked_for() -> None:
    lines = parse_names(names_lists.lines(0, 20_000), NameScope.EXACT, NameScope.EXACT)
    assert lines.entries == 20_000
    assert lines.exact.count(b"\n") == 20_000
    assert lines.malformed == lines.unsupported == 0


def test_names_of_other_numbers_are_other_names_and_lie_below_none() -> None:
    listed = set(names_lists.some(0, 5000))
    for name in names_lists.some(5000, 5000):
        labels = name.split(b".")
        assert not {b".".join(labels[at:]) for at in range(len(labels))} & listed


def test_the_same_seed_gives_the_same_names() -> None:
    assert names_lists.lines(0, 500) == names_lists.lines(0, 500)
    assert names_lists.lines(0, 500, seed=2) != names_lists.lines(0, 500)


def test_names_are_as_long_as_those_of_real_lists() -> None:
    assert 15 * 5000 < sum(map(len, names_lists.some(0, 5000))) < 25 * 5000


def test_there_are_no_more_names_than_numbers() -> None:
    with pytest.raises(ValueError, match="11881376"):
        names_lists.lines(names_lists.NUMBERS, 1)
