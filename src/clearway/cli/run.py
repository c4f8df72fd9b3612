"""run, detach, bypass: options to the gateway's own functions, and what they answer to people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from clearway.cli import ask, show
from clearway.cli.options import JsonOption, StateOption
from clearway.config import (
    ANSWERS,
    APPEAL_URL,
    CONTACT,
    DNS_ANSWER,
    DROP_BOGONS,
    GATEWAY_NAME,
    HOOK,
    INSIDE_PREFIX,
    LINK_FOLLOW,
    OBSERVE,
    ON_FAILURE,
)
from clearway.errors import ClearwayError

NameOption = Annotated[str, typer.Option(GATEWAY_NAME.name, metavar="NAME", help=GATEWAY_NAME.sentence)]


def run(
    inside: Annotated[str, typer.Option("--inside", metavar="IF", help="Port towards those who are protected.")],
    outside: Annotated[str, typer.Option("--outside", metavar="IF", help="Port towards the internet.")],
    name: NameOption = GATEWAY_NAME.default,
    hook: Annotated[str, typer.Option(HOOK.name, metavar="H", help=f"{HOOK.unit}. {HOOK.sentence}")] = HOOK.default,
    inside_prefix: Annotated[
        list[str] | None,
        typer.Option(INSIDE_PREFIX.name, metavar="PREFIX", help=f"{INSIDE_PREFIX.sentence} Repeatable."),
    ] = None,
    drop_bogons: Annotated[bool, typer.Option(DROP_BOGONS.name, help=DROP_BOGONS.sentence)] = False,
    observe: Annotated[bool, typer.Option(OBSERVE.name, help=OBSERVE.sentence)] = False,
    link_follow: Annotated[
        bool, typer.Option(f"{LINK_FOLLOW.name}/--no-link-follow", help=LINK_FOLLOW.sentence)
    ] = True,
    on_failure: Annotated[
        str, typer.Option(ON_FAILURE.name, metavar="F", help=f"{ON_FAILURE.unit}. {ON_FAILURE.sentence}")
    ] = ON_FAILURE.default,
    answers: Annotated[
        str, typer.Option(ANSWERS.name, metavar="A", help=f"{ANSWERS.unit}. {ANSWERS.sentence}")
    ] = ANSWERS.default,
    dns_answer: Annotated[
        str, typer.Option(DNS_ANSWER.name, metavar="A", help=f"{DNS_ANSWER.unit}. {DNS_ANSWER.sentence}")
    ] = DNS_ANSWER.default,
    appeal_url: Annotated[str | None, typer.Option(APPEAL_URL.name, metavar="URL", help=APPEAL_URL.sentence)] = None,
    contact: Annotated[str | None, typer.Option(CONTACT.name, metavar="TEXT", help=CONTACT.sentence)] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="LOGIN", help="Whom it becomes after the start; default clearway.")
    ] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Become a wire between two ports, under the stored policy.

    Says `ready` on standard error when packets cross. Ended by SIGTERM or Ctrl-C, it leaves the kernel enforcing;
    `clearway detach` takes that off. With --json an error is a document.

    Example: clearway run --inside eth1 --outside eth0
    """
    from clearway.gateway import daemon
    from clearway.gateway.options import RunOptions

    return daemon.run(
        RunOptions(
            inside=inside,
            outside=outside,
            state=ask.directory(state).path,
            name=name,
            hook=hook,
            observe=observe,
            inside_prefixes=tuple(inside_prefix or ()),
            drop_bogons=drop_bogons,
            link_follow=link_follow,
            on_failure=on_failure,
            answers=answers,
            dns_answer=dns_answer,
            appeal_url=appeal_url,
            contact=contact,
            user=user,
        )
    )


def detach(name: NameOption = GATEWAY_NAME.default, state: StateOption = None, json: JsonOption = False) -> None:
    """Take the gateway off the wire: end its daemon, remove its programs, put the ports back as they were.

    Ends with 0 also where nothing is attached.

    Example: clearway detach
    """
    from clearway.gateway.detach import detach as take_off

    done = take_off(name, ask.directory(state).path)
    if json:
        show.document(done.as_json())
        return
    if done.stopped_pid:
        print(f"ended the daemon (pid {done.stopped_pid})")
    print(f"took off {', '.join(done.links)}" if done.links else "nothing was attached")
    for port, settings in done.restored.items():
        if settings:
            print(f"put back on {port}: {', '.join(settings)}")
    for note in done.notes:
        print(f"note: {note}")


def bypass(
    switch: Annotated[str, typer.Argument(metavar="on|off", help="A plain wire, or no longer.")],
    duration: Annotated[str | None, typer.Option("--for", metavar="D", help="How long; with `on`.")] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever reads the history.")] = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Make the gateway a plain wire for a while. It ends by itself, also when the daemon has died.

    Example: clearway bypass on --for 10m
    """
    from clearway.gateway.client import Gateway, NoGateway

    if switch not in ("on", "off"):
        raise ClearwayError.of("cli.E001", message=f"{switch} is neither on nor off", command="clearway bypass")
    if duration is not None:
        from clearway.policy.model import duration as parse

        parse(duration)
    directory = ask.directory(state)
    body = {"on": switch == "on", "duration": duration, "note": note, "actor": ask.actor()}
    try:
        answer = Gateway(directory.path).request("POST", "/v1/bypass", body)
    except NoGateway:
        raise ClearwayError.of("cli.E003", command="clearway bypass", path=directory.path) from None
    if json:
        show.document(answer)
    elif answer["on"]:
        until = answer["until"]
        print(f"a plain wire · until {show.moment(until)} ({show.left(until, datetime.now(UTC))})")
        print(f"  nothing is dropped meanwhile; packets are counted · decision {answer['decision']}")
    else:
        print(f"no plain wire any more: the policy is enforced · decision {answer['decision']}")
