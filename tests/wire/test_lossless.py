"""Nothing that happens to the gateway's process or tables costs a packet.

Numbered traffic at a constant rate in both directions, over 64 flows of both families, while the daemon is killed,
started again, replaced, its tables flipped, grown and bypassed: 0 lost, 0 duplicated, 0 reordered, 0 altered.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bare_gateway import bare_gateway, base_of
from patience import until
from running_gateway import running_gateway
from shortwire import LEFT, RIGHT, ShortWire

from clearway.lab import frames, generated_list
from clearway.lab.packets import Receiver, Sender
from clearway.lab.traffic import Traffic

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces, pytest.mark.slow]

RATE = 10_000
SETTLE_S = 0.4
PACKETS_MIN = 1000
FLIPS = 1000


@contextlib.contextmanager
def nothing_lost(wire: ShortWire, rate: int = RATE) -> Iterator[Traffic]:
    """Traffic for as long as the block takes; then both reports must be clean."""
    with Traffic((wire.left, LEFT), (wire.right, RIGHT), rate=rate) as traffic:
        traffic.start()
        time.sleep(SETTLE_S)
        yield traffic
        time.sleep(SETTLE_S)
        until(lambda: min(traffic.counts().sent_there, traffic.counts().sent_back) > PACKETS_MIN, "hardly any packet")
        for report in traffic.stop():
            assert report.clean, f"{report}; the first lost: {report.lost_numbers[:5]}"
            assert report.sent > PACKETS_MIN, "hardly anything was under way"


def test_killing_and_restarting_the_daemon_costs_no_packet(wire: ShortWire, tmp_path: Path) -> None:
    with running_gateway(wire, tmp_path) as gateway, nothing_lost(wire):
        for _ in range(3):
            gateway.kill()
            time.sleep(0.3)
            gateway.start()


def test_ending_and_restarting_the_daemon_costs_no_packet(wire: ShortWire, tmp_path: Path) -> None:
    with running_gateway(wire, tmp_path) as gateway, nothing_lost(wire):
        for _ in range(3):
            gateway.stop()
            time.sleep(0.3)
            gateway.start()


def test_another_version_takes_over_without_losing_a_packet(wire: ShortWire, tmp_path: Path) -> None:
    """The next one loads other programs (it only observes) and puts them into the links that stand."""
    with running_gateway(wire, tmp_path) as gateway, nothing_lost(wire):
        for options in (["--observe"], [], ["--observe"]):
            gateway.stop()
            gateway.options = options
            gateway.start()
            assert gateway.ask("GET", "/v1/status")["gateway"]["observe"] is bool(options)


def test_bypass_on_and_off_costs_no_packet(wire: ShortWire, tmp_path: Path) -> None:
    with running_gateway(wire, tmp_path) as gateway, nothing_lost(wire):
        for _ in range(20):
            gateway.ask("POST", "/v1/bypass", {"on": True, "duration": "10m"})
            assert gateway.ask("GET", "/v1/status")["bypass"]["on"]
            gateway.ask("POST", "/v1/bypass", {"on": False})
            assert not gateway.ask("GET", "/v1/status")["bypass"]["on"]


def test_lists_that_come_grow_and_go_cost_no_packet(wire: ShortWire, tmp_path: Path) -> None:
    """The second list outgrows the arrays of the first: new maps, new programs, in the links that stand."""
    for name, entries in (("small", 1000), ("large", 400_000)):
        generated_list.write(tmp_path / f"{name}.txt", entries, [])
    with running_gateway(wire, tmp_path / "state") as gateway, nothing_lost(wire):
        for name in ("small", "large"):
            gateway.command("feed", "add", name, str(tmp_path / f"{name}.txt"), "--reason", "malware")
        for name in ("large", "small"):
            gateway.command("feed", "remove", name)


def test_a_thousand_flips_cost_no_packet_and_leak_none(wire: ShortWire) -> None:
    """Beside the numbered traffic another host sends, which every one of the tables lists: none of it arrives."""
    listed = frames.udp("203.0.113.66", RIGHT.v4, 1000, 2000, bytes(32))
    ether_type, packet = frames.ip("203.0.113.66", RIGHT.v4, 17, listed)
    frame = frames.ethernet(frames.mac(RIGHT.mac), frames.mac("02:c1:ea:00:00:66"), ether_type, packet)
    bases = [base_of(["203.0.113.66", *more]) for more in ([], ["203.0.113.0/24"], ["203.0.113.65", "8.8.8.8"])]
    sender, receiver = Sender(wire.left, len(frame)), Receiver(wire.right, 256)
    sender.data[:] = memoryview(frame)
    leaked = sent = 0
    with bare_gateway(wire) as gateway:
        gateway.tables.fill(bases[0])
        gateway.tables.flip()
        with nothing_lost(wire, rate=5000):
            for flip in range(FLIPS):
                gateway.tables.fill(bases[flip % len(bases)])
                sender.send(8)
                sent += 8
                epoch = gateway.tables.flip()
                while got := receiver.receive()[0]:
                    leaked += sum(row[: len(frame)].tobytes() == frame for row in receiver.data[:got])
        assert epoch >= FLIPS
        assert leaked == 0
        until(lambda: gateway.counted()["listed-source"] >= sent, "not all are counted")
        assert gateway.counted()["listed-source"] == sent
    sender.close()
    receiver.close()
