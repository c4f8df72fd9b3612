"""Killed at each write, a decision about a list is taken or not, whole: the next start enforces the old or the new.

After each kill (killing.py) what a start does is done, and what is wanted and compiled is looked at.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from killing import killed_at

from clearway import store
from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy import parts, snapshot
from clearway.store import excluded, lists, quarantine, subscribe, versions, wanted
from clearway.store.change import Change
from clearway.store.models import Decision, Quarantine
from clearway.store.requests import ExcludeRequest, FeedAddRequest, FeedUpdateRequest

ALL = os.environ.get("CLEARWAY_TESTS") == "all"
EACH = 1 if ALL else 7
"""Each n-th write is tried; with CLEARWAY_TESTS=all every one."""
MANY = "".join(f"45.7.{n}.0/24\n" for n in range(40)) + "2a00:db8::/32\n"
STEPS_MAX = 500
Work = Callable[[StateDirectory, Path, datetime], Change]


@dataclass(frozen=True)
class Seen:
    """What stands after a start."""

    decisions: list[str]
    wanted: list[tuple[str, str, bool]]
    compiled: dict[str, Any]
    quarantined: int


def add(state: StateDirectory, source: Path, now: datetime) -> Change:
    request = FeedAddRequest(name="second", source=str(source), reason="phishing", observe=True)
    return lists.add(state, request, now, "alice")


def update(state: StateDirectory, source: Path, now: datetime) -> Change:
    source.write_text(MANY.replace("45.7.1.", "45.8.1."))
    return lists.update(state, "drop", FeedUpdateRequest(), now, "alice")


def condemned(state: StateDirectory, source: Path, now: datetime) -> Change:
    source.write_text("45.7.1.0/24\n")
    with contextlib.suppress(ClearwayError):
        lists.update(state, "drop", FeedUpdateRequest(), now, "alice")
    return Change(0, {})


def release(_state: StateDirectory, _source: Path, now: datetime) -> Change:
    return quarantine.release("drop", now, "bob")


def rollback(state: StateDirectory, _source: Path, now: datetime) -> Change:
    return versions.rollback(state, "drop", "2", now, "bob")


def exclude(_state: StateDirectory, _source: Path, now: datetime) -> Change:
    return excluded.exclude(ExcludeRequest(target="45.7.0.0/20", until="1d"), now, "bob")


def enforce(_state: StateDirectory, _source: Path, now: datetime) -> Change:
    return subscribe.feed_observe("drop", True, now, "bob")


@pytest.mark.parametrize(
    "work, before",
    [
        (add, []),
        (update, []),
        (condemned, []),
        (release, [condemned]),
        (rollback, [update]),
        (exclude, []),
        (enforce, []),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_killed_at_any_write_it_is_the_old_or_the_new_whole(
    state: StateDirectory, tmp_path: Path, now: datetime, work: Work, before: list[Work]
) -> None:
    source = tmp_path / "drop.txt"
    source.write_text(MANY)
    lists.add(state, FeedAddRequest(name="drop", source=str(source), reason="malware"), now, "alice")
    for earlier in before:
        earlier(state, source, now)
    lists.compile_wanted(state, now)
    start = tmp_path / "start"
    _copy(state, start)
    text = source.read_text()
    old = _seen(StateDirectory(start), now)
    outcomes: list[Seen] = []
    for step in range(1, STEPS_MAX, EACH):
        source.write_text(text)
        killed = tmp_path / f"killed-{step}"
        _copy(state, killed)
        finished = killed_at(step, StateDirectory(killed), now, lambda at: work(at, source, now))
        outcomes.append(_seen(StateDirectory(killed), now))
        left = [path.name for path in (killed / "snapshots").iterdir() if path.name.startswith(parts.UNFINISHED)]
        assert not left, "what was half written is removed"
        shutil.rmtree(killed)
        if finished:
            break
    new = outcomes[-1]
    assert finished and new != old
    wrong = [step for step, seen in enumerate(outcomes) if seen not in (old, new)]
    assert not wrong, outcomes[wrong[0]]
    turned = outcomes.index(new)
    assert all(seen == new for seen in outcomes[turned:]), "once it is the new, it stays the new"
    assert len(outcomes) > (20 if ALL else 4), "there were writes to be killed at"


def _copy(state: StateDirectory, to: Path) -> None:
    from django.db import connections

    connections.close_all()
    shutil.copytree(state.path, to, symlinks=True)


def _seen(state: StateDirectory, now: datetime) -> Seen:
    """What a start finds and does."""
    store.setup(state.path)
    held = snapshot.load(lists.compile_wanted(state, now))
    assert lists.left_out(state, now) == []
    return Seen(
        list(Decision.objects.order_by("id").values_list("kind", flat=True)),
        [(each.feed, each.content, each.observe) for each in wanted.lists(now)],
        {**held.compiled.counts, "lists": [(each.name, each.content) for each in held.lists]},
        Quarantine.objects.count(),
    )
