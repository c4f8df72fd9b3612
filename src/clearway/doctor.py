"""Can this machine run a gateway, and what mends it where not? Everything that set-up and `clearway doctor` print.

As in gateway/kernel_probe.py, asking and judging are apart: `examine` asks, `diagnose` is pure over its answer, and an
answer written down on one machine can be judged on another (`clearway doctor --answer FILE`).
"""

import importlib
import json
import os
import platform
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clearway.errors import ClearwayError
from clearway.gateway import ethtool, hook, netlink
from clearway.gateway.kernel_probe import Check, KernelAnswer, Level, judge, probe

SERVICE_USER = "clearway"
PYTHON_LEAST = (3, 11)
CLANG_LEAST = 16
# three snapshots and the lists behind them; a list of ten million addresses is 80 MB as an array, and kept twice
STATE_BYTES_FREE_LEAST = 512 << 20
CLANG_NAMES = ("clang-19", "clang", "clang-21", "clang-20", "clang-18", "clang-17", "clang-16")
DEMO_COMMANDS = {"ip": "iproute2", "ping": "iputils-ping", "curl": "curl", "iperf3": "iperf3"}
"""What `clearway demo` starts as its clients, and the package of Debian and Ubuntu that brings each."""


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """One network interface, and the hook that `run --hook auto` would take for two of its kind."""

    name: str
    driver: str  # "" where the interface names none
    physical: bool
    carrier: bool
    mtu: int
    hook: str  # "tcx" or "xdp + tcx"
    why: str


