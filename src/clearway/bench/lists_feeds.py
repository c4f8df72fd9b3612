"""Forty lists as files: many formats, few that are large, some packed, each overlapping with others as real ones do.

The addresses are those of bench/lists.py, the names those of bench/names_lists.py, so that all lists together hold a
number of distinct ones that is known. A share of each is drawn from all the others on top of it.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

import numpy as np

from clearway.bench import lists, names_lists

Kind = Literal["addresses", "names"]

OVERLAP_SHARE = 0.05
"""Of a list's entries, those that stand in others too."""
V6_SHARE = 0.01
CHANGED_SHARE = 0.01


@dataclass(frozen=True)
class Format:
    """How a list of it is written: around each entry, and above all of them."""

    word: str
    before: bytes = b""
    behind: bytes = b""
    above: bytes = b""
    is_packed: bool = False


ADDRESS_FORMATS = (
    Format("ip-plain"),
    Format("netset", above=b"#\n# generated, to measure with\n#\n"),
    Format("ip-plain", is_packed=True),
    Format("cidr-lines", behind=b" ; seen", above=b"; generated, to measure with\n"),
)
NAME_FORMATS = (
    Format("domains", above=b"# generated, to measure with\n"),
    Format("hosts", before=b"0.0.0.0 ", above=b"# generated, to measure with\n127.0.0.1 localhost\n"),
    Format("adblock", before=b"||", behind=b"^", above=b"[Adblock Plus]\n! generated, to measure with\n"),
    Format("rpz", above=b"$TTL 60\n@ SOA localhost. root.localhost. 1 1 1 1 1\n NS localhost.\n"),
    Format("dnsmasq", before=b"address=/", behind=b"/"),
    Format("unbound", before=b'local-zone: "', behind=b'" always_nxdomain', above=b"server:\n"),
    Format("wildcard-domains", before=b"*.", is_packed=True),
)
CSV = Format("csv", behind=b',443,"a note, with a comma"', above=b"ip,port,note\n")
V6 = Format("netset", above=b"# generated, IPv6\n")


@dataclass(frozen=True)
class ManyPlan:
    """How many distinct entries all lists have together, in how many lists of each kind."""

    addresses: int
    names: int
    address_lists: int = 21
    name_lists: int = 19
    changing: int = 100_000
    """Entries of the list of each kind that changes."""
    seed: int = 1


@dataclass(frozen=True)
class FeedFile:
    """One list, as `clearway feed add` takes it."""

    name: str
    kind: Kind
    format: str
    reason: str
    path: Path
    lines: int


@dataclass(frozen=True)
class Many:
    """All of them."""

    files: tuple[FeedFile, ...]
    addresses: int
    names: int
    addresses_listed: tuple[str, ...]
    """Some that stand in a list."""

    def changing(self, kind: Kind) -> FeedFile:
        """The one that is to change by CHANGED_SHARE."""
        return next(each for each in self.files if each.name == f"changing-{kind}")


