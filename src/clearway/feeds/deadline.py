"""How long a fetch may take, from start to end, whatever the server does meanwhile."""

from __future__ import annotations

import time

CONNECT_SECONDS_MAX = 10.0
SILENCE_SECONDS_MAX = 30.0
"""Between two pieces of an answer."""


class Deadline:
    """When all of it must be over."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def passed(self) -> bool:
        """No time is left."""
        return time.monotonic() >= self._at

    def left(self, seconds_max: float) -> float:
        """Seconds for one operation. Raises TimeoutError where none are left."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, seconds_max)