@dataclass(frozen=True, slots=True)
class MachineAnswer:
    """What `examine` saw: plain values only."""

    kernel: KernelAnswer
    python: str  # "3.13.5"
    engine: str = ""  # version of the ABI in the embedded BPF objects; "" when the extension cannot be used
    engine_error: str = ""
    from_source: bool = False  # this Clearway runs out of a checkout, so it is built here
    clang: str = ""  # "19.1.7"; "" when there is none
    service_user: bool = False
    demo_commands_missing: tuple[str, ...] = ()
    ports: tuple[PortAnswer, ...] = ()
    state: str = ""  # the state directory that was asked about
    state_writable: bool = True  # it, or the nearest folder above it that exists
    state_bytes_free: int = 0

    def record(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "MachineAnswer":
        """The inverse of `record`. Raises ValueError, KeyError or TypeError on what `record` did not write."""
        kernel = KernelAnswer.from_record(record["kernel"])
        ports = tuple(PortAnswer(**port) for port in record.get("ports", ()))
        missing = tuple(record.get("demo_commands_missing", ()))
        return cls(**{**record, "kernel": kernel, "ports": ports, "demo_commands_missing": missing})


def diagnose(answer: MachineAnswer) -> list[Check]:
    """Every finding, the kernel's first. A gateway can run where none of them is CANNOT."""
    checks = judge(answer.kernel)
    checks += [_judge_python(answer), _judge_objects(answer)]
    if answer.from_source:
        checks.append(_judge_clang(answer))
    return [*checks, _judge_state(answer), _judge_service_user(answer), _judge_demo(answer), _judge_ports(answer)]


def can_run(checks: list[Check]) -> bool:
    """Nothing found keeps a gateway from running."""
    return all(check.level is not Level.CANNOT for check in checks)


def document(answer: MachineAnswer) -> dict[str, Any]:
    """What `clearway doctor --json` prints; its "answer" can be judged again elsewhere."""
    checks = diagnose(answer)
    return {"can_run": can_run(checks), "checks": [asdict(check) for check in checks], "answer": answer.record()}


def read_answer(path: Path) -> MachineAnswer:
    """The answer inside a file of what `document` made. ClearwayError setup.E002 names the file otherwise."""
    try:
        return MachineAnswer.from_record(json.loads(path.read_text())["answer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClearwayError.of("setup.E002", path=path, detail=str(error) or type(error).__name__) from error


def _judge_python(answer: MachineAnswer) -> Check:
    least = ".".join(map(str, PYTHON_LEAST))
    if tuple(int(part) for part in answer.python.split(".")[:2]) >= PYTHON_LEAST:
        return Check("Python", Level.OK, answer.python)
    return Check("Python", Level.CANNOT, answer.python, f"install Python {least} or later: apt-get install python3")


def _judge_objects(answer: MachineAnswer) -> Check:
    name = "BPF objects"
    if answer.engine:
        return Check(name, Level.OK, f"embedded in the extension, ABI {answer.engine}")
    mend = "make setup" if answer.from_source else "install the wheel that was built for this architecture"
    if "libelf" in answer.engine_error:
        mend = "apt-get install libelf1"
    return Check(name, Level.CANNOT, f"the extension cannot be used: {answer.engine_error}", mend)


def _judge_clang(answer: MachineAnswer) -> Check:
    name = "clang (to build)"
    mend = "apt-get install clang-19, or clang where there is no clang-19"
    if not answer.clang:
        return Check(name, Level.MEND, "none; what is built goes on working", mend)
    if int(answer.clang.split(".")[0]) < CLANG_LEAST:
        return Check(name, Level.MEND, f"{answer.clang}, needs {CLANG_LEAST}", mend)
    return Check(name, Level.OK, answer.clang)


def _judge_state(answer: MachineAnswer) -> Check:
    name = "state directory"
    found = f"{answer.state}, {answer.state_bytes_free >> 20} MiB free"
    if not answer.state_writable:
        return Check(name, Level.CANNOT, f"{answer.state} cannot be written", "use sudo, or --state DIR")
    if answer.state_bytes_free < STATE_BYTES_FREE_LEAST:
        return Check(name, Level.MEND, found, f"make room, see: df -h {answer.state}")
    return Check(name, Level.OK, found)


def _judge_service_user(answer: MachineAnswer) -> Check:
    name = f"user {SERVICE_USER}"
    if answer.service_user:
        return Check(name, Level.OK, "the gateway drops to it")
    mend = f"useradd --system --no-create-home --shell /usr/sbin/nologin {SERVICE_USER}"
    return Check(name, Level.NOTE, "absent; the gateway drops to a fixed number instead", mend)


def _judge_demo(answer: MachineAnswer) -> Check:
    if not answer.demo_commands_missing:
        return Check("demo's clients", Level.OK, ", ".join(DEMO_COMMANDS))
    packages = " ".join(DEMO_COMMANDS[name] for name in answer.demo_commands_missing)
    found = f"without {', '.join(answer.demo_commands_missing)}; only the demo and tests use them"
    return Check("demo's clients", Level.NOTE, found, f"apt-get install {packages}")


def _judge_ports(answer: MachineAnswer) -> Check:
    if len(answer.ports) >= 2:
        return Check("ports", Level.OK, f"{len(answer.ports)} beside loopback")
    found = f"{len(answer.ports)} beside loopback; a wire has two"
    return Check("ports", Level.NOTE, found, "put in a second one; `clearway demo` makes its own")


# Asking this machine.


def examine(state: Path) -> MachineAnswer:
    """Asks this machine, and whether `state` can be a state directory. Changes nothing; the unreadable is absent."""
    engine, engine_error = _engine()
    above = next(path for path in (state, *state.parents) if path.exists())
    return MachineAnswer(
        kernel=probe(),
        python=platform.python_version(),
        engine=engine,
        engine_error=engine_error,
        from_source=(Path(__file__).parents[2] / "bpf" / "abi.h").exists(),
        clang=_clang(),
        service_user=_user_exists(SERVICE_USER),
        demo_commands_missing=tuple(name for name in DEMO_COMMANDS if not _command(name)),
        ports=tuple(_ports()),
        state=str(state),
        state_writable=above.is_dir() and os.access(above, os.W_OK | os.X_OK),
        state_bytes_free=shutil.disk_usage(above).free,
    )


def _engine() -> tuple[str, str]:
    # ABI_VERSION comes out of the BTF of the embedded objects: to have it is to have them.
    try:
        return str(importlib.import_module("clearway._engine").LIMITS["ABI_VERSION"]), ""
    except (ImportError, AttributeError, KeyError) as error:
        return "", str(error) or type(error).__name__


def _command(name: str) -> str | None:
    # a user's PATH lacks the folders of root's commands, which is no reason to call `ip` missing
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def _clang() -> str:
    for name in CLANG_NAMES:
        if path := _command(name):
            try:
                said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
            except (OSError, subprocess.TimeoutExpired):
                continue
            if match := re.search(r"version (\d+[\d.]*)", said):
                return match[1]
    return ""


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _ports() -> list[PortAnswer]:
    found = []
    for _, name in socket.if_nameindex():
        link = netlink.link_by_name(name)
        if link is None or link.device_type != netlink.ARPHRD_ETHER:
            continue
        driver = ethtool.driver(name)
        choice = hook.decide("auto", [(link, driver), (link, driver)])
        found.append(
            PortAnswer(
                name=name,
                driver=driver,
                physical=bool(link.parent_device and not link.kind),
                carrier=link.carrier,
                mtu=link.mtu,
                hook="xdp + tcx" if choice.xdp else "tcx",
                why=choice.why,
            )
        )
    return found
