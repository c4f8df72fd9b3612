"""Port checks and settings on real veth ports, each in a namespace of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
from wires import Wire, inside_of, ip

from clearway.errors import ClearwayError
from clearway.gateway import ethtool, netlink, ports
from clearway.gateway.hook import decide
from clearway.gateway.netlink import Link


def refusal(inside: str, outside: str) -> ClearwayError:
    with pytest.raises(ClearwayError) as caught:
        ports.find(inside, outside)
    return caught.value


def test_two_good_ports_are_found(wire: Wire) -> None:
    with inside_of(wire.gateway):
        inside, outside = ports.find("inside", "outside")
    assert (inside.name, outside.name) == ("inside", "outside")
    assert inside.kind == outside.kind == "veth"


def test_a_missing_port_is_named(wire: Wire) -> None:
    with inside_of(wire.gateway):
        error = refusal("inside", "eno9")
    assert error.id == "gateway.E001"
    assert "eno9" in error.message


def test_the_same_port_twice_is_refused(wire: Wire) -> None:
    with inside_of(wire.gateway):
        assert refusal("inside", "inside").id == "gateway.E002"


def test_unequal_mtu_is_refused_with_both_numbers(wire: Wire) -> None:
    ip("link", "set", "outside", "mtu", "9000", namespace=wire.gateway)
    with inside_of(wire.gateway):
        error = refusal("inside", "outside")
    assert error.id == "gateway.E003"
    assert "1500" in error.message and "9000" in error.message


def test_a_port_in_a_bridge_is_refused_with_the_bridge(wire: Wire) -> None:
    ip("link", "add", "br7", "type", "bridge", namespace=wire.gateway)
    ip("link", "set", "inside", "master", "br7", namespace=wire.gateway)
    with inside_of(wire.gateway):
        error = refusal("inside", "outside")
    assert error.id == "gateway.E006"
    assert "br7" in error.message


def test_the_loopback_carries_no_frames(wire: Wire) -> None:
    with inside_of(wire.gateway):
        assert refusal("inside", "lo").id == "gateway.E021"


def test_an_address_on_a_port_is_a_warning_and_no_refusal(wire: Wire) -> None:
    ip("address", "add", "198.51.100.7/24", "dev", "inside", namespace=wire.gateway)
    with inside_of(wire.gateway):
        inside, outside = ports.find("inside", "outside")
        assert "198.51.100.7" in ports.warnings(inside)[0]
        assert ports.warnings(outside) == []


def again(link: Link) -> Link:
    """The same port as it is now."""
    found = netlink.link_by_index(link.index)
    assert found is not None
    return found


def test_settings_are_put_on_kept_and_put_back(wire: Wire) -> None:
    with inside_of(wire.gateway):
        link, _ = ports.find("inside", "outside")
        before = ports.read(link)
        assert set(ports.keep(link, ports.wanted(xdp=True))) == {
            "ipv6_off", "gro", "rx_vlan_offload", "promiscuous", "up",
        }  # fmt: skip
        link = again(link)
        assert ports.read(link) == ports.PortSettings(True, True, True, True, False)
        assert ports.keep(link, ports.wanted(xdp=True)) == []

        ethtool.set_gro("inside", False)
        Path("/proc/sys/net/ipv6/conf/inside/disable_ipv6").write_text("0\n")
        assert set(ports.keep(link, ports.wanted(xdp=True))) == {"ipv6_off", "gro"}

        link = again(link)
        ports.keep(link, before)
        link = again(link)
        assert ports.read(link) == before


def test_the_monitor_hears_a_port_go_down_and_vanish(wire: Wire) -> None:
    with inside_of(wire.gateway):
        monitor = netlink.LinkMonitor()
        link, _ = ports.find("inside", "outside")
        ports.set_up(link.index, True)
        ports.set_up(link.index, False)
        ip("link", "del", "inside", namespace=wire.gateway)
        heard = monitor.read()
        monitor.close()
    assert heard is not None
    mine = [event for event in heard if event.link.index == link.index]
    assert any(event.link.up for event in mine)
    assert mine[-1].gone


NIC = Link(3, "eno1", 1, 1, 1500, True, True, 0, "", "0000:01:00.0", 0)


@pytest.mark.parametrize(
    "asked,link,driver,xdp,forward",
    [
        ("auto", NIC, "ixgbe", True, False),
        ("auto", NIC, "e1000", False, False),
        ("auto", NIC, "virtio_net", False, False),
        ("auto", replace(NIC, kind="veth", parent_device=""), "veth", False, False),
        ("auto", replace(NIC, kind="bond", parent_device=""), "bonding", False, False),
        ("auto", replace(NIC, parent_device=""), "ixgbe", False, False),
        ("tcx", NIC, "ixgbe", False, False),
        ("xdp", NIC, "ixgbe", True, False),
        ("xdp", replace(NIC, kind="veth", parent_device=""), "veth", True, True),
    ],
)
def test_the_hook_follows_the_ports(asked: str, link: Link, driver: str, xdp: bool, forward: bool) -> None:
    choice = decide(asked, [(link, driver), (link, driver)])
    assert (choice.xdp, choice.xdp_forward) == (xdp, forward)
