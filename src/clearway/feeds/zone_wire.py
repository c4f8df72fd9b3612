"""Messages of a zone transfer, as bytes → records, as lines of a zone file relative to it; and who signed them.

A policy zone has millions of records of a few kinds, so names and CNAMEs are read here (RFC 1035, 4.1.4); dnspython,
which takes 15 times as long for them, reads the rarer kinds and checks signatures (RFC 8945).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig

HEADER_BYTES = 12
UNSIGNED_MAX = 99
"""Messages between two that are signed (RFC 8945, 5.3.1)."""
POINTERS_MAX = 128
NAME_CHARACTERS_MAX = 1024
"""Of a name in text: 255 bytes, each at most four characters."""

_IN, _CNAME, _SOA, _TSIG = 1, 5, 6, 250
_OTHERS = frozenset({1, 12, 13, 15, 16, 28, 33, 39, 52, 257})
"""A, PTR, HINFO, MX, TXT, AAAA, SRV, DNAME, TLSA, CAA: what a policy may put in place of an answer. All other kinds,
as name servers and signatures, are about the zone itself."""
_TAKEN = _OTHERS | {_CNAME, _SOA}
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*")
_FIXED = struct.Struct("!HHIH")
_Names = dict[int, str]


class Malformed(Exception):
    """Says in a few words what is wrong with a message."""


class Record(NamedTuple):
    """One record of the zone. `serial`: of its SOA, else -1."""

    line: str
    serial: int = -1


@dataclass(frozen=True, slots=True)
class Answers:
    """A message: its return code, and where its records lie."""

    rcode: int
    at: int
    count: int
    signature: int
    """Where the TSIG record begins; 0 where there is none."""


def answers_of(message: bytes, id: int) -> Answers:
    """What the header says, of a message that answers the query of that id. Raises Malformed."""
    if len(message) < HEADER_BYTES:
        raise Malformed("a message is too short")
    found, flags, questions, answers, authorities, additional = struct.unpack_from("!6H", message)
    if found != id or not flags & 0x8000 or flags & 0x7800:
        raise Malformed("a message answers something else")
    if flags & 0x0200:
        raise Malformed("a message is truncated")
    try:
        at = HEADER_BYTES
        for _ in range(questions):
            at = _after_name(message, at) + 4
        signature, after = 0, at
        if additional:
            for number in range(answers + authorities + additional):
                begins = after
                after = _after_name(message, after)
                kind, _, _, length = _FIXED.unpack_from(message, after)
                after += _FIXED.size + length
                if kind == _TSIG and number == answers + authorities + additional - 1:
                    signature = begins
    except (IndexError, struct.error):
        raise Malformed("a message ends within a record") from None
    return Answers(flags & 15, at, answers, signature)


def _after_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1


def records(message: bytes, answers: Answers, zone: str) -> Iterator[Record]:
    """Those of class IN within the zone that say something of a policy, and its SOA. `zone`: lower case, with its dot.

    Raises Malformed.
    """
    names: _Names = {}
    at = answers.at
    ending = f".{zone}"
    cut = -len(ending)
    try:
        for _ in range(answers.count):
            owner, at = _name(message, at, names)
            kind, of_class, _, length = _FIXED.unpack_from(message, at)
            at += 10
            data, at = at, at + length
            if at > len(message):
                raise Malformed("a record is longer than its message")
            if of_class != _IN or kind not in _TAKEN:
                continue
            if owner.endswith(ending):
                owner = owner[:cut]
            elif owner == zone:
                owner = "@"
            else:
                continue
            if kind == _CNAME and length == 1 and not message[data]:  # of a policy, nearly all
                yield Record(f"{owner} CNAME .")
            elif kind == _CNAME:
                target, after = _name(message, data, names)
                if after != at:
                    raise Malformed("a record has another length than it says")
                yield Record(f"{owner} CNAME {target}")
            elif kind == _SOA:
                yield _soa(message, data, at, names, owner)
            else:
                yield Record(
                    f"{owner} {dns.rdatatype.to_text(dns.rdatatype.RdataType(kind))} {_text(message, data, at, kind)}"
                )
    except (IndexError, struct.error):
        raise Malformed("a message ends within a record") from None


def _soa(message: bytes, at: int, end: int, names: _Names, owner: str) -> Record:
    primary, at = _name(message, at, names)
    contact, at = _name(message, at, names)
    if at + 20 != end:
        raise Malformed("a record has another length than it says")
    numbers = struct.unpack_from("!5I", message, at)
    return Record(f"{owner} SOA {primary} {contact} {' '.join(map(str, numbers))}", numbers[0] if owner == "@" else -1)


def _text(message: bytes, at: int, end: int, kind: int) -> str:
    try:
        data = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType(kind), message, at, end - at)
        return data.to_text()
    except (dns.exception.DNSException, ValueError, struct.error):
        raise Malformed("a record of its kind cannot be read") from None


def _name(message: bytes, at: int, names: _Names, pointers: int = 0) -> tuple[str, int]:
    """A name in lower case, with its dot, and where it ends. `names`: those met in this message, by their place."""
    first = at
    length = message[at]
    if not length:
        return ".", at + 1
    labels: list[tuple[int, str]] = []
    behind = ""
    while length:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | message[at + 1]
            at += 1
            known = names.get(target)
            if known is None:
                if target >= first or pointers > POINTERS_MAX:  # only backward, so that it ends
                    raise Malformed("a name leads in circles")
                known, _ = _name(message, target, names, pointers + 1)
            behind = known if known != "." else ""
            break
        if length > 63:
            raise Malformed("a label is too long")
        label = message[at + 1 : at + 1 + length]
        if len(label) < length:
            raise IndexError
        labels.append((at, label.decode("ascii").lower() if _PLAIN.issuperset(label) else _escaped(label)))
        at += length + 1
        length = message[at]
    for begins, text in reversed(labels):
        behind = names[begins] = f"{text}.{behind}"
    if len(behind) > NAME_CHARACTERS_MAX:
        raise Malformed("a name is too long")
    return behind or ".", at + 1


def _escaped(label: bytes) -> str:
    """As RFC 1035, 5.1 writes what would mean something else."""
    return "".join(chr(byte).lower() if byte in _PLAIN else f"\\{byte:03d}" for byte in label)


class Signatures:
    """Holds the messages of one transfer to the key that its query was signed with."""

    def __init__(self, key: dns.tsig.Key, query_mac: bytes) -> None:
        self._key = key
        self._mac = query_mac
        self._context: Any = None
        self._unsigned = 0

    def take(self, message: bytes, answers: Answers, now: int) -> None:
        """The next message. `now`: seconds since 1970. Raises Malformed (no or a wrong signature), dns.tsig.PeerError
        (the server does not take ours), dns.tsig.BadTime."""
        if not answers.signature:
            if self._context is None:
                raise Malformed("it is not signed")
            self._unsigned += 1
            if self._unsigned > UNSIGNED_MAX:
                raise Malformed("too many of its messages in a row are not signed")
            self._context.update(message)
            return
        try:
            owner, after = dns.name.from_wire(message, answers.signature)
            kind, _, _, length = _FIXED.unpack_from(message, answers.signature + after)
            at = answers.signature + after + _FIXED.size
            data: Any = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.RdataType(kind), message, at, length)
            validate: Any = dns.tsig.validate  # dnspython leaves it without types
            self._context = validate(
                message, self._key, owner, data, now, self._mac, answers.signature, self._context, multi=True
            )
        except (dns.tsig.PeerError, dns.tsig.BadTime):
            raise
        except (dns.exception.DNSException, ValueError, struct.error):
            raise Malformed("its signature is not of that key") from None
        self._unsigned = 0

    def check_end(self) -> None:
        """The last message has to be signed. Raises Malformed."""
        if self._unsigned or self._context is None:
            raise Malformed("its end is not signed")
