"""One wheel carries everything: it is built here, put into a bare environment, and used without a compiler in reach."""

import json
import os
import pwd
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import HUNG_S

from clearway import doctor
from clearway.gateway.kernel_probe import Level

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COMMANDS = Path(sys.executable).parent
ELF_MACHINE_BPF = 247
LOADS = """
from clearway._engine import Capacity, Loader, Settings
made = Loader(None).load(Settings(inside_ifindex=1, outside_ifindex=1), Capacity(1, 1, 1), xdp=True)
print(len(made))
"""


def as_owner(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command run as the checkout's owner: under sudo, target/ and the caches at home stay the owner's."""
    owner = pwd.getpwuid(root.stat().st_uid)
    other = os.geteuid() == 0 and owner.pw_uid != 0
    return subprocess.run(
        command,
        cwd=root,
        user=owner.pw_uid if other else None,
        group=owner.pw_gid if other else None,
        env={**os.environ, "HOME": owner.pw_dir} if other else None,
        capture_output=True,
        text=True,
        timeout=800,
    )


@pytest.fixture(scope="module")
def folder(root: Path) -> Iterator[Path]:
    """A folder of the checkout's owner, which tmp_path would not be under sudo."""
    with tempfile.TemporaryDirectory(prefix="clearway-wheel-") as name:
        owner = root.stat()
        os.chown(name, owner.st_uid, owner.st_gid)
        yield Path(name)


@pytest.fixture(scope="module")
def wheel(root: Path, folder: Path) -> Path:
    """What `maturin build` makes of this checkout; what is compiled already is not compiled again."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo on PATH: `make test` puts it there")
    out = folder / "wheels"
    built = as_owner(root, f"{COMMANDS}/maturin", "build", "--release", "--locked", "--quiet", "--out", str(out))
    assert built.returncode == 0, built.stderr
    wheels = list(out.iterdir())
    assert len(wheels) == 1
    return wheels[0]


@pytest.fixture(scope="module")
def bare(wheel: Path, root: Path, folder: Path) -> Path:
    """The folder of commands of a new environment that holds the wheel and what it asks for."""
    python = folder / "environment" / "bin" / "python"
    made = as_owner(root, sys.executable, "-m", "venv", "--without-pip", str(python.parents[1]))
    assert made.returncode == 0, made.stderr
    install = [f"{COMMANDS}/uv", "pip", "install", "--quiet", "--python", str(python), str(wheel)]
    install += ["--constraints", str(root / "requirements.lock")]
    # what set-up has left in the cache, else the index
    if as_owner(root, *install, "--offline").returncode != 0 and as_owner(root, *install).returncode != 0:
        pytest.skip("the wheel's dependencies can be had neither from the cache nor from the index")
    return python.parent


def run(bare: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of the bare environment, with nothing else on PATH, away from the checkout."""
    return subprocess.run(
        [bare / command[0], *command[1:]],
        cwd=bare,
        env={"PATH": str(bare)},
        capture_output=True,
        text=True,
        timeout=HUNG_S,
    )


def test_the_wheel_is_for_every_python_from_3_11_on(wheel: Path) -> None:
    assert "-cp311-abi3-linux_" in wheel.name


def test_the_wheel_carries_the_compiled_programs_and_all_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        extension = archive.read("clearway/_engine.abi3.so")
    objects, at = 0, extension.find(b"\x7fELF", 1)
    while at >= 0:
        objects += struct.unpack_from("<H", extension, at + 18)[0] == ELF_MACHINE_BPF
        at = extension.find(b"\x7fELF", at + 1)
    assert objects >= 2, "the TCX and the XDP object"
    for licence in ("LICENSE", "NOTICE", "GPL-2.0-only.txt", "BSD-2-Clause.txt"):
        assert any(name.endswith(f"/{licence}") and "licenses" in name for name in names)
    for data in ("ranges/NOTICE", "ranges/INDEX.tsv", "ranges/cloudflare-v4.txt"):
        assert f"clearway/feeds/bundled/{data}" in names
    assert not [name for name in names if name.endswith((".c", ".rs", ".pyc"))]


def test_doctor_runs_from_the_wheel_without_a_compiler(bare: Path) -> None:
    done = run(bare, "clearway", "doctor", "--json")
    document = json.loads(done.stdout)
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["BPF objects"]["level"] == "ok"
    assert "clang (to build)" not in checks
    assert document["can_run"] == doctor.can_run(doctor.diagnose(doctor.examine(bare)))
    assert done.returncode == (0 if document["can_run"] else 3)


@pytest.mark.kernel
def test_the_wheels_programs_load_without_a_compiler(bare: Path) -> None:
    done = run(bare, "python", "-c", LOADS)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_doctor_ends_with_3_over_the_answer_of_a_kernel_that_is_too_old(bare: Path) -> None:
    answer = str(Path(__file__).parent / "machines" / "debian-12.json")
    table = run(bare, "clearway", "doctor", "--answer", answer)
    assert table.returncode == 3
    assert "bookworm-backports" in table.stdout
    document = json.loads(run(bare, "clearway", "doctor", "--answer", answer, "--json").stdout)
    assert [check["name"] for check in document["checks"] if check["level"] == Level.CANNOT] == ["kernel, TCX"]
