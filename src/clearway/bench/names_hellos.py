"""First bytes of flows as browsers send them: ClientHellos of a wanted size, queries, Initials; and frames around them.

Everything is generated; nothing stems from a capture. Pure.
"""

import struct
from collections.abc import Sequence
from random import Random

from clearway.bench.topology import PLAIN_LEFT, PLAIN_RIGHT

HELLO_BYTES = 517
"""What browsers pad a hello to that one packet holds."""
LARGE_HELLO_BYTES = 1700
"""About what a post-quantum key share makes of it: two packets."""
INITIAL_HELLO_BYTES = 500

_SUITES = bytes.fromhex("2a2a130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f0035")
_POST_QUANTUM_GROUP, _POST_QUANTUM_BYTES = 0x11EC, 1216
_FIRST = bytes.fromhex("4a4a000000170000ff01000100000b0002010000230000")
_MIDDLE = (
    "0010000e000c02683208687474702f312e31"  # ALPN
    "000500050100000000"  # status request
    "000d0012001004030804040105030805050108060601"  # signature algorithms
    "00120000"  # certificate timestamps
    "002d00020101"  # key exchange with a ticket
    "002b0007062a2a03040303"  # versions
    "001b0003020002"  # compressed certificates
)
_PADDING = 21
_SERVER_NAME, _GROUPS, _KEY_SHARE = 0, 10, 51


def hello(name: bytes, size: int, random: Random, *, name_last: bool = False) -> bytes:
    """A TLS record of exactly `size` bytes with a ClientHello for this name; post-quantum from 1,500 bytes on.

    `name_last`: behind the key share, as browsers that shuffle their extensions have it one time in two.
    """
    entry = b"\x00" + struct.pack("!H", len(name)) + name
    server_name = _extension(_SERVER_NAME, struct.pack("!H", len(entry)) + entry)
    groups = [0x4A4A, 0x001D, 0x0017, 0x0018]
    shares = struct.pack("!HHB", 0x4A4A, 1, 0)
    if size >= 1500:
        groups.insert(1, _POST_QUANTUM_GROUP)
        shares += struct.pack("!HH", _POST_QUANTUM_GROUP, _POST_QUANTUM_BYTES) + random.randbytes(_POST_QUANTUM_BYTES)
    shares += struct.pack("!HH", 0x001D, 32) + random.randbytes(32)
    key_share = _extension(_KEY_SHARE, struct.pack("!H", len(shares)) + shares)
    named = _extension(_GROUPS, struct.pack(f"!H{len(groups)}H", 2 * len(groups), *groups))
    extensions = _FIRST + named + bytes.fromhex(_MIDDLE)
    extensions = extensions + key_share + server_name if name_last else server_name + extensions + key_share
    start = b"\x03\x03" + random.randbytes(32) + b"\x20" + random.randbytes(32)
    start += struct.pack("!H", len(_SUITES)) + _SUITES + b"\x01\x00"
    padding = size - 5 - 4 - len(start) - 2 - len(extensions) - 4
    if padding < 0:
        raise ValueError(f"a hello for {len(name)} bytes of name does not fit {size} bytes")
    extensions += _extension(_PADDING, bytes(padding))
    body = start + struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def _extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, len(body)) + body


def hellos(names: Sequence[bytes], size: int, seed: int = 1) -> list[bytes]:
    """One for each name."""
    random = Random(seed)
    return [hello(name, size, random) for name in names]


def initials(names: Sequence[bytes], seed: int = 1) -> list[bytes]:
    """QUIC Initials, a datagram of 1,200 bytes each, sealed with the hello for a name."""
    from clearway import _engine as engine

    random = Random(seed)
    return [engine.quic_initial(random.randbytes(8), hello(name, INITIAL_HELLO_BYTES, random)[5:]) for name in names]


def queries(names: Sequence[bytes], seed: int = 1) -> list[bytes]:
    """DNS queries for the address of each name, with EDNS as resolvers send them."""
    random = Random(seed)
    return [query(name, random.getrandbits(16)) for name in names]


def query(name: bytes, number: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    head = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1)
    return head + labels + b"\x00" + struct.pack("!HH", 1, 1) + b"\x00" + struct.pack("!HHIH", 41, 1232, 0, 0)


# ---- frames ----

ETHERNET_BYTES, IP_BYTES, TCP_BYTES, UDP_BYTES = 14, 20, 20, 8
_SYN, _PUSH_ACK = 0x02, 0x18


def tcp_frame(
    payload: bytes, source_port: int, *, source: bytes | None = None, sequence: int = 1, syn: bool = False
) -> bytes:
    """Ethernet, IPv4 and TCP to port 443 with right checksums; `syn`: the payload comes with the first packet."""
    flags = _SYN if syn else _PUSH_ACK
    header = struct.pack("!HHIIBBHHH", source_port, 443, sequence, 0 if syn else 1, 5 << 4, flags, 64240, 0, 0)
    return _framed(6, header, 16, payload, source)


def udp_frame(payload: bytes, source_port: int, port: int) -> bytes:
    """The same of UDP."""
    return _framed(17, struct.pack("!HHHH", source_port, port, UDP_BYTES + len(payload), 0), 6, payload, None)


def _framed(protocol: int, header: bytes, sum_at: int, payload: bytes, source: bytes | None) -> bytes:
    addresses = (source or _octets(PLAIN_LEFT)) + _octets(PLAIN_RIGHT)
    segment = header + payload
    pseudo = addresses + struct.pack("!HH", protocol, len(segment))
    total = struct.pack("!H", checksum(pseudo + segment) or 0xFFFF)
    segment = segment[:sum_at] + total + segment[sum_at + 2 :]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, IP_BYTES + len(segment), 0, 0x4000, 64, protocol, 0) + addresses
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return bytes(12) + b"\x08\x00" + ip + segment


def checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\x00" if len(data) % 2 else data
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _octets(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def capture(frames: Sequence[bytes]) -> bytes:
    """A pcap file of them, a microsecond apart."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    parts = [head]
    for number, frame in enumerate(frames):
        parts += (struct.pack("<IIII", 1 + number // 1_000_000, number % 1_000_000, len(frame), len(frame)), frame)
    return b"".join(parts)
