"""From nothing to `ready`: checks, locks, loader process, rights, tables, programs, ports, socket. In this order.

What can be refused is refused before anything is changed. The loader process is forked before the locks are taken, so
that it holds none of them, and loads the programs while this process imports the rest; rights are dropped before any
thread exists. The socket is opened under the writer lock after a last look at the database, so that nothing which a
command stored meanwhile is missed.
"""

import importlib
import logging
import os
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clearway.boot_clock import boot_id
from clearway.config import StateDirectory, storing
from clearway.errors import ClearwayError
from clearway.gateway import detach, durable, kernel_probe, locks, ports, reach, rights, state_owner
from clearway.gateway.clock import Clock
from clearway.gateway.guard import Guard
from clearway.gateway.guard import rows as guard_rows
from clearway.gateway.kernel_probe import KernelAnswer
from clearway.gateway.listening import listen
from clearway.gateway.loader_client import Loaded, LoaderProcess
from clearway.gateway.loader_process import Plan
from clearway.gateway.locks import FileLock, LockHeld
from clearway.gateway.netlink import Link
from clearway.gateway.notify import Notifier
from clearway.gateway.options import RunOptions
from clearway.gateway.runtime import PortRecord, Runtime
from clearway.policy.model import Prefix

if TYPE_CHECKING:
    from clearway.gateway.enforcer import Enforcer
    from clearway.gateway.wanted_now import WantedNow

log = logging.getLogger(__name__)

_LOCK_WAIT_S = 0.3
"""Somebody who only looks whether a lock is held holds it for a moment."""
ROOM = (1 << 20, 1 << 12, 1 << 13, 1 << 12, 1)
"""The capacity that a gateway starts with at least, as enforcer.Capacity: 64 MB of bitmaps hold any list of a million
addresses. Larger tables cost a load, which is mostly the verifier (0.3 s)."""
LINK_WAIT_S = 2.0
"""`ready` waits so long for ports that were down."""


@dataclass
class Started:
    """A loaded gateway, before anybody is answered."""

    options: RunOptions
    state: StateDirectory
    inside: tuple[Prefix, ...]
    guard: Guard
    clock: Clock
    loader: LoaderProcess
    enforcer: "Enforcer"
    runtime: Runtime
    notifier: Notifier
    listener: socket.socket
    locks: list[FileLock]


def start(options: RunOptions, kernel: KernelAnswer | None = None) -> Started:
    """Brings the gateway up to the point where packets cross and its socket listens. ClearwayError of any area.

    `kernel`: a recorded answer in place of asking the kernel. When this raises, a policy that the kernel enforced
    before is enforced on.
    """
    kernel_probe.refuse_unless_able(kernel if kernel is not None else kernel_probe.probe())
    inside = tuple(Prefix.parse(text) for text in options.inside_prefixes)
    links = ports.find(options.inside, options.outside)
    for link in links:
        for warning in ports.warnings(link):
            log.warning("%s", warning)
    who = rights.identity(options.user)
    state = StateDirectory(options.state.resolve())
    state_owner.check(state.path)
    state.create()
    guard = guard_rows(inside, options.drop_bogons)
    notifier = Notifier.from_environment()
    loader = LoaderProcess.start(_plan(options, guard, bool(inside)))
    held: list[FileLock] = []
    try:
        held = _take_locks(options.name, state, links)
        with storing(locks.RUN_DIRECTORY):
            durable.write_json(locks.state_of_name(options.name), {"state": str(state.path)})
        loader.open()
        loader.begin_load(_likely_capacity(state))
        state_owner.hand_over(state, who)
        _import_the_rest(state)
        _give_up_rights(state, who)
        return _load(options, state, inside, guard, links, loader, notifier, held)
    except BaseException:
        loader.close()
        for lock in held:
            lock.release()
        raise


def _plan(options: RunOptions, guard: Guard, inside_known: bool) -> Plan:
    return Plan(
        name=options.name,
        inside=options.inside,
        outside=options.outside,
        hook=options.hook,
        observe=options.observe,
        guard=guard,
        guard_inside=inside_known,
        guard_bogons=options.drop_bogons,
    )


def _take_locks(name: str, state: StateDirectory, links: tuple[Link, Link]) -> list[FileLock]:
    locks.RUN_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    namespace = locks.network_namespace()
    wanted = {
        state.daemon_lock: f"the state directory {state.path}",
        locks.name_lock(name): f"the name {name}",
        **{locks.port_lock(namespace, link.index): f"port {link.name}" for link in links},
    }
    held: list[FileLock] = []
    for path, what in wanted.items():
        try:
            with storing(path.parent):
                held.append(FileLock.take(path, timeout_s=_LOCK_WAIT_S))
        except (LockHeld, ClearwayError) as error:
            for lock in held:
                lock.release()
            if isinstance(error, ClearwayError):
                raise
            name = locks.name_held_by(error.pid) or "NAME"
            raise ClearwayError.of("gateway.E007", pid=error.pid, held=what, name=name) from error
    return held


