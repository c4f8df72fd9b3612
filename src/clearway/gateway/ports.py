"""The two ports: which may be used, what must be set on them, and how they were before.

A wire has no address of its own and answers nobody: IPv6 off, promiscuous, GRO on (a name then stands whole in one
buffer), up. What was there before is kept in the runtime record, so that `detach` can put it back. Pure of the loop:
`keep` is called by whoever hears of a change. Everything happens in the caller's network namespace.
"""

import errno
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearway.errors import ClearwayError
from clearway.gateway import ethtool, netlink
from clearway.gateway.netlink import Link

log = logging.getLogger(__name__)

SIDES = ("inside", "outside")
_LOOK_AGAIN_S = 0.005


@dataclass(frozen=True)
class PortSettings:
    """How a port is set. None: the port has no such switch, or it is of no interest."""

    up: bool | None = None
    promiscuous: bool | None = None
    gro: bool | None = None
    ipv6_off: bool | None = None
    rx_vlan_offload: bool | None = None

    def as_json(self) -> dict[str, bool | None]:
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "PortSettings":
        return cls(**{name: data.get(name) for name in cls.__dataclass_fields__})


def wanted(*, xdp: bool) -> PortSettings:
    """What every port of a wire is set to. With XDP, tags stay in the frame, where the program sees them."""
    return PortSettings(up=True, promiscuous=True, gro=True, ipv6_off=True, rx_vlan_offload=False if xdp else None)


def find(inside: str, outside: str) -> tuple[Link, Link]:
    """Both ports, checked: they exist, differ, carry Ethernet, belong to no bridge or bond, and agree in MTU.

    ClearwayError gateway.E001, E002, E003, E006, E021.
    """
    if inside == outside:
        raise ClearwayError.of("gateway.E002", port=inside)
    found = []
    for name in (inside, outside):
        link = netlink.link_by_name(name)
        if link is None:
            raise ClearwayError.of("gateway.E001", port=name)
        if link.master:
            raise ClearwayError.of("gateway.E006", port=name, master=_master_name(link.master))
        if link.device_type != netlink.ARPHRD_ETHER or link.kind == "bridge":
            raise ClearwayError.of("gateway.E021", port=name)
        found.append(link)
    first, second = found
    differ = mtu_error(inside, first.mtu, outside, second.mtu)
    if differ is not None:
        raise differ
    return first, second


def mtu_error(inside: str, inside_mtu: int, outside: str, outside_mtu: int) -> ClearwayError | None:
    """gateway.E003 where the ports differ in MTU: what only one of them can carry would be lost between them."""
    if inside_mtu == outside_mtu:
        return None
    return ClearwayError.of(
        "gateway.E003", inside=inside, inside_mtu=inside_mtu, outside=outside, outside_mtu=outside_mtu
    )


def warnings(link: Link) -> list[str]:
    """What is odd about a port but doesn't keep it from being one, as sentences."""
    held = netlink.addresses(link.index)
    held = [address for address in held if not address.startswith("fe80")]
    if not held:
        return []
    return [
        f"{link.name} has the address {', '.join(held)}: a port of the wire takes no part in IP, so nothing will "
        f"reach it there; take it off with: ip address flush dev {link.name}"
    ]


def read(link: Link) -> PortSettings:
    """How a port is set now."""
    return PortSettings(
        up=link.up,
        promiscuous=link.promiscuous,
        gro=_ask(lambda: ethtool.gro(link.name)),
        ipv6_off=_ipv6_off(link.name),
        rx_vlan_offload=_ask(lambda: ethtool.rx_vlan_offload(link.name)),
    )


def differing(now: PortSettings, target: PortSettings) -> PortSettings:
    """What of `target` isn't so yet: the rest None. A switch that the port lacks is no difference."""
    different: dict[str, bool | None] = {}
    for name, value in target.as_json().items():
        present = getattr(now, name)
        different[name] = value if value is not None and present is not None and present != value else None
    return PortSettings(**different)


def keep(link: Link, target: PortSettings) -> list[str]:
    """Sets what differs from `target`. Names of the settings that were changed.

    A feature that the driver refuses to switch is logged and left; flags and IPv6 must succeed (OSError).
    """
    change = differing(read(link), target)
    changed = []
    if change.ipv6_off is not None:  # before the port comes up, or it announces itself
        _ipv6_switch(link.name).write_text("1\n" if change.ipv6_off else "0\n")
        changed.append("ipv6_off")
    if change.gro is not None and _try(link.name, "gro", ethtool.set_gro, change.gro):
        changed.append("gro")
    if change.rx_vlan_offload is not None and _try(
        link.name, "rx-vlan-offload", ethtool.set_rx_vlan_offload, change.rx_vlan_offload
    ):
        changed.append("rx_vlan_offload")
    flags = mask = 0
    for name, value, bit in (
        ("promiscuous", change.promiscuous, netlink.IFF_PROMISC),
        ("up", change.up, netlink.IFF_UP),
    ):
        if value is not None:
            mask |= bit
            flags |= bit if value else 0
            changed.append(name)
    if mask:
        netlink.set_flags(link.index, flags, mask)
    return changed


def set_up(index: int, up: bool) -> None:
    """Takes a port administratively up or down."""
    netlink.set_flags(index, netlink.IFF_UP if up else 0, netlink.IFF_UP)


def bring_up(links: Sequence[Link], wait_s: float) -> None:
    """Takes ports up, and waits until the kernel sends on those that were down; no longer than `wait_s`, since a port
    without a cable never gets there."""
    waiting = [link.index for link in links if not link.operational]
    for link in links:
        set_up(link.index, True)
    deadline = time.monotonic() + wait_s
    while waiting and time.monotonic() < deadline:
        held = [netlink.link_by_index(index) for index in waiting]
        waiting = [link.index for link in held if link is not None and not link.operational]
        time.sleep(_LOOK_AGAIN_S if waiting else 0)


def _master_name(index: int) -> str:
    master = netlink.link_by_index(index)
    return f"{master.kind or 'device'} {master.name}" if master else f"interface {index}"


def _ipv6_switch(port: str) -> Path:
    return Path("/proc/sys/net/ipv6/conf") / port / "disable_ipv6"


def _ipv6_off(port: str) -> bool | None:
    try:
        return _ipv6_switch(port).read_text().strip() != "0"
    except FileNotFoundError:  # no IPv6 in this kernel
        return None


def _ask(question: Callable[[], bool]) -> bool | None:
    try:
        return question()
    except OSError:
        return None


def _try(port: str, feature: str, switch: Callable[[str, bool], None], on: bool) -> bool:
    try:
        switch(port, on)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        log.warning("%s refuses to switch %s %s", port, feature, "on" if on else "off")
        return False
    return True
