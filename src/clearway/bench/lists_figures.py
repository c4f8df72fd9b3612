"""Each row of the table of lists is one function: which kinds, which lists, which aim.

Times are those that a person waits for: from a command, or a request to a running gateway, until what it says is in
the kernel. Where an aim speaks of the sizes that the full plan has, it is judged with that plan alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from clearway.bench import lists, lists_peers, names_lists
from clearway.bench.bulk import CONGESTION_CONTROL, bulk
from clearway.bench.figures import ANY_DESTINATION, Figure
from clearway.bench.generator import flood
from clearway.bench.lists_feeds import CHANGED_SHARE, Kind
from clearway.bench.lists_gateway import LOAD_S_MAX, ListsGateway
from clearway.bench.lists_peers import DNSMASQ, IPSET, NFT, UNBOUND, UNBOUND_RPZ, Loader
from clearway.bench.lists_stand import ListsStand
from clearway.bench.measurement import Aim, Measurement, Result, Series
from clearway.bench.peers import Peer
from clearway.bench.stand import Stand
from clearway.bench.topology import PLAIN_LEFT, PLAIN_RIGHT
from clearway.bench.turns import interleave
from clearway.errors import ClearwayError

Measure = Callable[[], Measurement]


def _aims(stand: ListsStand, *aims: Aim) -> tuple[Aim, ...]:
    return aims if stand.plan.name == "full" else ()


# ---- Clearway alone ----


def parse(stand: ListsStand) -> Result:
    """From a file's bytes to its distinct entries; the same names in other formats beside."""
    from clearway.bench.lists_feeds import NAME_FORMATS, as_text

    count = stand.lists_plan.parse_lines
    names = names_lists.lines(0, count)
    path = stand.folder / "lines"
    lists.write_text(lists.make(lists.ListPlan(count)), path)
    texts = {"addresses": ("ip-plain", path.read_bytes()), "domains": ("domains", names)}
    texts |= {each.word: (each.word, as_text(each, names)) for each in NAME_FORMATS if each.word != "domains"}
    stand.progress.begin(f"reading {count:,} entries", stand.lists_plan.parse_turns * len(texts))
    kinds = {kind: partial(_read, *text) for kind, text in texts.items()}
    series = interleave(kinds, stand.lists_plan.parse_turns, stand.progress, "s")
    aims = _aims(stand, Aim("addresses", "<=", 1), Aim("domains", "<=", 1))
    notes = ("one entry a line, RPZ two lines; in no order; unpacking and sorting are in it, the guard is not",)
    return Result("parse", f"reading a list of {count:,} entries", "s", "lower", None, series, aims, notes)


def _read(format: str, text: bytes) -> Measurement:
    from clearway.feeds.readers import table

    began = time.monotonic()
    entries = len(table.read(text, format).content.blocked)
    return Measurement(time.monotonic() - began, {"entries": float(entries)})


def all_lists(stand: ListsStand) -> Result:
    """From the files to the kernel, by one command, into an empty gateway that runs."""
    plan, many = stand.lists_plan, stand.many
    title = f"{len(many.files)} lists of {many.addresses:,} addresses and {many.names:,} names, from files to enforced"
    stand.progress.begin(title, plan.many_turns)

    def once() -> Measurement:
        found = stand.load_many()
        return found.measurement(**{name: float(value) for name, value in stand.loaded.counts().items()})

    series = interleave({"all": once}, plan.many_turns, stand.progress, "s")
    formats = sorted({each.format for each in many.files})
    (all_of_them,) = series
    prefixes = all_of_them.detail("v4_prefixes") + all_of_them.detail("v6_prefixes")
    notes = (
        f"`clearway feed load` from its start to its end; formats: {', '.join(formats)}; some packed",
        f"processes together at most {all_of_them.detail('peak_mb'):.0f} MB resident at one time, shared memory "
        f"counted in each; their own peaks {all_of_them.detail('own_peaks_mb'):.0f} MB",
        f"kernel: the maps of the gateway, by fdinfo, {all_of_them.detail('kernel_mb'):.0f} MB",
        f"enforced: {prefixes:,.0f} distinct prefixes, {all_of_them.detail('names'):,.0f} names",
    )
    aims = _aims(
        stand,
        Aim("all", "<=", 30),
        Aim("all", "<=", 2500, detail="peak_mb"),
        Aim("all", "<=", 700, detail="kernel_mb"),
    )
    return Result("all", title, "s", "lower", None, series, aims, notes)


