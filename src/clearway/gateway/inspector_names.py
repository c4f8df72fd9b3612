"""Names in force: keeps the inspector, the kernel's overlay of names and the switch of the name step in step.

Nothing of it runs before the first name is listed or blocked: then the loader process makes the TAPs and the inspector
starts. Order of publishing: the inspector judges by the new names first (it has said so), then the kernel's filter is
filled and flipped, then the name step is switched on. What the filter holds too much of is judged clean; what it lacks
would pass. Where the inspector can't be had, address rules go on, and `document` says so.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.feeds.fetch import is_url, shown
from clearway.gateway.clock import Clock
from clearway.gateway.inspector_client import MAPS, Answering, InspectorClient, SingleEntry, Told
from clearway.gateway.loader_client import LoaderProcess
from clearway.gateway.options import RunOptions
from clearway.policy import name_limits
from clearway.policy.model import Reason, parse_word, word
from clearway.policy.snapshot import Snapshot, SnapshotList
from clearway.store.change import NameWanted, stamp

log = logging.getLogger(__name__)

Blocked = tuple[str, str]
"""A name that has keys in the kernel's overlay, and its scope."""
PUBLIC_ECH = name_limits.PUBLIC_ECH_NAMES
OPERATOR = "the operator of this network"
"""The source of a person's block, as strangers are told it: `explain` and `history` name who it was."""
SWEPT_AT_ONCE = 64
"""Names that are taken out together: their message stays far below what a packet of the inspector's socket holds."""
_BREATH_S = 0.001
RETRY_S = 5.0
"""An inspector that could not be had is asked for again so often."""
PROTOCOLS = ("dns", "http", "tls", "quic", "other")
CLASSES = ("seen", "public_ech", "none")
"""enum name_protocol and enum name_class of abi.h, in the order of their numbers; a test holds them to it."""
_REFUSED = ("dns", "http", "tls", "quic")
_ANSWERED = ("dns", "http", "reset", "unreachable")
_COUNTED = ("not-answered", "gave-up", "ambiguous", "lost", "events-lost", "adopted", "tap-dropped", "observed")


