"""How the daemon and its loader process talk: JSON with a length before it, descriptors beside it, over a socket."""

import array
import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("=I")
_MESSAGE_BYTES_MAX = 16 << 20
_DESCRIPTORS_MAX = 64


def send(channel: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """Sends one message; descriptors are duplicated into the other process."""
    data = json.dumps(message).encode()
    rights = array.array("i", descriptors or [])
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    channel.sendmsg([_LENGTH.pack(len(data))], ancillary)
    channel.sendall(data)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and the descriptors that came with it. EOFError when the other side has ended."""
    head, ancillary, _flags, _address = channel.recvmsg(_LENGTH.size, socket.CMSG_SPACE(_DESCRIPTORS_MAX * 4))
    descriptors: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
            descriptors.extend(received)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > _MESSAGE_BYTES_MAX:
        raise EOFError(f"a message of {length} bytes")
    body = bytearray()
    while len(body) < length:
        part = channel.recv(length - len(body))
        if not part:
            raise EOFError
        body += part
    return json.loads(body), descriptors
