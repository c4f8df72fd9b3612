"""feed versions, diff, rollback: what a list was before, and going back to it."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from clearway.cli import ask, feed_tables, show
from clearway.cli.feed_options import FeedName, NoteOption
from clearway.cli.options import JsonOption, StateOption

if TYPE_CHECKING:
    from clearway.policy.model import Prefix
    from clearway.store.change import Change

SHOWN_MAX = 40
"""Entries of a difference on a screen; all of them with --json."""
VERSION_HELP = "A number of `feed versions`, or 8 digits or more of a content."


def versions(name: FeedName, state: StateOption = None, json: JsonOption = False) -> None:
    """Show the versions of a list that are kept, newest first.

    Example: clearway feed versions drop
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import versions as store_versions

    rows = store_versions.listed(directory, name, now)
    if json:
        show.document({"feed": name, "versions": rows})
        return
    columns = ("version", "content", "entries", "fetched", "", "by", "from")
    table = show.table(*columns, right=("version", "entries"))
    for row in rows:
        counts = row["counts"]
        entries = counts.get("v4", 0) + counts.get("v6", 0) + counts.get("names", 0)
        words = ["[green]wanted[/green]" if row["wanted"] else "", "[yellow]left[/yellow]" if row["refused"] else ""]
        words += [] if row["held"] else ["[red]entries missing[/red]"]
        table.add_row(
            str(row["version"]),
            row["content"][:12],
            show.count(entries),
            show.ago(row["fetched_at"], now),
            " ".join(word for word in words if word),
            f"{row['kind']} by {row['actor']}",
            show.plain(row["origin"]),
        )
    show.put(table)


def diff(
    name: FeedName,
    old: Annotated[str | None, typer.Argument(metavar="[OLD]", help=f"{VERSION_HELP} The one before NEW.")] = None,
    new: Annotated[str | None, typer.Argument(metavar="[NEW]", help="Default: the newest.")] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a version of a list has and another has not: counts, then entries.

    Example: clearway feed diff drop

    Example: clearway feed diff drop 17 --json
    """
    directory = ask.directory(state)
    ask.read_store(directory)
    from clearway.store.version_diff import diff as store_diff

    found = store_diff(directory, name, old, new)
    counts = found.counts()
    if json:
        show.line(counts)
        for entry in found.entries():
            show.line(entry)
        return
    if counts["old"] == counts["new"]:
        print(f"{name}: version {counts['new']} is the only one that is kept" if old is None else "that is one version")
        return
    print(f"{name}: version {counts['old']} → {counts['new']}")
    for side, sign in (("removed", "-"), ("added", "+")):
        print(f"  {sign} {show.held(**counts[side])} {side}")
    for entry in islice(found.entries(), SHOWN_MAX):
        scope = {"subtree": " and below", "below": " below it alone"}.get(entry["scope"] or "", "")
        print(f"{'+' if entry['change'] == 'added' else '-'} {entry['value']}{scope}")
    more = sum(sum(counts[side].values()) for side in ("added", "removed")) - SHOWN_MAX
    if more > 0:
        print(f"  {show.count(more)} more; --json prints all")


def rollback(
    name: FeedName,
    version: Annotated[str, typer.Argument(metavar="VERSION", help=VERSION_HELP)],
    note: NoteOption = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Go back to an older version of a list.

    The version that is left is not taken again, by schedule or `feed update`, while its source still gives it; the
    first other one is judged and taken as ever. The older one lives as long as a new one would. To go forward: the same
    command with the newer version.

    Example: clearway feed rollback drop 17 --note "half of our customers are in the new one"
    """
    directory = ask.directory(state)
    body = {"version": version, "note": note}
    ask.read_store(directory)
    from clearway.store import lists, subscribe
    from clearway.store import versions as store_versions
    from clearway.store.requests import FeedRollbackRequest, parse

    subscribe.active(name)
    request = parse(FeedRollbackRequest, body, "feed rollback")

    def store(now: datetime, inside: list[Prefix]) -> Change:
        change = store_versions.rollback(directory, name, request.version, now, ask.actor(), note)
        return lists.enforce(directory, change, now, inside)

    answer = ask.change(directory, "POST", f"/v1/feeds/{name}/rollback", body, store)
    if json:
        show.document(answer)
        return
    feed_tables.tell_version("rolled back", answer, directory)
    print(f"  version {answer['from']['version']} is not taken again, until somebody goes back to it")
