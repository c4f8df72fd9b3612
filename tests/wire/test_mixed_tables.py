"""No packet is judged by a mixture of two tables; and it would be, were the grace period not waited for.

Two readers stand in for the packet that is unlucky once in years. The first is a program of its own that pauses
between two lookups (slow_reader.bpf.c). The second is the gateway's own program under real traffic, slowed by a
destination that stands under a hundred nested, expired overlay prefixes: it walks them all between asking the base
for the source and for the destination.

Each table that is ever published has the same answer for the pair of addresses, so any other answer is a mixture. Each
reader first runs without the wait (grace=False) until it has met mixtures, which shows that it can; then several times
as long with it, and must meet none. Reader and writer have a core each: on one they would take turns.
"""

import contextlib
import ipaddress
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bare_gateway import ROOM, bare_gateway, base_of
from shortwire import LEFT, RIGHT, ShortWire

from clearway import _engine as engine
from clearway.lab import frames
from clearway.lab.packets import Receiver, Sender

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="reader and writer need a core each"),
]

HERE = Path(__file__).parent
MIXTURES_ENOUGH = 3
FLIPS_WITHOUT_GRACE_MAX = 40_000
FLIPS_WITH_GRACE_MIN, FLIPS_WITH_GRACE_MAX = 200, 1500
PROBES_A_TURN = 16
PAIR = ["198.51.100.1", "203.0.113.1"]  # FIRST_ADDRESS and SECOND_ADDRESS of slow_reader.bpf.c


class Flipper:
    """Publishes two bases in turn, each for two epochs, so that every copy changes its content each time."""

    def __init__(self, tables: engine.Tables, one: engine.Base, other: engine.Base, grace: bool) -> None:
        self.tables, self.bases, self.grace = tables, (one, other), grace
        self.flips = 0

    def turn(self) -> None:
        self.tables.fill(self.bases[self.flips // 2 % 2])
        self.tables.flip(grace=self.grace)
        self.flips += 1


@contextlib.contextmanager
def on_another_core(work: Callable[[], None]) -> Iterator[None]:
    """`work` again and again on one core while the block runs on another."""
    cores = sorted(os.sched_getaffinity(0))
    ended = threading.Event()

    def run() -> None:
        os.sched_setaffinity(0, {cores[-1]})
        while not ended.is_set():
            work()

    thread = threading.Thread(target=run)
    os.sched_setaffinity(0, {cores[0]})
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.sched_setaffinity(0, cores)


def flips_until(flipper: Flipper, enough: Callable[[], bool], flips_max: int) -> int:
    while flipper.flips < flips_max and not enough():
        flipper.turn()
    return flipper.flips


def holds_by_the_grace_period_alone(run: Callable[[bool, int], tuple[int, int]]) -> None:
    """`run(grace, flips)` gives mixtures met and flips made. The claim, and that it can fail."""
    met, flips = run(False, FLIPS_WITHOUT_GRACE_MAX)
    assert met > 0, f"no mixture in {flips} flips without the wait: the test proves nothing on this machine"
    flips = min(max(4 * flips, FLIPS_WITH_GRACE_MIN), FLIPS_WITH_GRACE_MAX)
    assert run(True, flips) == (0, flips)


# ---- a program that pauses ----


@pytest.fixture(scope="module")
def slow_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bpf") / "slow_reader.bpf.o"
    root = HERE.parents[1]
    includes = [f"-I{root / 'bpf'}", f"-I/usr/include/{platform.machine()}-linux-gnu"]
    includes += [f"-I{found}" for found in root.glob("target/*/build/libbpf-sys-*/out/include")]  # not every system's
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3"]
    subprocess.run(["clang-19", *flags, *includes, "-c", HERE / "slow_reader.bpf.c", "-o", made], check=True)
    return made


def test_a_pausing_reader_sees_no_mixed_table(slow_program: Path) -> None:
    loader = engine.Loader(None, tcx_object=str(slow_program))
    loader.load(engine.Settings(inside_ifindex=1, outside_ifindex=1), engine.Capacity(*ROOM), xdp=False)
    tables = engine.Tables(loader.map_fds(), loader.capacity())
    tables.set_probe_nonce(7)
    frame = bytes(12) + b"\x08\x00" + bytes(50)

    def run(grace: bool, flips: int) -> tuple[int, int]:
        met = [0]

        def read() -> None:
            outcomes = loader.probe_many("tcx", bytes(PROBES_A_TURN), [frame] * PROBES_A_TURN)
            # first and second answer; see slow_reader.bpf.c
            met[0] += sum(int(outcome.verdict) != int(outcome.drop_reason) for outcome in outcomes)

        with on_another_core(read):
            flipper = Flipper(tables, base_of(PAIR), base_of([]), grace)
            made = flips_until(flipper, lambda: met[0] >= MIXTURES_ENOUGH, flips)
        return met[0], made

    holds_by_the_grace_period_alone(run)
    loader.close_programs()


# ---- the gateway's own program, under traffic ----

# low addresses stand at the beginning of the table: a copy that is filled anew loses them first of all
SOURCE, DESTINATION = "1.0.0.1", "1.0.1.1"
NESTED = range(129)  # lengths of the expired prefixes around the destination, as IPv6 counts them


def packet() -> bytes:
    datagram = frames.udp(SOURCE, DESTINATION, 1000, 2000, bytes(18))
    ether_type, body = frames.ip(SOURCE, DESTINATION, 17, datagram)
    return frames.ethernet(frames.mac(RIGHT.mac), frames.mac(LEFT.mac), ether_type, body)


def slow_down(tables: engine.Tables) -> None:
    """Nested prefixes around the destination, all expired since boot: each is met, stepped over, and says nothing."""
    for length in NESTED:
        network = ipaddress.ip_network((f"::ffff:{DESTINATION}", length), strict=False)
        tables.put_overlay(network.network_address.packed, length, 1, 0)


def arrived(receiver: Receiver) -> int:
    count = 0
    while got := receiver.receive()[0]:
        count += sum(row[: len(packet())].tobytes() == packet() for row in receiver.data[:got])
    return count


@pytest.mark.namespaces
def test_no_packet_leaks_while_tables_are_flipped(wire: ShortWire) -> None:
    """Source or destination is listed in every table that is published, so every packet is dropped; leaks counted."""
    sender, receiver = Sender(wire.left, len(packet())), Receiver(wire.right, 256)
    sender.data[:] = np.frombuffer(packet(), np.uint8)
    with bare_gateway(wire, gro=False) as gateway:
        slow_down(gateway.tables)

        def run(grace: bool, flips: int) -> tuple[int, int]:
            flipper = Flipper(gateway.tables, base_of([SOURCE]), base_of([DESTINATION]), grace)
            flipper.turn()
            leaked = [0]

            def enough() -> bool:
                leaked[0] += arrived(receiver)
                return leaked[0] >= MIXTURES_ENOUGH

            with on_another_core(lambda: sender.send(32)):
                made = flips_until(flipper, enough, flips)
            time.sleep(0.2)
            enough()
            return leaked[0], made

        holds_by_the_grace_period_alone(run)
        assert gateway.counted()["listed-source"] + gateway.counted()["listed-destination"] > FLIPS_WITH_GRACE_MIN
    sender.close()
    receiver.close()
