"""What of lists nobody needs any longer, taken off the disk. Imported after `store.setup`."""

from __future__ import annotations

import contextlib
import shutil
import time
from datetime import datetime
from pathlib import Path

from clearway.config import StateDirectory
from clearway.feeds import kept_source
from clearway.policy import parts
from clearway.store import quarantine, shared_ranges, versions, wanted
from clearway.store.models import Feed

UNUSED_KEPT_S = 3600
"""Entries that no list names stay so long: somebody may be about to write their row."""


def remove(state: StateDirectory, now: datetime) -> None:
    """Removes entries that neither a list in force nor a kept snapshot names, and what a crash left half written."""
    oldest = time.time() - UNUSED_KEPT_S
    old = {path.name for path in state.feeds.iterdir() if _is_older(path, oldest)}
    old -= {each.content for each in wanted.lists(now)}
    if old:  # only then: who else needs them takes some hundred questions to the database
        waiting = quarantine.contents()  # first: what is released meanwhile is a version from then on
        old -= waiting | versions.kept_contents() | shared_ranges.contents() | _in_snapshots(state)
    for name in old:
        with parts.settling(state.feeds):
            if _is_older(state.feeds / name, oldest):  # or somebody found it meanwhile, and is about to need it
                shutil.rmtree(state.feeds / name, ignore_errors=True)
    sources = Feed.objects.filter(removed_at__isnull=True).values_list("source", flat=True)
    kept_source.prune(state.sources, sources, oldest)


def _is_older(path: Path, oldest: float) -> bool:
    with contextlib.suppress(FileNotFoundError):  # what is being written gets another name
        return path.stat().st_mtime < oldest
    return False


def _in_snapshots(state: StateDirectory) -> set[str]:
    """Folders in feeds/ that the kept snapshots need."""
    found: set[str] = set()
    for folder in state.snapshots.glob("*Z-*"):
        with contextlib.suppress(parts.Damaged):
            document = parts.read_manifest(folder)[0]
            found |= {each["content"] for each in document["lists"]}
            ranges = document.get("shared", {}).get("sources", ())
            found |= {content for each in ranges for content in each["claims"].values()}
    return found
