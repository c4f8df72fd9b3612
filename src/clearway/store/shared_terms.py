"""Whether a compiled policy is still of the shared ranges that count, and of hosts that do. After `store.setup`."""

from __future__ import annotations

from datetime import datetime

from clearway.config import StateDirectory
from clearway.policy.shared_mask import CLOUD_HOST_LIFE
from clearway.policy.shared_sources import SharedRecord
from clearway.policy.snapshot import Snapshot
from clearway.store import shared_ranges, wanted
from clearway.store.database import told


@told
def changed(state: StateDirectory, held: Snapshot | None, now: datetime) -> bool:
    """Whether `held` was compiled under other ranges, or has hosts in clouds of a list that is older than a day now."""
    if held is None:
        return False
    if held.shared.content != SharedRecord.of(shared_ranges.in_force(state)).content:
        return True
    counts = {(each.feed, each.content): now < each.fetched_at + CLOUD_HOST_LIFE for each in wanted.lists(now)}
    return any(counts.get((each.name, each.content), each.cloud_hosts) != each.cloud_hosts for each in held.lists)