class NamesInForce:
    """`on_refused` hears of refusals, in a thread of the inspector's client. Methods may be called from any thread."""

    def __init__(
        self,
        loader: LoaderProcess,
        clock: Clock,
        options: RunOptions | None,
        on_refused: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> None:
        self._loader = loader
        self._clock = clock
        self._options = options
        self.on_refused = on_refused
        self._turn = threading.RLock()
        self._maps: dict[str, int] = {}
        self._single: dict[str, list[NameWanted]] = {}
        self._lists: tuple[str | None, list[Told]] = (None, [])
        self._soonest: datetime | None = None
        """No single name ends before; None: none stands."""
        self._listed = 0
        self._retry_at = 0.0
        self.tables: _engine.Tables | None = None
        """Those that the ports run."""
        self.on_failure = options.on_failure if options is not None else "open"
        self.inspector: InspectorClient | None = None
        self.failure: ClearwayError | None = None
        """Why names are not enforced though some are wanted."""

    def take(self, map_fds: dict[str, int], tables: _engine.Tables) -> None:
        """What the ports run from now on. Larger tables of a running gateway come with the same maps of held flows."""
        with self._turn:
            self.tables = tables
            tables.set_on_failure(self.on_failure)
            if self._maps or any(name not in map_fds for name in MAPS):
                return
            self._maps = {name: os.dup(map_fds[name]) for name in MAPS}

    def follow(self, tables: _engine.Tables) -> None:
        """Larger tables that the ports run from now on. They have a control word of their own, and so a switch."""
        before, self.tables = self.tables, tables
        tables.set_on_failure(self.on_failure)
        if before is not None:
            tables.set_names_active(before.hold_state()["names_active"])
        self._switch()  # what was decided meanwhile

    def before_publish(self, snapshot: Snapshot) -> None:
        """The inspector judges by the names of this snapshot when it returns."""
        with self._turn:
            self._lists = (str(snapshot.path / "names.bin"), told_of(snapshot)) if snapshot.names else (None, [])
            if self.inspector is None and self._lists[0] is None:
                return
            try:
                self._running().publish_lists(*self._lists)
                self.failure = None
            except ClearwayError as error:
                self._fail(error)

    def after_publish(self, snapshot: Snapshot) -> None:
        """The kernel's filter is that of this snapshot."""
        with self._turn:
            self._listed = snapshot.names.counts["names"] if snapshot.names else 0
            self._switch()

    def replace_single(self, names: list[NameWanted]) -> None:
        """All names that people decided about."""
        with self._turn:
            self._single = {}
            for each in names:
                self._single.setdefault(each.name, []).append(each)
            self._soonest = min(map(_end, names), default=None)
            if self.inspector is None and not names:
                self._write_overlay()
                self._switch()
                return
            try:
                entries = {name: self._entries(told) for name, told in self._single.items()}
                self._running().replace_single(entries)
                self.failure = None
            except ClearwayError as error:
                self._fail(error)
            self._write_overlay()
            self._switch()

    def put_single(self, name: str, entries: list[NameWanted]) -> None:
        """What stands at one name from now on. gateway.E026, E027: it is remembered, and not enforced yet."""
        with self._turn:
            self._put({name: entries})

    def _put(self, names: dict[str, list[NameWanted]]) -> None:
        before = [each for name in names for each in self._single.pop(name, [])]
        self._single |= {name: entries for name, entries in names.items() if entries}
        after = [each for entries in names.values() for each in entries]
        self._soonest = min(filter(None, (self._soonest, *map(_end, after))), default=None)
        if self.inspector is None and not after:
            return
        try:
            if self.failure is not None:  # it may lack more than these
                self._tell_all()
                return
            self._running().put_single({name: self._entries(entries) for name, entries in names.items()})
        except ClearwayError as error:
            self._fail(error)
            raise
        self._change_overlay(_blocked(before), _blocked(after))
        self._switch()

    def renew(self) -> None:
        """The wall clock stepped: ends on the boot clock are computed anew."""
        with self._turn:
            if self._single:
                self.replace_single([each for entries in self._single.values() for each in entries])

    def sweep(self) -> int:
        """Takes out what has expired, which the inspector has ignored since; how many names. Who blocks a name
        meanwhile waits for a few of them, however many stand or end."""
        now = self._clock.now()
        with self._turn:
            if self._soonest is None or self._soonest > now:
                return 0
            standing, self._soonest = list(self._single.items()), None  # what is put from here on is counted in again
        ends = [_end(each) for _, entries in standing for each in entries]
        expired = [name for name, entries in standing if any(_end(each) <= now for each in entries)]
        left = ends
        try:
            for first in range(0, len(expired), SWEPT_AT_ONCE):
                with self._turn:
                    some = {name: self._single.get(name, []) for name in expired[first : first + SWEPT_AT_ONCE]}
                    self._put({name: [each for each in found if _end(each) > now] for name, found in some.items()})
                time.sleep(_BREATH_S)  # or the lock would be taken again before who waits for it wakes
            left = [end for end in ends if end > now]
        finally:  # what could not be taken out is looked at again
            with self._turn:
                self._soonest = min(filter(None, (self._soonest, *left)), default=None)
        return len(expired)

    def look(self) -> None:
        """Now and then: an inspector that stands still is begun anew, one whose TAP somebody took away gets another,
        and one that could not be had is tried again."""
        with self._turn:
            if self.inspector is not None and not self.inspector.taps_stand():
                self.inspector.close()
                self.inspector, self._retry_at = None, 0.0
                self._fail(ClearwayError.of("gateway.E027", why="a TAP that packets wait in was taken away"))
            elif self.inspector is not None:
                self.inspector.look()
            if self.failure is None or time.monotonic() < self._retry_at:
                return
            self._retry_at = time.monotonic() + RETRY_S
            try:
                self._tell_all()
            except ClearwayError as error:
                self.failure = error
                return
            log.warning("names are enforced again")

    def close(self) -> None:
        """Lets what is held pass, and ends the inspector. From then on the failure policy decides."""
        with self._turn:
            if self.inspector is not None:
                self.inspector.close()
                self.inspector = None

    def document(self) -> dict[str, Any]:
        """Section `names` of the status."""
        inspector, tables, options = self.inspector, self.tables, self._options
        document: dict[str, Any] = {
            "active": tables is not None and tables.hold_state()["names_active"],
            "listed": self._listed,
            "single": sum(len(entries) for entries in list(self._single.values())),
            "on_failure": self.on_failure,
            "answers": options.answers if options is not None else None,
            "failure": self.failure.message if self.failure is not None else None,
            "inspector": None,
        }
        if tables is not None:
            document |= _counted(tables)
        if inspector is not None:
            age = inspector.heartbeat_age_ms
            document["inspector"] = {
                "alive": inspector.alive,
                "pid": inspector.pid,
                "nice": inspector.nice,
                "keeper": inspector.keeper,
                "heartbeat_age_ms": round(age, 3) if age is not None else None,
                "restarts": inspector.restarts,
                "tap_dropped": inspector.tap_dropped(),
            }
        return document

    def problems(self) -> list[str]:
        """Sentences for people."""
        found = [f"names are not enforced: {self.failure.message}"] if self.failure is not None else []
        if self.inspector is not None and self.inspector.untaken:
            found.append(f"names may not be enforced: the inspector could not take them in ({self.inspector.untaken})")
        if self.inspector is not None and not self.inspector.alive:
            found.append("the inspector, which reads names, is away: --on-failure decides meanwhile")
        return found

    def _running(self) -> InspectorClient:
        """The inspector; started, and told all that is known, when it is needed first."""
        if self.inspector is not None:
            self.inspector.wait_begun()
            return self.inspector
        if not self._maps:
            raise ClearwayError.of("gateway.E027", why="the programs that are loaded know no names")
        taps = self._loader.hold()
        try:
            started = InspectorClient(taps, self._maps, self._answering(), self._refused)
        finally:
            for descriptor in taps:
                os.close(descriptor)
        try:
            started.wait_begun()
            self._tell(started)
        except ClearwayError:
            started.close()
            raise
        self.inspector = started
        return started

    def _tell(self, inspector: InspectorClient) -> None:
        inspector.publish_lists(*self._lists)
        inspector.replace_single({name: self._entries(told) for name, told in self._single.items()})

    def _tell_all(self) -> None:
        """Inspector and kernel know everything when it returns. gateway.E026, E027."""
        self._tell(self._running())
        self.failure = None
        self._write_overlay()
        self._switch()

    def _answering(self) -> Answering:
        options = self._options
        if options is None:
            return Answering(public_ech=PUBLIC_ECH)
        return Answering(
            on=options.answers == "on",
            dns=options.dns_answer,
            contact=options.contact,
            appeal_url=options.appeal_url,
            observe=options.observe,
            public_ech=PUBLIC_ECH,
        )

    def _refused(self, events: list[dict[str, Any]]) -> None:
        if self.on_refused is not None:
            self.on_refused(events)

    def _entries(self, names: list[NameWanted]) -> list[SingleEntry]:
        return [
            (
                each.scope,
                self._clock.boot_deadline(each.block_until),
                self._clock.boot_deadline(each.exception_until),
                _told_of_single(each),
            )
            for each in names
        ]

    def _write_overlay(self) -> None:
        """The kernel's own keys of blocked names, all of them."""
        if self.tables is not None:
            self.tables.set_overlay_names([key for entries in self._single.values() for key in _blocked(entries)])

    def _change_overlay(self, before: list[Blocked], now: list[Blocked]) -> None:
        """Where one name changed: thousands of others that stand are not written again."""
        if self.tables is None:
            return
        try:
            self.tables.change_overlay_names(now, before)
        except ClearwayError:
            self._write_overlay()

    def _switch(self) -> None:
        """The name step runs while there is something to enforce, once there was somebody who can: without an inspector
        the failure policy decides."""
        wanted = bool(self._listed or self._single)
        if self.tables is not None and (self.inspector is not None or not wanted):
            self.tables.set_names_active(wanted)

    def _fail(self, error: ClearwayError) -> None:
        self.failure = error
        log.error("%s", error)


def kernel_names(snapshot: Snapshot) -> _engine.NameFilter | None:
    """What the kernel asks of this snapshot; None: it lists no name."""
    names = snapshot.names
    return _engine.NameFilter(names.opened(), names.name_filter.data) if names else None


def words_of(snapshot: Snapshot) -> int:
    """Elements a copy that the kernel's filter of this snapshot takes."""
    return max(1, len(snapshot.names.name_filter))


def _counted(tables: _engine.Tables) -> dict[str, Any]:
    flows = {protocol: dict.fromkeys(CLASSES, 0) for protocol in PROTOCOLS}
    for protocol, kind, in_kernel, by_inspector in tables.names_seen():
        flows[protocol][kind.replace("-", "_")] = in_kernel + by_inspector
    state, counts = tables.hold_state(), tables.inspector_counts()
    return {
        "flows": flows,
        "pushed_out": tables.names_pushed_out(),
        "held_packets": state["held"],
        "waiting_packets": max(0, state["held"] - state["released"]),
        "held_flows": counts.get("flows-held", 0),
        "live_flows": state["live"],
        "refused": {name: counts.get(f"refused-{name}", 0) for name in _REFUSED},
        "answered": {name: counts.get(f"answered-{name}", 0) for name in _ANSWERED},
        **{name.replace("-", "_"): counts.get(name, 0) for name in _COUNTED},
    }


def told_of(snapshot: Snapshot) -> list[Told]:
    """What a refused user is told of each list, by its number in the snapshot."""
    return [
        (each.name, word(each.reason), int(each.reason), told_source(each), stamp(each.until))
        for each in snapshot.lists
    ]


def told_source(each: SnapshotList) -> str:
    """A URL without its keys; of a list from a file its name alone: a path is nobody's business."""
    return shown(each.source) if is_url(each.source) else each.name


def _blocked(entries: list[NameWanted]) -> list[Blocked]:
    return [(each.name, each.scope) for each in entries if each.block_until is not None]


def _end(each: NameWanted) -> datetime:
    """From then on it says nothing."""
    return max(until for until in (each.block_until, each.exception_until) if until is not None)


def _told_of_single(each: NameWanted) -> Told:
    reason = parse_word(Reason, each.reason) if each.reason else Reason.NONE
    until = stamp(each.block_until) if each.block_until is not None else ""
    return each.rule, each.reason, int(reason), OPERATOR, until
