"""Port features by the ethtool ioctl: GRO, VLAN offload, the driver's name. Needs CAP_NET_ADMIN to change them.

Everything happens in the calling thread's network namespace. Numbers are those of linux/ethtool.h.
"""

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GET_DRIVER_INFO = 0x03
_GET_FLAGS, _SET_FLAGS = 0x25, 0x26
_GET_GRO, _SET_GRO = 0x2B, 0x2C
_FLAG_RX_VLAN = 1 << 8
_DRIVER_INFO_BYTES = 196


def driver(port: str) -> str:
    """Name of the port's driver ("veth", "ixgbe", …); empty when the port names none."""
    buffer = bytearray(struct.pack("=I", _GET_DRIVER_INFO) + bytes(_DRIVER_INFO_BYTES - 4))
    try:
        answer = _call(port, buffer)
    except OSError:
        return ""
    return answer[4:36].split(b"\0")[0].decode(errors="replace")


def gro(port: str) -> bool:
    """Does the port merge what it receives (generic receive offload)?"""
    return bool(_get(port, _GET_GRO))


def set_gro(port: str, on: bool) -> None:
    _call(port, bytearray(struct.pack("=II", _SET_GRO, int(on))))


def rx_vlan_offload(port: str) -> bool:
    """Does the port take VLAN tags out of received frames? XDP doesn't see a tag that was taken out."""
    return bool(_get(port, _GET_FLAGS) & _FLAG_RX_VLAN)


def set_rx_vlan_offload(port: str, on: bool) -> None:
    flags = _get(port, _GET_FLAGS)
    flags = flags | _FLAG_RX_VLAN if on else flags & ~_FLAG_RX_VLAN
    _call(port, bytearray(struct.pack("=II", _SET_FLAGS, flags)))


def _get(port: str, command: int) -> int:
    answer = _call(port, bytearray(struct.pack("=II", command, 0)))
    value: int = struct.unpack("=II", answer)[1]
    return value


def _call(port: str, buffer: bytearray) -> bytes:
    data = array.array("B", buffer)
    address, _length = data.buffer_info()
    request = struct.pack("16sP", port.encode(), address) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        fcntl.ioctl(channel.fileno(), _SIOCETHTOOL, request)
    return data.tobytes()
