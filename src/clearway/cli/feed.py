"""feed add, list, update, remove: lists from elsewhere.

A file is read with the caller's rights, here; a URL is fetched by the gateway where one runs. Either way the entries
go into feeds/ first, then the row, then the kernel.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import ask, feed_check, feed_parse, progress, show
from clearway.cli.options import REASONS_HELP, JsonOption, StateOption
from clearway.config import FILE_LIFE, URL_EVERY, StateDirectory
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from clearway.policy.model import Prefix
    from clearway.store.change import Change

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Lists of addresses or names from elsewhere: add, list, update, remove; parse and formats show what is read.",
)

app.command()(feed_parse.parse)
app.command()(feed_check.check)
app.command()(feed_parse.formats)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, dots, dashes.")]


@app.command()
def add(
    name: Name,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file, or an address that begins with https://.")],
    reason: Annotated[str, typer.Option("--reason", metavar="R", help=REASONS_HELP)],
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="A word of `clearway feed formats`; else found from its look."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="D", help=f"Fetch it so often; a URL by default {URL_EVERY.default}."),
    ] = None,
    life: Annotated[
        str | None,
        typer.Option(
            "--life", metavar="D", help=f"Entries live so long; default {FILE_LIFE.default}, of a URL 2 × --every."
        ),
    ] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Take a list from a file or URL, and enforce it.

    Example: clearway feed add drop https://www.spamhaus.org/drop/drop.txt --reason malware

    Example: clearway feed add phish /srv/lists/phish.txt --reason phishing --format domains
    """
    directory = ask.directory(state)
    body: dict[str, Any] = {
        "name": name,
        "source": source,
        "reason": reason,
        "format": format,
        "every": every,
        "life": life,
    }
    now = ask.open_store(directory)
    from clearway.store import subscribe
    from clearway.store.requests import FeedAddRequest, parse

    request = parse(FeedAddRequest, {key: value for key, value in body.items() if value is not None}, "feed add")
    subscribe.check_new(request)
    with progress.shown(not json) as report:
        body |= _prepared(directory, source, format, report)

        def store(now: datetime, inside: list[Prefix]) -> Change:
            from clearway.store import lists

            prepared = parse(FeedAddRequest, {key: value for key, value in body.items() if value is not None})
            change = lists.add(directory, prepared, now, ask.actor(), inside, report)
            return lists.enforce(directory, change, now, inside, report)

        report("enforce", 0, 1)
        answer = ask.change(directory, "POST", "/v1/feeds", body, store)
    if json:
        show.document(answer)
    else:
        _tell("added", answer, directory, now)


@app.command()
def update(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all of them.")] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Fetch lists again now. Where one fails, the version before it stays in force until it runs out.

    Example: clearway feed update drop
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import overview

    answers: list[dict[str, Any]] = []
    code = 0
    for name in names or [row["feed"] for row in overview.feeds(now)]:
        try:
            with progress.shown(not json) as report:
                answers.append(_update(directory, name, report))
        except ClearwayError as error:
            code = max(code, error.exit_code)
            answers.append({"feed": name, **error.as_json()})
            if not json:
                show.error(error, False)
        else:
            if not json:
                _tell("unchanged" if answers[-1].get("unchanged") else "updated", answers[-1], directory, now)
    if json:
        show.document({"lists": answers})
    return code


@app.command()
def remove(
    name: Name,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever reads the history.")] = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Enforce a list no longer.

    Example: clearway feed remove drop
    """
    directory = ask.directory(state)
    body = {"note": note}
    ask.read_store(directory)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        from clearway.store import lists
        from clearway.store.requests import FeedRemoveRequest, parse

        change = lists.remove(name, parse(FeedRemoveRequest, body, "feed remove"), now, ask.actor())
        return lists.enforce(directory, change, now, inside)

    from clearway.store import subscribe

    subscribe.active(name)
    answer = ask.change(directory, "DELETE", f"/v1/feeds/{name}", body, store)
    if json:
        show.document(answer)
        return
    print(f"removed {name} · decision {answer['decision']}")
    print("  no longer in force" if answer["enforced"] else f"  stored in {directory.path}; no gateway runs there")


@app.command("list")
def list_(state: StateOption = None, json: JsonOption = False) -> None:
    """Show the lists there are, how old they are and when they run out.

    Example: clearway feed list
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import lists, overview

    rows = overview.feeds(now)
    refusals = {name: error.message for name, error in lists.left_out(directory, now, ask.inside(directory))}
    if json:
        show.document({"lists": [{**row, "left_out": refusals.get(row["feed"])} for row in rows]})
        return
    if not rows:
        print("there is no list yet; `clearway feed add --help` shows how one is added")
        return
    columns = ("list", "reason", "addresses", "names", "fetched", "runs out", "every", "source")
    table = show.table(*columns, right=("addresses", "names"))
    for row in rows:
        ends = show.left(row["until"], now)
        table.add_row(
            row["feed"],
            row["reason"],
            show.count(row["addresses"]),
            show.count(row["names"]),
            show.ago(row["fetched_at"], now),
            ends if row["in_force"] else f"[red]{ends}[/red]",
            show.every(row["every_s"]),
            show.plain(row["source"]),
        )
    show.put(table, *(f"[red]{name} is not enforced: {show.plain(why)}[/red]" for name, why in refusals.items()))


def _prepared(directory: StateDirectory, source: str, format: str | None, report: progress.Report) -> dict[str, Any]:
    """`stored` and `format` for a request, where the entries are to be read here; {} where the gateway fetches them."""
    from dataclasses import asdict

    from clearway.feeds.fetch import is_url
    from clearway.store import lists

    if is_url(source) and ask.gateway_runs(directory):
        return {}
    version, found = lists.prepare(directory, source, format, ask.inside(directory), report)
    return {"stored": asdict(version), "format": found}


def _update(directory: StateDirectory, name: str, report: progress.Report) -> dict[str, Any]:
    from clearway.store import lists
    from clearway.store.requests import FeedUpdateRequest, parse

    source, format = lists.source_of(name)
    prepared = _prepared(directory, source, format, report)
    body = {"stored": prepared["stored"]} if prepared else {}

    def store(now: datetime, inside: list[Prefix]) -> Change:
        change = lists.update(directory, name, parse(FeedUpdateRequest, body), now, ask.actor(), inside, report)
        return lists.enforce(directory, change, now, inside, report)

    report("enforce", 0, 1)
    return ask.change(directory, "POST", f"/v1/feeds/{name}/update", body, store)


def _tell(verb: str, answer: dict[str, Any], directory: StateDirectory, now: datetime) -> None:
    counts = answer["counts"]
    addresses = counts.get("v4", 0) + counts.get("v6", 0)
    names = counts.get("names", 0)
    held = [f"{show.count(names)} names"] if names else []
    if addresses or not names:
        held.append(f"{show.count(addresses)} {'addresses' if names else 'entries'}")
    words = [f"{verb} {answer['feed']}", *held, answer["reason"]]
    words.append(f"until {show.moment(answer['until'])} ({show.left(answer['until'], now)})")
    words.append(f"decision {answer['decision']}")
    print(" · ".join(words))
    print("  in force" if answer["enforced"] else f"  stored in {directory.path}; no gateway runs there")
    for key in ("malformed", "unsupported"):
        if counts.get(key):
            print(f"  {show.count(counts[key])} {key} lines, left out")