def unchanged(stand: ListsStand) -> Result:
    """All lists looked at again."""
    held = stand.loaded
    title = f"`clearway feed update` of {len(stand.many.files)} lists, nothing changed"
    stand.progress.begin(title, stand.lists_plan.same_turns)
    kinds: dict[str, Measure] = {"unchanged": lambda: held.timed("feed", "update").measurement()}
    series = interleave(kinds, stand.lists_plan.same_turns, stand.progress, "s")
    notes = ("the command from its start to its end; each list's look is a row in the database",)
    aims = _aims(stand, Aim("unchanged", "<=", 1))
    return Result("unchanged", title, "s", "lower", None, series, aims, notes)


def changed(stand: ListsStand) -> Result:
    """One list of the forty, of each kind, gets other entries."""
    held = stand.loaded
    plan = stand.lists_plan
    title = f"one list of {plan.many.changing:,} among {len(stand.many.files)} changed by {CHANGED_SHARE:.0%}"
    kinds: dict[str, Measure] = {kind: partial(_changed, stand, held, kind) for kind in ("addresses", "names")}
    stand.progress.begin(title, plan.changed_turns * len(kinds))
    series = interleave(kinds, plan.changed_turns, stand.progress, "s")
    notes = ("`clearway feed update NAME` from its start to its end; a new address is then dropped by the program",)
    aims = _aims(stand, Aim("addresses", "<=", 3), Aim("names", "<=", 3))
    return Result("changed", title, "s", "lower", None, series, aims, notes)


def _changed(stand: ListsStand, held: ListsGateway, kind: Kind) -> Measurement:
    example = stand.change(kind)
    was_dropped = kind == "addresses" and held.drops(example)
    found = held.timed("feed", "update", f"changing-{kind}")
    if kind == "addresses":
        held.check_dropped(example)
    return found.measurement(was_dropped=float(was_dropped))


# ---- beside others ----


def load_prefixes(stand: ListsStand) -> Result:
    return _loads(stand, "load-prefixes", _prefix_series(stand), {NFT: 1 / 5, IPSET: 1 / 2})


def load_names(stand: ListsStand) -> Result:
    series = _name_series(stand, stand.lists_plan.peer_names, stand.lists_plan.peer_turns, RESOLVERS)
    return _loads(stand, "load-names", series, {UNBOUND: 1 / 5, UNBOUND_RPZ: 1 / 5, DNSMASQ: 1 / 5})


def memory_prefixes(stand: ListsStand) -> Result:
    return _memory(stand, "memory-prefixes", _prefix_series(stand), {NFT: 0.25})


def memory_names(stand: ListsStand) -> Result:
    series = _name_series(stand, stand.lists_plan.memory_names, 1, (UNBOUND, DNSMASQ))
    return _memory(stand, "memory-names", series, {UNBOUND: 0.5})


RESOLVERS = (UNBOUND, UNBOUND_RPZ, DNSMASQ)
Measured = tuple[str, tuple[Series, ...], tuple[str, ...]]
"""What was loaded, all kinds, and who they are, or that they are missing."""


def _prefix_series(stand: ListsStand) -> Measured:
    count, turns = stand.lists_plan.peer_prefixes, stand.lists_plan.peer_turns
    title = f"{count:,} prefixes"
    return _measured(stand, title, lambda: stand.prefixes, "ip-plain", turns, (NFT, IPSET))


