"""What should be in force at a given time, read from the database. `now` is always an argument.

Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from clearway.policy.model import Prefix
from clearway.store.change import GrantWanted, ListWanted, OverlayWanted, Standing


def overlay(now: datetime, inside: Sequence[Prefix] = ()) -> list[OverlayWanted]:
    """All live single entries, by prefix. Blocks that cover a prefix of `inside` are left out; see held_back."""
    raise NotImplementedError


def overlay_at(prefix: Prefix, now: datetime) -> OverlayWanted | None:
    """The live entry at exactly that prefix; None: the key should not be there."""
    raise NotImplementedError


def held_back(now: datetime, inside: Sequence[Prefix]) -> list[Standing]:
    """Live blocks that cover a prefix of `inside`, stored before the gateway was told of it. Never enforced."""
    raise NotImplementedError


def grants(now: datetime) -> list[GrantWanted]:
    """All live grants, by prefix."""
    raise NotImplementedError


def grant_at(prefix: Prefix, now: datetime) -> GrantWanted | None:
    """The live grant at exactly that prefix."""
    raise NotImplementedError


def lists(now: datetime) -> list[ListWanted]:
    """Lists in force, by name."""
    raise NotImplementedError


def next_list_expiry(now: datetime) -> datetime | None:
    """When the first list in force runs out, and the base must be compiled anew. None: no list is in force."""
    raise NotImplementedError


def touching(prefix: Prefix, now: datetime) -> list[Standing]:
    """Live single entries and grants that cover `prefix` or lie within it; those that cover it first, longest first."""
    raise NotImplementedError


def bypass_until(now: datetime) -> datetime | None:
    """The end of the bypass that was decided last, if that is still to come."""
    raise NotImplementedError
