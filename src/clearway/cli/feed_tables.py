"""How lists look: a row each, one in full, and what is told after a decision about one. Asks nobody anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clearway.cli import show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clearway.config import StateDirectory

SAMPLES_MAX = 10
"""Held-back entries and malformed lines that one list is shown with."""

YES_OR_NO = {"True": "yes", "False": "no"}


def all_lists(rows: list[dict[str, Any]], refusals: dict[str, str], now: datetime) -> list[RenderableType]:
    """A row a list; then what is wrong with some of them."""
    columns = ("list", "reason", "addresses", "names", "rejected", "fetched", "runs out", "every", "source")
    table = show.table(*columns, right=("addresses", "names", "rejected"))
    for row in rows:
        ends = show.left(row["until"], now)
        table.add_row(
            row["feed"] + (" (observed)" if row["observe"] else ""),
            row["reason"],
            show.count(row["addresses"]),
            show.count(row["names"]),
            show.count(row["rejected_entries"]) if row["rejected_entries"] else "",
            show.ago(row["fetched_at"], now),
            ends if row["in_force"] else f"[red]{ends}[/red]",
            show.every(row["every_s"]),
            show.plain(row["source"]),
        )
    wrong = [f"[red]{name} is not enforced: {show.plain(why)}[/red]" for name, why in refusals.items()]
    return [table, *(line for row in rows for line in trouble(row, now)), *wrong]


def trouble(row: dict[str, Any], now: datetime) -> list[str]:
    """What is wrong with a list, in lines; none where all is well."""
    lines = []
    waits, failed, name = row["quarantine"], row["trouble"], row["feed"]
    if waits:
        told = (
            f"{name}: a version of {show.ago(waits['at'], now)} is quarantined by {waits['rule']}: {waits['sentence']}"
        )
        lines.append(f"[red]{show.plain(told)}[/red]")
        lines.append(f"[dim]  look: clearway feed quarantine show {name}[/dim]")
    if failed:
        again = f"; next try {show.left(failed['next_at'], now)}" if failed["next_at"] else ""
        told = f"{name}: not renewed, {show.plural(failed['failures'], 'time')} since "
        told += f"{show.moment(failed['since'])}: {failed['error']['message']}{again.replace('expired', 'now')}"
        lines.append(f"[yellow]{show.plain(told)}[/yellow]")
    return lines


def one_list(row: dict[str, Any], refusal: str | None, now: datetime) -> list[RenderableType]:
    """Everything that is known of one list."""
    facts = {
        "source": row["source"],
        "format": row["format"],
        "reason": row["reason"],
        "state": "observed: counted, nothing dropped" if row["observe"] else "enforced",
        "entries": show.held(row["addresses"], row["names"]),
        "version": f"{row['version']} · {row['content'][:12]}",
        "fetched": f"{show.moment(row['fetched_at'])} ({show.ago(row['fetched_at'], now)})",
        "runs out": f"{show.moment(row['until'])} ({show.left(row['until'], now)})",
        "every": show.every(row["every_s"]),
        "life": show.every(row["life_s"]),
    }
    if row["settings"]:
        facts["set"] = settings(row["settings"])
    if row["released"]:
        facts["released"] = f"by a person, from {', '.join(row['released'])}"
    parts: list[RenderableType] = [
        "\n".join(f"[dim]{key:<12}[/dim] {show.plain(value)}" for key, value in facts.items())
    ]
    if refusal:
        parts.append(f"[red]not enforced: {show.plain(refusal)}[/red]")
    parts += trouble(row, now)
    return [*parts, *rejected(row["judgement"])]


def settings(found: dict[str, Any]) -> str:
    """What is set for a list, as it is typed: `shrink=0.4, wide=yes`; tables are told pair by pair."""
    tables = [value if isinstance(value, dict) else {key: value} for key, value in found.items()]
    return ", ".join(f"{key}={YES_OR_NO.get(str(value), value)}" for table in tables for key, value in table.items())


def rejected(judgement: dict[str, Any]) -> list[RenderableType]:
    """What a guard left out of a version, by rule, with the first of it."""
    if not judgement.get("rejected"):
        return []
    from clearway.feeds.guard_rules import sentence_of

    table = show.table("left out by", "how many", "because", right=("how many",))
    for rule, number in judgement["rejected"].items():
        try:
            sentence = sentence_of(rule)
        except KeyError:  # a rule of another version of Clearway
            sentence = ""
        table.add_row(rule, show.count(number), show.plain(sentence))
    parts: list[RenderableType] = ["", table]
    samples = judgement.get("held_back", [])[:SAMPLES_MAX]
    if samples:
        held = show.table("line", "entry", "rule", "touches", right=("line",))
        for each in samples:
            held.add_row(
                str(each.get("line") or ""), show.plain(str(each["value"])), each["rule"], show.plain(each["hit"])
            )
        parts += ["", held]
    lines = judgement.get("malformed", [])[:SAMPLES_MAX]
    if lines:
        wrong = show.table("line", "malformed", right=("line",))
        for each in lines:
            wrong.add_row(str(each["line"]), show.plain(each["text"]))
        parts += ["", wrong]
    return parts


def tell_version(verb: str, answer: dict[str, Any], directory: StateDirectory) -> None:
    """After a decision that brought a version into force, in two lines or a few."""
    now = datetime.now(UTC)
    counts = answer["counts"]
    addresses = counts.get("v4", 0) + counts.get("v6", 0)
    names = counts.get("names", 0)
    held = [show.plural(names, "name")] if names else []
    if addresses or not names:
        one, more = ("address", "addresses") if names else ("entry", "entries")
        held.append(f"{show.count(addresses)} {one if addresses == 1 else more}")
    words = [f"{verb} {answer['feed']}", *held, answer["reason"]]
    words.append(f"until {show.moment(answer['until'])} ({show.left(answer['until'], now)})")
    words.append(f"decision {answer['decision']}")
    print(" · ".join(words))
    tell_force(answer, directory)
    for key in ("malformed", "unsupported"):
        if counts.get(key):
            print(f"  {show.count(counts[key])} {key} lines, left out")
    guarded = {rule: n for rule, n in answer.get("rejected", {}).items() if rule.startswith(("G10", "G11", "G12"))}
    if guarded:
        told = ", ".join(f"{rule} {show.count(number)}" for rule, number in guarded.items())
        print(f"  held back by the guard: {told}; `clearway feed show {answer['feed']}` says which")
    for alarm in answer.get("alarms", []):
        hit = f", which touches {alarm['hit']}" if alarm.get("hit") else ""
        print(f"  alarm {alarm['rule']}: {alarm['value']}{hit}: {alarm['sentence']}")


def tell_force(answer: dict[str, Any], directory: StateDirectory) -> None:
    """Whether a gateway has it."""
    state = "observed" if answer.get("observe") else "in force"
    print(f"  {state}" if answer["enforced"] else f"  stored in {directory.path}; no gateway runs there")