def _name_series(stand: ListsStand, count: int, turns: int, loaders: tuple[Loader, ...]) -> Measured:
    return _measured(stand, f"{count:,} names", lambda: names_lists.lines(0, count), "wildcard-domains", turns, loaders)


def _measured(
    stand: ListsStand, title: str, make: Callable[[], bytes], format: str, turns: int, loaders: tuple[Loader, ...]
) -> Measured:
    told = tuple(dict.fromkeys(each.absent() or each.version() for each in loaders))

    def measure() -> tuple[Series, ...]:
        text = make()
        kinds: dict[str, Measure] = {"clearway": partial(stand.one_list, text, format)}
        kinds |= {each.name: partial(lists_peers.load, each, text) for each in loaders if each.absent() is None}
        stand.progress.begin(f"loading {title}", turns * len(kinds))
        return interleave(kinds, turns, stand.progress, "s")

    return title, stand.series(title, measure), told


def _loads(stand: ListsStand, name: str, measured: Measured, bounds: dict[Loader, float]) -> Result:
    what, series, told = measured
    measured_kinds = {one.kind for one in series}
    aims = [Aim("clearway", "<=", bound, base=peer.name) for peer, bound in bounds.items()]
    notes = (
        "clearway: a request to a running gateway until its answer, all of guard, database and kernel in it; "
        f"`clearway feed add` from its start {series[0].detail('command_s'):.2f} s",
        "nft, ipset: the program from its start to its end; resolvers: from their start until a listed name is refused",
        *told,
    )
    title = f"loading {what}, the same list"
    aims = [aim for aim in aims if aim.base in measured_kinds]
    return Result(name, title, "s", "lower", None, series, _aims(stand, *aims), notes)


def _memory(stand: ListsStand, name: str, measured: Measured, bounds: dict[Loader, float]) -> Result:
    """Clearway twice: all that its processes take, and what the list costs more than an empty gateway."""
    what, loads, told = measured
    series = [_together(one.kind, "together_mb", one) for one in loads]
    series.insert(1, _together(MORE, "more_mb", loads[0]))
    parts = ", ".join(f"{one.kind} {one.detail('loader_mb'):.0f} + {one.detail('kernel_mb'):.0f} MB" for one in loads)
    notes = (
        f"processes, each at its own peak without the maps that it looks into, and kernel: {parts}",
        f"{MORE}: without the {loads[0].detail('empty_mb'):.0f} MB that its processes and maps take with no list",
        *told,
    )
    kinds = {one.kind for one in series}
    aims = [
        Aim(kind, "<=", bound, base=peer.name)
        for peer, bound in bounds.items()
        if peer.name in kinds
        for kind in ("clearway", MORE)
    ]
    title = f"memory for {what}, loader and kernel together"
    return Result(name, title, "MB", "lower", None, tuple(series), _aims(stand, *aims), notes)


MORE = "clearway, for the list"


def _together(kind: str, detail: str, loads: Series) -> Series:
    return Series(kind, tuple(Measurement(turn.details[detail], turn.details) for turn in loads.measurements))


# ---- the wire meanwhile ----


def wire_bulk(stand: ListsStand) -> Result:
    """Bulk TCP through a gateway, before and while all lists are loaded into it."""

    def measure(peer: Peer) -> Measurement:
        return bulk(peer, stand.cpus, PLAIN_LEFT, PLAIN_RIGHT, stand.lists_plan.wire_s)

    notes = (f"one stream, congestion control {CONGESTION_CONTROL}; hosts, gateway and the load share two cores",)
    return _wire(stand, "wire-bulk", "bulk TCP while all lists are loaded", "Gbit/s", measure, notes)


