"""Lists of IPv4 prefixes to measure with: clustered as real lists are, or uniform. Deterministic for a seed.

Real lists cluster: a few /16s and /24s hold most of their addresses (IPsum's 20,000 worst have 2.0 to a touched /24,
up to 253), while a uniform list touches almost half of all /24s at 10 million entries. The clustered model gives each
/24 a popularity, log-normal over its /16 and over itself; ten million draws from it touch 12 % of the 2^24 /24s.

An array is what clearway.policy.compile takes: uint64, address << 8 | length, ascending, without overlaps. No entry
lies in space that is private, reserved or multicast, so the bench's own hosts are never listed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Entries = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.uint32]
Shape = Literal["clustered", "uniform"]

POPULARITY_SIGMA_16 = 1.5
POPULARITY_SIGMA_24 = 2.25
"""Spread of the logarithm of popularity over /16s, and over the /24s in one."""
PREFIX_SHARE = 0.015
"""Share of entries that are /24 to /31 and not single addresses."""
TEXT_CHUNK = 1 << 20
"""Entries that become text at a time: 20 MB."""

_UNUSED_FIRST_OCTETS = (0, 10, 127, *range(224, 256))
_UNUSED_16S = (
    *range(0x6440, 0x6480),  # 100.64.0.0/10
    0xA9FE,  # 169.254.0.0/16
    *range(0xAC10, 0xAC20),  # 172.16.0.0/12
    0xC000,  # 192.0.0.0/24 and 192.0.2.0/24
    0xC0A8,  # 192.168.0.0/16
    *range(0xC612, 0xC614),  # 198.18.0.0/15
    0xC633,  # 198.51.100.0/24
    0xCB00,  # 203.0.113.0/24
)


@dataclass(frozen=True)
class ListPlan:
    """Which list: all that it depends on."""

    entries: int
    shape: Shape = "clustered"
    seed: int = 1

    @property
    def name(self) -> str:
        units = (("m", 1_000_000), ("k", 1000))
        rounded = (f"{self.entries // size}{unit}" for unit, size in units if self.entries % size == 0)
        count = next(rounded, str(self.entries))
        return count if self.shape == "clustered" else f"{count}-{self.shape}"


def make(plan: ListPlan) -> Entries:
    """Exactly `plan.entries` distinct entries. 10 million take 4 s."""
    random = np.random.default_rng(plan.seed)
    slash_24s = _usable_24s()
    hosts = _clustered(random, slash_24s, plan.entries) if plan.shape == "clustered" else None
    if hosts is None:
        hosts = _uniform(random, slash_24s, plan.entries)
    prefixes = _prefixes(random, hosts, plan.entries)
    if prefixes.size:
        covered = np.zeros(1 << 24, dtype=np.bool_)
        covered[(prefixes >> np.uint64(16)).astype(np.intp)] = True
        hosts = hosts[~covered[hosts >> np.uint32(8)]]
    keep = plan.entries - prefixes.size
    hosts = hosts[np.sort(random.permutation(hosts.size)[:keep])]
    entries = np.concatenate([hosts.astype(np.uint64) << np.uint64(8) | np.uint64(32), prefixes])
    entries.sort()
    return entries


def touched_share(entries: Entries) -> float:
    """Share of all 2^24 /24s that an entry lies in."""
    return float(_distinct(entries >> np.uint64(16)).size / (1 << 24))


def pairs(entries: Entries) -> Numbers:
    """uint32 pairs (address, mask) in host order, as engine.live_frames draws addresses from."""
    table = np.empty((entries.size, 2), dtype=np.uint32)
    table[:, 0] = (entries >> np.uint64(8)).astype(np.uint32)
    length = (entries & np.uint64(255)).astype(np.uint64)
    table[:, 1] = (np.uint64(0xFFFFFFFF) << (np.uint64(32) - length) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return table


def write_text(entries: Entries, path: Path) -> None:
    """One address or CIDR prefix a line, as plain lists are published; in no order, as they are too."""
    octets = np.zeros((256, 4), dtype=np.uint8)
    lengths = np.zeros((33, 4), dtype=np.uint8)
    for number in range(256):
        text = f"{number}."
        octets[number, : len(text)] = list(text.encode())
    for length in range(33):
        text = "\n" if length == 32 else f"/{length}\n"
        lengths[length, : len(text)] = list(text.encode())
    shuffled = np.random.default_rng(entries.size).permutation(entries)
    with path.open("wb") as file:
        for start in range(0, shuffled.size, TEXT_CHUNK):
            file.write(_lines(shuffled[start : start + TEXT_CHUNK], octets, lengths))


def _lines(entries: Entries, octets: npt.NDArray[np.uint8], lengths: npt.NDArray[np.uint8]) -> bytes:
    """Fixed columns padded with zero bytes, then the padding taken out: no loop over entries."""
    columns = [octets[(entries >> np.uint64(shift) & np.uint64(255)).astype(np.intp)] for shift in (32, 24, 16, 8)]
    last = columns[3]
    last[last == ord(".")] = 0
    table = np.concatenate([*columns, lengths[(entries & np.uint64(255)).astype(np.intp)]], axis=1).reshape(-1)
    lines: bytes = table[table != 0].tobytes()
    return lines


def _usable_24s() -> Numbers:
    """Numbers of the /24s that may hold an entry, ascending."""
    slash_16s = np.arange(1 << 16, dtype=np.uint32)
    usable = ~np.isin(slash_16s >> 8, _UNUSED_FIRST_OCTETS) & ~np.isin(slash_16s, _UNUSED_16S)
    within = np.arange(256, dtype=np.uint32)
    return (slash_16s[usable][:, None] << 8 | within[None, :]).reshape(-1).astype(np.uint32)


def _clustered(random: np.random.Generator, slash_24s: Numbers, count: int) -> Numbers:
    logarithm = np.repeat(random.normal(0, POPULARITY_SIGMA_16, slash_24s.size // 256), 256)
    logarithm += random.normal(0, POPULARITY_SIGMA_24, slash_24s.size)
    cumulated = np.cumsum(np.exp(logarithm))
    cumulated /= cumulated[-1]
    hosts = np.empty(0, dtype=np.uint32)
    draws = count + count // 2 + 1000
    while hosts.size < _surplus(count):
        # sorted draws walk `cumulated` in order: ten times as fast as random ones
        at = np.searchsorted(cumulated, np.sort(random.random(draws)))
        found = slash_24s[np.minimum(at, slash_24s.size - 1)] << np.uint32(8)
        found |= random.integers(0, 256, draws, dtype=np.uint32)
        hosts = _distinct(np.concatenate([hosts, found]))
        draws = count // 4 + 1000
    return hosts


def _uniform(random: np.random.Generator, slash_24s: Numbers, count: int) -> Numbers:
    hosts = np.empty(0, dtype=np.uint32)
    while hosts.size < _surplus(count):
        draws = _surplus(count) - hosts.size + 1000
        found = slash_24s[random.integers(0, slash_24s.size, draws)] << np.uint32(8)
        found |= random.integers(0, 256, draws, dtype=np.uint32)
        hosts = _distinct(np.concatenate([hosts, found]))
    return hosts


def _distinct(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Ascending, each once. np.unique hashes since numpy 2.3, and takes 9 s where this takes 0.5."""
    numbers = np.sort(numbers)
    distinct: npt.NDArray[Any] = numbers[np.concatenate([[True], numbers[1:] != numbers[:-1]])]
    return distinct


def _surplus(count: int) -> int:
    """Hosts to draw: those that the prefixes will cover are taken out again."""
    return count + count // 10 + 300


def _prefixes(random: np.random.Generator, hosts: Numbers, count: int) -> Entries:
    """One /24 to /31 in each of some touched /24s; all hosts of those are left out, so that nothing overlaps."""
    slash_24s = hosts >> np.uint32(8)
    starts = np.flatnonzero(np.concatenate([[True], slash_24s[1:] != slash_24s[:-1]]))
    populations = np.diff(np.append(starts, hosts.size))
    chosen = slash_24s[starts][populations <= 4]  # a crowded /24 would cost too many hosts
    chosen = random.permutation(chosen)[: int(count * PREFIX_SHARE)].astype(np.uint64)
    length = random.choice(np.arange(24, 32), chosen.size, p=[0.6, 0.05, 0.05, 0.1, 0.05, 0.05, 0.05, 0.05])
    length = length.astype(np.uint64)
    address = chosen << np.uint64(8) | random.integers(0, 256, chosen.size).astype(np.uint64)
    size = np.uint64(32) - length
    prefixes: Entries = (address >> size << size) << np.uint64(8) | length
    return prefixes
