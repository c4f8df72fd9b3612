"""Names for inside hosts that mean something within a day and nothing after it.

HMAC-SHA-256 of the address under a key of the day. A thief of the keys folder could find out which inside host is meant
in the lines of the day whose key is kept, by trying all addresses; of earlier days nobody can, as their keys are gone.
"""

import hmac
import os
import secrets
from datetime import UTC, date, datetime
from pathlib import Path

KEY_BYTES = 32
_PREFIX, _SUFFIX = "pseudonym-", ".key"


class Pseudonyms:
    """`directory`: where keys lie, readable to the daemon only. One key a day (UTC); older ones are deleted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._day: date | None = None
        self._key = b""

    def of(self, address: bytes, at: datetime) -> str:
        """The pseudonym of an inside address (16 bytes) on the day of `at`; "h-" and 16 hexadecimal digits.

        OSError when a new key can't be stored: then nothing may be written about inside hosts.
        """
        day = at.astimezone(UTC).date()
        if self._day is None or day > self._day:
            self._turn_to(day)
        return "h-" + hmac.digest(self._key, address, "sha256")[:8].hex()

    def _turn_to(self, day: date) -> None:
        name = f"{_PREFIX}{day.isoformat()}{_SUFFIX}"
        self._directory.mkdir(mode=0o700, exist_ok=True)
        key = self._read(self._directory / name) or self._make(self._directory / name)
        for old in self._directory.glob(f"{_PREFIX}*{_SUFFIX}"):
            if old.name < name:
                old.unlink(missing_ok=True)
        self._day, self._key = day, key

    def _read(self, path: Path) -> bytes | None:
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            return None
        return key if len(key) == KEY_BYTES else None

    def _make(self, path: Path) -> bytes:
        key = secrets.token_bytes(KEY_BYTES)
        beside = path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        return key
