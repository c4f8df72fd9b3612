"""Link-follow: when one port of the wire loses its link, the other is taken down too, so that both far sides notice.

A pure state machine: facts and the time go in, the state and at most one action come out. It knows one port at most
that it has taken down itself; that one it lifts, and no other. The edge (daemon.py) carries actions out and records
`taken_down` before it acts, so that the next start can lift it.

              a port loses its link                  its link is back
    BOTH_UP ───────────────────────▶ FOLLOWING ───────────────────────▶ RAISING ──▶ BOTH_UP (it has a link)
                                          ▲                                │
                                          └── no link after SETTLE_NS: the ┘
                                              other one is taken down instead

A port raised has no link at once (negotiation takes seconds), hence RAISING with its deadline. Both ports without link
at once: nothing is taken down, as both far sides see it already; the first to come back is then taken down by the rule
above until the other one is there.
"""

from dataclasses import dataclass, replace
from enum import Enum

SETTLE_NS = 8_000_000_000
"""How long a raised port may be without link. Copper at 10 Gbit/s negotiates for up to 5 s."""


class State(Enum):
    BOTH_UP = "both-up"
    FOLLOWING = "following"
    RAISING = "raising"


@dataclass(frozen=True)
class PortFacts:
    """What netlink says of one port. A port that is gone has neither."""

    up: bool
    carrier: bool


@dataclass(frozen=True)
class Action:
    side: str
    up: bool


@dataclass(frozen=True)
class Follower:
    """`taken_down`: the side that is down, or was just raised, by our hand; None: neither."""

    state: State = State.BOTH_UP
    taken_down: str | None = None
    settle_until_ns: int = 0

    def step(self, inside: PortFacts, outside: PortFacts, now_ns: int) -> tuple["Follower", Action | None]:
        """The next state and what is to be done to reach it. Call again after doing it, and at `settle_until_ns`."""
        ports = {"inside": inside, "outside": outside}
        if self.taken_down is None:
            return self._both_up(ports)
        leader = other(self.taken_down)
        if self.state is State.FOLLOWING:
            return self._following(ports, leader, now_ns)
        return self._raising(ports, leader, now_ns)

    def lift(self) -> tuple["Follower", Action | None]:
        """What remains to be done when nobody follows any longer: a port of a wire is up."""
        if self.state is State.FOLLOWING and self.taken_down is not None:
            return Follower(), Action(self.taken_down, up=True)
        return Follower(), None

    def _both_up(self, ports: dict[str, PortFacts]) -> tuple["Follower", Action | None]:
        lost = [side for side, facts in ports.items() if not facts.carrier]
        if len(lost) != 1 or not ports[other(lost[0])].up:
            return self, None
        return _take_down(other(lost[0]))

    def _following(self, ports: dict[str, PortFacts], leader: str, now_ns: int) -> tuple["Follower", Action | None]:
        assert self.taken_down is not None
        if ports[leader].carrier:
            raising = Follower(State.RAISING, self.taken_down, now_ns + SETTLE_NS)
            return raising, Action(self.taken_down, up=True)
        if ports[self.taken_down].up:  # somebody raised it while the other side is still without link
            return self, Action(self.taken_down, up=False)
        return self, None

    def _raising(self, ports: dict[str, PortFacts], leader: str, now_ns: int) -> tuple["Follower", Action | None]:
        assert self.taken_down is not None
        raised = ports[self.taken_down]
        if not ports[leader].carrier:
            return _take_down(self.taken_down) if raised.up else (replace(self, state=State.FOLLOWING), None)
        if raised.carrier:
            return Follower(), None
        if now_ns < self.settle_until_ns:
            return self, None
        return _take_down(leader)


def other(side: str) -> str:
    return "outside" if side == "inside" else "inside"


def _take_down(side: str) -> tuple[Follower, Action]:
    return Follower(State.FOLLOWING, side), Action(side, up=False)
