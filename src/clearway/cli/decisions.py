"""block, unblock, grant, revoke: one decision each, enforced by the running gateway or stored for the next one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import ask, show
from clearway.cli.options import REASONS_HELP, SCOPE_HELP, UNTIL_HELP, JsonOption, StateOption

if TYPE_CHECKING:
    from clearway.policy.model import Prefix
    from clearway.store.change import Change

Target = Annotated[
    str,
    typer.Argument(metavar="ADDRESS|PREFIX|NAME", help="192.0.2.7, 192.0.2.0/24, 2001:db8::/32, bad.example."),
]
Scope = Annotated[str | None, typer.Option("--scope", metavar="S", help=SCOPE_HELP)]
InsidePrefix = Annotated[str, typer.Argument(metavar="PREFIX", help="An address or prefix inside.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever reads the history.")]


def block(
    target: Target,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help=REASONS_HELP)],
    until: Annotated[str, typer.Option("--until", metavar="T", help=UNTIL_HELP)],
    scope: Scope = None,
    note: Note = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Refuse an address or prefix, in both directions, or a name with everything below it, until a given time.

    Example: clearway block 192.0.2.7 --reason brute-force --until 2h

    Example: clearway block login.bad.example --reason phishing --until 7d --scope exact
    """
    directory = ask.directory(state)
    body = {"target": target, "reason": reason, "until": until, "scope": scope, "note": note}

    def store(now: datetime, inside: list[Prefix]) -> Change:
        from clearway.store import decide, shared_ranges
        from clearway.store.requests import BlockRequest, parse

        request, ranges = parse(BlockRequest, body, "block"), shared_ranges.in_force(directory)
        return decide.block(request, now, ask.actor(), inside=inside, shared=ranges)

    _tell(ask.change(directory, "POST", "/v1/block", body, store), json, str(directory.path))


def unblock(
    target: Target,
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help=f"Needed where a list holds it. {UNTIL_HELP}")
    ] = None,
    scope: Scope = None,
    note: Note = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Lift a block. Where a list, or the block of something wider, still holds the target, spare it until --until.

    An exception of a name spares everything below it too, unless --scope says otherwise.

    Example: clearway unblock 192.0.2.7 --until 7d --note "customer's mail server, cleaned"
    """
    directory = ask.directory(state)
    body = {"target": target, "until": until, "scope": scope, "note": note}

    def store(now: datetime, inside: list[Prefix]) -> Change:
        from clearway.store import decide, lists
        from clearway.store.requests import UnblockRequest, parse

        request = parse(UnblockRequest, body, "unblock")
        return decide.unblock(
            request,
            now,
            ask.actor(),
            holders=lambda held: lists.holders(directory, held, now),
            name_holders=lambda held: lists.name_holders(directory, held, now),
        )

    _tell(ask.change(directory, "POST", "/v1/unblock", body, store), json, str(directory.path))


def grant(
    prefix: InsidePrefix,
    organisation: Annotated[str, typer.Option("--organisation", metavar="O", help="Who is behind the prefix.")],
    until: Annotated[str, typer.Option("--until", metavar="T", help=UNTIL_HELP)],
    note: Note = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Put an inside prefix into the green lane: forwarded first, never held to a list, until a given time.

    Example: clearway grant 10.20.0.0/24 --organisation "Example Software" --until 365d
    """
    directory = ask.directory(state)
    body = {"prefix": prefix, "organisation": organisation, "until": until, "note": note}

    def store(now: datetime, inside: list[Prefix]) -> Change:
        from clearway.store import decide
        from clearway.store.requests import GrantRequest, parse

        return decide.grant(parse(GrantRequest, body, "grant"), now, ask.actor(), inside=inside)

    _tell(ask.change(directory, "POST", "/v1/grant", body, store), json, str(directory.path))


def revoke(
    prefix: InsidePrefix,
    organisation: Annotated[
        str | None, typer.Option("--organisation", metavar="O", help="Refuse unless the grant is theirs.")
    ] = None,
    note: Note = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Take an inside prefix out of the green lane, at once.

    Example: clearway revoke 10.20.0.0/24
    """
    directory = ask.directory(state)
    body = {"prefix": prefix, "organisation": organisation, "note": note}

    def store(now: datetime, inside: list[Prefix]) -> Change:
        from clearway.store import decide
        from clearway.store.requests import RevokeRequest, parse

        return decide.revoke(parse(RevokeRequest, body, "revoke"), now, ask.actor())

    _tell(ask.change(directory, "POST", "/v1/revoke", body, store), json, str(directory.path))


SCOPES = {"exact": "that name alone", "subtree": "with everything below it", "below": "everything below it"}
VERBS = {
    "block": "blocked",
    "unblock": "lifted the block of",
    "exception": "spared",
    "grant": "granted",
    "revoke": "revoked",
}


def _tell(answer: dict[str, Any], as_json: bool, path: str) -> None:
    if as_json:
        show.document(answer)
        return
    now = datetime.now(UTC)
    words = [f"{VERBS[answer['kind']]} {answer['target']}"]
    if "scope" in answer:
        words.append(SCOPES[answer["scope"]])
    if "until" in answer:
        words.append(f"until {show.moment(answer['until'])} ({show.left(answer['until'], now)})")
    words += [answer[key] for key in ("organisation", "reason") if answer.get(key)]
    words.append(f"decision {answer['decision']}")
    print(" · ".join(words))
    if answer["enforced"]:
        print("  in force")
    else:
        print(f"  stored in {path}; no gateway runs there: in force from its next start")
    if answer.get("held_by"):
        print(f"  still held by {answer['held_by']}, which the exception overrides")
    for key, sentence in (
        ("spared_within", "exceptions within it go on: {}"),
        ("blocked_within", "blocks within it go on: {}"),
        ("grants_near", "other grants touch it: {}"),
    ):
        if answer.get(key):
            print(f"  {sentence.format(', '.join(answer[key]))}")
    if answer.get("warning"):
        print(f"  note: {answer['warning']}")
