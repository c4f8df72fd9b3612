"""Programs with a few lines of the data plane changed: what the oracle must find.

Read from mutants-*.patch: a name behind ==, a file behind @@, then lines as in a patch (context, - old, + new). The old
lines must stand in the file exactly once; when the code moves, so must they.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from patience import HUNG_S

BPF = Path(__file__).resolve().parents[2] / "bpf"
CLANGS = ("clang-19", "clang-18", "clang-17", "clang-16", "clang")


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `file`, the lines `old` become `new`."""

    name: str
    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The file with the change; AssertionError when the lines are not there exactly once."""
        assert f"\n{text}".count(f"\n{self.old}") == 1, f"{self.name}: not once in {self.file}:\n{self.old}"
        return f"\n{text}".replace(f"\n{self.old}", f"\n{self.new}").removeprefix("\n")

    def build(self, directory: Path) -> Path:
        """The object of the TCX program with this change."""
        copy = directory / "bpf"
        shutil.copytree(BPF, copy)
        changed = self.apply((copy / self.file).read_text())
        (copy / self.file).write_text(changed)
        made = directory / "tcx.bpf.o"
        clang = next(name for name in CLANGS if shutil.which(name))
        headers = [f"/usr/include/{platform.machine()}-linux-gnu", *(str(path) for path in _libbpf_headers())]
        flags = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", *(f"-isystem{path}" for path in headers)]
        subprocess.run([clang, *flags, "-c", copy / "tcx.bpf.c", "-o", made], check=True, timeout=HUNG_S)
        return made


def _libbpf_headers() -> list[Path]:
    """Those that the extension was built with, where the system has none."""
    return sorted(BPF.parent.glob("target/release/build/libbpf-sys-*/out/include"))[:1]


def mutants(kind: str) -> list[Mutant]:
    """Those of mutants-KIND.patch."""
    return mutants_of(Path(__file__).parent / f"mutants-{kind}.patch")


def mutants_of(file: Path) -> list[Mutant]:
    """Those of a file in that form."""
    return [_mutant(part) for part in file.read_text().split("\n== ")[1:]]


def _mutant(text: str) -> Mutant:
    name, file, *lines = text.rstrip("\n").split("\n")
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] in " -" and line)
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] in " +" and line)
    return Mutant(name, file.removeprefix("@@ "), old, new)
