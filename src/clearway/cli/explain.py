"""explain: what happens to an address or name, by which rule, until when, on whose word; with --live, what the kernel
says of an address.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from clearway.cli import ask, show
from clearway.cli.options import JsonOption, StateOption
from clearway.config import StateDirectory
from clearway.errors import ClearwayError

NUMBER_DIGITS_MAX = 18
"""Of a decision: a longer number is none of them, and no database takes it."""
ABOUT_TRAFFIC = frozenset(
    ["block", "unblock", "exception", "grant", "revoke", "feed-exclude", "feed-include", "protect", "unprotect"],
)
"""Kinds of decision whose target is a prefix or name; others are about a list, ranges, or the gateway."""
WORDS = {"dropped": "red", "forwarded": "green", "green": "green", "partly": "yellow"}


def explain(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS|PREFIX|NAME|ID", help="192.0.2.7, 192.0.2.0/24, bad.example, or a decision's number."
        ),
    ],
    live: Annotated[
        bool, typer.Option("--live", help="Ask the loaded program too; ends with 1 where it differs from the policy.")
    ] = False,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Show every rule that touches an address or name and the one that decides: why, since when, until when, by whom.

    Example: clearway explain 192.0.2.7 --live

    Example: clearway explain login.bad.example
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.policy.model import Name, parse_target

    decision = _decision(target, now) if target.isascii() and target.isdecimal() else None
    if decision is not None and decision["kind"] not in ABOUT_TRAFFIC:
        if json:
            show.document({"decision": decision})
        else:
            _tell_decision(decision, now)
        return 0
    asked = parse_target(decision["target"] if decision else target)
    if isinstance(asked, Name):
        if live:
            raise ClearwayError.of("store.E023", name=asked)
        from clearway.store.explain_names import explain_name

        answer = explain_name(directory, asked, now, ask.inside(directory))
    else:
        from clearway.store.explain import explain as explain_address

        answer = explain_address(directory, asked, now, ask.inside(directory))
    if decision is not None:
        answer["decision"] = decision
    answer["appeal"] = _appeal(answer)
    answer["notes"] = _notes(directory)
    if live and not isinstance(asked, Name):
        from clearway.cli.explain_live import ask_kernel

        answer["live"] = ask_kernel(directory, asked, now)
    if json:
        show.document(answer)
    else:
        if decision is not None:
            _tell_decision(decision, now)
            print()
        _tell(answer, directory, now)
    return 1 if live and answer["live"]["differs"] else 0


def _decision(number: str, now: datetime) -> dict[str, Any]:
    from clearway.store.history import decision

    found = decision(int(number), now) if len(number) <= NUMBER_DIGITS_MAX else None
    if found is None:
        raise ClearwayError.of("cli.E006", number=number)
    return found


def _notes(state: StateDirectory) -> list[str]:
    """Why nothing is dropped just now, whatever the policy says; empty where no gateway answers."""
    from clearway.cli.explain_live import NOTES
    from clearway.gateway.client import Gateway

    try:
        status = Gateway(state.path).request("GET", "/v1/status")
    except ClearwayError:
        return []
    facts = {
        "bypassed": status.get("bypass", {}).get("on", False),
        "observed": status.get("gateway", {}).get("observe", False),
    }
    return [sentence for fact, sentence in NOTES.items() if facts[fact]]


def _appeal(answer: dict[str, Any]) -> str | None:
    """What somebody who is refused should say, and to whom."""
    rule = answer["decided_by"]
    if rule is None or rule["kind"] not in ("block", "list"):
        return None
    if rule["kind"] == "list":
        return (
            f"Ask whoever publishes list {rule['list']} ({rule['source']}) to take {_target(rule)} out; "
            f"or this gateway's operator for an exception, naming decision {rule['decision']}."
        )
    return f"Ask this gateway's operator, naming decision {rule['decision']}."


def _tell_decision(row: dict[str, Any], now: datetime) -> None:
    from clearway.cli.history import why

    stands = {True: "it stands", False: "it stands no more", None: ""}[row["stands"]]
    when = f"{show.moment(row['at'])} ({show.ago(row['at'], now)})"
    words = [
        f"decision {row['decision']}",
        f"{row['kind']} {row['target']}".strip(),
        f"by {row['actor']}",
        when,
        stands,
    ]
    print(" · ".join(word for word in words if word))
    if why(row):
        print(f"  {why(row)}")


def _tell(answer: dict[str, Any], directory: StateDirectory, now: datetime) -> None:
    colour = WORDS[answer["outcome"]]
    parts: list[Any] = [f"[{colour}]{show.plain(answer['sentence'])}[/{colour}]"]
    rule = answer["decided_by"]
    parts += [f"[yellow]{note}[/yellow]" for note in answer["notes"]]
    if rule is not None:
        facts = [_named(rule), rule["reason"] or ""]
        if rule["kind"] == "shared":
            facts += [rule["source"], f"{show.ago(rule['since'], now)}"]
        else:
            facts.append(f"until {show.moment(rule['until'])} ({show.left(rule['until'], now)})")
            facts.append(f"decision {rule['decision']}")
        parts.append("  by " + show.plain(" · ".join(fact for fact in facts if fact)))
        if rule.get("note"):
            parts.append(f"  [dim]{show.plain(rule['note'])}[/dim]")
    if answer["rules"]:
        named = any(each.get("name") for each in answer["rules"])
        about = "name" if named else "prefix"
        table = show.table("", "rule", about, "reason", "until, UTC", "id", "on whose word", right=("id",))
        for each in answer["rules"]:
            table.add_row(
                "→" if each is rule else "",
                show.plain(_kind(each)),
                _target(each) or "?",
                each["reason"] or "–",
                show.moment(each["until"], zone=False) if each["until"] else "–",
                str(each["decision"] or "–"),
                show.plain(_word(each)),
            )
        parts += ["", table]
    if "live" in answer:
        from clearway.cli.explain_live import page

        parts += ["", *page(answer["live"])]
    if answer["appeal"]:
        parts += ["", f"[dim]Appeal: {show.plain(answer['appeal'])}[/dim]"]
    show.put(*parts)
    if "live" not in answer and not ask.gateway_runs(directory):
        print(f"\nno gateway runs on {directory.path}: this is what is stored")


def _named(rule: dict[str, Any]) -> str:
    if rule["kind"] == "list":
        return f"list {rule['list']}, which holds {_target(rule)}"
    if rule["kind"] == "shared":
        return f"shared range {rule['prefix']} of {rule['ranges']} ({rule['class']})"
    if rule["kind"] == "excluded":
        return f"the exclusion of {_target(rule)}"
    article = "an" if rule["kind"] == "exception" else "a"
    return f"{article} {rule['kind']} of {_target(rule)}"


def _kind(rule: dict[str, Any]) -> str:
    if rule["kind"] == "shared":
        return f"shared range ({rule['class']})"
    return f"list {rule['list']}" if rule["kind"] == "list" else str(rule["kind"])


SCOPES = {"exact": "{}", "subtree": "{} and all below it", "below": "all below {}"}


def _target(rule: dict[str, Any]) -> str:
    """The prefix or name that a rule is about, "" where that cannot be read."""
    return SCOPES[rule["scope"]].format(rule["name"]) if rule.get("name") else rule.get("prefix") or ""


def _word(rule: dict[str, Any]) -> str:
    """Whose word a rule rests on, and what is odd about it."""
    words = [rule.get("ranges", ""), rule.get("source") or rule.get("by") or "", rule.get("organisation", "")]
    words.append(f"since {show.moment(rule['since'], zone=False)}")
    if "list_until" in rule:
        words.append(f"a host of a cloud: for a day, though the list lasts until {show.moment(rule['list_until'])}")
    if "unreadable" in rule:
        words.append("cannot be read" + ("" if rule["enforced"] else ", not enforced"))
    elif rule.get("observe"):
        words.append("observed: drops nothing")
    elif rule.get("spared_by"):
        words.append(f"not enforced here: {rule['spared_by']}")
    elif not rule["enforced"] and rule["kind"] == "grant":
        words.append("not inside: changes nothing")
    elif not rule["enforced"]:
        words.append("held back, not enforced")
    return " · ".join(word for word in words if word)
