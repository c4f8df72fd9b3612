"""Whole frames as they arrive at an end, one by one, with the outermost VLAN tag where it was on the wire.

The kernel takes that tag out of the frame and tells it beside; here it is put back (packet(7), PACKET_AUXDATA).
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

from patience import HUNG_S, send_whole

from clearway.lab.namespace import End
from clearway.lab.packets import ETH_P_ALL, PACKET_IGNORE_OUTGOING, RECEIVE_BUFFER_BYTES, SO_RCVBUFFORCE, SOL_PACKET

PACKET_AUXDATA = 8
STATUS_VLAN_VALID, STATUS_TPID_VALID = 0x10, 0x40
FRAME_BYTES_MAX = 1 << 17
QUIET_S = 0.15


class Capture:
    """Listens from the moment it is made."""

    def __init__(self, end: End) -> None:
        self._socket = end.namespace.call(lambda: self._listen(end.interface))

    @staticmethod
    def _listen(interface: str) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        made.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        made.bind((interface, ETH_P_ALL))
        return made

    def frames(self, wanted: int = 0, quiet_s: float = QUIET_S) -> list[bytes]:
        """Everything until nothing has come for `quiet_s`; the wait begins anew while fewer than `wanted` came."""
        got: list[bytes] = []
        deadline = time.monotonic() + HUNG_S
        self._socket.settimeout(quiet_s)
        while time.monotonic() < deadline:
            try:
                got.append(self._one())
            except TimeoutError:
                if len(got) >= wanted:
                    break
        return got

    def _one(self) -> bytes:
        data, control, _, _ = self._socket.recvmsg(FRAME_BYTES_MAX, 128)
        for level, kind, value in control:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack_from("=IIIHHHH", value)
                if status & STATUS_VLAN_VALID:
                    tpid = tpid if status & STATUS_TPID_VALID else 0x8100
                    return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        return data

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def capture(end: End) -> Iterator[Capture]:
    listening = Capture(end)
    try:
        yield listening
    finally:
        listening.close()


class Injector:
    """Puts given frames on the wire, one system call each."""

    def __init__(self, end: End) -> None:
        self._socket = end.namespace.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        end.namespace.call(lambda: self._socket.bind((end.interface, 0)))

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            send_whole(self._socket, frame)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def injector(end: End) -> Iterator[Injector]:
    sending = Injector(end)
    try:
        yield sending
    finally:
        sending.close()
