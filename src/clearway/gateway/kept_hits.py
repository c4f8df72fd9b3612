"""hits.json: what lists have earned since they were added, over restarts, upgrades and reboots of the machine.

Written whole beside the old one and renamed: at most once a minute, and at the end. A kill costs what was counted since
then, no more. Counts by list and by entry, and when each list was last hit; nothing of whom they stopped. Its thief
learns which entries of lists, and which single ones, were asked for from inside, and how often; of a list of one entry
also when last.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from clearway.gateway import durable
from clearway.telemetry.hits import Hits

log = logging.getLogger(__name__)

SAVE_S = 60.0
MODE = 0o640


def stored(path: Path) -> Hits | None:
    """What was stored there; None where nothing was, or what is there cannot be read."""
    try:
        document = durable.read_json(path)
        return Hits.of_stored(document) if document is not None else None
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        log.warning("%s cannot be read, and hits are counted anew: %r", path, error)
        return None


def begin(path: Path, now: datetime) -> Hits:
    """What a gateway goes on from; removes what one that was killed while it wrote left beside it."""
    for beside in path.parent.glob(f".{path.name}.*"):
        beside.unlink(missing_ok=True)
    return stored(path) or Hits(now)


class KeptHits:
    """Keeps `hits` in the file. `turn` is held while they are read or changed; `added` asks the database which lists
    there are, and when each was added."""

    def __init__(self, path: Path, hits: Hits, turn: threading.Lock, added: Callable[[], Mapping[str, str]]) -> None:
        self._path = path
        self._hits = hits
        self._turn = turn
        self._writing = threading.Lock()
        self._added = added
        self._epoch = -1
        self._saved = 0
        self._saved_at = float("-inf")

    def look(self, epoch: int) -> None:
        """Once a second: hears of lists that came and went with each epoch, and writes where it is time to."""
        if epoch != self._epoch:
            self.settle()
            self._epoch = epoch
        if self._hits.changes != self._saved and time.monotonic() - self._saved_at >= SAVE_S:
            self.save()

    def settle(self) -> None:
        """Forgets lists that were removed. Raises what the database refuses."""
        added = self._added()
        with self._turn:
            self._hits.settle(added)

    def save(self) -> None:
        """Writes the file; where the disk is full, the old one stands, and it is tried again a minute later."""
        with self._writing:  # at the end of the daemon its last look may be at it still, in the same file beside
            self._saved_at = time.monotonic()
            with self._turn:
                changes, document = self._hits.changes, self._hits.as_stored()
            try:
                durable.write_json(self._path, document, MODE)
                self._saved = changes
            except OSError as error:
                log.error("hits cannot be stored: %s", error)
