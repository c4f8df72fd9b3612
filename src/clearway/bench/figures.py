"""Each row of the speed table is one function: which kinds, which traffic, which aim.

Names of kinds are what stands in the table and in the plot. Where an aim speaks of the lists that the full plan has,
it is judged with that plan alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from clearway.bench.bulk import CONGESTION_CONTROL, bulk
from clearway.bench.control_figures import commands, loading
from clearway.bench.decision_figures import decisions
from clearway.bench.generator import Flood, Stream, flood
from clearway.bench.lists import Entries, pairs, touched_share
from clearway.bench.measurement import Aim, Measurement, Result, Series
from clearway.bench.peers import Clearway, Peer, green_pairs
from clearway.bench.requests import ping_pong
from clearway.bench.stand import Stand
from clearway.bench.topology import GREEN_LEFT, GREEN_RIGHT, PLAIN_LEFT, PLAIN_RIGHT
from clearway.bench.turns import interleave

PLAIN = (PLAIN_LEFT, PLAIN_RIGHT)
GREEN = (GREEN_LEFT, GREEN_RIGHT)
ANY_DESTINATION = Stream("destination")
ANY_BOTH = Stream("both")
RANDOM_LISTED = "{share:.2g} % of random addresses are listed, and dropped"


@dataclass(frozen=True)
class Figure:
    """A row: its name for --only, its sentence, the programs it needs, and what measures it."""

    name: str
    sentence: str
    tools: tuple[str, ...]
    seconds: int  # about, in the full plan, with the wires that it is first to build
    measure: Callable[[Stand], Result]


def bulk_green(stand: Stand) -> Result:
    """Bulk TCP of a granted host; every table is loaded, and none is asked for it but the grants'."""
    peer = stand.clearway("tcx", "large")
    kinds: dict[str, tuple[Peer, tuple[str, str]]] = {
        "wire": (stand.bare_wire(), PLAIN),
        "bridge": (stand.bridge(), PLAIN),
        "green": (peer, GREEN),
    }
    aims = (Aim("green", ">=", 1.25, base="bridge"),)
    return _bulk(stand, "bulk-green", f"bulk TCP, green lane, {len(stand.green):,} grants", kinds, aims)


def bulk_inspected(stand: Stand) -> Result:
    """Bulk TCP of a host without a grant, both its addresses asked in the large list."""
    peer = stand.clearway("tcx", "large")
    kinds: dict[str, tuple[Peer, tuple[str, str]]] = {
        "bridge": (stand.bridge(), PLAIN),
        stand.bridge_with_set().name: (stand.bridge_with_set(), PLAIN),
        "inspected": (peer, PLAIN),
    }
    aims = (Aim("inspected", ">=", 1.15, base="bridge"),)
    title = f"bulk TCP, inspected lane, {stand.plan.large:,} addresses loaded"
    return _bulk(stand, "bulk-inspected", title, kinds, aims)


def _bulk(
    stand: Stand,
    name: str,
    title: str,
    kinds: dict[str, tuple[Peer, tuple[str, str]]],
    aims: tuple[Aim, ...],
) -> Result:
    stand.progress.begin(title, stand.plan.bulk_turns * len(kinds))
    measures = {
        kind: partial(bulk, peer, stand.cpus, *addresses, stand.plan.bulk_s)
        for kind, (peer, addresses) in kinds.items()
    }
    series = interleave(measures, stand.plan.bulk_turns, stand.progress, "Gbit/s")
    notes = (
        f"one stream, congestion control {CONGESTION_CONTROL}; offloads on at both hosts: super-packets cross whole",
        "over veth this is memory bandwidth and path length, not what a network card would carry",
    )
    return Result(name, title, "Gbit/s", "higher", "bridge", series, aims, notes)


def packets_green(stand: Stand) -> Result:
    """64-byte packets of one gateway core, each from another granted address."""
    random = Stream("source", green_pairs(stand.green))
    one = Stream(source=GREEN_LEFT, destination=GREEN_RIGHT)
    kinds: dict[str, tuple[Peer, Stream]] = {"bridge": (stand.bridge(), random)}
    for hook in ("tcx", "xdp"):
        peer = stand.clearway(hook, "large")
        kinds[hook] = (peer, random)
        kinds[f"{hook}, one address"] = (peer, one)
    aims = (Aim("tcx", ">=", 1.9, base="bridge"), Aim("xdp", ">=", 5, base="bridge"))
    title = f"64-byte packets/s of one core, green, {len(stand.green):,} grants"
    return _packets(stand, "packets-green", title, kinds, aims, ())


