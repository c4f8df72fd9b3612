"""Small bases out of prefixes, compiled slowly and by the book; and frames to ask them with.

Written from what bpf/abi.h and bpf/tables.h say, apart from policy/compile.py: two makers that must agree with one
reader.
"""

import ipaddress
import struct
from collections.abc import Sequence
from typing import Any

from clearway import _engine as engine

WORD = (1 << 64) - 1


def mix(x: int) -> int:
    """v6_mix() of tables.h."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & WORD
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def bucket_of(seed: int, high: int, low: int, length: int, buckets: int) -> int:
    return mix((mix(high ^ seed) + low + length) & WORD) & (buckets - 1)


def parts(listed: Sequence[str], exceptions: Sequence[str] = (), buckets: int = 2, seed: int = 7) -> dict[str, Any]:
    """Keyword arguments of engine.Base. Exceptions: IPv6 only, since of IPv4 only what is listed reaches the kernel."""
    v4 = [ipaddress.IPv4Network(text) for text in listed if ":" not in text]
    cells: dict[int, int | set[int]] = {}
    for network in v4:
        first = int(network.network_address)
        if network.prefixlen <= 24:
            for number in range(first >> 8, (first >> 8) + (1 << (24 - network.prefixlen))):
                cells[number] = 1
        else:
            held = cells.setdefault(first >> 8, set())
            if isinstance(held, set):
                held.update(range(first & 255, (first & 255) + network.num_addresses))
    bitmaps: list[bytes] = []
    values: list[int] = []
    for number in sorted(cells):
        held = cells[number]
        if isinstance(held, int):
            values.append(held)
        else:
            values.append(256 + len(bitmaps))
            bitmaps.append(sum(1 << n for n in held).to_bytes(32, "little"))
    slots: list[list[bytes]] = [[] for _ in range(buckets)]
    lengths = set()
    for is_listed, texts in ((1, [text for text in listed if ":" in text]), (0, exceptions)):
        for text in texts:
            network6 = ipaddress.IPv6Network(text)
            high, low = int(network6.network_address) >> 64, int(network6.network_address) & WORD
            lengths.add(network6.prefixlen)
            row = struct.pack("<QQBB6x", high, low, network6.prefixlen, is_listed)
            slots[bucket_of(seed, high, low, network6.prefixlen, buckets)].append(row)
    firsts = [sum(len(rows) for rows in slots[:n]) for n in range(buckets)]
    return {
        "v4_cell_numbers": struct.pack(f"<{len(cells)}I", *sorted(cells)),
        "v4_cells": struct.pack(f"<{len(values)}I", *values),
        "v4_bitmaps": b"".join(bitmaps),
        "v6_buckets": b"".join(struct.pack("<II", first, len(rows)) for first, rows in zip(firsts, slots, strict=True)),
        "v6_slots": b"".join(b"".join(rows) for rows in slots),
        "v6_lengths": bytes(sorted(lengths, reverse=True)),
        "v6_seed": seed,
    }


def base(*listed: str, exceptions: Sequence[str] = ()) -> engine.Base:
    return engine.Base(**parts(listed, exceptions))


def mapped(text: str) -> tuple[bytes, int]:
    """Address and length as the engine takes them."""
    network = ipaddress.ip_network(text)
    if network.version == 4:
        return bytes(10) + b"\xff\xff" + network.network_address.packed, network.prefixlen + 96
    return network.network_address.packed, network.prefixlen


def frame(source: str, destination: str) -> bytes:
    """UDP without a payload."""
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    udp = struct.pack("!HHHH", 1000, 2000, 8, 0)
    if a.version == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, a.packed, b.packed)
        return bytes(12) + b"\x08\x00" + header + udp
    return bytes(12) + b"\x86\xdd" + struct.pack("!IHBB16s16s", 6 << 28, 8, 17, 64, a.packed, b.packed) + udp


def ask(loader: engine.Loader, source: str, destination: str | None = None, hook: str = "tcx") -> engine.DropReason:
    """What becomes of an inbound packet from there."""
    other = "fd00::1" if ":" in source else "203.0.113.250"
    return loader.probe(hook, engine.Direction.INBOUND, frame(source, destination or other)).drop_reason
