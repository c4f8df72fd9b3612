"""Whatever arrives, both programs answer: no crash, every drop with a reason, every packet counted once.

The corpus says what each edge must become (make_corpus.py); captures and random bytes only have to hold the invariants.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from captures import frames_of
from make_corpus import CORPUS, SECTIONS, text

from clearway import _engine as engine

RANDOM_FRAMES = 20_000
FRAME_BYTES_MIN = 14
# BPF_PROG_TEST_RUN makes no skb of fewer bytes (EINVAL); on a wire there are such (test_crossing.py sends them all)
SKB_BYTES_MIN = {b"\x08\x00": 34, b"\x86\xdd": 54}
FRAME_BYTES_MAX = 1514
DROPPED = {"tcx": 2, "xdp": 1}
DIRECTIONS = bytes(engine.Direction(d) for d in engine.Direction)

pytestmark = pytest.mark.kernel


def corpus() -> list[dict[str, Any]]:
    return [json.loads(line) for section in SECTIONS for line in (CORPUS / f"{section}.jsonl").open()]


def word(member: Any) -> str:
    return str(member.name.lower().replace("_", "-"))


@pytest.fixture(scope="module")
def loader() -> Iterator[engine.Loader]:
    """Both programs with empty tables, on no port."""
    loaded = engine.Loader(None)
    loaded.load(engine.Settings(inside_ifindex=1, outside_ifindex=1), engine.Capacity(1, 1, 1), xdp=True)
    engine.Tables(loaded.map_fds(), loaded.capacity()).set_probe_nonce(0x5EED)
    yield loaded
    loaded.close_programs()


@pytest.fixture
def tables(loader: engine.Loader) -> engine.Tables:
    return engine.Tables(loader.map_fds(), loader.capacity())


def can_run(hook: str, frame: bytes) -> bool:
    return hook == "xdp" or len(frame) >= SKB_BYTES_MIN.get(frame[12:14], FRAME_BYTES_MIN)


def answers(loader: engine.Loader, hook: str, frames: list[bytes]) -> list[engine.ProbeOutcome]:
    """Outcomes of each frame that can be run, in each direction, checked for what holds of any frame."""
    frames = [frame for frame in frames if can_run(hook, frame)]
    directions = DIRECTIONS * len(frames)
    outcomes = loader.probe_many(hook, directions, [frame for frame in frames for _ in DIRECTIONS])
    assert len(outcomes) == len(directions)
    for outcome in outcomes:
        dropped = outcome.verdict == engine.Verdict.DROP
        assert dropped == (outcome.drop_reason != engine.DropReason.FORWARDED)
        assert dropped == (outcome.action == DROPPED[hook])
    return outcomes


def mutated(chance: random.Random, frames: list[bytes]) -> bytes:
    """A frame of random bytes, or one of the corpus with octets changed, cut or lengthened."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.randint(FRAME_BYTES_MIN, 200))
    frame = bytearray(chance.choice(frames))
    for _ in range(chance.randint(1, 6)):
        frame[chance.randrange(12, max(13, min(len(frame), 120)))] = chance.choice(
            (0, 1, 4, 0x45, 0x60, 0xFF, chance.randrange(256))
        )
    if chance.random() < 0.3:
        del frame[chance.randint(FRAME_BYTES_MIN, len(frame)) :]
    if chance.random() < 0.2:
        frame += chance.randbytes(chance.randint(1, 60))
    return bytes(frame)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_corpus_is_what_its_script_makes(section: str) -> None:
    assert (CORPUS / f"{section}.jsonl").read_text() == text(section), "run: python tests/wire/make_corpus.py"


def test_each_case_has_a_name_of_its_own() -> None:
    names = [case["name"] for case in corpus()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("hook", DROPPED)
@pytest.mark.parametrize("case", corpus(), ids=lambda case: case["name"])
def test_each_case_of_the_corpus_becomes_what_its_sentence_says(
    loader: engine.Loader, hook: str, case: dict[str, Any]
) -> None:
    for outcome in answers(loader, hook, [bytes.fromhex(case["frame"])]):
        assert word(outcome.drop_reason) == case["reason"], case["sentence"]
        assert sorted({word(fact) for fact in outcome.facts} - {"probe"}) == case["facts"], case["sentence"]


@pytest.mark.parametrize("hook", DROPPED)
def test_random_bytes_are_answered(loader: engine.Loader, hook: str) -> None:
    chance = random.Random(20261124)
    known = [bytes.fromhex(case["frame"]) for case in corpus()]
    frames = [mutated(chance, known) for _ in range(RANDOM_FRAMES)]
    reasons = {word(outcome.drop_reason) for outcome in answers(loader, hook, frames)}
    assert len(reasons) > 8, "the generator reaches most of the parser"


def test_both_programs_answer_alike(loader: engine.Loader) -> None:
    chance = random.Random(4)
    known = [bytes.fromhex(case["frame"]) for case in corpus()]
    frames = known + [mutated(chance, known) for _ in range(RANDOM_FRAMES // 4)]
    frames = [frame for frame in frames if can_run("tcx", frame)]
    for tcx, xdp in zip(answers(loader, "tcx", frames), answers(loader, "xdp", frames), strict=True):
        assert (tcx.verdict, tcx.drop_reason, tcx.facts) == (xdp.verdict, xdp.drop_reason, xdp.facts)


@pytest.mark.parametrize("hook", DROPPED)
def test_real_captures_are_answered_and_hardly_any_frame_is_malformed(
    loader: engine.Loader, hook: str, shared_data: Path
) -> None:
    frames = [
        frame[:FRAME_BYTES_MAX]
        for path in sorted((shared_data / "captures").glob("*.pcap*"))
        for frame in frames_of(path)
        if FRAME_BYTES_MIN <= len(frame) <= FRAME_BYTES_MAX
    ]
    outcomes = answers(loader, hook, frames)
    dropped = [outcome for outcome in outcomes if outcome.verdict == engine.Verdict.DROP]
    assert len(frames) > 1000
    assert len(dropped) < len(outcomes) / 100, {word(outcome.drop_reason) for outcome in dropped}


@pytest.mark.parametrize("hook", DROPPED)
def test_a_probe_counts_as_a_probe_and_nowhere_else(loader: engine.Loader, tables: engine.Tables, hook: str) -> None:
    """Each frame in both directions moves that one fact, and no counter of packets."""
    frames = [frame for case in corpus() if can_run(hook, frame := bytes.fromhex(case["frame"]))]
    counters, facts = tables.counters(), tables.facts()
    answers(loader, hook, frames)
    before = facts.get(engine.Fact.PROBE, (0, 0))[0]
    assert tables.facts()[engine.Fact.PROBE][0] - before == 2 * len(frames)
    assert tables.counters() == counters
    assert {fact: n for fact, n in tables.facts().items() if fact != engine.Fact.PROBE} == {
        fact: n for fact, n in facts.items() if fact != engine.Fact.PROBE
    }