def _import_the_rest(state: StateDirectory) -> None:
    """All that is needed from here on, while the kernel verifies: still as root, so that Python may keep what it
    compiles. No module of these starts a thread; OpenBLAS would, for work that nobody gives it."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from clearway import store

    store.setup(state.path)
    for name in ("wanted_now", "enforcer", "base_work", "decisions", "drop_events", "enforced", "status"):
        importlib.import_module(f"clearway.gateway.{name}")
    from django.db import connections

    connections.close_all()  # opened by root: the daemon opens its own


def _give_up_rights(state: StateDirectory, who: rights.Identity) -> None:
    state_owner.hand_over(state, who)
    reach.open_the_way([state.path, *reach.program_paths()], who)
    os.chdir("/")
    rights.drop(who)


def _likely_capacity(state: StateDirectory) -> tuple[int, int, int, int, int]:
    """What the last snapshot needed, from its manifest alone; a wrong guess only costs a second load."""
    manifest = durable.read_json(state.snapshots / "current" / "manifest.json") or {}
    counts, name_counts = manifest.get("counts"), manifest.get("name_counts") or {}
    if not isinstance(counts, dict) or not isinstance(name_counts, dict):
        return ROOM
    counted = [counts.get(name) for name in ("cells", "buckets", "slots")]  # each cell has a bitmap in the kernel
    counted.append(name_counts.get("filter_keys", 0))
    lists = manifest.get("lists")
    observed = isinstance(lists, list) and any(isinstance(each, dict) and each.get("observe") for each in lists)
    counted.append(counts.get("cells") if observed else 1)
    needed = [number for number in counted if isinstance(number, int) and 0 <= number < 1 << 28]
    if len(needed) != len(ROOM):
        return ROOM
    needed[3] = needed[3] * 3 // 8  # four fingerprints a word, and a binary fuse filter has an eighth to spare
    bitmaps, buckets, slots, words, seen = (max(number, room) for number, room in zip(needed, ROOM, strict=True))
    more = int(bitmaps * 1.25), 1 << (buckets - 1).bit_length(), int(slots * 1.25), int(words * 1.25)
    return *more, int(max(seen, 2) * 1.25) if observed else 1


def _load(
    options: RunOptions,
    state: StateDirectory,
    inside: tuple[Prefix, ...],
    guard: Guard,
    links: tuple[Link, Link],
    loader: LoaderProcess,
    notifier: Notifier,
    held: list[FileLock],
) -> Started:
    state.remember_inside(options.inside_prefixes)
    from clearway.gateway.enforcer import Enforcer
    from clearway.gateway.wanted_now import WantedNow

    clock = Clock(state.clock)
    wanted = WantedNow(state, inside, clock)
    wanted.raise_clock()
    seen = wanted.newest()
    snapshot = wanted.snapshot()
    enforcer = Enforcer(loader, clock, options)
    loaded = loader.finish_load()
    enforcer.take(loaded)
    # Before the base: larger tables would begin with the overlay that is remembered, and none is yet
    enforcer.replace_all(wanted.overlay(), wanted.grants())
    enforcer.epochs[enforcer.tables.epoch] = snapshot  # so what fell while nobody read is told of by its list
    enforcer.publish(snapshot)
    enforcer.names.replace_single(wanted.names())
    enforcer.set_bypass(wanted.bypass_until())
    runtime = _prepare_ports(options, state, links, loaded)
    enforcer.attach()
    ports.bring_up(links, LINK_WAIT_S)
    with state.writing():
        if wanted.newest() != seen:
            _catch_up(wanted, enforcer)
        listener = listen(state.socket)
    return Started(options, state, inside, guard, clock, loader, enforcer, runtime, notifier, listener, held)


def _catch_up(wanted: "WantedNow", enforcer: "Enforcer") -> None:
    """Brings in what was stored since the first look; called with the writer lock."""
    snapshot = wanted.snapshot()
    if enforcer.snapshot is None or snapshot.path != enforcer.snapshot.path:
        enforcer.publish(snapshot)
    enforcer.replace_all(wanted.overlay(), wanted.grants())
    enforcer.names.replace_single(wanted.names())
    enforcer.set_bypass(wanted.bypass_until())


def _prepare_ports(options: RunOptions, state: StateDirectory, links: tuple[Link, Link], loaded: Loaded) -> Runtime:
    """Records how the ports were, then sets them: all but up, which waits for the programs."""
    earlier = Runtime.load(state.runtime)
    records = {
        side: PortRecord(link.name, link.index, ports.read(link)) for side, link in zip(ports.SIDES, links, strict=True)
    }
    runtime = Runtime(
        name=options.name,
        boot_id=boot_id(),
        network_namespace=locks.network_namespace(),
        xdp=loaded.xdp,
        ports=records,
    )
    if earlier is not None and runtime.of_same_machine(earlier):
        _put_back(earlier, runtime)
    runtime = runtime.continuing(earlier)  # nothing is taken down in it: all ports come up, what is broken shows again
    with storing(state.path):
        runtime.save(state.runtime)
    target = replace(ports.wanted(xdp=loaded.xdp), up=None)
    for link in links:
        ports.keep(link, target)
    return runtime


def ports_again(started: Started) -> Runtime:
    """After a reload: the ports of those names as they are now, recorded, set and up."""
    links = ports.find(started.options.inside, started.options.outside)
    runtime = _prepare_ports(started.options, started.state, links, started.enforcer.loaded)
    ports.bring_up(links, LINK_WAIT_S)
    return runtime


def _put_back(earlier: Runtime, now: Runtime) -> None:
    """Ports that an earlier run used and this one doesn't are theirs again."""
    kept = {record.ifindex for record in now.ports.values()}
    left = {side: record for side, record in earlier.ports.items() if record.ifindex not in kept}
    for note in detach.restore_ports(replace(earlier, ports=left))["notes"]:
        log.warning("%s", note)
