"""Lists from elsewhere, from source to snapshot: fetch, read, keep the arrays, write the row, compile what is wanted.

Used by the daemon and by the command line without one. Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from clearway.config import StateDirectory
from clearway.policy.model import Prefix
from clearway.store.change import Change, ListHit, NewVersion
from clearway.store.requests import FeedAddRequest, FeedUpdateRequest

Progress = Callable[[str, int, int | None], None]
"""Told (step, done, total): "fetch" in bytes (total None when unknown); "read", "store", "compile": 0 of 1, 1 of 1."""


def no_progress(step: str, done: int, total: int | None) -> None:
    """Tells nobody."""


def prepare(
    state: StateDirectory,
    source: str,
    format: str | None,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> tuple[NewVersion, str]:
    """Fetches `source`, reads it whole, keeps its entries in feeds/. No database. The version, and the format found."""
    raise NotImplementedError


def add(
    state: StateDirectory,
    request: FeedAddRequest,
    now: datetime,
    actor: str,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Change:
    """prepare, then decide.feed_add. `request.stored` is taken as it is when it is there."""
    raise NotImplementedError


def update(
    state: StateDirectory,
    name: str,
    request: FeedUpdateRequest,
    now: datetime,
    actor: str,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Change:
    """prepare, then decide.feed_version; base_changed is False when the content is what is in force already."""
    raise NotImplementedError


def due(now: datetime) -> list[str]:
    """Lists whose --every has passed since they were last fetched, by name."""
    raise NotImplementedError


def compile_wanted(
    state: StateDirectory,
    now: datetime,
    inside: Sequence[Prefix] = (),
    progress: Progress = no_progress,
) -> Path:
    """Compiles the lists in force to a snapshot that becomes `current`; the folder. Same lists: the one there is."""
    raise NotImplementedError


def holders(state: StateDirectory, prefix: Prefix, now: datetime) -> list[ListHit]:
    """Entries of lists in force that cover `prefix`, longest first, then at most HITS_MAX a list that lie within it."""
    raise NotImplementedError
