"""When one port loses its link the other one goes down too, and both come back, in every order.

A port loses its link as a cable does: its far end is taken down. What the far side sees is asked of the host there.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from capture import capture, injector
from patience import HUNG_S
from running_gateway import running_gateway
from shortwire import LEFT, RIGHT, ShortWire

from clearway.lab import frames
from clearway.lab.namespace import End

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces]


def has_link(end: End) -> bool:
    with end.namespace.links() as links:
        link = links.get_links(ifname=end.interface)[0]
        return bool(link.get_attr("IFLA_CARRIER"))


def soon(seen: Callable[[], bool]) -> bool:
    until = time.monotonic() + HUNG_S
    while time.monotonic() < until:
        if seen():
            return True
        time.sleep(0.02)
    return False


def crosses(wire: ShortWire) -> bool:
    """A frame each way arrives, at once: one sent before the ports are up is lost, and is not to be waited for."""
    for source, target, one, other in (
        (wire.left, wire.right, LEFT, RIGHT),
        (wire.right, wire.left, RIGHT, LEFT),
    ):
        frame = frames.ethernet(frames.mac(other.mac), frames.mac(one.mac), 0x88B5, bytes(46))
        with capture(target) as listening, injector(source) as sending:
            sending.send(frame)
            if frame not in listening.frames(quiet_s=0.1):
                return False
    return True


@pytest.mark.parametrize("first", ["left", "right"])
def test_a_lost_link_is_passed_on_and_its_return_as_well(wire: ShortWire, tmp_path: Path, first: str) -> None:
    one, other = (wire.left, wire.right) if first == "left" else (wire.right, wire.left)
    with running_gateway(wire, tmp_path):
        assert soon(lambda: crosses(wire))
        one.set(state="down")
        assert soon(lambda: not has_link(other)), "the far side does not notice"
        one.set(state="up")
        assert soon(lambda: has_link(one) and has_link(other))
        assert soon(lambda: crosses(wire))


ENDS = ("left", "right")
ORDERS = list(itertools.product(itertools.permutations(ENDS), itertools.permutations(ENDS), (0.0, 0.4)))


def test_both_links_lost_come_back_in_whatever_order(wire: ShortWire, tmp_path: Path) -> None:
    """Down and up in each order, with and without time to be noticed in between; one gateway through all of them."""
    ends = {"left": wire.left, "right": wire.right}
    with running_gateway(wire, tmp_path):
        for down, up, pause_s in ORDERS:
            for name in down:
                ends[name].set(state="down")
                time.sleep(pause_s)
            for name in up:
                ends[name].set(state="up")
                time.sleep(pause_s)
            assert soon(lambda: has_link(wire.left) and has_link(wire.right)), (down, up, pause_s)
            assert soon(lambda: crosses(wire)), (down, up, pause_s)


def test_what_a_killed_daemon_took_down_the_next_one_lifts(wire: ShortWire, tmp_path: Path) -> None:
    with running_gateway(wire, tmp_path) as gateway:
        wire.left.set(state="down")
        assert soon(lambda: not has_link(wire.right))
        gateway.kill()
        wire.left.set(state="up")
        time.sleep(0.3)
        assert not has_link(wire.right), "nobody is there to lift it"
        gateway.start()
        assert soon(lambda: has_link(wire.right))
        assert soon(lambda: crosses(wire))


def test_a_link_lost_while_no_daemon_runs_is_followed_from_the_next_start(wire: ShortWire, tmp_path: Path) -> None:
    with running_gateway(wire, tmp_path) as gateway:
        gateway.kill()
        wire.left.set(state="down")
        time.sleep(0.3)
        assert has_link(wire.right)
        gateway.start()
        assert soon(lambda: not has_link(wire.right))
        wire.left.set(state="up")
        assert soon(lambda: crosses(wire))


def test_without_link_follow_the_other_port_stays_up(wire: ShortWire, tmp_path: Path) -> None:
    with running_gateway(wire, tmp_path, "--no-link-follow"):
        wire.left.set(state="down")
        time.sleep(0.5)
        assert has_link(wire.right)
        wire.left.set(state="up")
        assert soon(lambda: crosses(wire))


def test_what_the_gateway_set_on_its_ports_it_sets_again_after_a_change_of_link(
    wire: ShortWire, tmp_path: Path
) -> None:
    """GRO switched off by somebody is on again after the next change of link."""
    with running_gateway(wire, tmp_path):
        wire.inside.offload(gro=False)
        wire.left.set(state="down")
        assert soon(lambda: not has_link(wire.right))
        wire.left.set(state="up")
        assert soon(lambda: wire.inside.offloads()["gro"])
