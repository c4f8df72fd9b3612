"""A recording at one end of a wire: what came in and what went out, with the kernel's own times, and what it means.

AF_PACKET in a few lines, so that no test depends on another capture program. Reads just enough of Ethernet, IP and TCP
to say which frame completes a client's first message; shares nothing with the product's readers.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capture_files import Frame, write_pcap

from clearway.lab.namespace import End
from clearway.lab.packets import ETH_P_ALL, RECEIVE_BUFFER_BYTES, SO_RCVBUFFORCE, SOL_PACKET

ETHERNET = 1
PACKET_AUXDATA = 8
STATUS_VLAN_VALID, STATUS_TPID_VALID = 0x10, 0x40
SO_TIMESTAMPNS = 35
FRAME_BYTES_MAX = 1 << 17
QUIET_S = 0.15
SYN, RST, ACK = 0x02, 0x04, 0x10


class Recorder:
    """Records from the moment it is made; the socket's buffer keeps the frames until they are asked for."""

    def __init__(self, end: End) -> None:
        self._socket = end.namespace.call(lambda: self._listen(end.interface))

    @staticmethod
    def _listen(interface: str) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        made.bind((interface, ETH_P_ALL))
        return made

    def frames(self, quiet_s: float = QUIET_S, until_s: float = 60.0) -> list[Frame]:
        """Everything until nothing has come for `quiet_s`."""
        got: list[Frame] = []
        deadline = time.monotonic() + until_s
        self._socket.settimeout(quiet_s)
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < deadline:
                got.append(self._one())
        return got

    def _one(self) -> Frame:
        data, control, _, _ = self._socket.recvmsg(FRAME_BYTES_MAX, 256)
        time_ns = 0
        for level, kind, value in control:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, rest_ns = struct.unpack_from("=qq", value)
                time_ns = seconds * 10**9 + rest_ns
            elif (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack_from("=IIIHHHH", value)
                if status & STATUS_VLAN_VALID:  # the kernel took the tag out of the frame
                    tpid = tpid if status & STATUS_TPID_VALID else 0x8100
                    data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        return Frame(ETHERNET, time_ns, data)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def recorder(end: End) -> Iterator[Recorder]:
    recording = Recorder(end)
    try:
        yield recording
    finally:
        recording.close()


def tagged(frames: list[Frame], *tags: tuple[int, int]) -> list[Frame]:
    """The same with those tags (EtherType, TCI), the first of them innermost."""
    for kind, tci in tags:
        mark = struct.pack("!HH", kind, tci)
        frames = [Frame(each.link, each.time_ns, each.data[:12] + mark + each.data[12:]) for each in frames]
    return frames


def saved(path: Path, frames: list[Frame]) -> Path:
    return write_pcap(path, frames, nanoseconds=True)


# ---- what the frames say ----


@dataclass(frozen=True)
class Packet:
    """TCP or UDP of one frame. `number`: of the frame, from 1."""

    number: int
    time_ns: int
    source: str
    destination: str
    protocol: str  # "tcp" or "udp"
    source_port: int
    destination_port: int
    sequence: int
    flags: int
    payload: bytes


def packets(frames: list[Frame]) -> list[Packet]:
    """Of frames without extension headers and fragments, as clients here send them."""
    found = []
    for number, frame in enumerate(frames, 1):
        at, data = 12, frame.data
        while data[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
        packet = _packet(number, frame.time_ns, data[at : at + 2], data[at + 2 :])
        if packet:
            found.append(packet)
    return found


def _packet(number: int, time_ns: int, ether_type: bytes, data: bytes) -> Packet | None:
    if ether_type == b"\x08\x00":
        protocol, header, ends = data[9], (data[0] & 15) * 4, (data[12:16], data[16:20])
        data = data[: struct.unpack_from("!H", data, 2)[0] or None]  # 0: larger than the field can say
    elif ether_type == b"\x86\xdd":
        protocol, header, ends = data[6], 40, (data[8:24], data[24:40])
        data = data[: 40 + struct.unpack_from("!H", data, 4)[0]]
    else:
        return None
    source, destination = (str(ipaddress.ip_address(end)) for end in ends)
    segment = data[header:]
    if protocol == 6:
        source_port, destination_port, sequence = struct.unpack_from("!HHI", segment)
        payload, flags, word = segment[(segment[12] >> 4) * 4 :], segment[13], "tcp"
    elif protocol == 17:
        source_port, destination_port = struct.unpack_from("!HH", segment)
        payload, flags, sequence, word = segment[8:], 0, 0, "udp"
    else:
        return None
    return Packet(number, time_ns, source, destination, word, source_port, destination_port, sequence, flags, payload)


def completing_frame(client_packets: list[Packet], proto: str) -> int:
    """The frame in which the first message of a client's one flow, here in order and without loss, is complete."""
    stream = b""
    for packet in client_packets:
        stream += packet.payload
        if proto == "tls" and len(stream) >= 5 and len(stream) >= 5 + struct.unpack_from("!H", stream, 3)[0]:
            return packet.number
        if proto == "http" and b"\r\n\r\n" in stream:
            return packet.number
        if proto == "dns" and packet.protocol == "udp":
            return packet.number
        if proto == "dns" and len(stream) >= 2 and len(stream) >= 2 + struct.unpack_from("!H", stream)[0]:
            return packet.number
    raise AssertionError(f"no whole {proto} message in {len(client_packets)} packets")
