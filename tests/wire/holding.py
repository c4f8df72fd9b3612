"""A bare gateway that holds: its TAPs, and an inspector as a thread of the test or as processes of their own.

And numbered segments that have to be held: each flow is a SYN and a request that is not read in the kernel, so it goes
to the inspector, is decided there, and passes. Checksums are wrong, so that nothing merges them; nobody looks at them.
"""

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from bare_gateway import BareGateway, bare_gateway, base_of
from shortwire import LEFT, RIGHT, ShortWire

from clearway import _engine as engine
from clearway.gateway import inspector_taps
from clearway.gateway.inspector_client import Answering, InspectorClient
from clearway.lab import frames
from clearway.lab.packets import BATCH_MAX, Receiver, Sender

FRAME_BYTES = 256
GROUP_FLOWS = 16
PACKETS_A_FLOW = 10
_NUMBER_AT = FRAME_BYTES - 8
_SOURCE_PORT_AT, _SEQUENCE_AT, _FLAGS_AT, _PAYLOAD_AT = 34, 38, 47, 54
_SYN, _ACK = 0x02, 0x10
_REQUEST = b"GET http://clean.example/ HTTP/1.1\r\nHost: clean.example\r\n\r\n"
"""A target in absolute form isn't read in the kernel."""
_FIRST_PORT = 20000


@dataclass
class Taps:
    descriptors: tuple[int, int]
    names: tuple[str, str]


@contextlib.contextmanager
def holding_gateway(wire: ShortWire) -> Iterator[tuple[BareGateway, Taps]]:
    """Both TAPs made and programs on them; the name step runs, and nobody inspects yet. They go with the wire."""
    name = f"holding-{os.getpid()}"
    with bare_gateway(wire, gro=False) as gateway:
        descriptors, numbers = wire.gateway.call(lambda: inspector_taps.open_both(name, 1500))
        try:
            wire.gateway.call(lambda: gateway.loader.attach_hold(*numbers))
            gateway.tables.fill(base_of([]))
            gateway.tables.flip()
            gateway.tables.set_names_active(True)
            yield gateway, Taps(descriptors, wire.gateway.call(lambda: inspector_taps.names(name)))
        finally:
            gateway.tables.set_names_active(False)
            for descriptor in descriptors:
                os.close(descriptor)


@contextlib.contextmanager
def inspecting(wire: ShortWire, gateway: BareGateway, taps: Taps, **conduct: Any) -> Iterator[engine.Inspector]:
    """The hold loop in a thread of this process, in the gateway's namespace."""
    inspector = engine.Inspector(taps.descriptors, gateway.loader.map_fds(), **conduct)
    failure: list[BaseException] = []

    def run() -> None:
        try:
            wire.gateway.call(inspector.run)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    inspector.begin()
    wait_for(lambda: gateway.tables.hold_state()["heartbeat_ns"] > 0)
    try:
        yield inspector
    finally:
        inspector.end()
        thread.join(10)
    assert not failure and not thread.is_alive(), failure


@contextlib.contextmanager
def inspector_process(wire: ShortWire, gateway: BareGateway, taps: Taps, **conduct: Any) -> Iterator[InspectorClient]:
    """The inspector as the daemon runs it: a keeper and its child, in the gateway's namespace."""
    maps = gateway.loader.map_fds()
    refused: list[dict[str, Any]] = []
    client = wire.gateway.call(
        lambda: InspectorClient(taps.descriptors, maps, Answering(), refused.extend, conduct or None)
    )
    try:
        client.wait_begun()
        yield client
    finally:
        client.close()


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