def packets_inspected(stand: Stand) -> Result:
    """64-byte packets of one gateway core to random addresses: cold tables."""
    nft = stand.bridge_with_set()
    kinds: dict[str, tuple[Peer, Stream]] = {
        "bridge": (stand.bridge(), ANY_DESTINATION),
        nft.name: (nft, ANY_DESTINATION),
    }
    for hook in ("tcx", "xdp"):
        kinds[hook] = (stand.clearway(hook, "large"), ANY_DESTINATION)
    for hook in ("tcx", "xdp"):
        kinds[f"{hook}, source too"] = (stand.clearway(hook, "large"), ANY_BOTH)
    aims = (Aim("tcx", ">=", 1.6, base="bridge"), Aim("xdp", ">=", 3.5, base="bridge"))
    title = f"64-byte packets/s of one core, inspected, {stand.plan.large:,} addresses, random destinations"
    return _packets(stand, "packets-inspected", title, kinds, aims, (_listed_share(stand, "large"),))


def _packets(
    stand: Stand,
    name: str,
    title: str,
    kinds: dict[str, tuple[Peer, Stream]],
    aims: tuple[Aim, ...],
    notes: Sequence[str],
) -> Result:
    stand.progress.begin(title, stand.plan.turns * len(kinds))
    measures = {kind: partial(_forwarded, stand, peer, stream) for kind, (peer, stream) in kinds.items()}
    series = interleave(measures, stand.plan.turns, stand.progress, "Mpps")
    return Result(name, title, "Mpps", "higher", "bridge", series, aims, (*notes, *_generator_notes(series)))


def _forwarded(stand: Stand, peer: Peer, stream: Stream) -> Measurement:
    sent = _flood(stand, peer, stream)
    return Measurement(sent.arrived / sent.gateway_s / 1e6, sent.details())


def _flood(stand: Stand, peer: Peer, stream: Stream) -> Flood:
    with peer.wire.threaded(stand.cpus.gateway):
        return flood(peer, stand.cpus, stream, stand.plan.packets_s)


def drops(stand: Stand, sources: Entries | None = None) -> Result:
    """Drops of one gateway core; every source is listed, drawn anew from the whole list; whatever arrives is a leak.

    `sources`: other addresses than those that the gateways hold, so that a test can see a leak.
    """
    nft = stand.bridge_with_set()
    kinds: dict[str, Peer] = {nft.name: nft}
    for hook in ("tcx", "xdp"):
        kinds[hook] = stand.clearway(hook, "middle")
    stream = Stream("source", pairs(stand.entries("middle") if sources is None else sources))
    title = f"drops/s of one core, listed sources, {stand.plan.middle:,} prefixes"
    stand.progress.begin(title, stand.plan.turns * len(kinds))
    measures = {kind: partial(_dropped, stand, peer, stream) for kind, peer in kinds.items()}
    series = interleave(measures, stand.plan.turns, stand.progress, "Mpps")
    leaked = int(sum(one.total("arrived") for one in series))
    aims = (Aim("tcx", ">=", 2.5, base=nft.name), Aim("xdp", ">=", 8, base=nft.name))
    notes = (f"nft: interval set at the ingress hook; {nft_load(stand)}", *_generator_notes(series))
    return Result("drops", title, "Mpps", "higher", nft.name, series, aims, notes, leaked=leaked)


def _dropped(stand: Stand, peer: Peer, stream: Stream) -> Measurement:
    sent = _flood(stand, peer, stream)
    return Measurement((sent.accepted - sent.arrived) / sent.gateway_s / 1e6, sent.details())


def request_response_udp(stand: Stand) -> Result:
    """Request and response over UDP, one at a time: the least that the hosts' own stacks add."""
    return _request_response(stand, "request-response", "udp", ())


def request_response_tcp(stand: Stand) -> Result:
    """The same over TCP, where the hosts' own work is a larger part of every kind's time."""
    notes = (
        "a program that only redirects reached 0.84 to 0.87 × the bridge over TCP when it was tried in the same turns",
    )
    return _request_response(stand, "request-response-tcp", "tcp", notes)


