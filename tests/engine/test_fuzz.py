"""A short run of fuzzing holds: each target builds with coverage, reads its seeds and cases, and goes on from them.

The long run is `make fuzz`. What was found before is asked again by `cargo test` too, without instrumentation. Building
takes about 50 s of one core, once; the run itself 40 s.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SECONDS = 1
"""For each target; starting and ending takes it another one."""
TIMEOUT_S = 1200
"""Build included, on a machine that does much else."""

ROW = re.compile(r"^(\w+) +(\d+) +\d+ +(\d+) +(\d+)$", re.MULTILINE)
"""Target, runs, runs a second, coverage, crashes."""


def fuzz(root: Path, *targets: str, seconds: int = SECONDS) -> subprocess.CompletedProcess[str]:
    """By itself: neither what `make fuzz` has built nor its corpora, which another user may own and which take long to
    read. Nice: tests that measure time run beside it."""
    command = ["nice", str(root / "engine/fuzz/run.sh"), *targets]
    target = str(root / "target/fuzz-short")
    environment = os.environ | {"FUZZ_SECONDS": str(seconds), "CARGO_TARGET_DIR": target}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[int, int, int]]:
    """Runs, coverage and crashes of each target."""
    return {
        name: (int(runs), int(coverage), int(crashes)) for name, runs, coverage, crashes in ROW.findall(done.stdout)
    }


def goes_not_far(root: Path, rows: dict[str, tuple[int, int, int]], name: str) -> bool:
    seeds = len(list((root / "engine/fuzz/seeds" / name).iterdir()))
    return rows[name][0] <= 10 * seeds


def kept(root: Path) -> set[Path]:
    """What the checkout holds for fuzzing."""
    return {path for folder in ("seeds", "cases") for path in (root / "engine/fuzz" / folder).rglob("*")}


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "c++")) is None, reason="libFuzzer takes a C++ compiler: g++")
@pytest.mark.skipif(shutil.which("cargo") is None, reason="targets are built here, and cargo is not on PATH")
def test_no_target_crashes_in_seconds(root: Path) -> None:
    before = kept(root)
    done = fuzz(root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kept(root) == before, "what is found goes into target/ alone"
    rows = rows_of(done)
    if few := [name for name in rows if goes_not_far(root, rows, name)]:  # a machine that does much else
        rows |= rows_of(fuzz(root, *few, seconds=20 * SECONDS))
    assert rows.keys() == {path.stem for path in (root / "engine/fuzz/fuzz_targets").glob("*.rs")}
    for name, (_, coverage, crashes) in rows.items():
        assert not goes_not_far(root, rows, name), f"{name} got not far beyond its seeds"
        assert coverage > 50, f"{name} runs without instrumentation"
        assert crashes == 0


def test_without_a_compiler_for_libfuzzer_the_way_to_one_is_named(root: Path) -> None:
    done = subprocess.run(
        [str(root / "engine/fuzz/run.sh")], env=os.environ | {"CXX": "no-such-compiler"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "fuzz: libFuzzer is C++, and there is no no-such-compiler: apt-get install g++\n"
