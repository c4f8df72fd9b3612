"""The nouns of policy: prefix, name, entry. Frozen, and cannot be built wrong.

Closed lists (Reason, Verdict, DropReason, …) come from bpf/abi.h by way of the extension and are only passed on here;
their public words are made by `word`. Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TypeVar

from clearway._engine import Direction, DropReason, Fact, Lane, Reason, Verdict
from clearway.errors import ClearwayError

__all__ = [
    "BITS",
    "Direction",
    "DropReason",
    "Entry",
    "Fact",
    "Lane",
    "Name",
    "Prefix",
    "Reason",
    "Verdict",
    "check_terms",
    "duration",
    "parse_target",
    "parse_word",
    "until",
    "word",
]

BITS = {4: 32, 6: 128}
"""Bits of an address by IP version."""
_MAPPED = 0xFFFF << 32
_Member = TypeVar("_Member", bound=IntEnum)


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """A network, or one address as a /32 or /128. Ordered by version, then address, shorter prefix first.

    Within ::ffff:0:0/96 there is no IPv6 prefix: those addresses are IPv4, whichever way they were written.
    """

    version: int
    address: int
    length: int

    def __post_init__(self) -> None:
        bits = BITS.get(self.version)
        if bits is None or not 0 <= self.length <= bits or not 0 <= self.address < 1 << bits:
            raise ValueError(f"no prefix: version {self.version}, address {self.address}, length {self.length}")
        if self.address & ((1 << (bits - self.length)) - 1):
            raise ValueError(f"bits beyond the length are set: {self.address:#x}/{self.length}")
        if self.version == 6 and self.length >= 96 and self.address >> 32 == 0xFFFF:
            raise ValueError("an IPv4-mapped prefix is an IPv4 prefix")

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """An address or ADDRESS/LENGTH. Raises policy.E001 (no prefix), E002 (host bits set), E003 (zone)."""
        text = text.strip()
        address_text, slash, length_text = text.partition("/")
        if "%" in address_text:
            raise ClearwayError.of("policy.E003", value=text, without=re.sub(r"%[^/]*", "", text))
        try:
            parsed = ipaddress.ip_address(address_text)
        except ValueError:
            raise ClearwayError.of("policy.E001", value=text) from None
        bits = BITS[parsed.version]
        length = bits
        if slash:
            if not re.fullmatch(r"0|[1-9][0-9]{0,2}", length_text) or int(length_text) > bits:
                raise ClearwayError.of("policy.E001", value=text)
            length = int(length_text)
        cut = cls.cut(parsed.version, int(parsed), length)
        if int(parsed) & ((1 << (bits - length)) - 1):
            raise ClearwayError.of("policy.E002", value=text, cut=cut)
        return cut

    @classmethod
    def cut(cls, version: int, address: int, length: int) -> Prefix:
        """The prefix of that length that holds `address`; IPv4-mapped ones become IPv4."""
        if version == 6 and length >= 96 and address >> 32 == 0xFFFF:
            version, address, length = 4, address & 0xFFFFFFFF, length - 96
        host_bits = BITS[version] - length
        return cls(version, address >> host_bits << host_bits, length)

    @classmethod
    def from_mapped(cls, address: bytes, length: int = 128) -> Prefix:
        """The opposite of `mapped`."""
        return cls.cut(6, int.from_bytes(address, "big"), length)

    def mapped(self) -> tuple[bytes, int]:
        """As the kernel has it: 16 bytes, big-endian, IPv4 as ::ffff:a.b.c.d with the length 96 longer."""
        if self.version == 6:
            return self.address.to_bytes(16, "big"), self.length
        return (_MAPPED | self.address).to_bytes(16, "big"), self.length + 96

    def covers(self, other: Prefix) -> bool:
        """Whether every address of `other` is in this one. IPv6 prefixes never cover IPv4."""
        if self.version != other.version or self.length > other.length:
            return False
        shift = BITS[self.version] - self.length
        return self.address >> shift == other.address >> shift

    @property
    def is_host(self) -> bool:
        return self.length == BITS[self.version]

    def __str__(self) -> str:
        address = ipaddress.IPv4Address(self.address) if self.version == 4 else ipaddress.IPv6Address(self.address)
        return str(address) if self.is_host else f"{address}/{self.length}"


_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A domain name: small letters, A-labels, no final dot, two labels or more, the last one not numeric."""

    text: str

    def __post_init__(self) -> None:
        labels = self.text.split(".")
        if (
            len(self.text) > 253
            or len(labels) < 2
            or labels[-1].isdigit()
            or not all(_LABEL.fullmatch(label) for label in labels)
        ):
            raise ValueError(f"no name in canonical form: {self.text!r}")

    @classmethod
    def parse(cls, text: str) -> Name:
        """Letters of either size, a final dot allowed. Raises policy.E008."""
        try:
            return cls(text.strip().removesuffix(".").lower())
        except ValueError:
            raise ClearwayError.of("policy.E008", value=text) from None

    def __str__(self) -> str:
        return self.text


