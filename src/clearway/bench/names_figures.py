"""Each row of the table of names is one function: which kinds, which traffic, which aim.

"off" is the same gateway with the same tables and the name step switched off: what stands between the two is what names
cost. Rows that speak of a time or of a cost "over" another kind are differences of turns that stood side by side.
"""

from collections.abc import Callable, Sequence
from functools import partial

from clearway.bench import names_flows
from clearway.bench.bulk import CONGESTION_CONTROL, bulk
from clearway.bench.figures import ANY_DESTINATION, Figure
from clearway.bench.generator import flood
from clearway.bench.measurement import Aim, Measurement, Result, Series
from clearway.bench.names_gateway import Waited
from clearway.bench.names_reading import build, captures, reading
from clearway.bench.names_stand import NamesStand
from clearway.bench.peers import Peer
from clearway.bench.stand import Stand
from clearway.bench.topology import PLAIN_LEFT, PLAIN_RIGHT
from clearway.bench.turns import interleave

HELD_SHARE_MIN = 0.99
"""Of the flows that were to be held; what passed unread would flatter the figure."""


# ---- flows ----


def flows_clean(stand: NamesStand) -> Result:
    return _flows(stand, "flows-clean", "new TLS flows, clean name, hello of 517 bytes", "hello", 0.98)


def flows_clean_large(stand: NamesStand) -> Result:
    title = "new TLS flows, clean name, hello of 1,700 bytes in one buffer"
    return _flows(stand, "flows-clean-1700", title, "large hello", 0.98)


def flows_segments(stand: NamesStand) -> Result:
    title = "new TLS flows, held: hello of 1,700 bytes in two packets, no GRO"
    return _flows(stand, "flows-held-segments", title, "large hello", 0.95, held=True, segments=True)


def flows_hit(stand: NamesStand) -> Result:
    title = "new TLS flows, held: a hit of the filter that the exact set lets pass"
    return _flows(stand, "flows-held-hit", title, "excepted hello", 0.95, held=True)


def flows_quic(stand: NamesStand) -> Result:
    return _flows(stand, "flows-quic", "new QUIC flows, held", "initial", 0.7, held=True)


def queries(stand: NamesStand) -> Result:
    return _flows(stand, "queries", "DNS queries over UDP, clean name", "query", 0.97)


def _flows(
    stand: NamesStand, name: str, title: str, load: str, aim: float, *, held: bool = False, segments: bool = False
) -> Result:
    plan, on = stand.names_plan, "held" if held else "clean"
    kinds = {"off": partial(_turn, stand, load, False), on: partial(_turn, stand, load, True)}
    stand.gateway()
    stand.progress.begin(title, plan.flow_turns * len(kinds))
    if segments:
        with names_flows.in_segments(stand.gateway()):
            series = interleave(kinds, plan.flow_turns, stand.progress, "flows/s")
    else:
        series = interleave(kinds, plan.flow_turns, stand.progress, "flows/s")
    aims = [Aim(on, ">=", aim, base="off")]
    if held:
        aims.append(Aim(on, ">=", HELD_SHARE_MIN, detail="held_share"))
    unit = "queries/s" if load == "query" else "flows/s"
    return Result(name, title, unit, "higher", "off", series, tuple(aims), _flow_notes(series))


def _turn(stand: NamesStand, load: str, on: bool) -> Measurement:
    gateway = stand.gateway()
    with gateway.inspecting(on):
        before = gateway.waited()
        found = names_flows.flows(
            gateway, stand.cpus, stand.load(load), stand.names_plan.flow_s, gateway.inspector_pids
        )
        return _with_waiting(found, before, gateway.waited())


def _with_waiting(found: Measurement, before: Waited, after: Waited) -> Measurement:
    """`held_share`: of the flows; DNS has packets in place of flows."""
    flows = max(1.0, found.details["flows"])
    waiting = {
        "held_share": (after.flows - before.flows) / flows,
        "held_packets": (after.packets - before.packets) / flows,
        "full": float(after.full - before.full),
        "away": float(after.away - before.away),
        "refused": float(after.refused - before.refused),
    }
    return Measurement(found.value, {**found.details, **waiting})


