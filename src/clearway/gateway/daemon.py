"""The daemon: one loop around a loaded gateway. `run` is all of `clearway run`.

The loop answers requests, hears of links, and starts what blocks in threads: one for decisions, one for lists in the
database, one that reads drop events, and the pool for read-backs. Compilation has a process of its own. When the loop
ends, whatever way, the kernel goes on enforcing.
"""

import asyncio
import contextlib
import gc
import logging
import random
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.gateway.kernel_probe import KernelAnswer
from clearway.gateway.lifecycle import Lifecycle
from clearway.gateway.loader_client import Outcome
from clearway.gateway.netlink import LinkMonitor
from clearway.gateway.options import RunOptions
from clearway.gateway.start import Started, start

log = logging.getLogger(__name__)

TICK_S = 1.0
LISTS_LOOK_S = 5.0
SAVE_CLOCK_S = 10.0
PROBE_S = 20.0
PROBE_AGAIN_S = 0.05
SWITCH_INTERVAL_S = 0.001
"""How long one thread may keep the interpreter from another: a grant hands over a few times on its way."""


def run(options: RunOptions, kernel: KernelAnswer | None = None) -> int:
    """Runs the gateway until SIGTERM or SIGINT; exit code. Says `ready` on standard error when packets cross.

    ClearwayError when it can't start. `kernel`: a recorded answer in place of asking this kernel.
    """
    _log_to_stderr()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it outlives the shell that started it
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_starting)
    gc.disable()  # thousands of objects are made while modules are imported, and all of them stay
    try:
        started = start(options, kernel)
    except _ToldToEnd:
        return 0
    _say_ready()
    started.notifier.ready()
    gc.freeze()
    gc.enable()
    lifecycle = Lifecycle()
    lifecycle.step("load")
    try:
        asyncio.run(_serve(started, lifecycle))
    except _ToldToEnd:  # told to end before the loop could hear it
        started.notifier.stopping()
        started.state.socket.unlink(missing_ok=True)
    finally:
        started.loader.close()
        for lock in started.locks:
            lock.release()
    return 0


async def _serve(started: Started, lifecycle: Lifecycle) -> None:
    daemon = Daemon(started, lifecycle)
    await daemon.serve()
    lifecycle.step("end")


