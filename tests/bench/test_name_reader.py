"""`clearway bench reader`: what it compares, what it tells, and how it ends."""

from __future__ import annotations

import json

import pytest

from clearway.bench import name_reader
from clearway.cli import bench
from clearway.errors import ClearwayError

CASES = 12_345


@pytest.mark.kernel
def test_the_readers_agree_and_as_many_are_read_as_were_asked_for() -> None:
    told: list[tuple[int, int]] = []
    report = name_reader.run(CASES, "a seed", lambda done, differences: told.append((done, differences)))
    assert (report.cases, report.differences, report.examples) == (CASES, 0, [])
    assert told == [(10_000, 0), (CASES, 0)]
    assert CASES * 0.9 < report.answers.total() <= CASES
    assert set(report.answers) <= set(name_reader.ANSWERS)
    assert name_reader.run(CASES, "a seed").answers == report.answers


class Disagreeing:
    """A loader whose kernel says something else once a batch."""

    def check_generated_names(self, seed: int, count: int) -> tuple[dict[str, int], list[str]]:
        return {"clean": count, "different": 1}, [f"the kernel says other.example: {seed % 256:02x}"]


@pytest.fixture
def disagreeing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_reader, "_loaded", Disagreeing)


@pytest.mark.usefixtures("disagreeing")
def test_a_difference_ends_with_1_and_shows_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.reader(cases=20_000, seed="1", json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["cases"], document["differences"], document["answers"]) == (20_000, 2, {"clean": 20_000})
    assert [example.startswith("the kernel says other.example: ") for example in document["examples"]] == [True] * 2
    assert bench.reader(cases=20_000, seed="1", json=False) == 1
    told = capsys.readouterr().out
    assert document["examples"][0] in told
    assert "2 differences" in told


@pytest.mark.usefixtures("disagreeing")
def test_so_many_examples_are_kept() -> None:
    assert len(name_reader.run(20 * name_reader.CASES_A_BATCH, "1").examples) == name_reader.EXAMPLES_KEPT_MAX


def test_a_kernel_without_a_reader_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Holding:
        def __init__(self, _directory: None) -> None: ...

        def load(self, *_: object, xdp: bool) -> None: ...

        def names_held(self) -> bool:
            return True

    monkeypatch.setattr(name_reader, "Loader", Holding)
    with pytest.raises(ClearwayError) as refused:
        name_reader.run(1, "1")
    assert (refused.value.id, refused.value.exit_code) == ("bench.E005", 3)
