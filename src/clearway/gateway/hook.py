"""Which hook the programs go to: one function over what the kernel says of the two ports, and one table of drivers.

XDP runs before a buffer is made, so it drops far more; but on a veth any XDP program takes TSO from the peer (bulk
falls to 0.14 of the bridge), and a redirect from there loses partial checksums, so that TCP hangs while pings pass. So
XDP by itself only on ports of a driver that has it natively, and forwarding only where that was tried.
"""

from dataclasses import dataclass

from clearway.gateway import ethtool
from clearway.gateway.netlink import Link

XDP_DRIVERS = frozenset(
    (  # noqa: SIM905
        "atlantic bnxt_en cxgb4 dpaa2-eth enetc fec fsl_dpa i40e ice igb igc ixgbe ixgbevf mlx4_en mlx5_core mvneta "
        "mvpp2 nfp qede sfc sfc_ef100 stmmac st_gmac thunder-nic tsnep"
    ).split()
)
"""Drivers of physical ports with XDP of their own (net-next, xdp_features of the driver). virtio_net is left out: it
has XDP, and loses guest offloads by it."""

XDP_FORWARD_TRIED: frozenset[str] = frozenset()
"""Drivers on which a redirect from port to port was tried with real traffic. Elsewhere XDP drops and TCX forwards."""


@dataclass(frozen=True)
class HookChoice:
    xdp: bool
    """The XDP program is attached as well; TCX always is."""
    xdp_forward: bool
    why: str


def choose(asked: str, inside: Link, outside: Link) -> HookChoice:
    """The hook for two ports. `asked`: auto, tcx or xdp (refused nowhere: who says xdp means it)."""
    return decide(asked, [(link, ethtool.driver(link.name)) for link in (inside, outside)])


def decide(asked: str, ports: list[tuple[Link, str]]) -> HookChoice:
    """As choose(), with the name of each port's driver given."""
    if asked == "tcx":
        return HookChoice(xdp=False, xdp_forward=False, why="asked for")
    tried = all(driver in XDP_FORWARD_TRIED for _link, driver in ports)
    if asked == "xdp":
        veth = all(link.kind == "veth" for link, _driver in ports)
        return HookChoice(xdp=True, xdp_forward=tried or veth, why="asked for")
    for link, driver in ports:
        if link.kind or not link.parent_device:
            return HookChoice(xdp=False, xdp_forward=False, why=f"{link.name} is no physical port")
        if driver not in XDP_DRIVERS:
            return HookChoice(xdp=False, xdp_forward=False, why=f"driver {driver or '?'} of {link.name} has no XDP")
    return HookChoice(xdp=True, xdp_forward=tried, why="both drivers have XDP")
