"""The few rtnetlink messages that the gateway needs: read a link, change its flags, hear of changes.

Written out instead of imported: pyroute2 takes 0.17 s to import, a sixth of the whole time to `ready`, and keeps an
event loop of its own. Everything happens in the calling thread's network namespace. Numbers are those of
linux/rtnetlink.h and linux/if_link.h.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

IFF_UP = 0x1
IFF_PROMISC = 0x100
ARPHRD_ETHER = 1

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 17, 18, 20, 22
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_RTMGRP_LINK = 1
_IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_CARRIER, _IFLA_XDP = 3, 4, 10, 18, 33, 43
_IFLA_PARENT_DEV_NAME = 56
_IFLA_OPERSTATE, _IF_OPER_UNKNOWN, _IF_OPER_UP = 16, 0, 6
_IFLA_INFO_KIND = 1
_IFLA_XDP_PROG_ID = 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_BYTES = 1 << 18
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Link:
    """One network interface as the kernel describes it."""

    index: int
    name: str
    flags: int
    device_type: int
    mtu: int
    carrier: bool
    """A signal on the wire. False as well while the interface is administratively down."""
    operational: bool
    """The stack sends on it: the kernel gets there up to a second after the carrier, and drops until then."""
    master: int
    """Interface number of the bridge or bond that it belongs to; 0: none."""
    kind: str
    """Kind of virtual device (veth, bridge, bond, vlan, …); empty for a device of a driver."""
    parent_device: str
    """Name of the device on its bus (a PCI address); empty for virtual devices."""
    xdp_program: int
    """Id of an attached XDP program; 0: none."""

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def promiscuous(self) -> bool:
        return bool(self.flags & IFF_PROMISC)


@dataclass(frozen=True)
class LinkEvent:
    link: Link
    gone: bool


def link_by_name(name: str) -> Link | None:
    """The interface of that name in this network namespace, or None."""
    if len(name.encode()) > 15:
        return None
    return _get_link(_IFINFO.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0"))


def link_by_index(index: int) -> Link | None:
    """The interface of that number in this network namespace, or None."""
    return _get_link(_IFINFO.pack(0, 0, index, 0, 0))


def set_flags(index: int, flags: int, mask: int) -> None:
    """Sets the interface flags in `mask` to those in `flags`. OSError with the kernel's errno."""
    body = _IFINFO.pack(0, 0, index, flags & mask, mask)
    for _ in _request(_RTM_NEWLINK, _NLM_F_ACK, body):
        pass


def addresses(index: int) -> list[str]:
    """IP addresses on an interface, as text without prefix length."""
    found = []
    for kind, body in _request(_RTM_GETADDR, _NLM_F_DUMP, _IFADDR.pack(0, 0, 0, 0, 0)):
        family, _length, _flags, _scope, interface = _IFADDR.unpack_from(body)
        if kind != _RTM_NEWADDR or interface != index:
            continue
        attributes = dict(_attributes(body[_IFADDR.size :]))
        raw = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
        if family in (socket.AF_INET, socket.AF_INET6) and raw:
            found.append(socket.inet_ntop(family, raw))
    return found


class LinkMonitor:
    """Hears of every change of a link in the network namespace it was made in. Non-blocking."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, _RTMGRP_LINK))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[LinkEvent] | None:
        """Events that wait; None when some were lost and the caller has to look for itself."""
        events: list[LinkEvent] = []
        lost = False
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return None if lost else events
            except OSError:  # ENOBUFS: the queue overflowed
                lost = True
                continue
            for kind, body in _messages(data):
                if kind in (_RTM_NEWLINK, _RTM_DELLINK):
                    events.append(LinkEvent(_link(body), kind == _RTM_DELLINK))

    def close(self) -> None:
        self._socket.close()


def _get_link(body: bytes) -> Link | None:
    try:
        for kind, answer in _request(_RTM_GETLINK, 0, body):
            if kind == _RTM_NEWLINK:
                return _link(answer)
    except OSError as error:
        if error.errno not in (19, 22, 34):  # ENODEV, EINVAL, ERANGE: no such interface
            raise
    return None


def _link(body: bytes) -> Link:
    _family, device_type, index, flags, _change = _IFINFO.unpack_from(body)
    attributes = dict(_attributes(body[_IFINFO.size :]))
    info = dict(_attributes(attributes.get(_IFLA_LINKINFO, b"")))
    xdp = dict(_attributes(attributes.get(_IFLA_XDP, b"")))
    return Link(
        index=index,
        name=_text(attributes.get(_IFLA_IFNAME, b"")),
        flags=flags,
        device_type=device_type,
        mtu=_number(attributes.get(_IFLA_MTU, b"")),
        carrier=bool(_number(attributes.get(_IFLA_CARRIER, b""))) and bool(flags & IFF_UP),
        operational=_number(attributes.get(_IFLA_OPERSTATE, b"")) in (_IF_OPER_UNKNOWN, _IF_OPER_UP),
        master=_number(attributes.get(_IFLA_MASTER, b"")),
        kind=_text(info.get(_IFLA_INFO_KIND, b"")),
        parent_device=_text(attributes.get(_IFLA_PARENT_DEV_NAME, b"")),
        xdp_program=_number(xdp.get(_IFLA_XDP_PROG_ID, b"")),
    )


def _request(kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Sends one request and yields each answer. OSError with the errno that the kernel answers."""
    with contextlib.closing(
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    ) as channel:
        channel.settimeout(_TIMEOUT_S)
        channel.bind((0, 0))
        channel.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | _NLM_F_REQUEST, 1, 0) + body)
        several = bool(flags & _NLM_F_DUMP)
        while True:
            for answer_kind, answer in _messages(channel.recv(_RECEIVE_BYTES)):
                if answer_kind == _NLMSG_DONE:
                    return
                if answer_kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", answer)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield answer_kind, answer
                if not several and not flags & _NLM_F_ACK:
                    return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, _pid = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield kind, data[position + _HEADER.size : position + length]
        position += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[position + _ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes) -> int:
    return int.from_bytes(value[:4], "little") if value else 0