def _flow_notes(series: Sequence[Series]) -> tuple[str, ...]:
    busy = ", ".join(f"{one.kind} {one.detail('cpu_us'):.1f} µs" for one in series)
    notes = [f"all processes together ran for each: {busy}"]
    for one in series:
        if one.kind != "off":
            notes.append(f"{one.kind}: {one.detail('held_packets'):.3f} packets a flow went to the inspector")
        for word, what in (
            ("failed", "were not answered"),
            ("full", "found no room in the hold, and passed unread"),
            ("away", "found no inspector, and passed unread"),
            ("refused", "were refused, though nothing here is"),
        ):
            if one.total(word):
                notes.append(f"{one.kind}: {one.total(word):.0f} {what}")
    return tuple(notes)


def gateway_cpu(stand: NamesStand) -> Result:
    """What the gateway costs a flow: the run time of all processes, over that with a bare wire between the hosts."""
    plan, wire = stand.names_plan, stand.bare_wire()
    title = "CPU of the gateway a TLS flow, over the bare wire"
    kinds: dict[str, Callable[[], Measurement]] = {
        "wire": lambda: _cpu(names_flows.flows(wire, stand.cpus, stand.load("hello"), plan.flow_s)),
        "off": lambda: _cpu(_turn(stand, "hello", False)),
        "clean": lambda: _cpu(_turn(stand, "hello", True)),
        "held": lambda: _cpu(_turn(stand, "excepted hello", True)),
    }
    stand.gateway()
    stand.progress.begin(title, plan.flow_turns * len(kinds))
    series = interleave(kinds, plan.flow_turns, stand.progress, "µs")
    aims = (Aim("clean", "<=", 5), Aim("held", "<=", 15), Aim("held", ">=", HELD_SHARE_MIN, detail="held_share"))
    whole = ", ".join(f"{one.kind} {one.median:.1f} µs" for one in series)
    notes = (f"both hosts included: {whole}", "off: the same gateway, no name looked at")
    return Result("gateway-cpu", title, "µs", "lower", None, over(series, "wire"), aims, notes)


def _cpu(found: Measurement) -> Measurement:
    return Measurement(found.details["cpu_us"], {**found.details, "flows_per_s": found.value})


# ---- first data ----


def first_data(stand: NamesStand) -> Result:
    """How much later a flow's first data arrives than with the name step off; segments against segments."""
    plan, gateway = stand.names_plan, stand.gateway()
    title = "time added to a flow's first data"
    whole = {
        "off": partial(_first_data, stand, "hello", False),
        "clean": partial(_first_data, stand, "hello", True),
        "held": partial(_first_data, stand, "excepted hello", True),
    }
    split = {
        "off, segments": partial(_first_data, stand, "large hello", False),
        "held, segments": partial(_first_data, stand, "large hello", True),
    }
    stand.progress.begin(title, plan.first_data_turns * (len(whole) + len(split)))
    series = interleave(whole, plan.first_data_turns, stand.progress, "µs")
    with names_flows.in_segments(gateway):
        apart = interleave(split, plan.first_data_turns, stand.progress, "µs")
    added = (*over(series, "off", "p99_us"), *over(apart, "off, segments", "p99_us"))
    aims = (
        Aim("clean", "<=", 0.5),
        Aim("clean", "<=", 5, detail="p99_us"),
        Aim("held", "<=", 25),
        Aim("held", "<=", 60, detail="p99_us"),
        Aim("held, segments", "<=", 25),
        Aim("held, segments", "<=", 60, detail="p99_us"),
    )
    taken = ", ".join(f"{one.kind} {one.median:.1f} and {one.detail('p99_us'):.1f} µs" for one in (*series, *apart))
    p99 = ", ".join(f"{one.kind} {one.detail('p99_us'):.2f} µs" for one in added)
    notes = (
        f"p99 added: {p99}",
        f"the whole way, p50 and p99: {taken}",
        "from the client's send() until the server has it all, both ends awake: no wake-up of a core is in it",
    )
    return Result("first-data", title, "µs", "lower", None, added, aims, notes)


def _first_data(stand: NamesStand, load: str, on: bool) -> Measurement:
    gateway = stand.gateway()
    with gateway.inspecting(on):
        return names_flows.first_data(gateway, stand.cpus, stand.load(load).payloads, stand.names_plan.first_data)


def over(series: Sequence[Series], base: str, *details: str) -> tuple[Series, ...]:
    """Each turn of each kind less the base's turn beside it; of the details those that are named."""
    beside = next(one for one in series if one.kind == base).measurements
    found = []
    for one in series:
        if one.kind == base:
            continue
        turns = [
            Measurement(
                turn.value - other.value,
                {**turn.details, **{name: turn.details[name] - other.details[name] for name in details}},
            )
            for turn, other in zip(one.measurements, beside, strict=True)
        ]
        found.append(Series(one.kind, tuple(turns)))
    return tuple(found)


