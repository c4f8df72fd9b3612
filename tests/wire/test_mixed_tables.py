"""No packet is judged by a mixture of two tables; and it would be, were the grace period not waited for.

Two readers stand in for the packet that is unlucky once in years. The first is a program of its own that pauses
between two lookups (slow_reader.bpf.c). The second is the gateway's own program under real traffic, slowed by a
destination that stands under a hundred nested, expired overlay prefixes: it walks them all between asking the base
for the source and for the destination.

Each table that is ever published has the same answer for the pair of addresses, so any other answer is a mixture. Each
claim is made twice: with the wait there is none, and without it (grace=False) there are some.
"""

import ipaddress
import platform
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bare_gateway import ROOM, bare_gateway, base_of
from shortwire import LEFT, RIGHT, ShortWire

from clearway import _engine as engine
from clearway.lab import frames
from clearway.lab.packets import Receiver, Sender

pytestmark = [pytest.mark.kernel]

HERE = Path(__file__).parent
FLIPS = 100
PROBES_A_TURN = 16
PAIR = ["198.51.100.1", "203.0.113.1"]  # FIRST_ADDRESS and SECOND_ADDRESS of slow_reader.bpf.c
NESTED = range(20, 128)  # lengths of the expired prefixes around the slow destination


class Flipper:
    """Publishes the given bases in turn, each for two epochs, so that every copy changes its content each time."""

    def __init__(self, tables: engine.Tables, bases: list[engine.Base], grace: bool) -> None:
        self.tables, self.bases, self.grace = tables, bases, grace
        self.flips = 0

    def turn(self) -> None:
        self.tables.fill(self.bases[self.flips // 2 % len(self.bases)])
        self.tables.flip(grace=self.grace)
        self.flips += 1


@pytest.fixture(scope="module")
def slow_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bpf") / "slow_reader.bpf.o"
    includes = [f"-I{HERE.parents[1] / 'bpf'}", f"-I/usr/include/{platform.machine()}-linux-gnu"]
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3"]
    subprocess.run(["clang-19", *flags, *includes, "-c", HERE / "slow_reader.bpf.c", "-o", made], check=True)
    return made


def mixtures_of_a_pausing_reader(program: Path, grace: bool) -> tuple[int, int]:
    """Outcomes whose two answers differ, and all outcomes, while tables are flipped on the other core."""
    loader = engine.Loader(None, tcx_object=str(program))
    loader.load(engine.Settings(inside_ifindex=1, outside_ifindex=1), engine.Capacity(*ROOM), xdp=False)
    tables = engine.Tables(loader.map_fds(), loader.capacity())
    tables.set_probe_nonce(7)
    flipper = Flipper(tables, [base_of(PAIR), base_of([])], grace)
    outcomes: list[engine.ProbeOutcome] = []
    ended = threading.Event()
    frame = bytes(12) + b"\x08\x00" + bytes(50)

    def read() -> None:
        directions = bytes(PROBES_A_TURN)
        while not ended.is_set():
            outcomes.extend(loader.probe_many("tcx", directions, [frame] * PROBES_A_TURN))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        while flipper.flips < FLIPS:
            flipper.turn()
    finally:
        ended.set()
        reader.join()
        loader.close_programs()
    return sum(int(outcome.verdict) != int(outcome.drop_reason) for outcome in outcomes), len(outcomes)


def test_a_pausing_reader_sees_no_mixed_table(slow_program: Path) -> None:
    mixed, read = mixtures_of_a_pausing_reader(slow_program, grace=True)
    assert read > FLIPS
    assert mixed == 0


def test_a_pausing_reader_sees_mixed_tables_without_the_grace_period(slow_program: Path) -> None:
    mixed, _ = mixtures_of_a_pausing_reader(slow_program, grace=False)
    assert mixed > 0, "the test of the grace period proves nothing on this machine"


# ---- the gateway's own program, under traffic ----

SOURCE, DESTINATION = "2001:db8:1::66", "2001:db8:64::66"


def packet() -> bytes:
    datagram = frames.udp(SOURCE, DESTINATION, 1000, 2000, bytes(18))
    ether_type, body = frames.ip(SOURCE, DESTINATION, 17, datagram)
    return frames.ethernet(frames.mac(RIGHT.mac), frames.mac(LEFT.mac), ether_type, body)


def slow_down(tables: engine.Tables) -> None:
    """Nested prefixes around the destination, all expired since boot: each is met, stepped over, and says nothing."""
    for length in NESTED:
        network = ipaddress.ip_network((DESTINATION, length), strict=False)
        tables.put_overlay(network.network_address.packed, length, 1, 0)


@pytest.fixture
def traffic_through(wire: ShortWire) -> Iterator[tuple[ShortWire, engine.Tables]]:
    with bare_gateway(wire, gro=False) as gateway:
        slow_down(gateway.tables)
        yield wire, gateway.tables


def leaks_under_traffic(wire: ShortWire, tables: engine.Tables, grace: bool) -> tuple[int, int]:
    """Packets that arrived, and packets sent: the source is listed, or the destination is; never neither."""
    flipper = Flipper(tables, [base_of([SOURCE]), base_of([DESTINATION])], grace)
    flipper.turn()  # from here on every published table drops the packet
    sender, receiver = Sender(wire.left, len(packet())), Receiver(wire.right, 256)
    sender.data[:] = np.frombuffer(packet(), np.uint8)
    sent, ended = [0], threading.Event()

    def send() -> None:
        while not ended.is_set():
            sender.send(32)
            sent[0] += 32

    flooding = threading.Thread(target=send)
    flooding.start()
    try:
        while flipper.flips < FLIPS:
            flipper.turn()
    finally:
        ended.set()
        flooding.join()
    leaked = 0
    time.sleep(0.05)
    while got := receiver.receive()[0]:
        leaked += sum(row[: len(packet())].tobytes() == packet() for row in receiver.data[:got])
    sender.close()
    receiver.close()
    return leaked, sent[0]


@pytest.mark.namespaces
def test_no_packet_leaks_while_tables_are_flipped(traffic_through: tuple[ShortWire, engine.Tables]) -> None:
    leaked, sent = leaks_under_traffic(*traffic_through, grace=True)
    assert sent > 1000
    assert leaked == 0


@pytest.mark.namespaces
def test_packets_leak_without_the_grace_period(traffic_through: tuple[ShortWire, engine.Tables]) -> None:
    leaked, _ = leaks_under_traffic(*traffic_through, grace=False)
    assert leaked > 0, "the test of the grace period proves nothing on this machine"
