"""When a list is fetched again: about its time, as chance will have it, and ever more rarely while it fails.

Chance keeps a thousand gateways from asking one server in the same second. A server that says when it wants to be asked
again (Retry-After) is asked no sooner. Pure: time and randomness are arguments.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

JITTER_PART = 0.05
"""At most this part of --every is added by chance; a list is due that much before its time (store.lists.due)."""
JITTER_MAX_S = 300.0
RETRY_FIRST_S = 60.0
RETRY_MAX_S = 3600.0
ASKED_MAX_S = 86_400.0
"""No server makes a list wait longer."""


@dataclass
class Attempt:
    """What is known of one list's fetches."""

    failures: int = 0
    not_before_s: float | None = None


class FeedSchedule:
    """Remembers when each list may be asked for again; what is due comes from the database."""

    def __init__(self, chance: Callable[[], float]) -> None:
        """`chance`: a number from 0 to 1."""
        self._chance = chance
        self.attempts: dict[str, Attempt] = {}

    def ready(self, due: Iterable[tuple[str, float]], now_s: float) -> list[str]:
        """Those of `due` (name, --every in seconds) whose time has come, jitter and retries counted in."""
        ready = []
        for name, every_s in due:
            attempt = self.attempts.setdefault(name, Attempt())
            if attempt.not_before_s is None:
                attempt.not_before_s = now_s + min(every_s * JITTER_PART, JITTER_MAX_S) * self._chance()
            if now_s >= attempt.not_before_s:
                ready.append(name)
        return ready

    def succeeded(self, name: str) -> None:
        self.attempts[name] = Attempt()

    def failed(self, name: str, every_s: float, now_s: float, asked_s: float | None = None) -> float:
        """The list is asked for again after a minute, two, four, …: at most an hour, and never later than --every; but
        not before `asked_s`, where the server said so. Seconds until then."""
        attempt = self.attempts.setdefault(name, Attempt())
        wait = min(RETRY_FIRST_S * 2.0 ** min(attempt.failures, 16), RETRY_MAX_S, max(every_s, 1.0))
        if asked_s is not None:
            wait = max(wait, min(asked_s, ASKED_MAX_S) + min(asked_s, JITTER_MAX_S) * JITTER_PART * self._chance())
        attempt.failures += 1
        attempt.not_before_s = now_s + wait
        return wait

    def refused(self, name: str, every_s: float, now_s: float) -> None:
        """It was fetched, and not taken: it is asked for again at its usual time."""
        self.attempts[name] = Attempt(0, now_s + max(every_s, 1.0))

    def restore(self, name: str, failures: int, left_s: float, now_s: float) -> None:
        """What an earlier daemon knew of a list that failed."""
        self.attempts[name] = Attempt(failures, now_s + left_s)
