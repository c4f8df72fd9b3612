"""Several lists added and updated at once: one transaction, and each of them taken or refused by itself.

Imported after `store.setup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy.model import Prefix
from clearway.store import lists
from clearway.store.change import Change
from clearway.store.database import told
from clearway.store.requests import FeedBatchRequest, FeedUpdateRequest


@told
def take(
    state: StateDirectory, request: FeedBatchRequest, now: datetime, actor: str, inside: Sequence[Prefix] = ()
) -> list[tuple[str, Change | ClearwayError]]:
    """Each list's name, and what was stored or why it was refused: what lists.add and lists.update raise."""
    found: list[tuple[str, Change | ClearwayError]] = []
    with transaction.atomic():
        for new in request.add:
            try:
                found.append((new.name, lists.add(state, new, now, actor, inside)))
            except ClearwayError as error:
                found.append((new.name, error))
        for name, stored in request.update.items():
            try:
                change = lists.update(state, name, FeedUpdateRequest(stored=stored), now, actor, inside)
                found.append((name, change))
            except ClearwayError as error:
                found.append((name, error))
    return found
