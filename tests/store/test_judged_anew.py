"""A source that says "nothing new" is judged again where time or an operator has changed what there is to say of it."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.store import lists, overview, protect, wanted
from clearway.store.requests import FeedAddRequest, FeedUpdateRequest, TargetRequest

DAY = timedelta(days=1)


def add(state: StateDirectory, path: Path, text: str, now: datetime) -> None:
    path.write_text(text)
    os.utime(path, (now.timestamp() - 60,) * 2)
    lists.add(state, FeedAddRequest(name="drop", source=str(path), reason="malware"), now, "alice")


def held(state: StateDirectory, now: datetime) -> int:
    return int(next(row["addresses"] for row in overview.feeds(now)))


def test_a_dead_source_grows_old_though_it_answers(state: StateDirectory, tmp_path: Path, now: datetime) -> None:
    """Feodo's file stood still for years and was fetched every day (firehol/blocklist-ipsets#252)."""
    made = int((now - DAY).timestamp())
    rows: list[dict[str, object]] = [{"cidr": f"45.9.{n}.0/24", "sblid": f"SBL{n}"} for n in range(3)]
    rows.append({"type": "metadata", "timestamp": made, "records": 3})
    path = tmp_path / "drop.json"
    add(state, path, "".join(f"{json.dumps(row)}\n" for row in rows), now)
    lists.update(state, "drop", FeedUpdateRequest(), now + 5 * DAY, "alice")
    until = wanted.lists(now + 5 * DAY)[0].until
    with pytest.raises(ClearwayError) as raised:
        lists.update(state, "drop", FeedUpdateRequest(), now + 40 * DAY, "alice")
    assert raised.value.id == "store.E040" and "G8" in raised.value.message
    assert [each.until for each in wanted.lists(now + 6 * DAY)] == [until], "it runs out at its own end"


def test_what_is_protected_meanwhile_is_heard(state: StateDirectory, tmp_path: Path, now: datetime) -> None:
    add(state, tmp_path / "drop.txt", "45.9.1.7\n45.9.2.7\n", now)
    assert held(state, now) == 2
    protect.protect(TargetRequest(target="45.9.2.0/24"), now, "bob")
    lists.update(state, "drop", FeedUpdateRequest(), now + DAY, "alice")
    assert held(state, now + DAY) == 1


def test_an_indicator_ends_at_its_own_time(state: StateDirectory, tmp_path: Path, now: datetime) -> None:
    def indicator(number: int, until: datetime) -> dict[str, str]:
        return {
            "type": "indicator",
            "id": f"indicator--00000000-0000-4000-8000-00000000000{number}",
            "spec_version": "2.1",
            "pattern_type": "stix",
            "pattern": f"[ipv4-addr:value = '45.9.1.{number}']",
            "valid_from": (now - DAY).isoformat().replace("+00:00", "Z"),
            "valid_until": until.isoformat().replace("+00:00", "Z"),
        }

    objects = [indicator(1, now + 2 * DAY), indicator(2, now + 90 * DAY)]
    bundle = {"type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000000", "objects": objects}
    add(state, tmp_path / "stix.json", json.dumps(bundle), now)
    assert held(state, now) == 2
    lists.update(state, "drop", FeedUpdateRequest(), now + 3 * DAY, "alice")
    assert held(state, now + 3 * DAY) == 1