def parse_target(text: str) -> Prefix | Name:
    """What a person may name: an address, a prefix or a name. Raises policy.E001 to E003 and E008."""
    if re.fullmatch(r"[0-9./\s]*|.*[:/%].*", text):
        return Prefix.parse(text)
    return Name.parse(text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule: what is refused (or, as an exception, spared), why, on whose word, from when until when."""

    target: Prefix | Name
    reason: Reason
    source: str
    since: datetime
    until: datetime
    note: str = ""
    evidence: str = ""
    exception: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.target, (Prefix, Name)):
            raise TypeError(f"a target is a Prefix or a Name, not {self.target!r}")
        check_terms(self.target, self.reason, self.since, self.until)


def check_terms(target: object, reason: Reason, since: datetime, until: datetime) -> None:
    """What every entry has, on its own or in a list: a reason and an end. Raises policy.E006, E007, E005."""
    if not isinstance(reason, Reason) or reason == Reason.NONE:
        raise ClearwayError.of("policy.E006", value=reason, known=", ".join(_words(Reason)))
    if not isinstance(since, datetime) or not isinstance(until, datetime):
        raise ClearwayError.of("policy.E007", target=target)
    if since.tzinfo is None or until.tzinfo is None:
        raise ValueError("times of an entry carry their offset from UTC")
    if until <= since:
        raise ClearwayError.of("policy.E005", value=until.isoformat(), now=since.isoformat())


def word(member: IntEnum) -> str:
    """Public word of a member of a closed list: Reason.BOTNET_C2 is "botnet-c2"."""
    return member.name.lower().replace("_", "-")


def parse_word(kind: type[_Member], text: str) -> _Member:
    """The member that `text` names. Raises policy.E006 with the words there are; "none" is none of them."""
    for member in kind:
        if word(member) == text.strip().lower() and member.name != "NONE":
            return member
    raise ClearwayError.of("policy.E006", value=text, known=", ".join(_words(kind)))


def _words(kind: type[IntEnum]) -> list[str]:
    return [word(member) for member in kind if member.name != "NONE"]


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_DURATION = re.compile(r"([1-9][0-9]{0,9})([smhdw])")
DURATION_MAX = timedelta(days=36525)
"""A hundred years: whatever is longer was mistyped."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def duration(text: str) -> timedelta:
    """`90s`, `30m`, `2h`, `7d`, `2w`; at most DURATION_MAX. Raises policy.E004."""
    match = _DURATION.fullmatch(text.strip())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not match or seconds > DURATION_MAX.total_seconds():
        raise ClearwayError.of("policy.E004", value=text)
    return timedelta(seconds=seconds)


def parse_time(text: str) -> datetime | None:
    """A time as RFC 3339 writes it, in UTC; None of a text in another form. Raises policy.E004."""
    if not _RFC_3339.fullmatch(text.strip()):
        return None
    fraction = re.sub(r"(\.\d{6})\d+", r"\1", text.strip())  # datetime keeps microseconds
    try:
        return datetime.fromisoformat(fraction.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ClearwayError.of("policy.E004", value=text) from None


def until(text: str, now: datetime) -> datetime:
    """A time in UTC: RFC 3339, or a duration counted from `now`; at most DURATION_MAX from it.

    Raises policy.E004 (no time, or too far), E005 (past).
    """
    text = text.strip()
    try:
        time = parse_time(text) or now.astimezone(UTC) + duration(text)
    except OverflowError:
        raise ClearwayError.of("policy.E004", value=text) from None
    if time - now > DURATION_MAX:
        raise ClearwayError.of("policy.E004", value=text)
    if time <= now:
        raise ClearwayError.of("policy.E005", value=text, now=now.astimezone(UTC).isoformat(timespec="seconds"))
    return time
