"""Text → a name or an address in the one form that is enforced, or the rule that says why not. Pure.

A name: small letters, A-labels by UTS 46 and IDNA 2008, no final dot, two labels or more, the last one no number. An
address: four plain decimals or RFC 4291, a length behind a slash, host bits past it cut. What two systems read
differently (octal, hexadecimal, short forms, IPv4 as IPv6) is refused.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from clearway.feeds.readers.rules import Rule

NAME_BYTES_MAX = 253
TEXT_CHARACTERS_MAX = 1024
"""Of a name before it is encoded: UTS 46 makes some names shorter, none by so much."""


class Address(NamedTuple):
    """A prefix: IP version, network address, length."""

    version: int
    address: int
    length: int


_NAME = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?!(?:\d+|0x[\da-f]*)\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NUMBER = re.compile(r"\d+|0x[\da-f]*", re.ASCII)
_NAME_CHARACTERS = re.compile(r"[a-z0-9_.-]+")
_DECIMALS = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_LENGTH = re.compile(r"\d{1,3}", re.ASCII)
_LIKE_V4 = re.compile(r"\d+(?:\.\d+){3}(?:/[^/]*)?", re.ASCII)
_LIKE_V6 = re.compile(r"\[?[\da-f]*:[\da-f]*:[\da-f:.]*(?:%\w*)?\]?(?:/[^/]*)?", re.ASCII | re.IGNORECASE)


def name_of(text: str, *, labels_min: int = 2) -> str | Rule:
    """The name in canonical form. `labels_min` 1: for lists of suffixes that are protected, not refused."""
    lowered = text.lower().removesuffix(".")
    if _NAME.fullmatch(lowered):
        return lowered if len(lowered) <= NAME_BYTES_MAX else Rule.LENGTH
    if not lowered.isascii():
        encoded = _encoded(lowered)
        return encoded if isinstance(encoded, Rule) else name_of(encoded, labels_min=labels_min)
    return _fault_of(lowered, labels_min) or lowered


def _encoded(text: str) -> str | Rule:
    import idna  # tables of half a megabyte; most lists need none of them

    if len(text) > TEXT_CHARACTERS_MAX:
        return Rule.LENGTH
    try:
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False).removesuffix(".")
        labels = [label if label.isascii() else idna.alabel(label).decode() for label in mapped.split(".")]
    except (idna.IDNAError, UnicodeError):
        return Rule.IDN
    return ".".join(labels)


def _fault_of(text: str, labels_min: int) -> Rule | None:
    """What is wrong with ASCII text as a name."""
    if not _NAME_CHARACTERS.fullmatch(text):
        return Rule.WILDCARD if "*" in text and text != "*" else Rule.CHARACTER
    if len(text) > NAME_BYTES_MAX:
        return Rule.LENGTH
    labels = text.split(".")
    if any(not label or len(label) > 63 or label[0] == "-" or label[-1] == "-" for label in labels):
        return Rule.LABEL
    if _NUMBER.fullmatch(labels[-1]):
        return Rule.NUMERIC
    return Rule.SINGLE_LABEL if len(labels) < labels_min else None


def looks_like_address(text: str) -> bool:
    """Whether it is an address, or was meant as one: what is asked before text is taken for a name."""
    return (_LIKE_V6 if ":" in text else _LIKE_V4).fullmatch(text) is not None


def address_of(text: str) -> Address | Rule:
    """An address or prefix."""
    address, slash, given = text.partition("/")
    if slash and not _LENGTH.fullmatch(given):
        return Rule.ADDRESS
    if octets := _DECIMALS.fullmatch(address):
        number = 0
        for octet in octets.groups():
            if (octet[0] == "0" and octet != "0") or int(octet) > 255:
                return Rule.ADDRESS
            number = number << 8 | int(octet)
        return _cut(4, number, int(given) if slash else 32, 32)
    if ":" not in address or "%" in address:
        return Rule.ADDRESS
    try:
        number = int(IPv6Address(address))
    except AddressValueError:
        return Rule.ADDRESS
    length = int(given) if slash else 128
    return Rule.MAPPED if number >> 32 == 0xFFFF and length >= 96 else _cut(6, number, length, 128)


def _cut(version: int, number: int, length: int, width: int) -> Address | Rule:
    if length > width:
        return Rule.ADDRESS
    return Address(version, number >> (width - length) << (width - length), length)


def range_of(first: str, last: str) -> list[Address] | Rule:
    """The smallest set of prefixes from one address to another, both included."""
    low, high = address_of(first), address_of(last)
    if isinstance(low, Rule) or isinstance(high, Rule) or "/" in first or "/" in last:
        return Rule.RANGE
    width = low.length
    if low.version != high.version or low.address > high.address:
        return Rule.RANGE
    made, at = [], low.address
    while at <= high.address:
        aligned = (at & -at).bit_length() - 1 if at else width
        bits = min(aligned, (high.address - at + 1).bit_length() - 1)
        made.append(Address(low.version, at, width - bits))
        at += 1 << bits
    return made
