"""feed exclude, include, excluded, protected: what lists may not refuse, for a while or ever."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import ask, show
from clearway.cli.feed_options import NoteOption
from clearway.cli.options import SCOPE_HELP, UNTIL_HELP, JsonOption, StateOption
from clearway.config import StateDirectory

if TYPE_CHECKING:
    from clearway.policy.model import Prefix
    from clearway.store.change import Change

Target = Annotated[str, typer.Argument(metavar="ADDRESS|PREFIX|NAME", help="5.9.1.1, 5.9.0.0/16, good.example.")]
protected = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="What no list may hold: what comes with the package, this network, and what its operator adds or takes out.",
)


def exclude(
    target: Target,
    until: Annotated[str, typer.Option("--until", metavar="T", help=UNTIL_HELP)],
    scope: Annotated[str | None, typer.Option("--scope", metavar="S", help=SCOPE_HELP)] = None,
    note: NoteOption = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Spare an address, prefix or name from all lists until then: a false positive. A block of yours still counts.

    Example: clearway feed exclude 5.9.1.1 --until 30d --note "shop.example, moved there"

    Example: clearway feed exclude cdn.good.example --until 7d
    """
    directory = ask.directory(state)
    body = {"target": target, "until": until, "scope": scope, "note": note}
    ask.open_store(directory)
    from clearway.store import excluded, lists
    from clearway.store.requests import ExcludeRequest, parse

    request = parse(ExcludeRequest, {key: value for key, value in body.items() if value is not None}, "feed exclude")
    asked = excluded.target_of(request.target, request.scope)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        change = excluded.exclude(request, now, ask.actor(), _hits(directory, asked, now))
        return lists.enforce(directory, change, now, inside)

    answer = ask.change(directory, "POST", "/v1/excluded", body, store)
    if json:
        show.document(answer)
        return
    print(f"excluded {answer['target']} · until {show.moment(answer['until'])} · decision {answer['decision']}")
    _tell(answer, directory, "spared from lists")


def include(target: Target, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Lift an exclusion: lists count there again.

    Example: clearway feed include 5.9.1.1
    """
    directory = ask.directory(state)
    body = {"target": target, "note": note}
    ask.read_store(directory)
    from clearway.store import excluded, lists
    from clearway.store.requests import TargetRequest, parse

    request = parse(TargetRequest, body, "feed include")

    def store(now: datetime, inside: list[Prefix]) -> Change:
        return lists.enforce(directory, excluded.include(request, now, ask.actor()), now, inside)

    answer = ask.change(directory, "DELETE", "/v1/excluded", body, store)
    if json:
        show.document(answer)
        return
    print(f"included {answer['target']} again · decision {answer['decision']}")
    _tell(answer, directory, "lists count there again")


def excluded(state: StateOption = None, json: JsonOption = False) -> None:
    """Show what is spared from all lists, until when, and on whose word.

    Example: clearway feed excluded
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.store import excluded as store_excluded

    rows = store_excluded.listed(now)
    if json:
        show.document({"excluded": rows})
        return
    if not rows:
        print("nothing is excluded from lists")
        return
    table = show.table("excluded", "scope", "until, UTC", "by", "decision", "note", right=("decision",))
    for row in rows:
        until = show.moment(row["until"], zone=False)
        table.add_row(
            row["target"], row["scope"] or "", until, row["by"], str(row["decision"]), show.plain(row["note"])
        )
    show.put(table)


@protected.command("add")
def protect(target: Target, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Let no list hold it, from the next fetch of each on.

    Example: clearway feed protected add 5.9.0.0/16 --note "our hosting"
    """
    _protection("POST", target, note, ask.directory(state), json)


@protected.command("remove")
def unprotect(target: Target, note: NoteOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Let lists hold it: lift an addition, or take it out of what comes with the package, a prefix with all in it.

    Example: clearway feed protected remove 9.9.9.9
    """
    _protection("DELETE", target, note, ask.directory(state), json)


@protected.command("list")
def list_(state: StateOption = None, json: JsonOption = False) -> None:
    """Show what no list may hold, by which rule, and who says so.

    Example: clearway feed protected list
    """
    directory = ask.directory(state)
    now = ask.open_store(directory)
    from clearway.store import protect as store_protect

    rows = store_protect.listed(now, ask.inside(directory))
    if json:
        show.document({"protected": rows})
        return
    table = show.table("protected", "rule", "on whose word")
    for row in rows:
        case = "[yellow]taken out[/yellow]" if row["removed"] else row["case"]
        table.add_row(show.plain(row["value"]), case, show.plain(row["source"]))
    show.put(table, "[dim]besides: public suffixes, shared ranges of CDNs and clouds[/dim]")


def _protection(method: str, target: str, note: str, directory: StateDirectory, json: bool) -> None:
    body = {"target": target, "note": note}
    ask.open_store(directory)
    from clearway.store import excluded as store_excluded
    from clearway.store import protect as store_protect
    from clearway.store.requests import TargetRequest, parse

    adds = method == "POST"
    request = parse(TargetRequest, body, f"feed protected {'add' if adds else 'remove'}")
    asked = store_excluded.target_of(request.target, None)

    def store(now: datetime, _inside: list[Prefix]) -> Change:
        if adds:
            return store_protect.protect(request, now, ask.actor(), _hits(directory, asked, now))
        return store_protect.unprotect(request, now, ask.actor())

    answer = ask.change(directory, method, "/v1/protected", body, store)
    if json:
        show.document(answer)
        return
    print(f"{answer['target']} is {'protected' if adds else 'no longer protected'} · decision {answer['decision']}")
    if answer.get("warning"):
        print(f"  {answer['warning']}")


def _hits(directory: StateDirectory, target: Any, now: datetime) -> Any:
    from clearway.policy.model import Prefix
    from clearway.store import lists

    holders = lists.holders if isinstance(target, Prefix) else lists.name_holders
    return holders(directory, target, now)


def _tell(answer: dict[str, Any], directory: StateDirectory, done: str) -> None:
    if answer.get("held_by"):
        print(f"  held by {answer['held_by']}")
    if answer.get("warning"):
        print(f"  {answer['warning']}")
    print(f"  {done}" if answer["enforced"] else f"  stored in {directory.path}; no gateway runs there")
