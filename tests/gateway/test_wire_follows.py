"""Link-follow and port settings on a real wire: what is lost on one side shows on the other, and heals by itself."""

import time
from pathlib import Path

import pytest
from patience import until
from running import Running, gateway
from wires import Wire, inside_of, ip

from clearway.gateway import ethtool, netlink, ports


def far_end_sees(wire: Wire, host: str) -> bool:
    """Has the host a signal on its wire?"""
    with inside_of(host):
        link = netlink.link_by_name("eth0")
    return link is not None and link.carrier


def cut(host: str) -> None:
    ip("link", "set", "eth0", "down", namespace=host)


def mend(host: str) -> None:
    ip("link", "set", "eth0", "up", namespace=host)


def taken_down(running: Running) -> str | None:
    side: str | None = running.status()["link_follow"]["taken_down"]
    return side


def problems(running: Running) -> str:
    return "\n".join(running.status()["health"]["problems"])


def test_the_other_far_end_sees_a_lost_link_and_its_return(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        until(running.pings, "no wire")
        cut(wire.outer)
        until(lambda: not far_end_sees(wire, wire.inner), "the inside doesn't notice")
        until(lambda: taken_down(running) == "inside", "it does not say so")
        until(lambda: "port inside is down, since outside has no link" in problems(running), "it is no problem")
        assert "port outside has no link," in problems(running)
        mend(wire.outer)
        until(lambda: far_end_sees(wire, wire.inner), "it doesn't come back")
        until(running.pings, "nothing crosses")
        until(lambda: taken_down(running) is None, "it says that the port is still down")


@pytest.mark.parametrize("first", ["inner", "outer"])
def test_both_lost_come_back_in_either_order(wire: Wire, tmp_path: Path, first: str) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        hosts = {"inner": wire.inner, "outer": wire.outer}
        cut(wire.inner)
        time.sleep(0.3)
        cut(wire.outer)
        time.sleep(0.3)
        mend(hosts.pop(first))
        time.sleep(0.3)
        mend(*hosts.values())
        until(lambda: taken_down(running) is None and running.pings(), "the wire stays broken")


def test_a_port_taken_down_by_a_daemon_that_died_is_lifted_at_the_next_start(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        cut(wire.outer)
        until(lambda: taken_down(running) == "inside", "not followed")
        running.kill()
        mend(wire.outer)
        time.sleep(0.5)
        assert not far_end_sees(wire, wire.inner), "while it is dead, links aren't followed"
        running.start()
        until(running.pings, "nothing crosses")


def test_a_daemon_that_ends_lifts_what_it_took_down(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        cut(wire.outer)
        until(lambda: taken_down(running) == "inside", "not followed")
        running.stop()
        until(lambda: far_end_sees(wire, wire.inner), "it stays down")


def test_without_link_follow_nothing_is_taken_down(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state", "--no-link-follow") as running:
        running.start()
        cut(wire.outer)
        time.sleep(1)
        assert far_end_sees(wire, wire.inner)
        assert running.status()["link_follow"]["on"] is False
        until(lambda: "port outside has no link," in problems(running), "it says nothing of it")


def test_an_mtu_that_is_no_longer_equal_is_a_problem_until_it_is(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        until(lambda: problems(running) == "", "it begins with a problem")
        ip("link", "set", "outside", "mtu", "1400", namespace=wire.gateway)
        told = "the ports differ in MTU: inside has 1500, outside has 1400"
        until(lambda: told in problems(running), "it is not noticed")
        ip("link", "set", "outside", "mtu", "1500", namespace=wire.gateway)
        until(lambda: running.status()["health"]["ok"], "it stays ill")


def test_settings_changed_by_another_hand_are_put_back(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        with inside_of(wire.gateway):
            ethtool.set_gro("inside", False)
            Path("/proc/sys/net/ipv6/conf/outside/disable_ipv6").write_text("0")
        ip("link", "set", "inside", "promisc", "off", namespace=wire.gateway)

        def kept() -> bool:
            with inside_of(wire.gateway):
                held = [ports.read(link) for link in ports.find("inside", "outside")]
            return all(port.gro and port.ipv6_off and port.promiscuous for port in held)

        until(kept, "not put back")
        until(lambda: running.status()["mended"]["ports"] >= 3, "not counted")


def test_the_ports_answer_nobody(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        with inside_of(wire.gateway):
            for name in ("inside", "outside"):
                link = netlink.link_by_name(name)
                assert link is not None and netlink.addresses(link.index) == []
