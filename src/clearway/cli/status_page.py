"""How `status` looks: the answer of GET /v1/status, or of the store, as a few calm tables. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from clearway.cli import show, status_names

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

TOP_MAX = 10
NAMES_STORED = {"blocked_names": "blocked name", "spared_names": "spared name"}
Before = tuple[float, dict[str, Any]]
"""Seconds since an earlier answer, and that answer."""


def page(status: dict[str, Any], now: datetime, before: Before | None = None) -> list[RenderableType]:
    """A running gateway; with `before`, packets and bits a second as well."""
    parts: list[RenderableType] = [_heading(status, now), _facts_about_it(status, now), "", _lanes(status, before)]
    names = status_names.table(status.get("names") or {})
    for table in (_drops(status), names, _top(status), _lists(status.get("lists", ()), now)):
        if table is not None:
            parts += ["", table]
    return parts


def stored_page(stored: dict[str, Any], now: datetime) -> list[RenderableType]:
    """What is stored where no gateway runs."""
    rows = _pairs()
    if stored.get("left_on_the_wire"):
        told = f"{stored['left_on_the_wire']} is still on its ports and enforces what it had; links are not followed"
        rows.add_row("kernel", f"[yellow]{told}[/yellow]")
    if stored.get("enforced_past_their_end"):
        names = ", ".join(stored["enforced_past_their_end"])
        rows.add_row("", f"[yellow]ran out, and may still be enforced until a gateway runs again: {names}[/yellow]")
    words = [show.plural(stored[f"{kind}s"], kind) for kind in ("block", "exception", "grant")]
    words += [show.plural(stored[key], noun) for key, noun in NAMES_STORED.items() if stored.get(key)]
    rows.add_row("stored", ", ".join(words))
    last = stored["last_decision"]
    if last:
        what = f"{last['kind']} {last['target']} by {last['actor']}, {show.ago(last['at'], now)}"
        rows.add_row("last decision", show.plain(what))
    lists = _lists(stored["lists"], now)
    return [rows, "", lists] if lists is not None else [rows]


def _heading(status: dict[str, Any], now: datetime) -> str:
    gateway, health = status.get("gateway", {}), status.get("health", {})
    words = [
        f"[bold]{gateway.get('name', 'gateway')}[/bold]",
        f"{gateway.get('inside', '?')} inside, {gateway.get('outside', '?')} outside",
        str(gateway.get("hook", "")).upper(),
        f"up {show.span(now - show.parse_stamp(gateway['since']))}" if gateway.get("since") else "",
        f"pid {gateway['pid']}" if gateway.get("pid") else "",
    ]
    lines = [" · ".join(word for word in words if word)]
    if gateway.get("observe"):
        lines.append("[yellow]observing: nothing is dropped; drops below are what would have been[/yellow]")
    problems = [f"[red]• {show.plain(problem)}[/red]" for problem in health.get("problems", ())]
    if health.get("ok"):
        lines.append("[green]healthy[/green]")
    return "\n".join([*lines, *problems])


def _facts_about_it(status: dict[str, Any], now: datetime) -> Table:
    rows = _pairs()
    wanted, enforced = status.get("wanted"), status.get("enforced")
    colour = "green" if wanted == enforced else "red"
    held = f"[{colour}]{show.count(enforced)}[/{colour}] of {show.count(wanted)} wanted"
    canary = status.get("canary") or {}
    if canary.get("at"):
        held += f" · canary {'crossed' if canary.get('ok') else '[red]lost[/red]'} {show.ago(canary['at'], now)}"
    rows.add_row("enforced", held)
    kinds = {"block": "blocks", "exception": "exceptions", "grant": "grants"}
    entries = ", ".join(show.plural(status.get(plural), kind) for kind, plural in kinds.items())
    rows.add_row("policy", entries)
    rows.add_row("lists", _snapshot(status, now))
    names = status.get("names") or {}
    for key, told in (("names", status_names.summary(names)), ("seen", status_names.seen(names))):
        if told:
            rows.add_row(key, told)
    if status.get("held_back"):
        rows.add_row("held back", f"[yellow]{', '.join(status['held_back'])}[/yellow]")
    rows.add_row("ports", _ports(status))
    noticed = {name: fact["packets"] for name, fact in (status.get("facts") or {}).items() if name != "probe"}
    if any(noticed.values()):
        words = [f"{name} {show.count(packets)}" for name, packets in noticed.items() if packets]
        rows.add_row("noticed", " · ".join(words))
    mended = {name: times for name, times in (status.get("mended") or {}).items() if times}
    if mended:
        rows.add_row("mended", " · ".join(f"{name} {show.plural(times, 'time')}" for name, times in mended.items()))
    bypass = status.get("bypass") or {}
    if bypass.get("on"):
        rows.add_row("bypass", f"[yellow]on: a plain wire, ends {show.left(bypass.get('until'), now)}[/yellow]")
    else:
        rows.add_row("bypass", "off")
    if (status.get("clock_ahead_s") or 0) > 1:
        rows.add_row("clock", f"[yellow]{status['clock_ahead_s']:.0f} s behind what was seen; counted on[/yellow]")
    return rows


def _snapshot(status: dict[str, Any], now: datetime) -> str:
    snapshot = status.get("snapshot") or {}
    words = []
    if snapshot.get("created"):
        words.append(f"epoch {snapshot.get('epoch')}, compiled {show.ago(snapshot['created'], now)}")
    if snapshot.get("behind"):
        words.append("[yellow]newer ones are being compiled[/yellow]")
    memory = status.get("memory_bytes")
    if memory:
        words.append(f"{show.size(sum(memory.values()))} of kernel memory")
    return " · ".join(words)


def _ports(status: dict[str, Any]) -> str:
    follow = status.get("link_follow") or {}
    words = [
        f"{side} {_port(port, taken_down=side == follow.get('taken_down'))}"
        for side, port in (status.get("ports") or {}).items()
    ]
    words.append("link-follow on, while the daemon runs" if follow.get("on") else "link-follow off")
    gone = [name for name, on in (status.get("links") or {}).items() if on not in ("up", "attached", True)]
    if gone:
        words.append(f"[red]not attached: {', '.join(gone)}[/red]")
    return " · ".join(words)


def _port(port: dict[str, Any], *, taken_down: bool) -> str:
    """`up` is what the port is set to; whether there is a signal on its wire is `carrier`."""
    if port.get("present") is False:
        return "[red]gone[/red]"
    if taken_down:
        return "[yellow]taken down with the other[/yellow]"
    if port.get("up") is False:
        return "[red]down[/red]"
    if port.get("carrier") is False:
        return "[red]no link[/red]"
    return "up" if port.get("carrier") else "?"


def _lanes(status: dict[str, Any], before: Before | None) -> Table:
    columns = ["lane", "direction", "forwarded", "bytes", "dropped"]
    rates = ["packets/s", "Mbit/s"] if before else []
    table = show.table(*columns, *rates, right=("forwarded", "bytes", "dropped", *rates))
    now, then = _by_lane(status), _by_lane(before[1]) if before else {}
    for lane, direction in _lanes_shown(now):
        forwarded, size, dropped = now.get((lane, direction), (0, 0, 0))
        cells = [lane, direction, show.count(forwarded), show.size(size), show.count(dropped)]
        if before:
            was_forwarded, was_size, was_dropped = then.get((lane, direction), (0, 0, 0))
            packets = forwarded + dropped - was_forwarded - was_dropped
            cells += [show.count(round(packets / before[0])), f"{(size - was_size) * 8e-6 / before[0]:.1f}"]
        table.add_row(*cells)
    return table


def _by_lane(status: dict[str, Any]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(lane, direction) → packets and bytes forwarded, packets dropped."""
    sums: dict[tuple[str, str], tuple[int, int, int]] = {}
    for row in status.get("counters", ()):
        key = (row["lane"], row["direction"])
        forwarded, size, dropped = sums.get(key, (0, 0, 0))
        if row["reason"] == "forwarded":
            sums[key] = (forwarded + row["packets"], size + row["bytes"], dropped)
        else:
            sums[key] = (forwarded, size, dropped + row["packets"])
    return sums


