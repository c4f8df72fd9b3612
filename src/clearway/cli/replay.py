"""replay: what the policy would have done to the flows of a capture, with the rule of each; no rights, no kernel."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearway.cli import ask, progress, show
from clearway.cli.inspect import PROGRESS_BYTES_MIN, FileArgument, ended, endpoint, opened, unreadable
from clearway.cli.options import JsonOption, StateOption
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from rich.table import Table

    from clearway.policy.evaluate import Policy
    from clearway.policy.model import Prefix
    from clearway.policy.replay import Judged, Replay, Totals

ROWS_MAX = 1000
"""Dropped flows that the table shows; `--json` tells every flow."""


def replay(
    file: FileArgument,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="SNAPSHOT", help="A compiled policy's folder: its lists alone. Default: what is wanted now."
        ),
    ] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Judge a capture's flows by the reference matcher: forwarded or dropped, by which rule, and in sum.

    Without --policy by the state directory: its current lists, blocks, exceptions and grants. A gateway may have judged
    some flows otherwise: one whose hello or request never became whole, fragments, and what it was too late for.

    Example: clearway replay traffic.pcap --state /var/lib/clearway
    """
    from clearway.policy.replay import Replay

    judges, inside, now = _policy(policy, state)
    inspection = opened(file, sums=True)
    judging = Replay(judges, inside, int(now.timestamp() * 1e9))
    rows: list[Judged] = []
    size = file.stat().st_size if file.is_file() else 0
    with progress.shown(size >= PROGRESS_BYTES_MIN and not (json and sys.stdout.isatty())) as report:
        while True:
            try:
                found = inspection.findings()
            except OSError as error:
                raise unreadable(file, error) from None
            if found is None:
                break
            judging.read(found)
            for flow in inspection.sums():
                judged = judging.end(flow)
                if json:
                    show.line(judged.as_json())
                elif judged.dropped and len(rows) < ROWS_MAX:
                    rows.append(judged)
            report("inspect", inspection.read_bytes, size)
    code = ended(inspection, file)
    if json:
        show.line(judging.totals.as_json())
    else:
        _tell(rows, judging)
    return code


def _policy(snapshot: Path | None, state: Path | None) -> tuple[Policy, list[Prefix], datetime]:
    """The policy, the inside prefixes as far as they are known, and the time that it is judged at."""
    directory = ask.directory(state)
    if snapshot is not None:
        from clearway.policy.evaluate import Policy
        from clearway.policy.replay import lists_of

        try:
            lists, ranges = lists_of(snapshot)
        except ClearwayError as error:
            if error.id in ("policy.E010", "policy.E011"):  # what to do about the gateway's own is no help here
                raise ClearwayError.of("policy.E013", path=snapshot, detail=error.message) from error
            raise
        policy = Policy(lists=lists, shared=ranges.shared, ranges=ranges)
        return policy, ask.inside(directory), datetime.now(UTC)
    now = ask.read_store(directory)
    from clearway.store.replay import of_state

    inside = ask.inside(directory)
    return of_state(directory, now, inside), inside, now


def _tell(rows: list[Judged], judging: Replay) -> None:
    if rows:
        table = show.table("frame", "from", "to", "packets", "name", "why", right=("frame", "packets"))
        for each in rows:
            flow = each.flow
            table.add_row(
                str(flow.frame),
                endpoint(flow.src, flow.sport),
                endpoint(flow.dst, flow.dport),
                show.count(flow.packets),
                show.plain(each.names.refused[0] if each.names.refused else each.names.first or "–"),
                show.plain(each.outcome.why),
            )
        show.put(table)
        print()
    show.put(_sums(judging.totals))
    spared = judging.totals.spared
    if spared:
        words = ", ".join(f"{name} ({show.count(flows)})" for name, flows in spared.most_common())
        print(f"listed, but spared as addresses that many share: {show.count(spared.total())} flows, by {words}")


def _sums(totals: Totals) -> Table:
    table = show.table("would have been", "flows", "packets", "bytes", right=("flows", "packets", "bytes"))
    for key, flows in totals.flows.most_common():
        table.add_row(key, show.count(flows), show.count(totals.packets[key]), show.size(totals.bytes[key]))
    return table