def _request_response(stand: Stand, name: str, protocol: str, notes: Sequence[str]) -> Result:
    peer = stand.clearway("tcx", "large")
    nft = stand.bridge_with_set()
    kinds: dict[str, tuple[Peer, tuple[str, str]]] = {
        "wire": (stand.bare_wire(), PLAIN),
        "bridge": (stand.bridge(), PLAIN),
        nft.name: (nft, PLAIN),
        "green": (peer, GREEN),
        "inspected": (peer, PLAIN),
    }
    title = f"request/response time over {protocol.upper()}, p50, {stand.plan.large:,} addresses loaded"
    stand.progress.begin(title, stand.plan.turns * len(kinds))
    measures = {
        kind: partial(ping_pong, one, stand.cpus, *addresses, stand.plan.requests, protocol)
        for kind, (one, addresses) in kinds.items()
    }
    series = interleave(measures, stand.plan.turns, stand.progress, "µs")
    aims = (Aim("green", "<=", 0.85, base="bridge"), Aim("inspected", "<=", 0.85, base="bridge"))
    notes = ("64 bytes, both hosts spin: no wake-up is measured; software clocks of a virtual machine", *notes)
    return Result(name, title, "µs", "lower", "bridge", series, aims, notes)


def forwarding_cost(stand: Stand) -> Result:
    """What a forwarded packet costs the gateway's core as the list grows; both addresses random."""
    small = f"tcx {stand.list_name('small')}"
    kinds: dict[str, Clearway] = {small: stand.clearway("tcx", "small")}
    for shape in ("clustered", "uniform"):
        kinds[f"tcx {stand.list_name('large', shape)}"] = stand.clearway("tcx", "large", shape)
    title = "cost of a forwarded packet as the list grows, random destinations"
    stand.progress.begin(title, stand.plan.turns * len(kinds))
    measures = {kind: partial(_cost, stand, peer) for kind, peer in kinds.items()}
    series = interleave(measures, stand.plan.turns, stand.progress, "ns")
    aims = (Aim(f"tcx {stand.list_name('large')}", "<=", 1.08, base=small, or_more=60),)
    touched = ", ".join(
        f"{shape} {touched_share(stand.entries('large', shape)):.0%}" for shape in ("clustered", "uniform")
    )
    notes = (f"share of /24s that {stand.plan.large:,} entries touch: {touched}", _listed_share(stand, "large"))
    return Result("cost", title, "ns", "lower", small, series, aims, notes)


def _cost(stand: Stand, peer: Peer) -> Measurement:
    sent = _flood(stand, peer, ANY_DESTINATION)
    return Measurement(sent.gateway_s / sent.accepted * 1e9, sent.details())


def nft_load(stand: Stand) -> str:
    """What the peer's set took to load, as a note."""
    load = stand.bridge_with_set().load
    if load is None:
        return "not loaded"
    return f"its {stand.plan.middle:,} entries took {load.seconds:.1f} s and {load.resident_bytes / 1e6:.0f} MB to load"


def _listed_share(stand: Stand, size: str) -> str:
    entries = stand.entries(size)
    addresses = sum(1 << (32 - int(length)) for length in entries & 255)
    return RANDOM_LISTED.format(share=100 * addresses / (1 << 32))


def _generator_notes(series: Sequence[Series]) -> tuple[str, ...]:
    """The generator's own limit, and how busy the gateway's core was: who was the slower one?"""
    offered = [one.detail("offered_mpps") for one in series]
    busy = ", ".join(f"{one.kind} {one.detail('gateway_busy'):.0%}" for one in series)
    return (
        "packets by CPU seconds of the gateway's core, counted where they arrive; XDP live frames from another core",
        f"the generator offered {min(offered):.1f} to {max(offered):.1f} Mpps; the gateway's core was busy: {busy}",
    )


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure("bulk-green", "bulk TCP of a granted host against the bridge", ("iperf3", "ss"), 90, bulk_green),
        Figure("bulk-inspected", "bulk TCP, both addresses asked", ("iperf3", "ss", "nft"), 90, bulk_inspected),
        Figure("packets-green", "64-byte packets/s of one core, green", (), 50, packets_green),
        Figure("packets-inspected", "64-byte packets/s of one core, cold tables", ("nft",), 60, packets_inspected),
        Figure("drops", "drops/s of one core, leaks counted", ("nft",), 40, drops),
        Figure("request-response", "request/response time over UDP, p50", ("nft",), 20, request_response_udp),
        Figure("request-response-tcp", "the same over TCP", ("nft",), 20, request_response_tcp),
        Figure("cost", "cost of a packet as the list grows", (), 40, forwarding_cost),
        Figure("loading", "a list from file to enforced, and kernel memory", ("nft",), 60, loading),
        Figure("decisions", "block, grant and back, from request to kernel", (), 90, decisions),
        Figure("commands", "how long commands take to start", (), 20, commands),
    )
}
