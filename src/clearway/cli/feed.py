"""feed add, update, set, list, show, enforce, observe, remove: lists from elsewhere. The rest stands in feed_*.py.

A file is read with the caller's rights, here; a URL is fetched by the gateway where one runs. Either way the entries
go into feeds/ first, then the row, then the kernel.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import (
    ask,
    feed_check,
    feed_exclude,
    feed_many,
    feed_options,
    feed_parse,
    feed_quarantine,
    feed_report,
    feed_sources,
    feed_tables,
    feed_versions,
    progress,
    show,
)
from clearway.cli.feed_options import FeedName, KeyFileOption, MapOption, NoteOption, PinOption, ProxyOption, SetOption
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
    help="Lists of addresses or names from elsewhere: taken in, judged, observed, excluded from, compared, removed.",
)


@app.command()
def add(
    name: FeedName,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file, - for standard input, or a URL: https://, axfr://, taxii+https://, misp+https://.",
        ),
    ],
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="R", help=f"{REASONS_HELP} Or a table of them: --map.")
    ] = None,
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
    observe: Annotated[bool, typer.Option("--observe", help="Count and show its hits, and drop nothing.")] = False,
    set: SetOption = None,
    map: MapOption = None,
    pin: PinOption = None,
    proxy: ProxyOption = None,
    key_file: KeyFileOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Take a list from a file or URL, and enforce it; the guard judges it first, and may refuse it whole.

    Example: clearway feed add drop https://www.spamhaus.org/drop/drop.txt --reason malware

    Example: clearway feed add phish /srv/lists/phish.txt --reason phishing --format domains --observe

    Example: clearway feed add iocs /srv/lists/threatfox.csv --map botnet_cc=botnet-c2 --map payload_delivery=malware
    """
    directory = ask.directory(state)
    body = feed_options.add_body(
        name, source, reason, format, every, life, observe, set=set, map=map, pin=pin, proxy=proxy, key_file=key_file
    )
    with progress.shown(not json) as report:
        answer = feed_sources.add(directory, body, report)
    if json:
        show.document(answer)
    else:
        feed_tables.tell_version("observing" if observe else "added", answer, directory)


@app.command()
def update(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all of them.")] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Fetch lists again now. Where one fails or is quarantined, the version before it stays until it runs out.

    Example: clearway feed update drop
    """
    directory = ask.directory(state)
    ask.read_store(directory)
    from clearway.store import subscribe

    return feed_many.update(directory, names or subscribe.renewable(), json)


@app.command("set")
def set_(
    name: FeedName,
    every: Annotated[str | None, typer.Option("--every", metavar="D", help="Fetch it so often.")] = None,
    life: Annotated[str | None, typer.Option("--life", metavar="D", help="Entries live so long.")] = None,
    set: SetOption = None,
    map: MapOption = None,
    pin: PinOption = None,
    proxy: ProxyOption = None,
    key_file: KeyFileOption = None,
    note: NoteOption = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Change what is set for a list; it holds from the next fetch on. A value left empty lifts what was set.

    Example: clearway feed set drop --set shrink=0.3 --set keep=10 --every 6h

    Example: clearway feed set drop --set shrink= --pin ""
    """
    directory = ask.directory(state)
    body: dict[str, Any] = {
        "every": every,
        "life": life,
        "settings": feed_options.settings(set, map, pin, proxy, key_file, lift=True),
        "note": note,
    }
    if every is None and life is None and not body["settings"]:
        message = f"nothing to set for {name} was said; `clearway feed show {name}` shows what is set"
        raise ClearwayError.of("cli.E001", message=message, command="clearway feed set")
    ask.read_store(directory)
    from clearway.store import feed_change, subscribe
    from clearway.store.requests import FeedSetRequest, parse

    subscribe.active(name)
    request = parse(FeedSetRequest, {key: value for key, value in body.items() if value is not None}, "feed set")

    def store(now: datetime, _inside: list[Prefix]) -> Change:
        return feed_change.feed_set(name, request, now, ask.actor())

    answer = ask.change(directory, "POST", f"/v1/feeds/{name}/settings", body, store)
    if json:
        show.document(answer)
        return
    print(f"{'set' if answer['changed'] else 'unchanged'} {name} · decision {answer['decision']}")
    print(f"  every {show.every(answer['every_s'])}, life {show.every(answer['life_s'])}")
    if answer["settings"]:
        print(f"  {feed_tables.settings(answer['settings'])}")
    print("  holds from the next fetch: clearway feed update " + name)


@app.command()
def enforce(name: FeedName, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Drop what an observed list holds, from now on.

    Example: clearway feed enforce drop
    """
    _observed(name, False, note, ask.directory(state), json)


@app.command()
def observe(name: FeedName, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Count and show a list's hits, and drop nothing for it from now on.

    Example: clearway feed observe drop --note "too many complaints"
    """
    _observed(name, True, note, ask.directory(state), json)


def _observed(name: str, observe: bool, note: str, directory: StateDirectory, json: bool) -> None:
    verb = "observe" if observe else "enforce"
    ask.read_store(directory)
    from clearway.store import lists, subscribe

    subscribe.active(name)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        return lists.enforce(directory, subscribe.feed_observe(name, observe, now, ask.actor(), note), now, inside)

    answer = ask.change(directory, "POST", f"/v1/feeds/{name}/{verb}", {"note": note}, store)
    if json:
        show.document(answer)
        return
    print(f"{name} is {verb}d from now on · decision {answer['decision']}")
    feed_tables.tell_force(answer, directory)


@app.command()
def remove(name: FeedName, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
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
    """Show the lists there are, how old they are, what of them was rejected, and when they run out.

    Example: clearway feed list
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import lists, overview

    rows = overview.feeds(now)
    refusals = {name: error.message for name, error in lists.left_out(directory, now, ask.inside(directory))}
    if json:
        show.document({"lists": [{**row, "left_out": refusals.get(row["feed"])} for row in rows]})
    elif not rows:
        print("there is no list yet; `clearway feed add --help` shows how one is added")
    else:
        show.put(*feed_tables.all_lists(rows, refusals, now))


@app.command("show")
def show_(name: FeedName, state: StateOption = None, json: JsonOption = False) -> None:
    """Show one list: where it is from, how it stands, what its guard rejected and why, what is set for it.

    Example: clearway feed show drop
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import lists, overview

    row = overview.feed(name, now)
    refusals = {each: error.message for each, error in lists.left_out(directory, now, ask.inside(directory))}
    if json:
        show.document({**row, "left_out": refusals.get(name)})
    else:
        show.put(*feed_tables.one_list(row, refusals.get(name), now))


app.command()(feed_many.load)
app.command()(feed_versions.versions)
app.command()(feed_versions.diff)
app.command()(feed_versions.rollback)
app.add_typer(feed_quarantine.app, name="quarantine")
app.command()(feed_exclude.exclude)
app.command()(feed_exclude.include)
app.command()(feed_exclude.excluded)
app.add_typer(feed_exclude.protected, name="protected")
app.command()(feed_report.report)
app.command(cls=feed_check.Command)(feed_check.check)
app.command()(feed_parse.parse)
app.command()(feed_parse.formats)
