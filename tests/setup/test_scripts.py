"""What set-up says when something is missing: the name of it and the command that mends it, and exit code 3.

The scripts run with stand-ins on PATH, so nothing is installed and nothing asked of the network.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from patience import HUNG_S

NEEDED = ("bash", "sed", "cut", "grep", "sort", "head", "id", "env", "dirname")
"""What the scripts themselves are made of."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for PATH in which there is nothing but what a shell script is made of."""
    for name in NEEDED:
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    return tmp_path


def stand_in(path: Path, name: str, script: str) -> None:
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


def run(root: Path, path: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(path / "bash"), str(root / "setup" / script)]
    return subprocess.run(
        command, env={"PATH": str(path), **environment}, capture_output=True, text=True, timeout=HUNG_S
    )


def test_a_missing_rust_is_named_with_the_way_to_it(root: Path, path: Path) -> None:
    done = run(root, path, "toolchain.sh")
    assert done.returncode == 3
    assert "Rust 1.85 or later is needed, and there is no cargo on PATH nor in CARGO_HOME: " in done.stderr
    assert "rustup" in done.stderr or "apt-get install rustc" in done.stderr


@pytest.mark.parametrize("version,code", [("1.84.1", 3), ("1.85.0", 0), ("1.100.0", 0), ("2.0.0", 0)])
def test_a_rust_that_is_too_old_is_named_with_its_version(root: Path, path: Path, version: str, code: int) -> None:
    stand_in(path, "cargo", "exit 0")
    stand_in(path, "rustc", f"echo 'rustc {version} (0000000 2025-01-01)'")
    done = run(root, path, "toolchain.sh")
    assert done.returncode == code
    assert (f"Rust 1.85 or later is needed, this is {version}: rustup update" in done.stderr) == bool(code)


def test_a_toolchain_that_cannot_start_is_told_apart_from_none(root: Path, path: Path) -> None:
    stand_in(path, "cargo", "exit 0")
    stand_in(path, "rustc", "echo 'error: rustup could not choose a version of rustc to run' >&2; exit 1")
    done = run(root, path, "toolchain.sh")
    assert done.returncode == 3
    assert "rustup default stable, or set RUSTUP_HOME" in done.stderr


def test_where_there_is_no_apt_the_missing_packages_are_named(root: Path, path: Path) -> None:
    done = run(root, path, "packages.sh")
    assert done.returncode == 3
    for package in ("python3-venv", "pkg-config", "iputils-ping", "iperf3", "clang: 16 or later"):
        assert package in done.stderr


def test_a_user_without_sudo_is_told_to_be_root(root: Path, path: Path) -> None:
    stand_in(path, "apt-get", "exit 0")
    (path / "id").unlink()
    stand_in(path, "id", "echo 1000")
    done = run(root, path, "packages.sh")
    assert done.returncode == 3
    assert "run as root: make setup" in done.stderr


def test_only_what_is_missing_is_installed_and_clang_19_where_there_is_one(root: Path, path: Path) -> None:
    clients = ("openssl", "dig", "gnutls-cli", "nc", "wget")
    for name in ("python3", "cc", "pkg-config", "ip", "ping", "curl", "nft", "ethtool", *clients):
        stand_in(path, name, "exit 0")
    (path / "id").unlink()
    stand_in(path, "id", "echo 0")
    stand_in(path, "apt-cache", "echo 'Package: clang-19'")
    log = path / "log"
    # "installing" clang makes one that answers like it
    clang = 'echo "#define __clang_major__ 19"'
    stand_in(
        path,
        "apt-get",
        f"echo \"$@\" >>{log}; case \"$*\" in *clang-19*) printf '%s\\n' '#!/bin/sh' '{clang}' >{path}/clang-19; "
        f"/bin/chmod 755 {path}/clang-19;; esac",
    )
    done = run(root, path, "packages.sh")
    assert done.returncode == 0, done.stderr
    asked = log.read_text().splitlines()
    assert asked[0].endswith(" update")
    assert asked[1].endswith(" install --no-install-recommends iperf3 clang-19")
    again = run(root, path, "packages.sh")
    assert (again.returncode, "installing iperf3" in again.stderr) == (0, True)
    assert log.read_text().splitlines()[-1].endswith(" install --no-install-recommends iperf3")


@pytest.mark.parametrize("archive", ["Package: chromium", ""], ids=["in-the-archive", "not-there"])
@pytest.mark.parametrize("ci", ["true", ""], ids=["in-ci", "by-hand"])
def test_a_browser_is_asked_for_in_ci_and_where_the_distribution_has_one(
    root: Path, path: Path, archive: str, ci: str
) -> None:
    stand_in(path, "apt-cache", f"echo '{archive}'")
    done = run(root, path, "packages.sh", CI=ci)
    assert done.returncode == 3
    assert ("chromium" in done.stderr) == bool(ci and archive)


def test_the_lock_file_names_no_index_and_holds_a_hash_for_everything(root: Path) -> None:
    lock = (root / "requirements.lock").read_text()
    assert "://" not in lock
    packages = [line for line in lock.splitlines() if line[:1].isalnum()]
    assert len(packages) > 20
    assert all(line.endswith("\\") for line in packages), "each goes on with its hashes"


def test_the_lock_file_is_what_the_project_asks_for(root: Path, tmp_path: Path) -> None:
    uv = Path(os.environ.get("VIRTUAL_ENV", root / ".venv")) / "bin" / "uv"
    if not uv.exists():
        pytest.skip("no uv in .venv: `make setup` puts it there")
    again = tmp_path / "requirements.lock"
    shutil.copy(root / "requirements.lock", again)  # what is locked stays unless the project rules it out
    command = [str(uv), "pip", "compile", "--quiet", "--offline", "--universal", "--generate-hashes", "--no-header"]
    command += ["--no-emit-index-url", "--group", "dev", "--all-extras", "--output-file", str(again), "pyproject.toml"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=HUNG_S)
    if done.returncode != 0:
        pytest.skip("the cache lacks what the resolver asks for, and the index is not asked here")
    assert what_is_installed(again) == what_is_installed(root / "requirements.lock"), "run: make lock"


def what_is_installed(lock: Path) -> list[str]:
    """Versions, markers and hashes; who asked for each is a comment, and differs from one version of uv to another."""
    return [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
