"""`clearway detach`: ends a running daemon, takes the programs off the wire, and puts the ports back as they were.

Works on what the machine shows (locks, pins) and on runtime.json; either may be missing, and what then cannot be put
back is told. The programs come off in a child that has entered PID 1's mounts, and the network namespace that the ports
are in, so that the caller stays put.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearway.boot_clock import boot_id
from clearway.config import StateDirectory
from clearway.errors import ClearwayError, KernelRefused
from clearway.gateway import bpffs, durable, inspector_taps, kernel_probe, libc, locks, netlink, ports
from clearway.gateway.locks import FileLock, LockHeld
from clearway.gateway.options import check_name
from clearway.gateway.runtime import Runtime

STOP_S = 20.0
"""How long a daemon may take to end: it finishes the requests that it has begun."""


@dataclass(frozen=True)
class Detached:
    """What was done. Nothing at all is fine as well."""

    stopped_pid: int | None
    links: tuple[str, ...]
    """Names of the links taken off."""
    restored: dict[str, list[str]]
    """Settings put back, by port."""
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "stopped_pid": self.stopped_pid,
            "links": list(self.links),
            "restored": self.restored,
            "notes": list(self.notes),
        }


def detach(name: str, state: Path) -> Detached:
    """Takes the gateway of that name off. setup.E001 without rights, gateway.E014 when the daemon doesn't end.

    `state`: where its runtime.json is looked for first; then where the last start of that name had it.
    """
    check_name(name)
    _require_rights()
    directory, runtime = _record(name, state)
    held = [locks.name_lock(name)] + ([directory.daemon_lock] if runtime is not None else [])
    stopped = _stop(held, name)
    with _alone(locks.name_lock(name), name), contextlib.ExitStack() as stack:
        directory, runtime = _record(name, state)  # again: the daemon wrote it until its end
        if runtime is not None:  # nor does another gateway write one there meanwhile
            # A start takes these two locks in the other order, and gives up sooner than this does. A disk that takes no
            # writes keeps no wire, nor can a gateway start there.
            with contextlib.suppress(OSError):
                stack.enter_context(_alone(directory.daemon_lock, name))
        done = _in_child(lambda: _undo(name, runtime))
        notes = list(done["notes"])
        if runtime is not None:
            notes += _forget(directory.runtime)
        locks.state_of_name(name).unlink(missing_ok=True)
    if runtime is None and done["links"]:
        notes.append(
            f"how the ports were set before is not known: no runtime.json of {name} in {state}. Promiscuous mode, GRO, "
            "VLAN offload and IPv6 stay as the gateway set them"
        )
    return Detached(stopped, tuple(done["links"]), done["restored"], tuple(notes))


def _forget(record: Path) -> list[str]:
    """Removes what the gateway left of itself; a note where it cannot be."""
    try:
        record.unlink(missing_ok=True)
    except OSError as error:
        return [f"{record} stays: {error.strerror}"]
    return []


def _record(name: str, state: Path) -> tuple[StateDirectory, Runtime | None]:
    """The state directory that knows what the gateway of that name did, and what. What others did is theirs to undo."""
    known = durable.read_json(locks.state_of_name(name)) or {}
    for path in (state, Path(str(known.get("state", state)))):
        directory = StateDirectory(path)
        runtime = Runtime.load(directory.runtime)
        if runtime is not None and runtime.name == name:
            return directory, runtime
    return StateDirectory(state), None


def _require_rights() -> None:
    """Of what a start needs, rights alone: a gateway is taken off whatever else the machine lacks by now."""
    for check in kernel_probe.judge(kernel_probe.probe()):
        if check.name == "rights" and check.level is kernel_probe.Level.CANNOT:
            raise ClearwayError.of("setup.E001", name=check.name, found=check.found, mend=check.mend)


def _stop(paths: list[Path], name: str) -> int | None:
    """Ends the daemon that holds one of the locks, and waits until all are free. Its pid, None when there is none."""
    stopped = None
    for path in paths:
        pid = locks.holder(path)
        if not pid:
            continue
        if not locks.is_brief(path):  # another detach ends by itself, and must not be torn off in the middle
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            stopped = pid
        if not locks.wait_free(path, STOP_S):
            raise ClearwayError.of("gateway.E014", pid=pid, seconds=f"{STOP_S:g}", name=name)
    return stopped


def _alone(path: Path, name: str) -> FileLock:
    try:
        return FileLock.take(path, timeout_s=1.0, briefly=True)
    except LockHeld as error:
        raise ClearwayError.of("gateway.E007", pid=error.pid, held=error.path, name=name) from error


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Runs `work` in a forked child and gives back what it answers."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            answer = work()
        except ClearwayError as error:
            answer = error.as_json()
        except BaseException as error:
            answer = ClearwayError.of("gateway.E023", what=f"{type(error).__name__}: {error}").as_json()
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    if not text:
        raise ClearwayError.of("gateway.E016", why="it ended without an answer")
    document: dict[str, Any] = json.loads(text)
    if "error" in document:
        raise ClearwayError.from_json(document)
    return document


def _undo(name: str, runtime: Runtime | None) -> dict[str, Any]:
    here = _network_namespaces() if runtime is not None else {}
    bpffs.enter_init_mounts()
    return {"links": _take_off(name), **_restore(runtime, here)}


def _take_off(name: str) -> list[str]:
    from clearway import _engine

    directory = bpffs.PINS / name
    if not directory.is_dir():
        return []
    taken = _engine.Loader(str(directory)).detach()
    return taken


def _restore(runtime: Runtime | None, namespaces: dict[int, str]) -> dict[str, Any]:
    if runtime is None or runtime.boot_id != boot_id():
        return {"restored": {}, "notes": []}
    if runtime.network_namespace != locks.network_namespace():
        path = namespaces.get(runtime.network_namespace)
        if path is None:
            return {"restored": {}, "notes": ["the network namespace of the ports is gone"]}
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        libc.setns(descriptor, libc.CLONE_NEWNET)
        os.close(descriptor)
    restored = restore_ports(runtime)
    try:
        inspector_taps.remove_both(runtime.name)
    except (OSError, KernelRefused) as error:
        restored["notes"].append(str(error))
    return restored


def restore_ports(runtime: Runtime) -> dict[str, Any]:
    """Puts the ports that are still the same back as they were; in their network namespace."""
    restored: dict[str, list[str]] = {}
    notes: list[str] = []
    for record in runtime.ports.values():
        link = netlink.link_by_index(record.ifindex)
        if link is None or link.name != record.name:
            notes.append(f"port {record.name} is gone")
            continue
        try:
            restored[record.name] = ports.keep(link, record.before)
        except OSError as error:
            notes.append(f"settings of {record.name} cannot be put back: {error.strerror}")
    return {"restored": restored, "notes": notes}


def _network_namespaces() -> dict[int, str]:
    """Where each network namespace that has a name, or a process, can be entered."""
    found: dict[int, str] = {}
    for path in (*Path("/proc").glob("[0-9]*/ns/net"), *Path("/run/netns").glob("*")):
        try:
            found[path.stat().st_ino] = str(path)
        except OSError:
            continue
    return found