def _lanes_shown(sums: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The two lanes there always are, and any other that has packets."""
    always = [(lane, direction) for lane in ("green", "inspected") for direction in ("outbound", "inbound")]
    return [*always, *sorted(key for key in sums if key not in always)]


def _drops(status: dict[str, Any]) -> Table | None:
    sums: dict[str, tuple[int, int]] = {}
    rows = status.get("observed") if (status.get("gateway") or {}).get("observe") else status.get("counters")
    for row in rows or ():
        if row["reason"] != "forwarded":
            packets, size = sums.get(row["reason"], (0, 0))
            sums[row["reason"]] = (packets + row["packets"], size + row["bytes"])
    if not sums:
        return None
    table = show.table("dropped because", "packets", "bytes", right=("packets", "bytes"))
    for reason, (packets, size) in sorted(sums.items(), key=lambda each: -each[1][0]):
        table.add_row(reason, show.count(packets), show.size(size))
    return table


def _top(status: dict[str, Any]) -> Table | None:
    if not status.get("top"):
        return None
    table = show.table("hit most", "by", "reason", "packets", right=("packets",))
    for row in status["top"][:TOP_MAX]:
        table.add_row(
            row["entry"], show.plain(row.get("list") or "–"), row.get("reason") or "–", show.count(row["hits"])
        )
    return table


def _lists(lists: Iterable[dict[str, Any]], now: datetime) -> Table | None:
    lists = list(lists)
    if not lists:
        return None
    hits = any("hits" in row for row in lists)
    more = ("packets",) if hits else ()
    table = show.table("list", "reason", "entries", "fetched", "runs out", *more, "", right=("entries", *more))
    for row in lists:
        until = show.left(row.get("until"), now)
        cells = [
            show.plain(row["feed"]) + (" [dim](observed)[/dim]" if row.get("observe") else ""),
            row["reason"],
            show.count(row.get("entries")),
            show.ago(row.get("fetched_at"), now),
        ]
        cells.append(f"[red]{until}[/red]" if until == "expired" else until)
        if hits:
            cells.append(show.count(row.get("hits", 0)))
        cells.append(_state_of(row, now))
        table.add_row(*cells)
    return table


def _state_of(row: dict[str, Any], now: datetime) -> str:
    """What is wrong with a list, in a few words."""
    waits, trouble = row.get("quarantine"), row.get("trouble")
    if waits:
        told = (
            f"quarantined by {waits['rule']} {show.ago(waits['at'], now)}: clearway feed quarantine show {row['feed']}"
        )
        return f"[red]{show.plain(told)}[/red]"
    if trouble:
        times = show.plural(trouble["failures"], "time")
        return f"[yellow]{show.plain(f'failed {times}: ' + trouble['error']['message'])}[/yellow]"
    return ""


def _pairs() -> Table:
    from rich.table import Table

    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    return made
