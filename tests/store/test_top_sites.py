"""An operator's list of sites that all visit holds for every list that is taken or fetched again."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.store import lists, overview
from clearway.store.requests import FeedAddRequest, FeedUpdateRequest


def test_a_site_of_the_operators_is_left_out_and_what_stands_below_it_is_not(
    state: StateDirectory, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phishing-Database/Phishing.Database#452: google.com, gitlab.com, duckduckgo.com stood in a list of phishing."""
    sites = tmp_path / "sites.csv"
    sites.write_text("1,google.com\n2,duckduckgo.com\n")
    monkeypatch.setenv("CLEARWAY_TOP_SITES", str(sites))
    path = tmp_path / "phish.txt"
    path.write_text("gitlab.com\ngoogle.com\nphish.google.com\nevil.top\n")
    os.utime(path, (now.timestamp() - 60,) * 2)
    lists.add(state, FeedAddRequest(name="phish", source=str(path), reason="phishing"), now, "alice")
    assert held(now) == 3
    sites.write_text("google.com\ngitlab.com\n")
    lists.update(state, "phish", FeedUpdateRequest(), now + timedelta(days=1), "alice")
    assert held(now) == 2, "the same list is judged again by other sites"
    sites.unlink()
    with pytest.raises(ClearwayError) as error:
        lists.update(state, "phish", FeedUpdateRequest(), now + timedelta(days=2), "alice")
    assert (error.value.id, str(sites) in error.value.message) == ("feeds.E013", True)
    assert held(now) == 2


def held(now: datetime) -> int:
    return int(next(row["names"] for row in overview.feeds(now)))