class HeldTraffic:
    """Segments from left to right, packet n of flow n // PACKETS_A_FLOW; the packets of GROUP_FLOWS flows mixed."""

    def __init__(self, wire: ShortWire, first_port: int = _FIRST_PORT) -> None:
        self._sender = Sender(wire.left, FRAME_BYTES)
        self._receiver = Receiver(wire.right, FRAME_BYTES)
        header = struct.pack(">HHIIBBHHH", 0, 80, 0, 1, 0x50, _ACK, 512, 0, 0)
        rest = _REQUEST.ljust(FRAME_BYTES - _PAYLOAD_AT, b"x")
        ether_type, packet = frames.ip(LEFT.v4, RIGHT.v4, frames.PROTOCOL_TCP, header + rest)
        frame = frames.ethernet(frames.mac(RIGHT.mac), frames.mac(LEFT.mac), ether_type, packet)
        self._template = np.frombuffer(frame, np.uint8)
        self._first_port = first_port
        self._arrived: list[np.ndarray[Any, Any]] = []
        self.sent = 0

    def send_group(self) -> None:
        """The next GROUP_FLOWS flows, all their packets."""
        count = GROUP_FLOWS * PACKETS_A_FLOW
        assert count <= BATCH_MAX
        first_flow = self.sent // PACKETS_A_FLOW
        flows = first_flow + np.arange(count) % GROUP_FLOWS
        place = np.arange(count) // GROUP_FLOWS
        numbers = flows * PACKETS_A_FLOW + place
        sequence = np.where(place == 0, 1000, 1001 + (place - 1) * (FRAME_BYTES - _PAYLOAD_AT))
        rows = self._sender.data
        rows[:count] = self._template
        ports = (self._first_port + flows).astype(">u2")
        rows[:count, _SOURCE_PORT_AT : _SOURCE_PORT_AT + 2] = ports.view(np.uint8).reshape(count, 2)
        rows[:count, _SEQUENCE_AT : _SEQUENCE_AT + 4] = sequence.astype(">u4").view(np.uint8).reshape(count, 4)
        rows[:count, _FLAGS_AT] = np.where(place == 0, _SYN, _ACK)
        # the SYN carries no data: what follows its header is padding, the number in it too
        rows[:count, 16:18] = np.where(place == 0, 40, FRAME_BYTES - 14).astype(">u2").view(np.uint8).reshape(count, 2)
        rows[:count, _NUMBER_AT:] = numbers.astype(">u8").view(np.uint8).reshape(count, 8)
        self._sender.send(count)
        self.sent += count

    def receive(self) -> int:
        got, _ = self._receiver.receive()
        if got:
            self._arrived.append(self._receiver.data[:got, _NUMBER_AT:].copy().view(">u8").reshape(-1))
        return got

    def run(self, flows: int, pause_s: float) -> None:
        """Sends that many flows, a group every `pause_s`, and takes in what arrives."""
        next_at = time.monotonic()
        while self.sent < flows * PACKETS_A_FLOW:
            self.send_group()
            next_at += pause_s
            while self.receive() or time.monotonic() < next_at:
                pass

    def settle(self, quiet_s: float = 0.5) -> None:
        """Takes in what still comes."""
        last = time.monotonic()
        while time.monotonic() < last + quiet_s:
            if self.receive():
                last = time.monotonic()

    @property
    def numbers(self) -> np.ndarray[Any, Any]:
        return np.concatenate(self._arrived).astype(np.int64) if self._arrived else np.zeros(0, np.int64)

    def judged(self) -> tuple[int, int, int]:
        """Lost, doubled, and come after a later one of its flow."""
        numbers = self.numbers
        distinct, first_at = np.unique(numbers, return_index=True)
        in_order = numbers[np.sort(first_at)]
        by_flow = in_order[np.argsort(in_order // PACKETS_A_FLOW, kind="stable")]
        late = int(np.count_nonzero(by_flow < np.maximum.accumulate(by_flow))) if len(by_flow) else 0
        return self.sent - len(distinct), len(numbers) - len(distinct), late

    def close(self) -> None:
        assert self._receiver.statistics() == 0, "the receiving socket lost frames: nothing is proven"
        self._sender.close()
        self._receiver.close()
