"""Doctor's judgement over recorded answers: which finding, how grave, and the command that mends it.

machines/debian-*.json were recorded by `doctor --json` in virtual machines booted with those kernels; "membarrier" was
written in later. ubuntu-24.04.json is debian-13.json with the release, distribution and Python of Ubuntu 24.04.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clearway import doctor
from clearway.errors import ClearwayError
from clearway.gateway.kernel_probe import Check, KernelAnswer, Level, judge, probe, refuse_unless_able

MACHINES = Path(__file__).parent / "machines"


def recorded(name: str) -> doctor.MachineAnswer:
    return doctor.read_answer(MACHINES / f"{name}.json")


def finding(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


ABLE = recorded("debian-13").kernel
"""A kernel on which everything is well; each test spoils one thing."""


@pytest.mark.parametrize("name", ["debian-13", "debian-12-backports", "ubuntu-24.04"])
def test_a_supported_system_can_run_a_gateway(name: str) -> None:
    checks = doctor.diagnose(recorded(name))
    assert doctor.can_run(checks), [check for check in checks if check.level is Level.CANNOT]


def test_debian_12_with_its_own_kernel_is_told_the_backports_package() -> None:
    check = finding(doctor.diagnose(recorded("debian-12")), "kernel, TCX")
    assert check.level is Level.CANNOT
    assert "6.1." in check.found
    assert "TCX came with 6.6" in check.found
    assert "apt-get install -t bookworm-backports linux-image-amd64" in check.mend
    with pytest.raises(ClearwayError) as refused:
        refuse_unless_able(recorded("debian-12").kernel)
    assert (refused.value.id, refused.value.exit_code) == ("setup.E001", 3)
    assert "bookworm-backports" in refused.value.fix


def test_ubuntu_24_04_lacks_may_goto_only_so_names_are_held_and_it_is_told_its_newer_kernel() -> None:
    checks = doctor.diagnose(recorded("ubuntu-24.04"))
    assert finding(checks, "kernel, TCX").level is Level.OK
    check = finding(checks, "kernel, may_goto")
    assert check.level is Level.NOTE
    assert "6.8." in check.found
    assert "Names are held for the inspector instead of read in the kernel" in check.found
    assert "linux-generic-hwe-24.04" in check.mend


@pytest.mark.parametrize(
    "change,name,level,mend",
    [
        ({"btf": False}, "kernel types (BTF)", Level.CANNOT, "mount -t sysfs"),
        ({"membarrier": False}, "kernel, grace period", Level.CANNOT, "nohz_full="),
        ({"membarrier": None}, "kernel, grace period", Level.NOTE, ""),
        ({"tcx": False}, "kernel, TCX", Level.CANNOT, "CONFIG_NET_XGRESS"),
        ({"uid": 1000, "capabilities": ()}, "rights", Level.CANNOT, "sudo"),
        ({"capabilities": ("net_admin",)}, "rights", Level.CANNOT, "container"),
        ({"bpffs": "absent"}, "bpffs", Level.CANNOT, "CONFIG_BPF_SYSCALL"),
        ({"jit": 0}, "BPF compiler (JIT)", Level.MEND, "sysctl -w net.core.bpf_jit_enable=1"),
        ({"jit": None}, "BPF compiler (JIT)", Level.NOTE, ""),
        ({"unprivileged_bpf_disabled": 0}, "BPF for users", Level.MEND, "sysctl -w kernel.unprivileged_bpf_disabled=2"),
        ({"memory_bytes_available": 100 << 20}, "memory", Level.CANNOT, "256 MiB"),
        ({"tcx": None, "release": "6.5.13"}, "kernel, TCX", Level.CANNOT, ""),
        ({"tcx": None, "release": "6.6.0"}, "kernel, TCX", Level.OK, ""),
        ({"tcx": True, "release": "5.14.0-570.el9"}, "kernel, TCX", Level.OK, ""),
        ({"release": "strange"}, "kernel, may_goto", Level.NOTE, ""),
    ],
)
def test_one_thing_spoilt_is_one_finding_with_its_way_out(
    change: dict[str, object], name: str, level: Level, mend: str
) -> None:
    checks = judge(replace(ABLE, **change))  # type: ignore[arg-type]
    check = finding(checks, name)
    assert check.level is level
    assert mend in check.mend
    touched = {name, "kernel, may_goto"} if "release" in change else {name}
    assert all(other.level is Level.OK for other in checks if other.name not in touched)


@pytest.mark.parametrize(
    "distribution,version,mend",
    [
        ("debian", "12", "bookworm-backports linux-image-arm64"),
        ("ubuntu", "22.04", "linux-generic-hwe-22.04"),
        ("debian", "11", "Debian 13"),
        ("fedora", "38", "version 6.6 or later"),
    ],
)
def test_the_way_to_a_newer_kernel_is_the_distributions_own(distribution: str, version: str, mend: str) -> None:
    answer = KernelAnswer("5.10.0", "aarch64", distribution, version)
    assert mend in finding(judge(answer), "kernel, TCX").mend


def test_from_linux_6_9_on_names_are_read_in_the_kernel() -> None:
    for release, read in [("6.8.12-generic", False), ("6.9.0", True), ("6.12.57+deb13-amd64", True), ("7.0.0", True)]:
        check = finding(judge(replace(ABLE, release=release)), "kernel, may_goto")
        assert (check.level is Level.OK) is read
        assert (check.found == "names are read in the kernel") is read


def test_every_finding_that_is_not_well_says_what_to_do() -> None:
    nothing = doctor.MachineAnswer(KernelAnswer("4.19.0", "x86_64"), "3.9.2", from_source=True, state_writable=False)
    checks = doctor.diagnose(nothing)
    assert not doctor.can_run(checks)
    unreadable = {"BPF compiler (JIT)", "BPF for users", "kernel, grace period"}  # nothing is known to be wrong
    assert [c.name for c in checks if c.level is not Level.OK and not c.mend and c.name not in unreadable] == []


def test_a_python_too_old_an_extension_that_fails_and_a_full_disk_are_named() -> None:
    well = recorded("debian-13")
    spoilt = replace(well, python="3.10.2", engine="", engine_error="libelf.so.1: not found", state_bytes_free=1 << 20)
    checks = doctor.diagnose(spoilt)
    assert finding(checks, "Python").level is Level.CANNOT
    assert "libelf.so.1" in finding(checks, "BPF objects").found
    assert finding(checks, "BPF objects").mend == "apt-get install libelf1"
    assert "df -h" in finding(checks, "state directory").mend


def test_clang_matters_only_where_clearway_is_built() -> None:
    wheel = replace(recorded("debian-13"), from_source=False, clang="")
    assert "clang (to build)" not in {check.name for check in doctor.diagnose(wheel)}
    source = replace(wheel, from_source=True)
    assert "clang-19" in finding(doctor.diagnose(source), "clang (to build)").mend
    assert finding(doctor.diagnose(replace(source, clang="14.0.6")), "clang (to build)").level is Level.MEND


def test_an_answer_survives_being_written_down(tmp_path: Path) -> None:
    answer = doctor.examine(Path("/var/lib/clearway"))
    (tmp_path / "answer.json").write_text(json.dumps(doctor.document(answer)))
    assert doctor.read_answer(tmp_path / "answer.json") == answer
    assert KernelAnswer.from_record(json.loads(json.dumps(answer.kernel.record()))) == answer.kernel


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"answer": {}}', '{"answer": {"kernel": {"colour": 1}}}', None])
def test_what_is_no_answer_is_refused_by_the_files_name(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "answer.json").write_text(text)
    with pytest.raises(ClearwayError, match=r"answer\.json") as refused:
        doctor.read_answer(tmp_path / "answer.json")
    assert refused.value.id == "setup.E002"


def test_the_probe_asks_where_it_is_told_to(tmp_path: Path) -> None:
    files = {
        "proc/self/status": "CapEff:\t0000008000001000\n",
        "proc/1/mounts": "bpf /sys/fs/bpf bpf rw 0 0\n",
        "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB\n",
        "proc/sys/net/core/bpf_jit_enable": "1\n",
        "proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
        "etc/os-release": 'ID=debian\nVERSION_ID="13"\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    answer = probe(tmp_path / "proc", tmp_path / "sys", tmp_path / "etc")
    assert answer.capabilities == ("bpf", "net_admin")
    assert (answer.bpffs, answer.jit, answer.unprivileged_bpf_disabled) == ("mounted", 1, 2)
    assert (answer.distribution, answer.distribution_version) == ("debian", "13")
    assert (answer.memory_bytes_available, answer.btf) == (2 << 20, False)


def test_a_machine_without_proc_gives_an_answer_all_the_same(tmp_path: Path) -> None:
    answer = probe(tmp_path, tmp_path, tmp_path)
    assert (answer.bpffs, answer.jit, answer.capabilities, answer.memory_bytes_available) == ("absent", None, (), 0)