class Daemon:
    """A loaded gateway that answers. Made inside the loop."""

    def __init__(self, started: Started, lifecycle: Lifecycle) -> None:
        from clearway.gateway.base_work import BaseWork
        from clearway.gateway.base_workers import BaseWorkers
        from clearway.gateway.decisions import Decisions
        from clearway.gateway.enforced import Watch
        from clearway.gateway.feed_schedule import FeedSchedule
        from clearway.gateway.feeds_due import FeedsDue
        from clearway.gateway.shared_work import SharedWork
        from clearway.gateway.status import StatusBoard
        from clearway.gateway.wire import TheWire

        self._started = started
        self._lifecycle = lifecycle
        self._stopping = asyncio.Event()
        self._checked = asyncio.Event()
        self._decision_thread = ThreadPoolExecutor(1, "decisions")
        self._list_thread = ThreadPoolExecutor(1, "lists")
        self._read_thread = ThreadPoolExecutor(1, "reads")
        clock, enforcer, options = started.clock, started.enforcer, started.options
        self._worker = BaseWorkers(started.state.path)
        self.decisions = Decisions(started.state, started.inside, clock, enforcer)
        self.base_work = BaseWork(started.state, started.inside, clock, enforcer, self._worker, self._in_lists)
        self._watch = Watch(enforcer, started.loader, clock, started.guard, bool(started.inside))
        self._schedule = FeedSchedule(random.random)
        self._feeds_due = FeedsDue(self.base_work, self._schedule, clock, self._in_reads, self._in_lists)
        self.shared_work = SharedWork(
            self.base_work,
            started.inside,
            clock,
            enforcer,
            self._worker,
            FeedSchedule(random.random),
            in_lists=self._in_lists,
            in_decisions=self.in_turn,
            in_reads=self._in_reads,
        )
        self._drop_events = _drop_events(started)
        self._kept_hits = _kept_hits(started, self._drop_events)
        started.enforcer.names.on_refused = self._drop_events.refused
        self._wire = TheWire(
            started.runtime, started.state.runtime, follow=options.link_follow, on_new_port=self._port_is_back
        )
        self._reloading: asyncio.Task[None] | None = None
        self._monitor = LinkMonitor()
        self._board = StatusBoard(
            options=options,
            state=started.state,
            inside=started.inside,
            since=clock.now(),
            version=metadata.version("clearway"),
            lifecycle=lifecycle,
            clock=clock,
            enforcer=enforcer,
            watch=self._watch,
            base_work=self.base_work,
            drop_events=self._drop_events,
            wire=self._wire,
        )

    async def serve(self) -> None:
        """Answers until told to stop, then finishes what was begun."""
        from clearway.gateway import api, serving

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = serving.server(api.application(self))
        answering = asyncio.create_task(server.serve(sockets=[self._started.listener]))
        self._started.enforcer.tables.set_probe_nonce(random.SystemRandom().randrange(1, 1 << 32))
        loop.add_reader(self._monitor.fileno(), self._links_changed)
        self._drop_events.start()
        self._wire.look()
        self._lifecycle.step("serve")
        background = [
            asyncio.create_task(self._often(TICK_S, self._tick)),
            asyncio.create_task(self._often(_check_interval(), self._check)),
            asyncio.create_task(self._often(LISTS_LOOK_S, self._feeds_due.look, self.base_work.changed)),
            asyncio.create_task(self._often(LISTS_LOOK_S, self.shared_work.look)),
            asyncio.create_task(self._often(TICK_S, self._keep_hits)),
            asyncio.create_task(self._warm_up()),
        ]
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, answering], return_when=asyncio.FIRST_COMPLETED)
        self._lifecycle.step("drain")
        self._started.notifier.stopping()
        server.should_exit = True
        self._started.state.socket.unlink(missing_ok=True)
        await answering
        await self._end(background)

    async def in_turn(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._decision_thread, function, *arguments)

    async def status(self) -> dict[str, Any]:
        await self._checked.wait()  # before the first look, nothing could be said about what is enforced
        document: dict[str, Any] = await self._in_reads(self._board.document)
        return document

    async def hits(self) -> dict[str, Any]:
        await self._in_reads(self._kept_hits.settle)
        with self._drop_events.turn:
            document: dict[str, Any] = self._drop_events.hits.answer()
        return document

    async def probe(self, direction: _engine.Direction, frame: bytes) -> dict[str, Outcome]:
        """What the programs on the ports say of a frame, by hook. While others wait for the ports the loader process
        has none but those: gateway.E029 where a port is gone, E020 where it takes too long."""
        enforcer, loader = self._started.enforcer, self._started.loader
        deadline = time.monotonic() + PROBE_S
        while time.monotonic() < deadline:
            loaded = enforcer.loaded
            if enforcer.waiting and self._wire.absent:
                gone = ", ".join(self._wire.runtime.ports[side].name for side in sorted(self._wire.absent))
                raise ClearwayError.of("gateway.E029", port=gone)
            if not enforcer.replacing:
                hooks = ("tcx", "xdp") if loaded.xdp else ("tcx",)
                told = {hook: await asyncio.to_thread(loader.probe, hook, direction, frame) for hook in hooks}
                if not enforcer.replacing and enforcer.loaded is loaded:
                    return told
            await asyncio.sleep(PROBE_AGAIN_S)
        raise ClearwayError.of("gateway.E020", seconds=f"{PROBE_S:g}")

    async def _in_lists(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._list_thread, function, *arguments)

    async def _often(
        self,
        interval_s: float,
        work: Callable[[], Coroutine[Any, Any, float | None]],
        sooner: asyncio.Event | None = None,
    ) -> None:
        """Does something again and again; what it raises is logged, and it goes on. It may say how long to wait, and
        `sooner` ends the waiting."""
        while True:
            wait_s = None
            try:
                wait_s = await work()
            except ClearwayError as error:
                log.error("%s", error)
            except Exception:
                log.exception("in the daemon's loop")
            wait_s = interval_s if wait_s is None else wait_s
            if sooner is None:
                await asyncio.sleep(wait_s)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(sooner.wait(), wait_s)
            sooner.clear()

    async def _tick(self) -> None:
        started = self._started
        started.enforcer.tables.beat(_engine.boot_clock_ns())
        started.notifier.alive()
        self._wire.look()
        await asyncio.to_thread(started.enforcer.names.look)
        if started.clock.stepped():
            log.warning("the wall clock stepped: expiries are computed anew")
            await asyncio.to_thread(started.enforcer.reconcile)
            started.clock.settled()  # not before: where that failed, the next tick tries again
        now = time.monotonic()
        if now - self._clock_saved >= SAVE_CLOCK_S:
            self._clock_saved = now
            try:
                await asyncio.to_thread(started.clock.save)
            except OSError as error:
                log.error("the time cannot be stored: %s", error)

    _clock_saved = float("-inf")

    async def _check(self) -> None:
        try:
            await asyncio.to_thread(self._watch.check)
        finally:
            self._checked.set()

    async def _in_reads(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._read_thread, function, *arguments)

    async def _keep_hits(self) -> None:
        await self._in_reads(self._kept_hits.look, self._started.enforcer.tables.epoch)

    async def _warm_up(self) -> None:
        """The worker imports while nobody waits for it."""
        try:
            await self._worker.warm()
        except ClearwayError as error:
            log.error("%s", error)

    def _links_changed(self) -> None:
        events = self._monitor.read()
        if events is None or any(self._wire.concerns(event.link) for event in events):
            self._wire.look()

    def _port_is_back(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        """Programs are made for interface numbers: a port of the same name with another number needs others.

        Called again at every look until it succeeds, so what can't be used is found before anything is loaded.
        """
        from clearway.gateway import ports
        from clearway.gateway.start import ports_again

        options = self._started.options
        try:
            await asyncio.to_thread(ports.find, options.inside, options.outside)
            await asyncio.to_thread(self._started.enforcer.reload)
            self._wire.adopt(await asyncio.to_thread(ports_again, self._started))
            self._wire.look()
        except (ClearwayError, OSError) as error:
            if str(error) != str(self._wire.refused):
                log.error("the port that came back cannot be used: %s", error)
            self._wire.refused = error

    async def _end(self, background: list[asyncio.Task[None]]) -> None:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self._feeds_due.end()
        asyncio.get_running_loop().remove_reader(self._monitor.fileno())
        self._monitor.close()
        await self._worker.close()
        self._wire.lift()
        await asyncio.to_thread(self._started.enforcer.names.close)
        await asyncio.to_thread(self._drop_events.end)
        await asyncio.to_thread(self._kept_hits.save)
        for pool in (self._decision_thread, self._list_thread, self._read_thread):
            pool.shutdown()
        try:
            self._started.clock.save()
        except OSError as error:
            log.error("the time cannot be stored: %s", error)


def _drop_events(started: Started) -> Any:
    from clearway.gateway import kept_hits
    from clearway.gateway.drop_events import DropEvents
    from clearway.gateway.wanted_now import SingleReasons
    from clearway.telemetry.eve import EveFile
    from clearway.telemetry.pseudonym import Pseudonyms

    return DropEvents(
        events=started.enforcer.events,
        enforcer=started.enforcer,
        clock=started.clock,
        file=EveFile(started.state.events),
        pseudonyms=Pseudonyms(started.state.keys),
        ports=(started.options.inside, started.options.outside),
        inside=started.inside,
        reason_of=SingleReasons(started.clock).of,
        hits=kept_hits.begin(started.state.hits, started.clock.now()),
    )


def _kept_hits(started: Started, drop_events: Any) -> Any:
    from clearway.gateway.kept_hits import KeptHits
    from clearway.store.feed_report import added

    return KeptHits(started.state.hits, drop_events.hits, drop_events.turn, added)


def _check_interval() -> float:
    from clearway.gateway.enforced import CHECK_S

    return CHECK_S


def _say_ready() -> None:
    try:
        sys.stderr.write("ready\n")
        sys.stderr.flush()
    except OSError:  # nobody listens any longer
        pass


class _ToldToEnd(SystemExit):
    """SIGTERM or SIGINT before the loop hears of it.

    Not KeyboardInterrupt: where one crosses an exec() of text, as dataclasses have, Python remembers it and kills
    itself by SIGINT at its end, caught or not. asyncio lets both through wherever they are raised.
    """


def _stop_starting(_number: int, _frame: Any) -> None:
    raise _ToldToEnd(0)


def _log_to_stderr() -> None:
    logging.raiseExceptions = False  # a closed terminal is no reason to complain to it
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
