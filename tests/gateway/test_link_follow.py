"""Link-follow as a pure machine: what netlink says goes in, at most one action comes out.

Goal: both far sides notice a broken wire, and only what was taken down by us is ever lifted. Method: a simulated pair
of ports whose carrier needs the port to be up and its far side to be alive; the machine is stepped until it rests.
"""

import itertools

import pytest

from clearway.gateway.link_follow import SETTLE_NS, Action, Follower, PortFacts, State


class Ports:
    """Two ports with far sides that can be cut off."""

    def __init__(self) -> None:
        self.far = {"inside": True, "outside": True}
        self.up = {"inside": True, "outside": True}
        self.follower = Follower()
        self.now = 0
        self.actions: list[Action] = []

    def facts(self, side: str) -> PortFacts:
        return PortFacts(self.up[side], self.up[side] and self.far[side])

    def settle(self, wait_ns: int = 0) -> None:
        self.now += wait_ns
        for _ in range(8):
            before = self.follower
            self.follower, action = before.step(self.facts("inside"), self.facts("outside"), self.now)
            if action is not None:
                self.up[action.side] = action.up
                self.actions.append(action)
            elif self.follower == before:
                return
        pytest.fail(f"does not come to rest: {self.actions}")

    def cut(self, side: str) -> None:
        self.far[side] = False
        self.settle()

    def mend(self, side: str) -> None:
        self.far[side] = True
        self.settle()


@pytest.mark.parametrize("side,other", [("inside", "outside"), ("outside", "inside")])
def test_the_other_port_goes_down_and_comes_back(side: str, other: str) -> None:
    ports = Ports()
    ports.cut(side)
    assert ports.up == {side: True, other: False}
    assert ports.follower == Follower(State.FOLLOWING, other)
    ports.mend(side)
    assert ports.up == {side: True, other: True}
    assert ports.follower == Follower()


@pytest.mark.parametrize("first,second", [("inside", "outside"), ("outside", "inside")])
@pytest.mark.parametrize("cut_first", ["inside", "outside"])
def test_both_without_link_come_back_in_either_order(cut_first: str, first: str, second: str) -> None:
    ports = Ports()
    ports.cut(cut_first)
    ports.cut("inside")
    ports.cut("outside")
    ports.mend(first)
    ports.settle(SETTLE_NS)
    ports.mend(second)
    ports.settle(SETTLE_NS)
    assert ports.up == {"inside": True, "outside": True}
    assert ports.follower == Follower()


def test_both_without_link_at_once_takes_nothing_down() -> None:
    ports = Ports()
    ports.far = {"inside": False, "outside": False}
    ports.settle()
    assert ports.actions == []


def test_a_port_that_somebody_else_took_down_is_never_lifted() -> None:
    ports = Ports()
    ports.up["outside"] = False
    ports.settle()
    assert ports.follower.taken_down == "inside"
    assert ports.up == {"inside": False, "outside": False}
    ports.settle(10 * SETTLE_NS)
    assert ports.up["outside"] is False


def test_a_port_already_down_by_another_hand_is_not_recorded_as_ours() -> None:
    ports = Ports()
    ports.up = {"inside": True, "outside": False}
    ports.far["inside"] = False
    ports.settle()
    assert ports.follower == Follower()


def test_a_raised_port_may_negotiate_before_it_counts_as_lost() -> None:
    ports = Ports()
    ports.cut("inside")
    ports.far["outside"] = False  # still negotiating when it is raised
    ports.mend("inside")
    assert ports.follower.state is State.RAISING
    ports.settle(SETTLE_NS - 1)
    assert ports.up == {"inside": True, "outside": True}
    ports.settle(1)
    assert ports.follower == Follower(State.FOLLOWING, "inside")
    assert ports.up == {"inside": False, "outside": True}


def test_a_port_raised_by_hand_goes_down_again_while_the_other_has_no_link() -> None:
    ports = Ports()
    ports.cut("inside")
    ports.up["outside"] = True
    ports.settle()
    assert ports.up["outside"] is False
    assert ports.follower.taken_down == "outside"


def test_ending_lifts_what_was_taken_down_and_nothing_else() -> None:
    ports = Ports()
    assert ports.follower.lift() == (Follower(), None)
    ports.cut("outside")
    assert ports.follower.lift() == (Follower(), Action("inside", up=True))


def test_every_sequence_of_cuts_and_mends_ends_with_both_ports_up() -> None:
    steps = [("cut", "inside"), ("cut", "outside"), ("mend", "inside"), ("mend", "outside")]
    for sequence in itertools.product(steps, repeat=5):
        ports = Ports()
        for what, side in sequence:
            getattr(ports, what)(side)
        for side in ("inside", "outside"):
            ports.mend(side)
            ports.settle(SETTLE_NS)
        assert ports.up == {"inside": True, "outside": True}, sequence
