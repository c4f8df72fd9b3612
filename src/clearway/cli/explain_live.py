"""explain --live: a packet each way through the loaded program, held against what the policy says of the same frame."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from clearway.cli import show
from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.policy.model import Direction, Prefix, word

if TYPE_CHECKING:
    from rich.console import RenderableType

PEERS = {
    4: ("10.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.41.0.4", "192.5.5.241", "193.0.14.129"),
    6: ("fd00::1", "2001:db8::1", "2001:db8:1::1", "2001:503:ba3e::2:30", "2001:500:2f::f", "2001:7fd::1"),
}
"""Who stands at the other end of the packet: the first that no single entry and no list touches. The last three are the
root name servers a, f and k, as hosts of the internet that stay where they are: nothing is sent to them, since a packet
is only run through the program."""
NOTES = {
    "bypassed": "The gateway is a plain wire just now (`clearway bypass`): nothing is dropped.",
    "observed": "The gateway only observes (`--observe`): nothing is dropped.",
}
"""Why nothing is dropped, by the fact that packets carry then."""


def ask_kernel(state: StateDirectory, asked: Prefix, now: datetime) -> dict[str, Any]:
    """{"packets": [{direction, source, destination, frame, kernel, policy, differs}], "differs"}; kernel is by hook.

    Of a prefix, its first address is asked. Raises cli.E003 where no gateway runs.
    """
    from clearway.gateway.client import Gateway, NoGateway

    gateway = Gateway(state.path)
    try:
        settings = gateway.request("GET", "/v1/status")
        packets = [_ask(gateway, state, each, settings, now) for each in _packets(state, asked, settings, now)]
    except NoGateway:
        raise ClearwayError.of("cli.E003", command="clearway explain --live", path=state.path) from None
    return {"packets": packets, "differs": any(packet["differs"] for packet in packets)}


def page(live: dict[str, Any]) -> list[RenderableType]:
    """What the kernel said, a row a packet and hook."""
    table = show.table("a packet", "from", "to", "hook", "the kernel says", "the policy says")
    for packet in live["packets"]:
        for hook, outcome in packet["kernel"].items():
            same = _agree(outcome, packet["policy"])
            colour = "green" if same else "red"
            table.add_row(
                packet["direction"],
                packet["source"],
                packet["destination"],
                hook.upper(),
                f"[{colour}]{_outcome_words(outcome)}[/{colour}]",
                "the same" if same else _outcome_words(packet["policy"]),
            )
    if not live["differs"]:
        return [table]
    return [table, "[red]The kernel differs from the policy; `clearway status` shows what is missing there.[/red]"]


def _agree(kernel: dict[str, Any], policy: dict[str, Any]) -> bool:
    return all(kernel[key] == policy[key] for key in policy)


def _outcome_words(outcome: dict[str, Any]) -> str:
    if outcome["verdict"] == "drop":
        return f"drop, {outcome['drop_reason']}"
    would = outcome["drop_reason"]
    return f"forward, {outcome['lane']}" + (f" (would drop: {would})" if would != "forwarded" else "")


def _packets(
    state: StateDirectory, asked: Prefix, status: dict[str, Any], now: datetime
) -> list[tuple[Direction, Prefix, Prefix]]:
    """Direction, source and destination: as an inside host where it is one, else as an outside one.

    Where no inside prefix is known, what is granted counts as inside.
    """
    from clearway.policy.model import BITS
    from clearway.store import wanted

    inside = [Prefix.parse(text) for text in status["gateway"]["inside_prefixes"]]
    host = Prefix(asked.version, asked.address, BITS[asked.version])
    within = any(prefix.covers(host) for prefix in inside)
    granted = not inside and any(
        each.kind == "grant" and each.prefix.covers(host) for each in wanted.touching(host, now)
    )
    as_inside = within or granted
    peer = _peer(state, host, _outer_peers(host, inside) if as_inside else _inner_peers(host, inside), now)
    inner, outer = (host, peer) if as_inside else (peer, host)
    return [(Direction.OUTBOUND, inner, outer), (Direction.INBOUND, outer, inner)]


def _peer(state: StateDirectory, host: Prefix, candidates: list[Prefix], now: datetime) -> Prefix:
    from clearway.store import lists, wanted

    for each in candidates:
        if not wanted.touching(each, now) and not lists.holders(state, each, now):
            return each
    return candidates[0]


def _outer_peers(host: Prefix, inside: list[Prefix]) -> list[Prefix]:
    """Whom the spoof guard takes for outside: in no inside prefix and no bogon. All, where the inside is everything."""
    from clearway.policy.bogons import BOGONS

    every = [each for each in map(Prefix.parse, PEERS[host.version]) if each != host]
    return [each for each in every if not any(prefix.covers(each) for prefix in (*inside, *BOGONS))] or every


def _inner_peers(host: Prefix, inside: list[Prefix]) -> list[Prefix]:
    """Hosts of the inside, three of each prefix, as the first one may have a grant; where it is not known, anybody."""
    from clearway.policy.model import BITS

    bits = BITS[host.version]
    own = [(each.address, 1 << (bits - each.length)) for each in inside if each.version == host.version]
    hosts = [Prefix(host.version, first + at % size, bits) for first, size in own for at in (1, size // 2, size - 2)]
    return hosts or [each for each in map(Prefix.parse, PEERS[host.version]) if each != host]


def _ask(
    gateway: Any,
    state: StateDirectory,
    packet: tuple[Direction, Prefix, Prefix],
    status: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    from clearway.cli.syn import syn

    direction, source, destination = packet
    frame = syn(source, destination)
    asked = {"frame": frame.hex(), "direction": word(direction)}
    kernel = gateway.request("POST", "/v1/probe", asked)["outcomes"]
    policy = _by_policy(state, packet, frame, status, now)
    differs = not all(_agree(outcome, policy) for outcome in kernel.values())
    return {
        "direction": word(direction),
        "source": str(source),
        "destination": str(destination),
        "frame": frame.hex(),
        "kernel": kernel,
        "policy": policy,
        "differs": differs,
    }


def _by_policy(
    state: StateDirectory,
    packet: tuple[Direction, Prefix, Prefix],
    frame: bytes,
    status: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """What the reference says, of what the database holds and with the settings the gateway was started with."""
    from clearway.gateway import guard
    from clearway.policy.evaluate import PolicySettings, evaluate
    from clearway.store.explain import near, wall_ns

    running = status["gateway"]
    inside = [Prefix.parse(text) for text in running["inside_prefixes"]]
    settings = PolicySettings(
        observe=running["observe"],
        guard=tuple(
            (Prefix.from_mapped(address, length), flags)
            for address, length, flags in guard.rows(inside, running["drop_bogons"])
        ),
        guard_inside=bool(inside),
        guard_bogons=running["drop_bogons"],
    )
    bypassed = status["bypass"]["until"] if status["bypass"]["on"] else None
    policy = near(
        state,
        now,
        packet[1:],
        inside=inside,
        settings=settings,
        bypass_until_ns=wall_ns(show.parse_stamp(bypassed)) if bypassed else 0,
    )
    outcome = evaluate(policy, frame, packet[0], wall_ns(now))
    return {
        "verdict": word(outcome.verdict),
        "drop_reason": word(outcome.drop_reason),
        "lane": word(outcome.lane),
    }
