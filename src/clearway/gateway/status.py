"""The document that GET /v1/status answers with, and `clearway status` prints. Its shape is `document`, top to bottom.

Packets and bytes are as on the wire; times are RFC 3339 in UTC; what is not known is null.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearway import _engine
from clearway.config import StateDirectory
from clearway.gateway.base_work import BaseWork
from clearway.gateway.clock import Clock
from clearway.gateway.drop_events import DropEvents
from clearway.gateway.enforced import Watch
from clearway.gateway.enforcer import Enforcer
from clearway.gateway.lifecycle import Lifecycle
from clearway.gateway.options import RunOptions
from clearway.gateway.wire import TheWire
from clearway.policy.model import Prefix, word
from clearway.store import lists, overview, shared_ranges, shared_words, wanted
from clearway.store.change import stamp


@dataclass(frozen=True)
class StatusBoard:
    """Everything that the document is read from. `document` blocks on the database: call it in a thread."""

    options: RunOptions
    state: StateDirectory
    inside: tuple[Prefix, ...]
    since: datetime
    version: str
    lifecycle: Lifecycle
    clock: Clock
    enforcer: Enforcer
    watch: Watch
    base_work: BaseWork
    drop_events: DropEvents
    wire: TheWire

    def document(self) -> dict[str, Any]:
        now = self.clock.now()
        tables = self.enforcer.tables
        shared = shared_ranges.in_force(self.state)
        held_back = [str(entry.prefix) for entry in wanted.held_back(now, self.inside, shared.shared)]
        left_out = lists.left_out(self.state, now, self.inside, self.enforcer.snapshot)
        feeds = overview.feeds(now)
        ranges = shared_ranges.rows(self.state, now)
        problems = self._problems(held_back) + _of_ranges(ranges) + _of_lists(feeds)
        problems += [f"list {name} is not enforced: {error}" for name, error in left_out]
        missing = {name for name, _ in left_out}
        problems += [
            f"list {each.feed} is enforced as it was compiled, but its entries cannot be read: {error}"
            for each, error in lists.unreadable(self.state, now)
            if each.feed not in missing
        ]
        report = self.watch.report
        return {
            "gateway": self._gateway(),
            "health": {"ok": not problems, "problems": problems},
            "links": self.watch.links,
            "links_replaced": self.enforcer.links_replaced,
            "ports": self.wire.ports_document(),
            "link_follow": self.wire.follow_document(),
            "bypass": self._bypass(tables),
            "wanted": report.wanted,
            "enforced": report.enforced,
            "foreign": report.foreign,
            "differences": report.examples,
            "checked_at": _time(report.checked_at),
            "checks": self.watch.checks,
            "mended": {**self.watch.mended, "ports": self.wire.mended},
            "canary": self._canary(),
            "snapshot": self._snapshot(tables),
            "counters": [_counter(*row) for row in tables.counters()],
            "observed": [
                {"reason": word(reason), "packets": n, "bytes": size} for reason, n, size in tables.observed()
            ],
            "facts": {word(fact): {"packets": n, "bytes": size} for fact, (n, size) in sorted(tables.facts().items())},
            "names": self.enforcer.names.document(),
            "lists": self._lists(feeds),
            **self._hits(),
            **self._single_entries(now),
            "held_back": held_back,
            "shared_ranges": ranges,
            "clock_ahead_s": round(self.clock.ahead_ns() / 1e9, 3),
            "events": {
                "file": str(self.drop_events.file.path),
                "written": self.drop_events.file.written,
                "lost": self.drop_events.file.lost,
            },
            "memory_bytes": tables.memory_bytes(),
        }

    def _gateway(self) -> dict[str, Any]:
        loaded = self.enforcer.loaded
        return {
            "name": self.options.name,
            "state": self.lifecycle.state.value,
            "pid": os.getpid(),
            "version": self.version,
            "since": stamp(self.since),
            "inside": self.options.inside,
            "outside": self.options.outside,
            "hook": "xdp" if loaded.xdp else "tcx",
            "hook_asked": self.options.hook,
            "hook_why": loaded.why,
            "xdp_forward": loaded.xdp_forward,
            "observe": self.options.observe,
            "inside_prefixes": [str(prefix) for prefix in self.inside],
            "drop_bogons": self.options.drop_bogons,
        }

    def _problems(self, held_back: list[str]) -> list[str]:
        """Sentences for people; empty when all is well."""
        report = self.watch.report
        problems = [f"{report.wanted - report.enforced} of {report.wanted} wanted entries are not in the kernel"]
        if report.wanted == report.enforced:
            problems = []
        if report.foreign:
            problems.append(f"{report.foreign} entries are in the kernel that nobody wants there")
        problems += report.faults
        problems += [f"canary: {told}" for told in report.canaries_failed]
        problems += self.wire.problems()
        if self.base_work.last_error is not None:
            problems.append(f"the lists could not be brought into the kernel: {self.base_work.last_error}")
        problems += self.enforcer.names.problems()
        problems += [f"the block of {prefix} is held back: {self._why_held(prefix)}" for prefix in held_back]
        if self.drop_events.file.lost:
            problems.append(f"{self.drop_events.file.lost} lines of {self.drop_events.file.path.name} were lost")
        return problems

    def _why_held(self, prefix: str) -> str:
        if any(Prefix.parse(prefix).covers(each) for each in self.inside):
            return "it would cover the inside"
        rule = shared_ranges.in_force(self.state).rule(Prefix.parse(prefix))
        words = shared_words.of_rule(rule, self.clock.now()) if rule is not None else None
        return (
            "it touches {range}, a front end of {vendor} ({source}, {age})".format(**words)
            if words
            else "it may not be"
        )

    def _bypass(self, tables: _engine.Tables) -> dict[str, Any]:
        until_ns = tables.bypass_until()
        on = until_ns > _engine.boot_clock_ns()
        return {"on": on, "until": stamp(self.clock.wall_time(until_ns)) if on else None}

    def _canary(self) -> dict[str, Any]:
        report = self.watch.report
        return {
            "ok": not report.canaries_failed,
            "at": _time(report.checked_at) if report.canaries else None,
            "sent": self.watch.canaries_sent,
            "failed": self.watch.canaries_failed,
        }

    def _lists(self, feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with self.drop_events.turn:
            hits = {name: count.packets for name, count in self.drop_events.hits.by_list.items()}
        return [{**row, "hits": hits.get(row["feed"], 0)} for row in feeds]

    def _single_entries(self, now: datetime) -> dict[str, Any]:
        overlay = self.enforcer.overlay()
        blocks = sum(1 for entry in overlay if entry.block_until and entry.block_until > now)
        exceptions = sum(1 for entry in overlay if entry.exception_until and entry.exception_until > now)
        grants = sum(1 for grant in self.enforcer.green() if grant.until > now)
        return {"overlay": len(overlay), "blocks": blocks, "exceptions": exceptions, "grants": grants}

    def _hits(self) -> dict[str, Any]:
        with self.drop_events.turn:
            hits = self.drop_events.hits
            top = [{**rule.as_json(), **count.as_json()} for rule, count in hits.top()]
            return {"top": top, "hits_since": stamp(hits.since), "hits_unattributed": hits.unattributed}

    def _snapshot(self, tables: _engine.Tables) -> dict[str, Any]:
        snapshot = self.enforcer.snapshot
        return {
            "epoch": tables.epoch,
            "path": str(snapshot.path) if snapshot is not None else None,
            "created": stamp(snapshot.created) if snapshot is not None else None,
            "counts": dict(snapshot.compiled.counts) if snapshot is not None else {},
            "capacity": list(self.enforcer.loaded.capacity),
            "grown": self.enforcer.grown,
            "behind": self.base_work.behind,
        }


def _of_lists(feeds: list[dict[str, Any]]) -> list[str]:
    """Sentences about lists that could not be fetched, wait in quarantine, or have run out."""
    problems = []
    for row in feeds:
        name, trouble, waiting = row["feed"], row["trouble"], row["quarantine"]
        stands = f"the version of {row['fetched_at']} stands until {row['until']}"
        if not row["in_force"]:
            stands = f"the last version ran out at {row['until']}: nothing of it is enforced"
        if waiting is not None:
            told = f"a version waits in quarantine by rule {waiting['rule']}: {waiting['sentence']}"
            problems.append(f"list {name}: {told}; {stands}; clearway feed quarantine show {name}")
        elif trouble is not None:
            times = f"{trouble['failures']} time{'s' if trouble['failures'] > 1 else ''} since {trouble['since']}"
            problems.append(f"list {name} was not renewed, {times}: {trouble['error']['message']}; {stands}")
        elif not row["in_force"]:
            problems.append(f"list {name}: {stands}")
    return problems


def _counter(
    lane: _engine.Lane, direction: _engine.Direction, reason: _engine.DropReason, packets: int, size: int
) -> dict[str, Any]:
    return {
        "lane": word(lane),
        "direction": word(direction),
        "reason": word(reason),
        "packets": packets,
        "bytes": size,
    }


def _time(at: datetime | None) -> str | None:
    return stamp(at) if at is not None else None


def _of_ranges(rows: list[dict[str, Any]]) -> list[str]:
    """Sources of shared ranges that want a look."""
    problems = [f"shared ranges {row['name']} cannot be read: {row['problem']}" for row in rows if row["problem"]]
    return problems + [
        f"shared ranges {row['name']}: the update of {row['rejected']['at']} was not taken, by rule "
        f"{row['rejected']['rule']}: {row['rejected']['detail']}"
        for row in rows
        if row["rejected"]
    ]