def wire_packets(stand: ListsStand) -> Result:
    """64-byte packets of one gateway core, the same."""

    def measure(peer: Peer) -> Measurement:
        with peer.wire.threaded(stand.cpus.gateway):
            sent = flood(peer, stand.cpus, ANY_DESTINATION, stand.lists_plan.wire_s)
        return Measurement(sent.arrived / sent.gateway_s / 1e6, sent.details())

    notes = ("packets by CPU seconds of the gateway's core: what caches and memory cost, not who has the core",)
    return _wire(stand, "wire-packets", "64-byte packets/s while all lists are loaded", "Mpps", measure, notes)


def _wire(
    stand: ListsStand,
    name: str,
    title: str,
    unit: str,
    measure: Callable[[Peer], Measurement],
    notes: tuple[str, ...],
) -> Result:
    path = str(stand.many_file)
    stand.end_loaded()
    found: dict[str, list[Measurement]] = {"before": [], "during": []}
    stand.progress.begin(title, 2 * stand.lists_plan.wire_turns)
    for _ in range(stand.lists_plan.wire_turns):
        with stand.gateway() as made:
            peer = Peer("clearway", made.wire)
            found["before"].append(measure(peer))
            stand.progress.step(f"before {found['before'][-1].value:.4g} {unit}")
            found["during"].append(_during(made, path, partial(measure, peer)))
            stand.progress.step(f"during {found['during'][-1].value:.4g} {unit}")
    series = tuple(Series(kind, tuple(turns)) for kind, turns in found.items())
    during = series[1]
    lasted = f"{during.total('outlasted'):.0f} of {len(during.values)}"
    notes = (*notes, f"loads took {during.detail('load_s'):.1f} s; {lasted} went on when their measurement was over")
    aims = _aims(stand, Aim("during", ">=", 0.9, base="before"))
    return Result(name, title, unit, "higher", "before", series, aims, notes)


def _during(made: ListsGateway, path: str, measure: Measure) -> Measurement:
    """A measurement while all lists are loaded, with `load_s` and whether the load outlasted it."""
    began = time.monotonic()
    process = made.started("feed", "load", path)
    try:
        time.sleep(LOAD_BEGINS_S)
        measurement = measure()
        still_loads = process.poll() is None
        process.wait(LOAD_S_MAX)
    finally:
        process.kill()
    if process.wait():
        raise ClearwayError.of("bench.E004", command="clearway feed load", detail=f"exit code {process.returncode}")
    told = {"load_s": time.monotonic() - began, "outlasted": float(still_loads)}
    return Measurement(measurement.value, {**measurement.details, **told})


LOAD_BEGINS_S = 1.0
"""Until a command has started and reads its first list."""


def _figure(
    name: str, sentence: str, tools: tuple[str, ...], seconds: int, measure: Callable[[ListsStand], Result]
) -> Figure:
    def of_lists(stand: Stand) -> Result:
        if not isinstance(stand, ListsStand):
            raise TypeError(f"{name} wants a stand of lists")
        return measure(stand)

    return Figure(name, sentence, tools, seconds, of_lists)


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        _figure("parse", "reading a million lines of each format", (), 20, parse),
        _figure("all", "forty lists from files to enforced, and memory", (), 120, all_lists),
        _figure("unchanged", "all of them again, nothing changed", (), 20, unchanged),
        _figure("changed", "one of them changed by a hundredth", (), 40, changed),
        _figure("load-prefixes", "loading a list beside nft and ipset", (), 90, load_prefixes),
        _figure("load-names", "loading a list beside unbound and dnsmasq", (), 100, load_names),
        _figure("memory-prefixes", "memory of the same lists of addresses", (), 1, memory_prefixes),
        _figure("memory-names", "memory of five million names", (), 90, memory_names),
        _figure("wire-bulk", "bulk TCP while all lists are loaded", ("iperf3", "ss"), 90, wire_bulk),
        _figure("wire-packets", "64-byte packets/s while all lists are loaded", (), 90, wire_packets),
    )
}
