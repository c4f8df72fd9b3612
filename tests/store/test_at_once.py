"""What several do to the same list at once, in processes and threads of their own: all of it counts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from django.db import connections

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.store import lists, trouble
from clearway.store.models import FetchTrouble
from clearway.store.requests import FeedAddRequest

PATIENCE_S = 120


def test_a_list_that_fails_for_several_at_once_fails_for_each_of_them(
    state: StateDirectory, now: datetime, tmp_path: Path
) -> None:
    """`feed update` by two people, or by one and the schedule: all are counted, and nobody is told of the database."""
    source = tmp_path / "drop.txt"
    source.write_text("185.0.2.0/24\n")
    lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="malware"), now, "alice")
    error = ClearwayError.of("feeds.E002", origin=source, lines=0)

    def fails(together: threading.Barrier) -> None:
        try:
            trouble.waiting(now)  # its connection
            together.wait(PATIENCE_S)
            trouble.failed("drop", error, now, None)
        finally:
            connections.close_all()

    for _ in range(20):
        together = threading.Barrier(4)
        with ThreadPoolExecutor(4) as threads:
            for each in [threads.submit(fails, together) for _ in range(4)]:
                each.result()
        assert FetchTrouble.objects.get().failures == 4
        trouble.over("drop")
