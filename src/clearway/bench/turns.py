"""Taking turns: A B A B, so that whatever the machine does meanwhile happens to every kind alike."""

from collections.abc import Callable, Mapping
from typing import Protocol

from clearway.bench.measurement import Measurement, Series


class Progress(Protocol):
    """Who watches a run; cli/bench.py draws bars, tests count."""

    def begin(self, title: str, steps: int) -> None:
        """A row begins, with that many turns in all."""

    def step(self, text: str) -> None:
        """One turn is over."""

    def say(self, text: str) -> None:
        """What is done between turns: lists are made, gateways loaded."""


class Silent:
    """Nobody watches."""

    def begin(self, title: str, steps: int) -> None: ...

    def step(self, text: str) -> None: ...

    def say(self, text: str) -> None: ...


def interleave(
    kinds: Mapping[str, Callable[[], Measurement]], turns: int, progress: Progress, unit: str
) -> tuple[Series, ...]:
    """Measures each kind once a turn, in the order given, `turns` times."""
    found: dict[str, list[Measurement]] = {kind: [] for kind in kinds}
    for _ in range(turns):
        for kind, measure in kinds.items():
            measurement = measure()
            found[kind].append(measurement)
            progress.step(f"{kind} {measurement.value:.4g} {unit}")
    return tuple(Series(kind, tuple(measurements)) for kind, measurements in found.items())
