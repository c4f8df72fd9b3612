"""Frames out of and into an interface, many at a time: AF_PACKET with sendmmsg and recvmmsg.

Python's sockets know neither call. The message headers are laid out once over numpy rows, so a batch costs one
system call and no Python a frame. Each socket is made inside its namespace and stays there.
"""

import ctypes
import errno
import socket
from typing import Any

import numpy as np
import numpy.typing as npt

from clearway.lab.namespace import End, libc

Bytes = npt.NDArray[np.uint8]

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32
MSG_DONTWAIT = 0x40

RECEIVE_BUFFER_BYTES = 128 << 20  # the kernel doubles it: room for seconds of small frames at 100 k/s
SEND_BUFFER_BYTES = 4 << 20
BATCH_MAX = 256

# struct iovec and struct mmsghdr of a 64-bit kernel
IOVEC = np.dtype([("base", "<u8"), ("length", "<u8")])
MESSAGE = np.dtype(
    [
        ("name", "<u8"),
        ("name_length", "<u8"),
        ("iov", "<u8"),
        ("iov_length", "<u8"),
        ("control", "<u8"),
        ("control_length", "<u8"),
        ("flags", "<u8"),
        ("length", "<u8"),  # written by the kernel: bytes of this message, lower half
    ]
)
assert MESSAGE.itemsize == 64


class _Rows:
    """A block of equal rows, and the message headers that point at them."""

    def __init__(self, size: int) -> None:
        self.data: Bytes = np.zeros((BATCH_MAX, size), np.uint8)
        self.iovecs = np.zeros(BATCH_MAX, IOVEC)
        self.iovecs["base"] = self.data.ctypes.data + np.arange(BATCH_MAX, dtype=np.uint64) * np.uint64(size)
        self.iovecs["length"] = size
        self.messages = np.zeros(BATCH_MAX, MESSAGE)
        self.messages["iov"] = self.iovecs.ctypes.data + np.arange(BATCH_MAX, dtype=np.uint64) * np.uint64(16)
        self.messages["iov_length"] = 1

    def pointer(self, first: int = 0) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.messages.ctypes.data + first * MESSAGE.itemsize)


def _packet_socket(end: End, protocol: int) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        made.bind((end.interface, protocol))
        return made

    return end.namespace.call(make)


class Sender:
    """Puts frames of one size on the wire at `end`."""

    def __init__(self, end: End, frame_bytes: int) -> None:
        self._socket = _packet_socket(end, 0)
        self._rows = _Rows(frame_bytes)
        self.data = self._rows.data
        """The next batch, BATCH_MAX rows; the caller writes here before `send`."""

    def send(self, count: int) -> None:
        """Sends the first `count` rows. A full transmit queue is waited for: nothing is lost or sent twice here."""
        done = 0
        while done < count:
            sent = libc.sendmmsg(self._socket.fileno(), self._rows.pointer(done), count - done, 0)
            if sent >= 0:
                done += sent
            elif ctypes.get_errno() not in (errno.ENOBUFS, errno.EAGAIN, errno.EINTR):
                raise OSError(ctypes.get_errno(), "sendmmsg")

    def close(self) -> None:
        self._socket.close()


class Receiver:
    """Takes every frame that arrives at `end`, of any protocol; frames longer than `frame_bytes` are cut."""

    def __init__(self, end: End, frame_bytes: int) -> None:
        self._socket = _packet_socket(end, ETH_P_ALL)
        self._rows = _Rows(frame_bytes)
        self.data = self._rows.data
        self.overflowed = 0
        """Frames that this end's own socket lost, read by `statistics`: then nothing is proven of the wire."""

    def receive(self) -> tuple[int, npt.NDArray[Any]]:
        """What has arrived, without waiting: a count of rows of `data`, and the bytes of each."""
        got = libc.recvmmsg(self._socket.fileno(), self._rows.pointer(), BATCH_MAX, MSG_DONTWAIT, None)
        if got < 0:
            if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR, errno.ENETDOWN):
                raise OSError(ctypes.get_errno(), "recvmmsg")
            got = 0
        return got, self._rows.messages["length"][:got] & np.uint64(0xFFFFFFFF)

    def statistics(self) -> int:
        """Adds up what this socket lost for want of buffer, in `overflowed`."""
        answer = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self.overflowed += int.from_bytes(answer[4:8], "little")
        return self.overflowed

    def close(self) -> None:
        self._socket.close()
