"""The privileged half: a process forked before anything else. It loads programs and answers a closed list of requests.

What it may do is fixed at the fork by the Plan: the ports by name, the settings, the pins. The daemon can ask for
larger tables, for attaching what the plan says, and for probes; it can't ask for other ports or other settings. It ends
when the daemon does. It must not hold any lock, so it is forked before they are taken.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.gateway import attached, bpffs, hook, inspector_taps, libc, loader_channel, ports, rights

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_FRAME_BYTES_MAX = 9216

Answer = tuple[dict[str, Any], list[int]]


@dataclass(frozen=True)
class Plan:
    """All that the loader process will ever load."""

    name: str
    inside: str
    outside: str
    hook: str
    observe: bool
    guard: tuple[tuple[bytes, int, int], ...]
    """Prefix (16 bytes, length) and flags of enum guard_flag."""
    guard_inside: bool
    guard_bogons: bool


def fork(plan: Plan) -> tuple[int, socket.socket]:
    """Forks the loader process. Its pid and the daemon's end of the channel. Call before any thread is started."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _live(plan, theirs, parent)
    theirs.close()
    return pid, ours


def _live(plan: Plan, channel: socket.socket, parent: int) -> NoReturn:
    """The whole life of the child: it never returns into the code that forked it."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it ends with the daemon, not beside it
        _close_all_but(channel.fileno())
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            _serve(_Privileged(plan), channel)
        code = 0
    except BaseException as error:
        os.write(2, f"clearway loader: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _close_all_but(kept: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _serve(privileged: "_Privileged", channel: socket.socket) -> None:
    while True:
        try:
            request, _ = loader_channel.receive(channel)
        except EOFError:
            return
        try:
            answer, descriptors = privileged.requests[str(request.pop("ask"))](**request)
        except ClearwayError as error:
            answer, descriptors = error.as_json(), []
        except Exception as error:  # a defect must reach the daemon as an error, not end this process
            what = f"{type(error).__name__}: {error}"
            answer, descriptors = ClearwayError.of("gateway.E023", what=what).as_json(), []
        try:
            loader_channel.send(channel, answer, descriptors)
        except OSError:
            return


class _Privileged:
    """The requests. `requests` is the closed list of them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loader: _engine.Loader | None = None
        self._xdp = False
        self._taps: tuple[tuple[int, int], tuple[int, int]] | None = None
        """Descriptors and interface numbers by enum direction. Kept: what waits in them outlives the other holders."""
        self.requests: dict[str, Callable[..., Answer]] = {
            "open": self.open,
            "load": self.load,
            "attach": self.attach,
            "probe": self.probe,
            "links": self.links,
            "hold": self.hold,
        }

    def open(self) -> Answer:
        """Enters the namespace where pins outlive it, and gives up what isn't needed after that."""
        bpffs.enter_init_mounts()
        os.chdir("/")
        bpffs.mount_if_absent()
        bpffs.pin_directory(self._plan.name)
        rights.keep_only(frozenset({rights.CAP_BPF, rights.CAP_NET_ADMIN, rights.CAP_PERFMON}))
        return {}, []

    def load(self, bitmaps: int, v6_buckets: int, v6_slots: int, name_words: int, observed: int) -> Answer:
        """Programs and maps for the ports of those names as they are now, with at least that capacity."""
        inside, outside = ports.find(self._plan.inside, self._plan.outside)
        numbers = [inside.index, outside.index]
        other = attached.other_gateway(self._plan.name, numbers)
        if other is not None:
            port = inside.name if other[1] == inside.index else outside.name
            raise ClearwayError.of("gateway.E008", name=other[0], port=port)
        if attached.stands_elsewhere(self._plan.name, numbers):
            raise ClearwayError.of("gateway.E005", name=self._plan.name)
        choice = hook.choose(self._plan.hook, inside, outside)
        settings = _engine.Settings(
            inside_ifindex=inside.index,
            outside_ifindex=outside.index,
            observe=self._plan.observe,
            xdp_forward=choice.xdp_forward,
            guard=list(self._plan.guard),
            guard_inside=self._plan.guard_inside,
            guard_bogons=self._plan.guard_bogons,
        )
        loader = _engine.Loader(str(bpffs.PINS / self._plan.name))
        made = loader.load(
            settings, _engine.Capacity(bitmaps, v6_buckets, v6_slots, name_words, observed), xdp=choice.xdp
        )
        self._loader, self._xdp = loader, choice.xdp
        descriptors = loader.map_fds()
        capacity = loader.capacity()
        answer = {
            "made": made,
            "maps": list(descriptors),
            "capacity": [
                capacity.bitmaps,
                capacity.v6_buckets,
                capacity.v6_slots,
                capacity.name_words,
                capacity.observed,
            ],
            "inside": inside.index,
            "outside": outside.index,
            "xdp": choice.xdp,
            "xdp_forward": choice.xdp_forward,
            "why": choice.why,
        }
        return answer, list(descriptors.values())

    def attach(self) -> Answer:
        return {"links": self._loaded().attach()}, []

    def probe(self, hook: str, direction: int, frame: str) -> Answer:
        data = bytes.fromhex(frame)[:_FRAME_BYTES_MAX]
        outcome = self._loaded().probe(hook, _engine.Direction(direction), data)
        answer = {
            "verdict": int(outcome.verdict),
            "drop_reason": int(outcome.drop_reason),
            "lane": int(outcome.lane),
            "epoch": outcome.epoch,
            "facts": sorted(int(fact) for fact in outcome.facts),
            "action": outcome.action,
        }
        return answer, []

    def links(self) -> Answer:
        return {"links": self._loaded().links()}, []

    def hold(self) -> Answer:
        """The TAPs, made or taken over, with the program on them that sends on what is written there."""
        loader = self._loaded()
        inside, _ = ports.find(self._plan.inside, self._plan.outside)
        if self._taps is None:
            self._taps = inspector_taps.open_both(self._plan.name, inside.mtu)
        else:
            self._taps = inspector_taps.remake_gone(self._plan.name, inside.mtu, *self._taps)
        descriptors, numbers = self._taps
        loader.attach_hold(*numbers)
        return {"numbers": numbers}, list(descriptors)

    def _loaded(self) -> _engine.Loader:
        if self._loader is None:
            raise ClearwayError.of("gateway.E023", what="asked of the loader process before anything is loaded")
        return self._loader