# ---- what is decided already ----


def bulk_decided(stand: NamesStand) -> Result:
    """Bulk TCP of a flow whose name was read: both addresses asked, and whether the flow waits for something."""
    title = f"bulk TCP of decided flows, {stand.names_plan.names:,} names, {stand.plan.large:,} addresses"
    kinds = {
        "bridge": partial(_bulk, stand, stand.bridge()),
        "off": partial(_inspecting, stand, False, _bulk),
        "names": partial(_inspecting, stand, True, _bulk),
    }
    stand.gateway()
    stand.progress.begin(title, stand.plan.bulk_turns * len(kinds))
    series = interleave(kinds, stand.plan.bulk_turns, stand.progress, "Gbit/s")
    notes = (f"one stream, congestion control {CONGESTION_CONTROL}; offloads on at both hosts",)
    aims = (Aim("names", ">=", 1.15, base="bridge"),)
    return Result("bulk-decided", title, "Gbit/s", "higher", "bridge", series, aims, notes)


def _bulk(stand: NamesStand, peer: Peer) -> Measurement:
    return bulk(peer, stand.cpus, PLAIN_LEFT, PLAIN_RIGHT, stand.plan.bulk_s)


def packets(stand: NamesStand) -> Result:
    """64-byte packets of one gateway core that no name is read of, to random addresses."""
    title = f"64-byte packets/s of one core, {stand.names_plan.names:,} names, {stand.plan.large:,} addresses"
    kinds = {
        "bridge": partial(_packets, stand, stand.bridge()),
        "off": partial(_inspecting, stand, False, _packets),
        "names": partial(_inspecting, stand, True, _packets),
    }
    stand.gateway()
    stand.progress.begin(title, stand.plan.turns * len(kinds))
    series = interleave(kinds, stand.plan.turns, stand.progress, "Mpps")
    aims = (Aim("names", ">=", 1.6, base="bridge"),)
    return Result("packets-names", title, "Mpps", "higher", "bridge", series, aims)


def _packets(stand: NamesStand, peer: Peer) -> Measurement:
    with peer.wire.threaded(stand.cpus.gateway):
        sent = flood(peer, stand.cpus, ANY_DESTINATION, stand.plan.packets_s)
    return Measurement(sent.arrived / sent.gateway_s / 1e6, sent.details())


def _inspecting(stand: NamesStand, on: bool, measure: Callable[[NamesStand, Peer], Measurement]) -> Measurement:
    gateway = stand.gateway()
    with gateway.inspecting(on):
        return measure(stand, gateway)


# ---- the table ----


def _figure(
    name: str, sentence: str, tools: tuple[str, ...], seconds: int, measure: Callable[[NamesStand], Result]
) -> Figure:
    def of_names(stand: Stand) -> Result:
        if not isinstance(stand, NamesStand):
            raise TypeError(f"{name} wants a stand of names")
        return measure(stand)

    return Figure(name, sentence, tools, seconds, of_names)


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        _figure("build", "5 million names: time to build, memory of all copies", (), 40, build),
        _figure("reading", "reading and matching a name in the kernel", (), 10, reading),
        _figure("captures", "inspect beside ndpiReader and tshark", (), 40, captures),
        _figure("flows-clean", "new TLS flows, clean, 517 bytes", (), 20, flows_clean),
        _figure("flows-clean-1700", "new TLS flows, clean, 1,700 bytes", (), 15, flows_clean_large),
        _figure("flows-held-segments", "new TLS flows, held: two packets", (), 15, flows_segments),
        _figure("flows-held-hit", "new TLS flows, held: a hit of the filter", (), 15, flows_hit),
        _figure("flows-quic", "new QUIC flows, held", (), 15, flows_quic),
        _figure("queries", "DNS queries, clean", (), 15, queries),
        _figure("first-data", "time added to a flow's first data", (), 15, first_data),
        _figure("gateway-cpu", "CPU of the gateway a flow", (), 30, gateway_cpu),
        _figure("bulk-decided", "bulk TCP of decided flows", ("iperf3", "ss"), 90, bulk_decided),
        _figure("packets-names", "64-byte packets with names loaded", (), 40, packets),
    )
}
