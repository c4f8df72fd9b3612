"""A loaded gateway on no port whose packets come in by test runs, and an inspector that is a few bytes in memory.

What test_name_step.py is written with. Offsets are those of struct hold_control and struct hold_slot in bpf/abi.h.
"""

from __future__ import annotations

import mmap
import struct
from ipaddress import ip_address
from typing import NamedTuple

from clearway import _engine as engine
from clearway.lab.namespace import End

CLIENT, SERVER = "198.51.100.7", "192.0.2.80"
CLIENT6, SERVER6 = "2001:db8:1::7", "2001:db8:2::80"
SYN, ACK, FIN = 0x02, 0x10, 0x01
ISN = 0xFFFFFFF0
"""The sequence number of the client's SYN: that of its data soon wraps."""
OUT, IN = engine.Direction.OUTBOUND, engine.Direction.INBOUND
FREE, HELD, PASSING, REFUSED = range(4)
REDIRECT, DROP = 7, 2
FAR_NS = 1 << 62
NO_ADDRESSES = engine.Base(
    v4_cell_numbers=b"", v4_cells=b"", v4_bitmaps=b"", v6_buckets=b"", v6_slots=b"", v6_lengths=b"", v6_seed=0
)


class Slot(NamedTuple):
    """struct hold_slot."""

    state: int
    generation: int
    held: tuple[int, int]
    released: tuple[int, int]
    until_ns: int
    born_ns: int
    client_direction: int
    reason: int
    start: int
    start_known: int
    mark: int


class Gateway:
    """Its outbound packets come in at lo, the inbound ones at `outside`, a port of another namespace."""

    def __init__(
        self,
        outside: End,
        *,
        observe: bool = False,
        names_held: bool = False,
        xdp_forward: bool | None = None,
        turned: bool = False,
        tcx_object: str | None = None,
    ) -> None:
        """`xdp_forward`: None leaves the program of XDP out. `turned`: lo is the outside port. XDP's packets come in at
        lo only."""
        inside_ifindex, outside_ifindex = (outside.index(), 1) if turned else (1, outside.index())
        self._namespace = outside.namespace
        self.loader = engine.Loader(None, tcx_object=tcx_object)
        made = engine.Settings(
            inside_ifindex=inside_ifindex,
            outside_ifindex=outside_ifindex,
            observe=observe,
            names_held=names_held,
            xdp_forward=bool(xdp_forward),
        )
        room = engine.Capacity(1, 2, 1, 1 << 10)
        self._namespace.call(lambda: self.loader.load(made, room, xdp=xdp_forward is not None))
        self.maps = self.loader.map_fds()
        self.tables = engine.Tables(self.maps, self.loader.capacity())
        self._control = mmap.mmap(self.maps["hold_control"], 192)
        self._slots = mmap.mmap(self.maps["hold_slots"], 64 * engine.LIMITS["HELD_FLOWS_MAX"])
        self._marks = mmap.mmap(self.maps["held_marks"], 8 * engine.LIMITS["HELD_MARKS"])
        self.put(8, "=II", 1, 1)  # packets wait at lo
        self.beat()
        self.tables.set_names_active(True)

    def put(self, offset: int, form: str, *values: int) -> None:
        """Into struct hold_control."""
        struct.pack_into(form, self._control, offset, *values)

    def beat(self) -> None:
        """The inspector lives, for as long as a test takes."""
        self.put(128, "=Q", engine.boot_clock_ns() + 3600 * 10**9)

    def die(self) -> None:
        """Its last sign of life was 100 ms ago."""
        self.put(128, "=Q", engine.boot_clock_ns() - 100 * 10**6)

    def release(self, total: int) -> None:
        self.put(136, "=Q", total)

    def slots(self) -> dict[int, Slot]:
        """Those that are taken."""
        found = {}
        for number in range(engine.LIMITS["HELD_FLOWS_MAX"]):
            if self._slots[64 * number] != FREE:
                f = struct.unpack_from("=IIIIIIQQIIIII", self._slots, 64 * number)
                found[number] = Slot(f[0], f[1], (f[2], f[3]), (f[4], f[5]), *f[6:])
        return found

    def slot(self) -> Slot:
        """The only one."""
        (found,) = self.slots().values()
        return found

    def set_slot(self, offset: int, form: str, *values: int) -> None:
        """Into the only slot."""
        (number,) = self.slots()
        struct.pack_into(form, self._slots, 64 * number + offset, *values)

    def set_state(self, state: int, until_ns: int = 0) -> None:
        self.set_slot(24, "=Q", until_ns)
        self.set_slot(0, "=I", state)

    def marks(self) -> int:
        """Entries that the programs look for."""
        return sum(struct.unpack_from("=I", self._marks, 8 * n)[0] for n in range(engine.LIMITS["HELD_MARKS"]))

    def send(self, *frames: bytes, direction: engine.Direction = OUT, hook: str = "tcx") -> list[int]:
        """What the program returned of each. A test run looks its port up by number, so it happens where that is."""
        return self._namespace.call(lambda: [self.loader.run(direction, frame, hook) for frame in frames])

    def forwarded(self) -> int:
        """Packets that were counted as forwarded, both directions."""
        return self._count(engine.DropReason.FORWARDED)

    def dropped(self, reason: str) -> int:
        return self._count(engine.DropReason[reason])

    def _count(self, reason: engine.DropReason) -> int:
        return sum(packets for _, _, counted, packets, _ in self.tables.counters() if counted == reason)

    def facts(self) -> dict[str, int]:
        return {fact.name: packets for fact, (packets, _) in self.tables.facts().items()}

    def seen(self) -> dict[str, int]:
        """Decided in the kernel, by protocol and class."""
        return {f"{protocol} {kind}": count for protocol, kind, count, _ in self.tables.names_seen()}

    def total(self) -> int:
        held = self.tables.hold_state()["held"]
        assert isinstance(held, int)
        return held


