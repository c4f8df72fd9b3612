"""The rows that need no wire: building the set, reading one name in the kernel, reading captures."""

import time
from functools import partial
from random import Random

from clearway.bench import names_captures, names_lists
from clearway.bench import names_hellos as first_bytes
from clearway.bench.measurement import Aim, Measurement, Result
from clearway.bench.names_gateway import compiled
from clearway.bench.names_hellos import ETHERNET_BYTES, HELLO_BYTES, IP_BYTES, LARGE_HELLO_BYTES, TCP_BYTES, UDP_BYTES
from clearway.bench.names_stand import CLEAN_FIRST, NamesStand
from clearway.bench.turns import interleave

SHORT = b"??????????.???????????.com"
"""26 characters; '?' is drawn anew each time."""
LONG = b"???????????.??????????????.?????????????????????.???????????????????.info"
QUERIED = b"????????.?????????????????.com"
"""73 and 30 of them."""


def build(stand: NamesStand) -> Result:
    """From the sorted names of a list's file to the exact set and its filter; then what all copies take."""
    parsed, plan = stand.parsed, stand.names_plan
    title = f"building {plan.names:,} names, and their memory"
    stand.progress.begin(title, plan.build_turns)

    def once() -> Measurement:
        began = time.monotonic()
        made = compiled(parsed.listed, parsed.excepted)
        took = time.monotonic() - began
        filters = 3 * made.name_filter.nbytes  # in the snapshot, and two copies in the kernel
        return Measurement(took, {"set_mb": made.names.nbytes / 1e6, "mb": (made.names.nbytes + filters) / 1e6})

    series = interleave({"names": once}, plan.build_turns, stand.progress, "s")
    set_mb, all_mb = series[0].detail("set_mb"), series[0].detail("mb")
    notes = (
        f"exact set {set_mb:.0f} MB, mapped once for all processes; filter three times (snapshot, two copies in the "
        f"kernel) {all_mb - set_mb:.0f} MB: {all_mb * 1e6 / plan.names:.1f} bytes a name",
        f"each name with everything below it; {parsed.bytes_a_name:.1f} characters on average",
    )
    aims = (Aim("names", "<=", 5), Aim("names", "<=", 300, detail="mb"))
    return Result("build", title, "s", "lower", None, series, aims if plan.name == "full" else (), notes)


def reading(stand: NamesStand) -> Result:
    """Nanoseconds of read_name(), each run with another name, by BPF_PROG_TEST_RUN."""
    from clearway import _engine as engine

    plan, names = stand.names_plan, stand.compiled
    cost = engine.NameCost(engine.NameFilter(names.opened(), names.name_filter.data))
    title = f"reading and matching a name in the kernel, random names, {plan.names:,} listed"
    drawn = Random(1)
    tcp, udp = ETHERNET_BYTES + IP_BYTES + TCP_BYTES, ETHERNET_BYTES + IP_BYTES + UDP_BYTES

    def hello(name: bytes, size: int, *, last: bool = False) -> bytes:
        return first_bytes.tcp_frame(first_bytes.hello(name, size, drawn, name_last=last), 1025)

    cases = {
        f"{len(SHORT)} characters": (hello(SHORT, HELLO_BYTES), SHORT, tcp),
        f"{len(LONG)} characters": (hello(LONG, HELLO_BYTES), LONG, tcp),
        "26, after a post-quantum share": (hello(SHORT, LARGE_HELLO_BYTES, last=True), SHORT, tcp),
        f"DNS, {len(QUERIED)} characters": (
            first_bytes.udp_frame(first_bytes.query(QUERIED, 7), 1025, 53),
            QUERIED,
            udp,
        ),
    }

    def measure(frame: bytes, name: bytes, payload_at: int) -> Measurement:
        is_dns = payload_at == udp
        first = name.split(b".")[0]
        all_ns, drawing_ns, clean, other = cost.measure(
            frame,
            name_at=frame.index(first, payload_at),
            name_bytes=len(name),
            payload_at=payload_at,
            is_dns=is_dns,
            repeat=plan.cost_repeat,
            seed=drawn.getrandbits(63),
        )
        return Measurement(float(all_ns - drawing_ns), {"clean_share": clean / (clean + other)})

    stand.progress.begin(title, plan.cost_turns * len(cases))
    kinds = {kind: partial(measure, *case) for kind, case in cases.items()}
    series = interleave(kinds, plan.cost_turns, stand.progress, "ns")
    aims = [Aim("26 characters", "<=", 300), Aim("73 characters", "<=", 550)]
    aims += [Aim(one.kind, ">=", 0.999, detail="clean_share") for one in series]
    notes = ("drawing a name and writing it into the frame is measured alone and taken off",)
    return Result("reading", title, "ns", "lower", None, series, tuple(aims), notes)


def captures(stand: NamesStand) -> Result:
    """The same file of generated hellos, each reader on one core."""
    plan = stand.names_plan
    names = names_lists.some(CLEAN_FIRST, plan.capture_hellos)
    absent = {reader.name: reader.absent() for reader in names_captures.READERS}
    readers = [reader for reader in names_captures.READERS if absent[reader.name] is None]
    title = f"hellos/s that a reader of captures takes in, one core, {plan.capture_hellos:,} of them"
    stand.progress.begin(title, plan.capture_turns * len(readers))
    with names_captures.files(names) as (full, empty):
        kinds = {
            reader.name: partial(names_captures.read, reader, stand.cpus, full, empty, plan.capture_hellos)
            for reader in readers
        }
        for reader in readers:  # what a first start alone costs, as byte code, is no part of any turn
            names_captures.cpu_seconds(reader, stand.cpus, empty)
        series = interleave(kinds, plan.capture_turns, stand.progress, "hellos/s")
    aims = [
        Aim("inspect", ">=", bound, base=peer) for peer, bound in (("ndpiReader", 10), ("tshark", 40)) if peer in kinds
    ]
    starts = ", ".join(f"{one.kind} {one.detail('start_s'):.2f} s" for one in series)
    with_start = ", ".join(f"{one.kind} {one.detail('with_start'):,.0f}" for one in series)
    notes = [
        f"by CPU seconds; a reader's start is taken off: {starts}",
        f"with it, in this file: {with_start} a second",
        "generated; one hello a flow, of 517 bytes, every second one of 1,700 in two packets, as browsers send them",
        *(why for why in absent.values() if why is not None),
    ]
    base = "ndpiReader" if "ndpiReader" in kinds else None
    return Result("captures", title, "hellos/s", "higher", base, series, tuple(aims), tuple(notes))
