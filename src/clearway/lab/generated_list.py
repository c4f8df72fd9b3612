"""Lists that nobody published: generated, the size of real ones, with what the demo wants among them.

Addresses are clustered as real lists are (several to a touched /24), from address space that the lab does not use;
names lie under .example, which nobody can register. Made for this machine's namespaces only, they mean nothing on any
network.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

A_CLUSTER = 8  # addresses to a touched /24, about
PREFIX_SHARE = 0.01
V6_SHARE = 0.02
# reserved space, and what the lab uses (192.0.2/24, 198.51.100/24, 203.0.113/24)
FIRST_OCTETS = np.array([n for n in range(1, 224) if n not in (10, 100, 127, 169, 172, 192, 198, 203)], np.int64)
UNHOSTED_OCTETS = np.array([6, 7, 11, 21, 22, 26, 28, 29, 30, 33], np.int64)  # a ministry's own, in no cloud

NAME_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)
NAME_LABEL_BYTES = 8
NAME_ENDING = b".example\n"
NAME_STEP = 1_111_111_111_111  # shares no factor with 36, so no name comes twice


def write(path: Path, entries: int, among: Sequence[str], seed: int = 20261124) -> int:
    """Writes `entries` distinct lines, those of `among` in the middle; the same bytes for the same seed.

    Returns how many lines there are. Readable to everybody, as a gateway without rights must read it.
    """
    chance = np.random.default_rng(seed)
    v6, prefixes = int(entries * V6_SHARE), int(entries * PREFIX_SHARE)
    hosts = entries - len(among) - v6 - prefixes
    halves = [f"{n >> 8}.{n & 255}" for n in range(1 << 16)]
    lines = [f"{halves[n >> 16]}.{halves[n & 0xFFFF]}" for n in _hosts(chance, hosts).tolist()]
    networks = np.unique(_networks(chance, prefixes * 2))[:prefixes]
    lines += [f"{halves[n >> 8]}.{n & 255}.0/24" for n in networks.tolist()]
    slices = np.unique(chance.integers(0, 1 << 36, v6 * 2))[:v6].tolist()
    lines += [f"2a0{part >> 32:x}:{part >> 16 & 0xFFFF:x}:{part & 0xFFFF:x}::/48" for part in slices]
    lines[len(lines) // 2 : len(lines) // 2] = among
    path.write_text(f"# generated: {len(lines)} entries\n" + "\n".join(lines) + "\n")
    path.chmod(0o644)
    return len(lines)


def write_names(path: Path, entries: int, among: Sequence[str]) -> int:
    """As `write`, of names: `entries` distinct lines, those of `among` in the middle; always the same bytes."""
    numbers = np.arange(entries - len(among), dtype=np.int64) * NAME_STEP % len(NAME_LETTERS) ** NAME_LABEL_BYTES
    rows = np.empty((len(numbers), NAME_LABEL_BYTES + len(NAME_ENDING)), np.uint8)
    for at in range(NAME_LABEL_BYTES):
        rows[:, at] = NAME_LETTERS[numbers % len(NAME_LETTERS)]
        numbers //= len(NAME_LETTERS)
    rows[:, NAME_LABEL_BYTES:] = np.frombuffer(NAME_ENDING, np.uint8)
    half = len(rows) // 2
    head, wanted = f"# generated: {entries} names\n".encode(), "".join(f"{name}\n" for name in among).encode()
    path.write_bytes(head + rows[:half].tobytes() + wanted + rows[half:].tobytes())
    path.chmod(0o644)
    return entries


def octets(count: int, seed: int = 20261124) -> list[tuple[int, int, int]]:
    """The first three octets of `count` /24s in order, in space that no hoster has; the same for the same seed."""
    chance = np.random.default_rng(seed)
    networks = chance.choice(UNHOSTED_OCTETS, 2 * count) << 16 | chance.integers(0, 1 << 16, 2 * count)
    made = np.unique(networks)[::2][:count].tolist()
    return [(number >> 16, number >> 8 & 255, number & 255) for number in made]


def _networks(chance: np.random.Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Random /24s as numbers of 24 bits."""
    return chance.choice(FIRST_OCTETS, count) << 16 | chance.integers(0, 1 << 16, count)


def _hosts(chance: np.random.Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    networks = np.repeat(_networks(chance, count // A_CLUSTER + 1), A_CLUSTER + 1)
    found = np.unique(networks << 8 | chance.integers(0, 256, len(networks)))
    return np.sort(chance.permutation(found)[:count])
