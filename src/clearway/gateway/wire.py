"""The two ports while the gateway runs: settings kept, links followed, a port that vanished waited for.

The edge around link_follow's pure machine. Everything here runs in the daemon's loop; netlink answers in well under a
millisecond. What is taken down is written to runtime.json before it is done.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clearway.boot_clock import boot_ns
from clearway.errors import ClearwayError
from clearway.gateway import netlink, ports
from clearway.gateway.link_follow import Action, Follower, PortFacts, other
from clearway.gateway.netlink import Link
from clearway.gateway.runtime import Runtime

log = logging.getLogger(__name__)

_GONE = PortFacts(up=False, carrier=False)


class TheWire:
    """`on_new_port` is called when a port is there again under another interface number, at every look until it is
    adopted, or refused by setting `refused`."""

    def __init__(self, runtime: Runtime, path: Path, *, follow: bool, on_new_port: Callable[[], None]) -> None:
        self.runtime = runtime
        self.follow = follow
        self.mended = 0
        self.absent: set[str] = set()
        self.refused: ClearwayError | OSError | None = None
        """Why a port that is there again cannot be used."""
        self._back: set[str] = set()  # of the absent ones: a port of that name is there again
        self._path = path
        self._on_new_port = on_new_port
        self._follower = Follower()
        self._target = replace(ports.wanted(xdp=runtime.xdp), up=None)  # after start, down may be somebody's wish
        self._links: dict[str, Link | None] = {}

    def look(self) -> None:
        """Looks at both ports, keeps their settings, follows links. After every change of a link, and now and then."""
        for side in ports.SIDES:
            self._links[side] = self._look_at(side)
        if not self._back:
            self.refused = None
        if self.follow and not self.absent:
            self._step()

    def concerns(self, link: Link) -> bool:
        """Is it one of the two ports, or one that has taken the name of one?"""
        return any(link.index == port.ifindex or link.name == port.name for port in self.runtime.ports.values())

    def lift(self) -> None:
        """Brings up what was taken down: nobody follows from here on."""
        self._follower, action = self._follower.lift()
        if action is not None:
            self._act(action)
        self._record(None)

    def adopt(self, runtime: Runtime) -> None:
        """The ports are others now, with the same names."""
        self.runtime = runtime
        self._follower = Follower()
        self.absent.clear()
        self._back.clear()
        self.refused = None

    def problems(self) -> list[str]:
        """What is wrong with the ports, as sentences."""
        told = []
        for side in sorted(self.absent):
            name, refused = self.runtime.ports[side].name, self.refused
            if side in self._back and refused is not None:
                told.append(f"port {name} is back and cannot be used: {_advice(refused)}")
            else:
                told.append(f"port {name} is gone")
        return told + problems_of(self.ports_document(), self.runtime.taken_down)

    def ports_document(self) -> dict[str, Any]:
        document = {}
        for side in ports.SIDES:
            record, link = self.runtime.ports[side], self._links.get(side)
            document[side] = {
                "name": record.name,
                "ifindex": record.ifindex,
                "present": link is not None,
                "up": link is not None and link.up,
                "carrier": link is not None and link.carrier,
                "mtu": link.mtu if link is not None else None,
            }
        return document

    def follow_document(self) -> dict[str, Any]:
        return {
            "on": self.follow,
            "state": self._follower.state.value,
            "taken_down": self.runtime.taken_down,
            "without_daemon": "links are not followed while the daemon is not running"
            if self.follow
            else "links are not followed",
        }

    def _look_at(self, side: str) -> Link | None:
        record = self.runtime.ports[side]
        link = netlink.link_by_index(record.ifindex)
        if link is None:
            if side not in self.absent:
                log.error("port %s is gone: nothing crosses, and nothing is enforced there", record.name)
            self.absent.add(side)
            if netlink.link_by_name(record.name) is None:
                self._back.discard(side)
                return None
            self._back.add(side)
            self._on_new_port()
            return None
        self.absent.discard(side)
        self._back.discard(side)
        try:
            changed = ports.keep(link, self._target)
        except OSError as error:
            log.error("settings of %s cannot be kept: %s", record.name, error)
            return link
        if changed:
            self.mended += len(changed)
            log.warning("settings of %s were changed by another hand and put back: %s", record.name, ", ".join(changed))
        return link

    def _step(self) -> None:
        inside, outside = (self._facts(side) for side in ports.SIDES)
        follower, action = self._follower.step(inside, outside, boot_ns())
        if action is not None and not action.up:
            self._record(action.side)
        if action is not None and not self._act(action):
            return
        if follower.taken_down is None or (action is not None and action.up):
            self._record(None)
        self._follower = follower

    def _facts(self, side: str) -> PortFacts:
        link = self._links.get(side)
        return PortFacts(link.up, link.carrier) if link is not None else _GONE

    def _act(self, action: Action) -> bool:
        record = self.runtime.ports[action.side]
        log.warning("link-follow takes %s %s", record.name, "up" if action.up else "down")
        try:
            ports.set_up(record.ifindex, action.up)
        except OSError as error:
            log.error("%s cannot be taken %s: %s", record.name, "up" if action.up else "down", error)
            return False
        return True

    def _record(self, taken_down: str | None) -> None:
        if self.runtime.taken_down == taken_down:
            return
        self.runtime = replace(self.runtime, taken_down=taken_down)
        try:
            self.runtime.save(self._path)
        except OSError as error:  # a full disk must not keep a far side from noticing
            log.error("%s cannot be written: %s", self._path, error)


def problems_of(document: dict[str, Any], taken_down: str | None) -> list[str]:
    """What is wrong with ports that are there, as sentences; `taken_down` is the side that link-follow took down."""
    told = []
    for side, port in document.items():
        name = port["name"]
        if not port["present"]:
            continue
        if side == taken_down:
            told.append(f"port {name} is down, since {document[other(side)]['name']} has no link")
        elif not port["up"]:
            told.append(f"port {name} is set down, so nothing crosses: ip link set {name} up")
        elif not port["carrier"]:
            told.append(f"port {name} has no link, so nothing crosses: look at its cable and its other end")
    inside, outside = (document[side] for side in ports.SIDES)
    if inside["present"] and outside["present"]:
        differ = ports.mtu_error(inside["name"], inside["mtu"], outside["name"], outside["mtu"])
        told += [_advice(differ)] if differ is not None else []
    return told


def _advice(error: ClearwayError | OSError) -> str:
    return f"{error}. {error.fix.rstrip('.')}" if isinstance(error, ClearwayError) else str(error)
