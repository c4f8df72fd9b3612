"""A day of forty lists, by an injected clock: sources that change, fail, recover and lie; entries that run out; people
who release, exclude, observe, roll back and remove; kills amid an update, and restarts. At every step what is wanted
and what is compiled is what a model of dictionaries (day_model.py) says."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from day_model import Held, Model, ModelFeed
from day_sources import TABLE, TARGETS, Source
from django.db import connections
from killing import killed_at

from clearway import store
from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds.feed_settings import FeedSettings
from clearway.policy import evaluate, snapshot
from clearway.policy.model import Prefix
from clearway.policy.snapshot import Snapshot
from clearway.store import excluded, lists, quarantine, replay, subscribe, versions, wanted
from clearway.store.change import Change
from clearway.store.models import Decision, Kind
from clearway.store.requests import ExcludeRequest, FeedAddRequest, FeedRemoveRequest, FeedUpdateRequest

FEEDS = 40
DAY = timedelta(hours=24)
MORNING = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
KILLED, KILL_STEPS = 0.04, 40
"""Of updates so many are killed, at one of so many writes: some before they decide, some while it is compiled."""
SEEDS = range(1, 6) if os.environ.get("CLEARWAY_TESTS") == "all" else [1]


class Day:
    """The store and the model, side by side."""

    def __init__(self, state: StateDirectory, directory: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = MORNING
        self.model = Model()
        self.sources: dict[str, Source] = {}
        self.directory = directory
        self.state = state
        self.seen: dict[str, int] = {}
        for number in range(FEEDS):
            self.add(f"feed-{number}", number)

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def add(self, name: str, number: int) -> None:
        source = Source(number, self.directory / f"{name}.txt", self.dice)
        every = timedelta(hours=self.dice.choice([2, 3, 4, 6, 8]))
        feed = ModelFeed(every, every * self.dice.choice([1, 2]), observe=self.dice.random() < 0.15)
        outcome, held = source._good()
        assert outcome == "good" and held is not None
        table = {"reason": None, "settings": FeedSettings(reasons=TABLE)} if source.format == "csv" else {}
        request = {
            "name": name,
            "source": str(source.path),
            "reason": "malware",
            "format": source.format,
            "every": f"{every // timedelta(hours=1)}h",
            "life": f"{feed.life // timedelta(hours=1)}h",
            "observe": feed.observe,
            **table,
        }
        change = lists.add(self.state, FeedAddRequest.model_validate(request), self.now, "alice")
        self.sources[name], self.model.feeds[name] = source, feed
        self.model.good(name, self.named(held), self.now, change.decision_id)

    def named(self, held: dict[str, Held]) -> dict[str, Held]:
        """By reason; of lists without a table, the one they were added with."""
        return {reason or "malware": each for reason, each in held.items()}

    def update(self, name: str) -> None:
        source = self.sources[name]
        outcome, held = source.publish()
        shown = (name, source.format, source.way)
        feed = self.model.feeds[name]
        named = self.named(held) if held is not None else None
        if self.dice.random() < KILLED:
            self.kill(name, outcome, named)
            return
        refused = named is not None and named in feed.left
        self.count("left" if refused else outcome)
        before = feed.held if feed.until is not None and self.now < feed.until else {}
        try:
            change = lists.update(self.state, name, FeedUpdateRequest(), self.now, "schedule")
        except ClearwayError as error:
            if refused:
                assert error.id == "store.E043", (shown, error.message)
                return
            assert outcome != "good", (shown, error.message)
            assert (error.id == "store.E040") == (outcome == "condemned"), (shown, error.message)
            self.condemned(name, outcome, named)
            return
        assert outcome == "good" and not refused, shown
        assert named is not None
        assert change.base_changed == (before != named), shown
        self.model.good(name, named, self.now, change.decision_id)

    def condemned(self, name: str, outcome: str, named: dict[str, Held] | None) -> None:
        self.model.condemned(name, named, self.now)
        if outcome == "condemned" and named is None:
            self.model.feeds[name].waits = None  # what waits now is what a person would not let through

    def kill(self, name: str, outcome: str, named: dict[str, Held] | None) -> None:
        """In an update or in what follows from it; what was decided then stands whole, or is as if never tried."""

        def work(state: StateDirectory) -> Change:
            with contextlib.suppress(ClearwayError):
                return lists.update(state, name, FeedUpdateRequest(), self.now, "schedule")
            return Change(0, {})

        before = Decision.objects.count()
        ended = killed_at(self.dice.randint(1, KILL_STEPS), self.state, self.now, work)
        store.setup(self.state.path)
        self.count("killed" if not ended else "not killed")
        last = Decision.objects.order_by("-id").first()
        assert last is not None
        decided = Decision.objects.count() - before
        assert decided <= 1 and (not decided or last.target == name)
        if decided and last.kind == Kind.FEED_VERSION:
            assert outcome == "good" and named is not None and named not in self.model.feeds[name].left
            self.model.good(name, named, self.now, last.pk)
        elif decided:
            assert (last.kind, outcome) == (Kind.FEED_QUARANTINE, "condemned")
            self.condemned(name, outcome, named)

    def restart(self) -> None:
        """On what lies on the disk; now and then without what was compiled."""
        connections.close_all()
        store.setup(self.state.path)
        if self.dice.random() < 0.5:
            shutil.rmtree(self.state.snapshots)
            self.state.create()
        self.count("restarted")

    def rollback(self, name: str) -> None:
        """To any version that is kept and is not in force."""
        rows = [row for row in versions.listed(self.state, name, self.now) if row["held"] and not row["wanted"]]
        if rows:
            number = self.dice.choice(rows)["version"]
            change = versions.rollback(self.state, name, str(number), self.now, "bob")
            self.model.rollback(name, number, self.now)
            feed = self.model.feeds[name]
            assert feed.taken_at is not None
            feed.taken[change.decision_id] = feed.held, feed.taken_at
            self.count("rolled back")

    def people(self) -> None:
        """Now and then somebody decides."""
        live = sorted(self.model.feeds)
        waiting = [name for name in live if self.model.feeds[name].waits is not None]
        if waiting and self.dice.random() < 0.5:
            name = self.dice.choice(waiting)
            change = quarantine.release(name, self.now, "bob")
            self.model.release(name, self.now, change.decision_id)
            self.count("released")
        if self.dice.random() < 0.4:
            self.exclude()
        if self.dice.random() < 0.15:
            name = self.dice.choice(live)
            self.model.feeds[name].observe = not self.model.feeds[name].observe
            subscribe.feed_observe(name, self.model.feeds[name].observe, self.now, "bob")
            self.count("observed")
        if self.dice.random() < 0.4:
            self.rollback(self.dice.choice(live))
        if self.dice.random() < 0.3:
            self.restart()
        if self.dice.random() < 0.1:
            name = self.dice.choice(live)
            lists.remove(name, FeedRemoveRequest(), self.now, "bob")
            del self.model.feeds[name], self.sources[name]
            self.count("removed")

    def exclude(self) -> None:
        target = self.dice.choice([*TARGETS, "45.95.3.0/24", "45.95.0.0/21", "2a0d:5600::/32"])
        is_name = target[-1].isalpha()
        scope = self.dice.choice(["exact", "below", "subtree"]) if is_name else ""
        hours = self.dice.choice([1, 2, 5])
        request = ExcludeRequest.model_validate({"target": target, "until": f"{hours}h", "scope": scope or None})
        excluded.exclude(request, self.now, "bob")
        self.model.excluded = {entry: until for entry, until in self.model.excluded.items() if entry[0] != target}
        self.model.excluded[target, scope] = self.now + timedelta(hours=hours)
        self.count("excluded")

    def check(self) -> None:
        found = {(each.feed, each.reason, each.until) for each in wanted.lists(self.now)}
        assert found == self.model.in_force(self.now)
        held = snapshot.load(lists.compile_wanted(self.state, self.now))
        wrong = [
            (target, should)
            for target in TARGETS
            if refuses(held, target) != (should := self.model.refuses(target, self.now))
        ]
        assert wrong == [], f"at {self.now}: {wrong}"

    def check_evaluator(self) -> None:
        """The reference evaluator says the same of the same lists."""
        policy = replay.of_state(self.state, self.now, [])
        for target in TARGETS:
            is_name = target[-1].isalpha()
            found = evaluate.list_name_rule(policy, target) if is_name else None
            rule = found or (None if is_name else evaluate.base_rule(policy, Prefix.parse(target)))
            said = rule[0] if rule else None
            assert bool(said and not said.exception) == self.model.refuses(target, self.now), target


def refuses(held: Snapshot, target: str) -> bool:
    """As the kernel and the inspector read it: cell, then bitmap; the set of names."""
    if target[-1].isalpha():
        found = held.names.opened().find(target) if held.names else None
        return found is not None and not found.exception and not found.observe
    asked = Prefix.parse(target)
    base = held.compiled
    if asked.version == 6:
        rows = {(int(r["high"]), int(r["low"]), int(r["length"])): int(r["listed"]) == 1 for r in base.v6_slots}
        for length in base.v6_lengths:
            cut = Prefix.cut(6, asked.address, length)
            key = (cut.address >> 64, cut.address & (1 << 64) - 1, length)
            if key in rows:
                return rows[key]
        return False
    at = int(np.searchsorted(base.v4_cell_numbers, asked.address >> 8))
    if at == len(base.v4_cell_numbers) or base.v4_cell_numbers[at] != asked.address >> 8:
        return False
    cell, bit = int(base.v4_cells[at]), asked.address & 255
    if cell < 256:
        return cell == 1
    words = base.v4_bitmaps[cell - 256]
    words = words & ~base.v4_observed[cell - 256] if len(base.v4_observed) else words
    return bool(int(words[bit >> 6]) >> (bit & 63) & 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_enforced_is_what_the_model_says_all_day(state: StateDirectory, tmp_path: Path, seed: int) -> None:
    with mock.patch("os.fsync"):  # nothing here is about a loss of power
        spend(Day(state, tmp_path, seed))


def spend(day: Day) -> None:
    day.check()
    while day.now < MORNING + DAY:
        day.now += timedelta(minutes=day.dice.choice([20, 30, 45, 60]))
        due = {each.name for each in lists.due(day.now)}
        assert due == day.model.due(day.now)
        for name in sorted(due):
            day.update(name)
        day.people()
        day.check()
    day.check_evaluator()
    assert (
        day.seen["good"] > FEEDS
        and min(
            day.seen.get(each, 0) for each in ("failed", "condemned", "excluded", "killed", "restarted", "rolled back")
        )
        > 3
    )
