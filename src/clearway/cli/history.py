"""history: who decided what, when. Read from the database, so it needs no gateway."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from clearway.cli import ask, show
from clearway.cli.options import JsonOption, StateOption

KINDS = (
    "block, unblock, exception, grant, revoke, feed-add, feed-version, feed-remove, feed-quarantine, feed-release, "
    "feed-discard, feed-enforce, feed-observe, feed-rollback, feed-exclude, feed-include, feed-settings, protect, "
    "unprotect, bypass, cdn-add, cdn-version, cdn-remove or cdn-quarantine"
)
"""Those of store.models.Kind, which takes too long to import for a help text; a test holds the two together."""


def history(
    target: Annotated[
        str | None, typer.Argument(metavar="[PREFIX|NAME|LIST]", help="Only decisions about exactly that.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="K", help=f"Only that kind: {KINDS}.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="WHO", help="Only that login.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="RFC 3339, or a duration back from now: 7d.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="A line for each renewal of a list; else those of one version are one line.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 20,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show who decided what, when; the newest first. With --json each decision is told.

    Example: clearway history --since 7d --kind block
    """
    now = ask.read_store(ask.directory(state))
    from clearway.store.history import decisions

    asked = {"target": _canonical(target), "kind": _kind(kind), "actor": by}
    rows = decisions(limit=limit + 1, since=_back(since, now), folded=not (every or json), **asked)
    more, rows = len(rows) > limit, rows[:limit]
    if json:
        show.document({"decisions": rows, "more": more})
        return
    if not rows:
        print("no decision fits")
        return
    table = show.table("id", "when, UTC", "who", "what", "target", "why", right=("id",))
    for row in rows:
        table.add_row(
            str(row["decision"]),
            show.moment(row["at"], zone=False),
            show.plain(row["actor"]),
            row["kind"],
            show.plain(row["target"]),
            show.plain(why(row)),
        )
    show.put(table)
    if more:
        print(f"\nolder ones: --limit {limit * 5}")


def why(row: dict[str, Any]) -> str:
    """What is worth a column: reason or organisation, until when, what a list's version held, the note."""
    detail = row["detail"]
    parts = [row["reason"], row["organisation"], detail.get("scope", "")]
    if row["until"]:
        parts.append(f"until {show.moment(row['until'], zone=False)}")
    if row["kind"].startswith("feed-"):
        parts.append(_of_list(row["kind"], detail))
    elif row["kind"] == "cdn-add":
        parts.append(detail.get("source", ""))
    elif row["kind"] == "cdn-version":
        kept = {key: number for key, number in detail.get("counts", {}).items() if key in detail.get("contents", {})}
        parts += [f"{show.count(number)} {key}" for key, number in kept.items()]
        parts.append(f"though {detail['accepted']} says no" if detail.get("accepted") else "")
    elif row["kind"] == "cdn-quarantine":
        parts.append(f"not taken, by rule {detail.get('rule', '')}: {detail.get('detail', '')}")
    elif row["kind"] == "exception":
        parts.append(f"over {detail.get('held_by', '')}")
    elif row["kind"] == "bypass":
        parts.append("on" if detail.get("on") else "off")
    if row.get("renewals"):
        times = show.plural(row["renewals"], "time")
        parts.append(f"renewed {times} since {show.moment(row['renewed_since'], zone=False)}")
    return " · ".join(part for part in (*parts, row["note"]) if part)


def _of_list(kind: str, detail: dict[str, Any]) -> str:
    """The same of a decision about a list."""
    if kind == "feed-version":
        held = sum(detail.get("counts", {}).get(key, 0) for key in ("v4", "v6", "names"))
        return "1 entry" if held == 1 else f"{show.count(held)} entries"
    if kind == "feed-add":
        return f"{detail.get('source', '')}{' · observed' if detail.get('observe') else ''}"
    if kind == "feed-quarantine":
        return f"not taken, by rule {detail.get('rule', '')}"
    if kind == "feed-release":
        return f"version {detail.get('content', '')[:12]}, though {', '.join(detail.get('rules', ()))} says no"
    if kind == "feed-discard":
        return f"what decision {detail.get('quarantine', '')} kept out"
    if kind == "feed-rollback":
        return f"version {detail['from']['version']} → {detail['to']['version']}"
    if kind == "feed-settings":
        before, after = detail.get("before", {}), detail.get("after", {})
        return ", ".join(key for key in after if before.get(key) != after[key]) or "nothing changed"
    return ""


def _canonical(target: str | None) -> str | None:
    """A prefix or name in the form that is stored; anything else is a list's name."""
    if target is None:
        return None
    from clearway.errors import ClearwayError
    from clearway.policy.model import parse_target

    try:
        return str(parse_target(target))
    except ClearwayError:
        return target


def _kind(text: str | None) -> str | None:
    from clearway.store.models import Kind

    known = [member.value for member in Kind]
    if text is not None and text not in known:
        from clearway.errors import ClearwayError

        detail = f"{text} is none of {', '.join(known)}"
        raise ClearwayError.of("store.E020", field="--kind", detail=detail, command="history")
    return text


def _back(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    from clearway.policy.model import duration, parse_time

    return parse_time(text) or now - duration(text)
