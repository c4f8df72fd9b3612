"""Decisions: each is checked, becomes a row, and comes back as the Change that the kernel has yet to see.

Pure of kernel and network. A refusal raises and stores nothing. Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from clearway.policy.model import Prefix
from clearway.store.change import Change, ListHit, NewVersion
from clearway.store.requests import (
    BlockRequest,
    BypassRequest,
    FeedAddRequest,
    GrantRequest,
    RevokeRequest,
    UnblockRequest,
)

Holders = Callable[[Prefix], Sequence[ListHit]]
"""Which lists in force hold an address or prefix: lists.holders with its other arguments bound."""


def block(request: BlockRequest, now: datetime, actor: str, *, inside: Sequence[Prefix] = ()) -> Change:
    """Refuses a prefix. Raises store.E021 (too wide), E022 (covers the inside), E023 (a name), E024 (full)."""
    raise NotImplementedError


def unblock(request: UnblockRequest, now: datetime, actor: str, *, holders: Holders) -> Change:
    """Lifts a manual block, or writes an exception where a list or a wider block still holds the target.

    Raises store.E026 (an exception is needed, and no `until` given), E027 (nothing blocks it).
    """
    raise NotImplementedError


def grant(request: GrantRequest, now: datetime, actor: str) -> Change:
    """Puts a prefix into the green lane. Raises store.E021 (too wide), E025 (full)."""
    raise NotImplementedError


def revoke(request: RevokeRequest, now: datetime, actor: str) -> Change:
    """Takes a prefix out of the green lane. Raises store.E028 (no grant at exactly that prefix)."""
    raise NotImplementedError


def feed_add(request: FeedAddRequest, version: NewVersion, now: datetime, actor: str) -> Change:
    """A list and its first version. Raises store.E029 (the name is taken). lists.add does all of it."""
    raise NotImplementedError


def feed_version(name: str, version: NewVersion, now: datetime, actor: str) -> Change:
    """A new version of a list. Raises store.E030 (no such list). lists.update does all of it."""
    raise NotImplementedError


def feed_remove(name: str, now: datetime, actor: str, note: str = "") -> Change:
    """Enforces a list no longer. Raises store.E030 (no such list)."""
    raise NotImplementedError


def bypass(request: BypassRequest, now: datetime, actor: str) -> Change:
    """A plain wire until now + duration, or no longer; Change.bypass_until."""
    raise NotImplementedError
