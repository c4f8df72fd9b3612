"""feed quarantine list, show, release, discard: what the guard condemned, and a person's word on it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from clearway.cli import ask, feed_tables, show
from clearway.cli.feed_options import FeedName, NoteOption
from clearway.cli.options import JsonOption, StateOption

if TYPE_CHECKING:
    from clearway.policy.model import Prefix
    from clearway.store.change import Change

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Versions of lists that the guard condemned: look at them, take them all the same, or not.",
)
PAST_MAX = 50


@app.command("list")
def list_(
    all: Annotated[bool, typer.Option("--all", help="Also those that were decided about, or passed.")] = False,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show what waits in quarantine.

    Example: clearway feed quarantine list
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import quarantine

    rows = quarantine.past(PAST_MAX) if all else quarantine.waiting()
    if json:
        show.document({"quarantine": rows})
        return
    if not rows:
        print("nothing is in quarantine")
        return
    table = show.table("list", "since", "rule", "state", "decision", "because", right=("decision",))
    for row in rows:
        since = show.ago(row["at"], now)
        table.add_row(
            row["feed"], since, row["rule"] or "", row["state"], str(row["decision"]), show.plain(row["sentence"])
        )
    show.put(table)


@app.command("show")
def show_(name: FeedName, state: StateOption = None, json: JsonOption = False) -> None:
    """Show why the newest condemned version of a list was condemned, and what it would have brought.

    Example: clearway feed quarantine show drop
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import quarantine

    row = quarantine.shown(name)
    if json:
        show.document(row)
        return
    judgement, counts = row["judgement"], row["counts"]
    lines = [
        f"{name}: {row['state']} since {show.moment(row['at'])} ({show.ago(row['at'], now)})",
        f"  decision {row['decision']}",
        f"  from {row['origin']}",
        *(f"  {each['rule']}: {each['sentence']}: {each['seen']}" for each in judgement.get("findings", ())),
    ]
    if row["entries_kept"]:
        addresses = counts.get("v4", 0) + counts.get("v6", 0)
        lines.append(f"  released, it would bring {show.held(addresses, counts['names'])}")
    else:
        lines.append("  nothing in it could be enforced: it cannot be released")
    if row.get("decided_by"):
        lines.append(f"  {row['state']} by {row['decided_by']} at {show.moment(row['decided_at'])} {row['note']}")
    show.put(*(show.plain(line) for line in lines), *feed_tables.rejected(judgement))


@app.command()
def release(name: FeedName, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Enforce what waits in quarantine of a list, without the entries that no list may hold.

    Example: clearway feed quarantine release drop --note "the publisher merged two lists"
    """
    directory = ask.directory(state)
    ask.read_store(directory)
    from clearway.store import lists, quarantine

    quarantine.waiting(name)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        return lists.enforce(directory, quarantine.release(name, now, ask.actor(), note), now, inside)

    answer = ask.change(directory, "POST", f"/v1/feeds/{name}/release", {"note": note}, store)
    if json:
        show.document(answer)
    else:
        feed_tables.tell_version("released", answer, directory)


@app.command()
def discard(name: FeedName, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Take nothing of it; the same bytes raise no second alarm.

    Example: clearway feed quarantine discard drop
    """
    directory = ask.directory(state)
    ask.read_store(directory)
    from clearway.store import quarantine

    quarantine.waiting(name)

    def store(now: datetime, _inside: list[Prefix]) -> Change:
        return quarantine.discard(name, now, ask.actor(), note)

    answer = ask.change(directory, "POST", f"/v1/feeds/{name}/discard", {"note": note}, store)
    if json:
        show.document(answer)
    else:
        print(f"discarded what waited of {name} · decision {answer['decision']}")
