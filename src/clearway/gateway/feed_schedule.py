"""When a list is fetched again: at its time, a little later by chance, and ever more rarely while it fails.

Chance keeps a thousand gateways from asking one server in the same second. Pure: time and randomness are arguments.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

JITTER_PART = 0.05
"""At most this part of --every is added by chance."""
JITTER_MAX_S = 300.0
RETRY_FIRST_S = 60.0
RETRY_MAX_S = 3600.0


@dataclass
class Attempt:
    """What is known of one list's fetches by this daemon."""

    failures: int = 0
    not_before_s: float | None = None
    last_error: str = ""


class FeedSchedule:
    """Remembers failures; what is due comes from the database."""

    def __init__(self, chance: Callable[[], float]) -> None:
        """`chance`: a number from 0 to 1."""
        self._chance = chance
        self.attempts: dict[str, Attempt] = {}

    def ready(self, due: Iterable[tuple[str, float]], now_s: float) -> list[str]:
        """Those of `due` (name, --every in seconds) whose time has come, jitter and retries counted in."""
        ready = []
        due = list(due)
        for name, every_s in due:
            attempt = self.attempts.setdefault(name, Attempt())
            if attempt.not_before_s is None:
                attempt.not_before_s = now_s + min(every_s * JITTER_PART, JITTER_MAX_S) * self._chance()
            if now_s >= attempt.not_before_s:
                ready.append(name)
        return ready

    def succeeded(self, name: str) -> None:
        self.attempts[name] = Attempt()

    def failed(self, name: str, why: str, every_s: float, now_s: float) -> None:
        """The list is asked for again after a minute, two, four, …: at most an hour, and never later than --every."""
        attempt = self.attempts.setdefault(name, Attempt())
        wait = min(RETRY_FIRST_S * 2**attempt.failures, RETRY_MAX_S, max(every_s, 1.0))
        attempt.failures += 1
        attempt.last_error = why
        attempt.not_before_s = now_s + wait