def write(plan: ManyPlan, folder: Path) -> Many:
    """Writes them all; 10 million addresses and 5 million names take half a minute and 270 MB."""
    random = np.random.default_rng(plan.seed)
    v6 = int(plan.addresses * V6_SHARE)
    entries = lists.make(lists.ListPlan(plan.addresses - v6, seed=plan.seed))
    files = [*_address_files(plan, folder, entries, v6, random), *_name_files(plan, folder, random)]
    places = (0, len(entries) // 2, len(entries) - 1)
    examples = tuple(str(IPv4Address(int(entries[at]) >> 8)) for at in places)
    return Many(tuple(files), plan.addresses, plan.names, examples)


def sizes(total: int, count: int) -> list[int]:
    """As real lists are: the second has half as many as the first, the third a third."""
    weights = 1 / np.arange(1, count + 1)
    found = np.floor(weights / weights.sum() * total).astype(int)
    found[0] += total - found.sum()
    return [int(each) for each in found]


def change(file: FeedFile, turn: int) -> int:
    """Replaces CHANGED_SHARE of the entries by others that no list had; how many. `turn`: other ones each time."""
    lines = file.path.read_bytes().splitlines()
    at = np.random.default_rng((7, turn)).permutation(len(lines))[: max(1, int(len(lines) * CHANGED_SHARE))]
    others = _others(file.kind, len(at), turn)
    for place, other in zip(at.tolist(), others, strict=True):
        lines[place] = other
    beside = file.path.with_suffix(".new")
    beside.write_bytes(b"\n".join([*lines, b""]))
    beside.replace(file.path)
    return len(at)


def changed_example(file: FeedFile, turn: int) -> str:
    """An address or a name that `change` of that turn puts in."""
    return _others(file.kind, 1, turn)[0].decode()


OTHERS_FIRST = 11_000_000
"""Numbers of names that no list has at first."""


def _others(kind: Kind, count: int, turn: int) -> list[bytes]:
    if kind == "names":
        first = OTHERS_FIRST + (turn % 100) * 1000
        return names_lists.some(first, count)
    base = (11 << 24) + (turn % 200 << 16)  # 11.0.0.0/8: what lists.make has there is at most single addresses
    return [
        b"%d.%d.%d.%d" % (number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255)
        for number in range(base, base + 64 * count, 64)
    ]


# ---- addresses ----


def _address_files(
    plan: ManyPlan, folder: Path, entries: lists.Entries, v6: int, random: np.random.Generator
) -> list[FeedFile]:
    changing = min(plan.changing, plan.addresses // 10)
    shares = [*sizes(plan.addresses - v6 - changing, plan.address_lists - 3), changing, 0]
    shares[-1] = max(1, shares[-3] // 8)  # a table in CSV
    shares[0] -= shares[-1]
    shuffled = random.permutation(entries)
    names = [f"addresses-{number:02}" for number in range(plan.address_lists - 3)] + ["changing-addresses", "table"]
    made, start = [], 0
    for number, (name, count) in enumerate(zip(names, shares, strict=True)):
        own = shuffled[start : start + count]
        start += count
        format = ADDRESS_FORMATS[number % len(ADDRESS_FORMATS)]
        if name == "changing-addresses":
            format = Format("ip-plain")
        else:
            own = np.concatenate([own, random.choice(entries, int(count * OVERLAP_SHARE))])
            format = CSV if name == "table" else format
        path = folder / f"{name}.txt"
        lists.write_text(np.unique(own), path)
        made.append(_written(name, "addresses", format, path, path.read_bytes()))
    rows = random.integers(0x20010000, 0x2C000000, v6) << 16 | random.integers(0, 1 << 16, v6)
    text = b"".join(b"%x:%x:%x::/48\n" % (n >> 32, n >> 16 & 0xFFFF, n & 0xFFFF) for n in rows.tolist())
    return [*made, _written("addresses-v6", "addresses", V6, folder / "addresses-v6.txt", text)]


# ---- names ----


def _name_files(plan: ManyPlan, folder: Path, random: np.random.Generator) -> list[FeedFile]:
    changing = min(plan.changing, plan.names // 10)
    shares = [*sizes(plan.names - changing, plan.name_lists - 1), changing]
    text = names_lists.lines(0, plan.names, seed=plan.seed)
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n")) + 1
    starts = np.concatenate([[0], ends])
    made, first = [], 0
    for number, count in enumerate(shares):
        name, format = "changing-names", Format("domains")
        own = text[starts[first] : starts[first + count]]
        if number < len(shares) - 1:
            name, format = f"names-{number:02}", NAME_FORMATS[number % len(NAME_FORMATS)]
            more = int(count * OVERLAP_SHARE)
            begin = int(random.integers(0, plan.names - more))
            own += text[starts[begin] : starts[begin + more]]
        first += count
        made.append(_written(name, "names", format, folder / f"{name}.txt", own))
    return made


def _written(name: str, kind: Kind, format: Format, path: Path, text: bytes) -> FeedFile:
    """`text`: an entry a line."""
    if format.is_packed:
        path.unlink(missing_ok=True)
        path = path.with_suffix(".txt.gz")
    path.write_bytes(as_text(format, text))
    path.chmod(0o644)
    reason = "malware" if kind == "addresses" else "phishing"
    return FeedFile(name, kind, format.word, reason, path, text.count(b"\n"))


def as_text(format: Format, text: bytes) -> bytes:
    """A list of one entry a line, as that format has it."""
    if format.word == "rpz":
        text = re.sub(rb"(.+)\n", rb"\1 CNAME .\n*.\1 CNAME .\n", text)
    elif format.before or format.behind:
        text = format.before + text.replace(b"\n", format.behind + b"\n" + format.before)
        text = text.removesuffix(format.before)
    text = format.above + text
    return gzip.compress(text, 1) if format.is_packed else text