# ---- packets ----


def packet(payload: bytes, protocol: int, source: str = CLIENT, destination: str = SERVER) -> bytes:
    a, b = ip_address(source), ip_address(destination)
    if a.version == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
        return bytes(12) + b"\x08\x00" + header + a.packed + b.packed + payload
    header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return bytes(12) + b"\x86\xdd" + header + a.packed + b.packed + payload


def tcp(
    payload: bytes = b"",
    *,
    at: int = 1,
    flags: int = ACK,
    ports: tuple[int, int] = (40000, 443),
    ends: tuple[str, str] = (CLIENT, SERVER),
) -> bytes:
    """From the client. `at`: sequence number behind that of its SYN."""
    sequence = (ISN + at) & 0xFFFFFFFF
    header = struct.pack("!HHIIBBHHH", *ports, sequence, 0, 5 << 4, flags, 65535, 0, 0)
    return packet(header + payload, 6, *ends)


def syn(*, ports: tuple[int, int] = (40000, 443), ends: tuple[str, str] = (CLIENT, SERVER)) -> bytes:
    return tcp(at=0, flags=SYN, ports=ports, ends=ends)


def answer(payload: bytes = b"answer") -> bytes:
    """From the server."""
    return tcp(payload, ports=(443, 40000), ends=(SERVER, CLIENT))


def udp(payload: bytes, port: int, source_port: int = 40000) -> bytes:
    return packet(struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload, 17)


def hello(name: str) -> bytes:
    """A ClientHello with this server_name, 517 bytes as a browser pads it."""
    host = name.encode()
    server_name = struct.pack("!HHHBH", 0, len(host) + 5, len(host) + 3, 0, len(host)) + host
    fixed = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    padding = 517 - 5 - 4 - len(fixed) - 2 - len(server_name) - 4
    extensions = server_name + struct.pack("!HH", 21, padding) + bytes(padding)
    body = fixed + struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def query(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\x00\x00\x01\x00\x01"


def initial(version: int = 1, first: int = 0xC3, size: int = 1200) -> bytes:
    """The start of a QUIC Initial; nobody here decrypts it."""
    return (bytes([first]) + version.to_bytes(4, "big") + b"\x08abcdefgh\x00\x00").ljust(size, b"\x55")
