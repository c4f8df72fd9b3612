"""Random frames for the oracle: every header that the data plane reads, whole, cut off, and with lengths that lie.

Each frame is first built right, then, one time in four, damaged. Addresses come from the policy's own prefixes and
their edges; later fragments come back to datagrams whose first fragment went before. All randomness is handed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clearway.policy.packet import Address

FRAME_MAX = 1500
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)
PROTOCOLS = (1, 6, 17, 58, 4, 41, 47, 50, 51, 97, 115, 137, 132, 136, 2, 0, 59, 89, 255, 44)
PORTS = (4789, 6081, 2152, 53, 80, 443, 0, 65535)
_MACS = bytes.fromhex("02000000000202000000000100")[:12]


@dataclass
class Packets:
    """Draws frames. Keeps the last fragments it made, to come back to their datagrams."""

    rng: random.Random
    addresses: Sequence[Address]
    _datagrams: list[tuple[Address, Address, int, int]] = field(default_factory=list)
    _begun: list[tuple[Address, Address, int, int]] = field(default_factory=list)

    def later_part(self) -> bytes:
        """A later fragment, in good order, of any datagram whose first fragment was drawn."""
        rng = self.rng
        if not self._begun:
            return self.frame()
        source, destination, identification, protocol = rng.choice(self._begun)
        size = 4 if source[0] == 4 else 16
        ends = b"".join(number.to_bytes(size, "big") for _, number in (source, destination))
        payload, offset = rng.randbytes(8), 8 * rng.randrange(1, 900)
        if size == 4:
            where = identification.to_bytes(2, "big") + (offset >> 3).to_bytes(2, "big")
            return _MACS + b"\x08\x00\x45\x00\x00\x1c" + where + bytes([64, protocol, 0, 0]) + ends + payload
        header = bytes([protocol, 0]) + offset.to_bytes(2, "big") + identification.to_bytes(4, "big")
        return _MACS + b"\x86\xdd\x60\x00\x00\x00\x00\x10\x2c\x40" + ends + header + payload

    def frame(self) -> bytes:
        """One frame of 14 bytes or more."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.02:
            return _MACS + rng.choice([b"\x08\x06", b"\x88\xcc", b"\x00\x26", b"\x88\x8e"]) + self._bytes(0, 60)
        if kind < 0.03:
            return (
                _MACS
                + rng.choice([b"\x08\x00", b"\x86\xdd", b"\x88\x64", b"\x88\x47", b"\x81\x00"])
                + self._bytes(0, 80)
            )
        version, inner = self._ip(rng.random() < 0.25)
        frame = self._link(version, inner)
        return self._damaged(frame) if rng.random() < 0.25 else frame[:FRAME_MAX]

    def _bytes(self, low: int, high: int) -> bytes:
        return self.rng.randbytes(self.rng.randint(low, high))

    def _address(self, version: int) -> bytes:
        """Of that family; IPv6 packets carry mapped IPv4 addresses now and then."""
        rng = self.rng
        for _ in range(20):
            found, number = rng.choice(self.addresses)
            if found == version:
                return number.to_bytes(4 if version == 4 else 16, "big")
            if version == 6 and rng.random() < 0.02:
                return (0xFFFF << 32 | number).to_bytes(16, "big")
        return rng.randbytes(4 if version == 4 else 16)

    # ---- link layer ----

    def _link(self, version: int, inner: bytes) -> bytes:
        rng = self.rng
        tags = b""
        ether_type = b"\x08\x00" if version == 4 else b"\x86\xdd"
        wrap = rng.random()
        if wrap < 0.12:
            length = len(inner) + 2
            protocol = b"\x00\x21" if version == 4 else b"\x00\x57"
            if rng.random() < 0.1:
                protocol = rng.choice([b"\xc0\x21", b"\x80\x21", b"\x00\x57", b"\x00\x21"])
            if rng.random() < 0.1:
                length = max(0, min(65535, length + rng.choice([-2, -1, 1, 8, -8, -len(inner), -len(inner) - 1])))
            inner = b"\x11\x00\x00\x07" + length.to_bytes(2, "big") + protocol + inner + self._bytes(0, 4)
            ether_type = b"\x88\x64"
        elif wrap < 0.24:
            labels = rng.choice([1, 1, 2, 3, 7, 8, 9, 10])
            stack = b"".join(rng.randbytes(2) + bytes([rng.randrange(256) & 0xFE, 64]) for _ in range(labels - 1))
            inner = (
                stack + rng.randbytes(2) + bytes([rng.randrange(256) | 1, 64]) + (inner if rng.random() < 0.95 else b"")
            )
            ether_type = rng.choice([b"\x88\x47", b"\x88\x48"])
        if rng.random() < 0.3:
            for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4, 5])):
                tags += rng.choice([b"\x81\x00", b"\x88\xa8", b"\x91\x00"]) + rng.randbytes(2)
        padding = bytes(max(0, 46 - len(inner) - len(tags))) if rng.random() < 0.3 else b""
        return _MACS + tags + ether_type + inner + padding

    # ---- IP ----

    def _ip(self, fragmented: bool, depth: int = 0) -> tuple[int, bytes]:
        version = self.rng.choice((4, 6))
        return version, (self._ipv4 if version == 4 else self._ipv6)(fragmented, depth)

    def _ipv4(self, fragmented: bool, depth: int) -> bytes:
        rng = self.rng
        source, destination, protocol = self._address(4), self._address(4), self._protocol(4)
        identification = rng.getrandbits(16)
        flags_and_offset = rng.choice([0, 0, 0x4000, 0x8000])
        payload: bytes | None = None
        if fragmented:
            source, destination, identification, protocol, offset, more, payload = self._fragment(
                4, source, destination, rng.getrandbits(16), protocol, depth
            )
            flags_and_offset = offset >> 3 | (0x2000 if more else 0)
        if payload is None:
            payload = self._transport(protocol, depth)
        options = rng.randbytes(4 * rng.choice([0, 0, 0, 0, 1, 2, 10]))
        total = min(20 + len(options) + len(payload), 65535)
        return (
            bytes([0x45 + len(options) // 4, 0])
            + total.to_bytes(2, "big")
            + identification.to_bytes(2, "big")
            + flags_and_offset.to_bytes(2, "big")
            + bytes([64, protocol, 0, 0])
            + source
            + destination
            + options
            + payload
        )

    def _ipv6(self, fragmented: bool, depth: int) -> bytes:
        rng = self.rng
        source, destination, protocol = self._address(6), self._address(6), self._protocol(6)
        chain = [rng.choice(EXTENSIONS) for _ in range(rng.choice([0] * 12 + [1, 1, 1, 2, 3, 6, 7, 8, 9, 10]))]
        payload: bytes | None = None
        header = b""
        if fragmented:
            source, destination, identification, protocol, offset, more, payload = self._fragment(
                6, source, destination, rng.getrandbits(32), protocol, depth
            )
            chain = [kind for kind in chain if kind != 44][:9]
            at = rng.randint(0, len(chain)) if rng.random() < 0.2 else len(chain)
            chain.insert(at, 44)
            header = (offset | more).to_bytes(2, "big") + identification.to_bytes(4, "big")
        if payload is None:
            payload = self._transport(protocol, depth)
        following = [*chain, protocol][1:]
        body = b"".join(self._extension(kind, after, header) for kind, after in zip(chain, following, strict=True))
        body += payload
        length = min(len(body), 65535)
        if chain[:1] == [0] and rng.random() < 0.2:
            length = 0  # a jumbogram by its form; UDP may then have none either
            if protocol == 17 and rng.random() < 0.7:
                body = body[: len(body) - len(payload)] + payload[:4] + bytes(2) + payload[6:]
        next_header = chain[0] if chain else protocol
        return b"\x60\x00\x00\x00" + length.to_bytes(2, "big") + bytes([next_header, 64]) + source + destination + body

    def _extension(self, kind: int, after: int, fragment: bytes) -> bytes:
        rng = self.rng
        if kind == 44:
            if not fragment:  # atomic, most of the time
                fragment = rng.choice([0, 0, 0, 0, 1, 8, 9]).to_bytes(2, "big") + rng.randbytes(4)
            return bytes([after, 0]) + fragment
        units = rng.choice([0, 0, 0, 1, 3])
        if kind == 51:
            return bytes([after, units + 1]) + rng.randbytes(4 * (units + 3) - 2)
        return bytes([after, units]) + rng.randbytes(8 * (units + 1) - 2)

    def _fragment(
        self, version: int, source: bytes, destination: bytes, identification: int, protocol: int, depth: int
    ) -> tuple[bytes, bytes, int, int, int, bool, bytes]:
        """Source, destination, identification, protocol, offset, more, payload: first, middle, last or overlapping."""
        rng = self.rng
        if self._datagrams and rng.random() < 0.6:
            earlier = rng.choice(self._datagrams[-40:])
            if earlier[0][0] == version:
                size = 4 if version == 4 else 16
                source, destination = (a[1].to_bytes(size, "big") for a in earlier[:2])
                identification, protocol = earlier[2:]
                if rng.random() < 0.1:
                    source, destination = destination, source
                if rng.random() < 0.1:
                    protocol = rng.choice(PROTOCOLS)
        elif depth == 0:
            ends = [(version, int.from_bytes(a, "big")) for a in (source, destination)]
            self._datagrams.append((ends[0], ends[1], identification, protocol))
        first = rng.random() < 0.45
        offset = (
            0
            if first
            else 8 * rng.choice([1, 2, 3, 100, 4095, 8187, 8191, rng.randrange(1, 8000), rng.randrange(1, 8000)])
        )
        more = first or rng.random() < 0.4
        payload = self._transport(protocol, depth) if first else self._bytes(0, 40)
        if first and rng.random() < 0.3:
            payload = payload[: rng.choice([0, 8, 16])]
        if more and rng.random() < 0.95:
            payload = payload[: len(payload) // 8 * 8]
        if first and depth == 0:
            ends = [(version, int.from_bytes(a, "big")) for a in (source, destination)]
            self._begun.append((ends[0], ends[1], identification, protocol))
        return source, destination, identification, protocol, offset, more, payload

    # ---- above IP ----

    def _protocol(self, version: int) -> int:
        kind = self.rng.random()
        if kind < 0.35:
            return 6
        if kind < 0.65:
            return 17
        if kind < 0.8:
            return 1 if version == 4 else 58
        return self.rng.choice(PROTOCOLS)

    def _transport(self, protocol: int, depth: int) -> bytes:
        makers: dict[int, Callable[[int], bytes]] = {6: self._tcp, 17: self._udp, 1: self._icmp, 58: self._icmp}
        if depth < 2 and protocol in (4, 41):
            return self._ip(False, depth + 1)[1]
        if protocol in makers and self.rng.random() < 0.95:
            return makers[protocol](depth)
        return self._bytes(0, 40)

    def _ports(self) -> bytes:
        rng = self.rng
        return b"".join(
            (rng.choice(PORTS) if rng.random() < 0.6 else rng.getrandbits(16)).to_bytes(2, "big") for _ in "sd"
        )

    def _tcp(self, depth: int) -> bytes:
        rng = self.rng
        words = rng.choice([0, 0, 0, 3, 5, 10])
        offset = 5 + words if rng.random() < 0.93 else rng.randrange(16)
        return (
            self._ports()
            + rng.randbytes(8)
            + bytes([offset << 4, 2])
            + rng.randbytes(6 + 4 * words)
            + self._bytes(0, 20)
        )

    def _udp(self, depth: int) -> bytes:
        rng = self.rng
        payload = self._bytes(0, 30)
        length = 8 + len(payload)
        if rng.random() < 0.1:
            length = rng.choice([0, 1, 7, 8, length - 1, length + 1, length + 8, 65535])
        return self._ports() + length.to_bytes(2, "big") + rng.randbytes(2) + payload

    def _icmp(self, depth: int) -> bytes:
        """Of either kind; errors quote a packet whose addresses are policy's too, and which must never be read."""
        rng = self.rng
        head = bytes([rng.choice([0, 3, 8, 11, 12, 1, 2, 128, 133, 134, 135, 136]), 0]) + rng.randbytes(6)
        if depth < 2 and rng.random() < 0.5:
            return head + self._ip(rng.random() < 0.2, depth + 1)[1][:200]
        return (head + self._bytes(0, 30))[: rng.choice([4, 7, 8, 24, 60, 60])]

    # ---- damage ----

    def _damaged(self, frame: bytes) -> bytes:
        rng = self.rng
        kind = rng.randrange(5)
        if kind == 0:
            frame = frame[: rng.randint(14, max(14, len(frame)))]
        elif kind == 1:
            frame += self._bytes(1, 30)
        else:
            changed = bytearray(frame)
            for _ in range(rng.choice([1, 1, 2, 4])):
                at = rng.randrange(12, len(changed))
                if kind == 2:
                    changed[at] = rng.randrange(256)
                elif kind == 3:
                    changed[at] ^= 1 << rng.randrange(8)
                else:
                    changed[at : at + 2] = rng.choice([0, 1, 7, 8, 20, 40, 0x2000, 0xFFFF]).to_bytes(2, "big")
            frame = bytes(changed)
        return frame[:FRAME_MAX]
