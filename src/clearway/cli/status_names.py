"""What `status` says of names: how many are enforced, of which share of flows a name can be seen, and who was refused.

Section `names` of GET /v1/status. What can't be seen stands beside what can, so that nobody takes blocking by name for
more than it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clearway.cli import show

if TYPE_CHECKING:
    from rich.table import Table

PROTOCOLS = {"dns": "DNS queries", "http": "HTTP", "tls": "TLS", "quic": "QUIC", "other": "other flows"}


def summary(names: dict[str, Any]) -> str:
    """One line; "" where no name is listed and none was ever read."""
    if not (names.get("listed") or names.get("single") or _flows(names)):
        return ""
    words = [f"{show.count(names.get('listed', 0))} in lists", f"{show.count(names.get('single', 0))} by people"]
    if names.get("failure"):
        words.append(f"[red]not enforced: {show.plain(names['failure'])}[/red]")
    inspector = names.get("inspector") or {}
    if inspector:
        alive = "inspector well" if inspector.get("alive") else "[red]inspector away[/red]"
        restarts = inspector.get("restarts", 0)
        words.append(f"{alive}, begun anew {show.plural(restarts, 'time')}" if restarts else alive)
    words.append(f"on failure {names.get('on_failure') or '?'}")
    if names.get("answers") == "silent":
        words.append("nobody is told why")
    return " · ".join(words)


def seen(names: dict[str, Any]) -> str:
    """Shares of flows by what could be seen of them; "" before the first. DNS is counted in queries, not here."""
    sums = {"seen": 0, "public_ech": 0, "none": 0}
    for protocol, classes in _flows(names).items():
        if protocol != "dns":
            for kind in sums:
                sums[kind] += classes.get(kind, 0)
    total = sum(sums.values())
    if not total:
        return ""
    share = {kind: f"{number * 100 / total:.1f} %" for kind, number in sums.items()}
    return (
        f"name seen in {share['seen']} of {show.plural(total, 'flow')}, "
        f"hidden behind a provider's in {share['public_ech']}, none in {share['none']}"
    )


def table(names: dict[str, Any]) -> Table | None:
    """By protocol: what was seen, and refused. None before the first flow."""
    flows, refused = _flows(names), names.get("refused") or {}
    if not flows:
        return None
    columns = ("with a name", "provider's", "without", "refused")
    made = show.table("names read from", *columns, "", right=columns)
    for protocol, said in PROTOCOLS.items():
        classes = flows.get(protocol)
        if classes:
            counts = [classes.get(kind, 0) for kind in ("seen", "public_ech", "none")]
            made.add_row(said, *map(show.count, counts), show.count(refused.get(protocol, 0)), "")
    return made


def _flows(names: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Protocols with any flow or query."""
    return {protocol: kinds for protocol, kinds in (names.get("flows") or {}).items() if any(kinds.values())}
