"""What this kernel can do for a gateway, asked once (`probe`) and judged apart from it (`judge`).

`judge` is pure: it reads a recorded answer as well as a live one, so an old kernel is tested without owning one.
`clearway run` refuses to start on what is CANNOT here; `clearway doctor` prints all of it beside its own checks.
Nothing in this file changes the machine.
"""

import ctypes
import errno
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from clearway.errors import ClearwayError

TCX_KERNEL = (6, 6)
MAY_GOTO_KERNEL = (6, 9)  # loops of unknown length in BPF; what reads names needs it, addresses do not
# What a gateway without a list takes: 102 MB of maps, 67 of them room for a list to come (memory_bytes of `status
# --json`), and its processes; once it was on the wire, about 240 MB less were available. A million prefixes take 177 MB
# more (docs/figures-lists.md).
MEMORY_BYTES_LEAST = 256 << 20
# load and attach; mount a bpffs that outlives the process; give the rights away afterwards
CAPABILITIES_NEEDED = ("bpf", "net_admin", "perfmon", "setgid", "setuid", "sys_admin")

# linux/capability.h, by number; a later kernel's new ones are of no use here
CAPABILITY_NAMES = (  # noqa: SIM905
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
).split()


class Level(StrEnum):
    """How much a finding matters: only CANNOT keeps a gateway from running."""

    OK = "ok"
    NOTE = "note"  # true, and nothing needs to be done now
    MEND = "mend"  # runs, but worse or less safely than it could
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, what was found, and the command or sentence that mends it ("" when fine)."""

    name: str
    level: Level
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class KernelAnswer:
    """What `probe` saw. Plain values only, so that it can be written to a file and judged elsewhere."""

    release: str  # uname -r
    machine: str  # uname -m
    distribution: str = ""  # ID of os-release
    distribution_version: str = ""  # VERSION_ID of os-release
    tcx: bool | None = None  # None: the kernel would not be asked by this user
    membarrier: bool | None = None  # a grace period can be waited for; None: not asked on this kind of machine
    btf: bool = False
    bpffs: str = "absent"  # "mounted" at /sys/fs/bpf, "mountable", "absent" from the kernel
    jit: int | None = None  # net.core.bpf_jit_enable; None: no such setting, or not readable
    unprivileged_bpf_disabled: int | None = None
    uid: int = 0
    capabilities: tuple[str, ...] = field(default=())  # effective ones, by name without CAP_, sorted
    memory_bytes_available: int = 0

    def record(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "KernelAnswer":
        """The inverse of `record`. Raises ValueError on a field that is not known, KeyError never."""
        unknown = set(record) - {f.name for f in fields(cls)}
        if unknown or "release" not in record or "machine" not in record:
            raise ValueError(f"not a kernel answer: {', '.join(sorted(unknown)) or 'release and machine are missing'}")
        return cls(**{**record, "capabilities": tuple(record.get("capabilities", ()))})

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor of the release; (0, 0) where it does not begin with them."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else (0, 0)


def judge(answer: KernelAnswer) -> list[Check]:
    """Every finding about a kernel, in the order in which one would mend them."""
    return [
        _judge_tcx(answer),
        _judge_may_goto(answer),
        _judge_grace(answer),
        _judge_btf(answer),
        _judge_rights(answer),
        _judge_bpffs(answer),
        _judge_jit(answer),
        _judge_unprivileged(answer),
        _judge_memory(answer),
    ]


def refuse_unless_able(answer: KernelAnswer) -> None:
    """Raises ClearwayError setup.E001 with the first finding that keeps a gateway from running here."""
    for check in judge(answer):
        if check.level is Level.CANNOT:
            raise ClearwayError.of("setup.E001", name=check.name, found=check.found, mend=check.mend)


def newer_kernel(answer: KernelAnswer) -> str:
    """The command that brings a kernel with TCX to this distribution."""
    package_machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(answer.machine, answer.machine)
    if (answer.distribution, answer.distribution_version) == ("debian", "12"):
        return (
            f"apt-get install -t bookworm-backports linux-image-{package_machine}, then reboot "
            "(add the suite bookworm-backports to the apt sources first)"
        )
    if answer.distribution == "ubuntu" and answer.distribution_version in ("22.04", "24.04"):
        return f"apt-get install linux-generic-hwe-{answer.distribution_version}, then reboot"
    if answer.distribution in ("debian", "ubuntu"):
        return "upgrade to Debian 13 or Ubuntu 24.04, or install a kernel of 6.6 or later, then reboot"
    return "install your distribution's kernel of version 6.6 or later, then reboot"


def _judge_tcx(answer: KernelAnswer) -> Check:
    name = "kernel, TCX"
    if answer.tcx or (answer.tcx is None and answer.version >= TCX_KERNEL):
        seen = "" if answer.tcx else " (by its version: this user may not ask the kernel itself)"
        return Check(name, Level.OK, answer.release + seen)
    if answer.version >= TCX_KERNEL:
        found = f"{answer.release}, built without TCX"
        return Check(name, Level.CANNOT, found, "boot a kernel with CONFIG_NET_XGRESS and CONFIG_BPF_SYSCALL")
    return Check(name, Level.CANNOT, f"{answer.release}; TCX came with 6.6", newer_kernel(answer))


def _judge_may_goto(answer: KernelAnswer) -> Check:
    name = "kernel, may_goto"
    if answer.version >= MAY_GOTO_KERNEL:
        return Check(name, Level.OK, "names are read in the kernel")
    found = f"{answer.release}; came with 6.9. Names are held for the inspector instead of read in the kernel"
    return Check(name, Level.NOTE, found, newer_kernel(answer))


def _judge_grace(answer: KernelAnswer) -> Check:
    name = "kernel, grace period"
    if answer.membarrier is None:
        return Check(name, Level.NOTE, "membarrier() is not asked on this kind of machine")
    if answer.membarrier:
        return Check(name, Level.OK, "membarrier()")
    mend = (
        "take nohz_full= off the kernel's command line, then reboot; where it is not in /proc/cmdline, boot a kernel "
        "with CONFIG_MEMBARRIER"
    )
    return Check(name, Level.CANNOT, "membarrier() waits for no other CPU here, so no list can be replaced", mend)


def _judge_btf(answer: KernelAnswer) -> Check:
    if answer.btf:
        return Check("kernel types (BTF)", Level.OK, "/sys/kernel/btf/vmlinux")
    mend = (
        "mount -t sysfs sysfs /sys; still absent: boot your distribution's own kernel, built with CONFIG_DEBUG_INFO_BTF"
    )
    return Check("kernel types (BTF)", Level.CANNOT, "/sys/kernel/btf/vmlinux is absent", mend)


def _judge_rights(answer: KernelAnswer) -> Check:
    missing = [name for name in CAPABILITIES_NEEDED if name not in answer.capabilities]
    if not missing:
        return Check("rights", Level.OK, f"user {answer.uid} with {', '.join(CAPABILITIES_NEEDED)}")
    if answer.uid != 0:
        return Check("rights", Level.CANNOT, f"user {answer.uid} is not root", "run it with sudo")
    mend = "run it outside the container, or give the container these capabilities (--privileged has them all)"
    return Check("rights", Level.CANNOT, f"root without {', '.join(missing)}", mend)


def _judge_bpffs(answer: KernelAnswer) -> Check:
    if answer.bpffs == "mounted":
        return Check("bpffs", Level.OK, "/sys/fs/bpf")
    if answer.bpffs == "mountable":
        return Check("bpffs", Level.OK, "not mounted at /sys/fs/bpf; the gateway mounts it")
    return Check("bpffs", Level.CANNOT, "this kernel has none", "boot a kernel with CONFIG_BPF_SYSCALL=y")


def _judge_jit(answer: KernelAnswer) -> Check:
    if answer.jit is None:
        return Check("BPF compiler (JIT)", Level.NOTE, "net.core.bpf_jit_enable cannot be read")
    if answer.jit == 0:
        mend = "sysctl -w net.core.bpf_jit_enable=1"
        return Check("BPF compiler (JIT)", Level.MEND, "off: programs are interpreted, slowly", mend)
    return Check("BPF compiler (JIT)", Level.OK, "on")


def _judge_unprivileged(answer: KernelAnswer) -> Check:
    name = "BPF for users"
    if answer.unprivileged_bpf_disabled is None:
        return Check(name, Level.NOTE, "kernel.unprivileged_bpf_disabled cannot be read")
    if answer.unprivileged_bpf_disabled == 0:
        mend = "sysctl -w kernel.unprivileged_bpf_disabled=2"
        return Check(name, Level.MEND, "any user may load programs into this kernel", mend)
    return Check(name, Level.OK, "needs rights")


def _judge_memory(answer: KernelAnswer) -> Check:
    found = f"{answer.memory_bytes_available >> 20} MiB available"
    if answer.memory_bytes_available >= MEMORY_BYTES_LEAST:
        return Check("memory", Level.OK, found)
    least = f"{MEMORY_BYTES_LEAST >> 20} MiB"
    return Check("memory", Level.CANNOT, found, f"free memory until {least} are available: the tables need it")


# Asking the live kernel. Each question has its own function, so that one unreadable file spoils one answer.


def probe(proc: Path = Path("/proc"), sys: Path = Path("/sys"), etc: Path = Path("/etc")) -> KernelAnswer:
    """Asks the running kernel. The three roots can be folders of recorded files, for tests."""
    names = _os_release(etc / "os-release")
    uname = platform.uname()
    return KernelAnswer(
        release=uname.release,
        machine=uname.machine,
        distribution=names.get("ID", ""),
        distribution_version=names.get("VERSION_ID", ""),
        tcx=_ask_tcx(uname.machine),
        membarrier=_ask_membarrier(uname.machine),
        btf=(sys / "kernel/btf/vmlinux").exists(),
        bpffs=_bpffs(proc),
        jit=_number(proc / "sys/net/core/bpf_jit_enable"),
        unprivileged_bpf_disabled=_number(proc / "sys/kernel/unprivileged_bpf_disabled"),
        uid=os.geteuid(),
        capabilities=_capabilities(_text(proc / "self/status")),
        memory_bytes_available=_memory_bytes_available(_text(proc / "meminfo")),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _os_release(path: Path) -> dict[str, str]:
    rows = (line.partition("=") for line in _text(path).splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in rows}


def _capabilities(status: str) -> tuple[str, ...]:
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    bits = int(match[1], 16) if match else 0
    return tuple(sorted(name for bit, name in enumerate(CAPABILITY_NAMES) if bits >> bit & 1))


def _memory_bytes_available(meminfo: str) -> int:
    match = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _bpffs(proc: Path) -> str:
    # What counts is the mount namespace of PID 1: that is where a gateway pins. `ip netns exec` hides it from the
    # caller's own namespace by a fresh /sys.
    mounts = _text(proc / "1/mounts") or _text(proc / "self/mounts")
    if any(line.split()[1:3] == ["/sys/fs/bpf", "bpf"] for line in mounts.splitlines()):
        return "mounted"
    known = {line.split()[-1] for line in _text(proc / "filesystems").splitlines() if line.split()}
    return "mountable" if "bpf" in known else "absent"


_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_BPF_PROG_QUERY = 16
_BPF_TCX_INGRESS = 46
_LOOPBACK_IFINDEX = 1


def _ask_tcx(machine: str) -> bool | None:
    """Which programs hang on loopback's TCX hook? A kernel without the hook refuses the question itself (EINVAL)."""
    number = _BPF_SYSCALL.get(machine)
    if number is None:
        return None
    attributes = (ctypes.c_uint32 * 16)(_LOOPBACK_IFINDEX, _BPF_TCX_INGRESS)  # union bpf_attr.query, the rest 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    answer = libc.syscall(
        ctypes.c_long(number), ctypes.c_long(_BPF_PROG_QUERY), attributes, ctypes.c_long(ctypes.sizeof(attributes))
    )
    if answer == 0:
        return True
    return False if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS) else None


_MEMBARRIER_SYSCALL = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_MEMBARRIER_CMD_QUERY, _MEMBARRIER_CMD_GLOBAL = 0, 1


def _ask_membarrier(machine: str) -> bool | None:
    """Has membarrier() the command that waits for all CPUs? With nohz_full= the kernel leaves it out (EINVAL)."""
    number = _MEMBARRIER_SYSCALL.get(machine)
    if number is None:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    commands = libc.syscall(
        ctypes.c_long(number), ctypes.c_long(_MEMBARRIER_CMD_QUERY), ctypes.c_long(0), ctypes.c_long(0)
    )
    return commands >= 0 and bool(commands & _MEMBARRIER_CMD_GLOBAL)
