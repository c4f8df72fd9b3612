"""The daemon's states as a table: what may follow what. Drawn in ARCHITECTURE.md from here.

    DOWN ──load──▶ LOADED ──serve──▶ SERVING ──drain──▶ DRAINING ──end──▶ DOWN
                     └──────────────────drain──────────────▲

DOWN: the kernel may enforce what an earlier daemon left. LOADED: tables filled, programs on the ports, nobody answered
yet. SERVING: requests are answered and links followed. DRAINING: what was begun is finished; programs stay.
"""

from enum import Enum


class State(Enum):
    DOWN = "down"
    LOADED = "loaded"
    SERVING = "serving"
    DRAINING = "draining"


TRANSITIONS: dict[tuple[State, str], State] = {
    (State.DOWN, "load"): State.LOADED,
    (State.LOADED, "serve"): State.SERVING,
    (State.LOADED, "drain"): State.DRAINING,
    (State.SERVING, "drain"): State.DRAINING,
    (State.DRAINING, "end"): State.DOWN,
}


class Lifecycle:
    """Where the daemon is. A step that the table doesn't have is a defect (AssertionError)."""

    def __init__(self) -> None:
        self.state = State.DOWN

    def step(self, what: str) -> State:
        following = TRANSITIONS.get((self.state, what))
        assert following is not None, f"{what} while {self.state.value}"
        self.state = following
        return following
