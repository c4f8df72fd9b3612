"""Transfers of a zone over TCP: all of it (RFC 5936) or what changed since a serial (RFC 1995), signed or not."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig

from clearway.errors import ClearwayError
from clearway.feeds.access_keys import TsigKey
from clearway.feeds.deadline import CONNECT_SECONDS_MAX, SILENCE_SECONDS_MAX, Deadline
from clearway.feeds.zone_wire import Answers, Malformed, Record, Signatures, answers_of, records

PORT = 53
RECORDS_MAX = 20_000_000
READ_BYTES = 1 << 18

_NO_CHANGES = (dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED)
"""What servers answer that transfer a zone, but not what changed."""
_PEER = {
    dns.tsig.PeerBadKey: "it does not know the key",
    dns.tsig.PeerBadSignature: "the key has another secret there",
    dns.tsig.PeerBadTime: "its clock is not ours",
}


@dataclass(frozen=True, slots=True)
class ZonePlace:
    """A zone, and the server that has it."""

    host: str
    port: int
    zone: str
    """In lower case, with its dot."""
    origin: str
    """As it is shown."""


@dataclass(slots=True)
class Received:
    """What a transfer gave: nothing new, all of it, or what went and what came. Lines as records() has them."""

    serial: int = -1
    """Of the zone as it is now; -1 where the server would not say what changed."""
    soa: str = ""
    unchanged: bool = False
    whole: bytearray | None = None
    removed: set[str] = field(default_factory=set)
    added: dict[str, None] = field(default_factory=dict)


class _Refused(Exception):
    """The server answers with a code."""

    def __init__(self, code: int) -> None:
        super().__init__(dns.rcode.to_text(dns.rcode.Rcode(code)))
        self.code = code


class ZoneConnection:
    """Transfers of one zone, each over a connection of its own, together within one time and one number of bytes."""

    def __init__(
        self,
        place: ZonePlace,
        key: TsigKey | None,
        seconds_max: float,
        bytes_max: int,
        progress: Callable[[int, int | None], None],
    ) -> None:
        self._place = place
        self._deadline = Deadline(seconds_max)
        self._key = dns.tsig.Key(key.name, key.secret, f"{key.algorithm}.") if key else None
        self._bytes_max = bytes_max
        self._bytes = 0
        self._progress = progress

    def whole(self) -> Received:
        """All of it. Raises feeds.E007, E010, E037 to E039."""
        return self._asked(None)

    def changes_since(self, serial: int) -> Received:
        """What changed, or all of it; serial -1 where neither can be had so. Raises as `whole` does."""
        return self._asked(serial)

    def _asked(self, serial: int | None) -> Received:
        origin = self._place.origin
        try:
            return self._transfer(serial)
        except _Refused as refused:
            if serial is not None and refused.code in _NO_CHANGES:
                return Received()
            raise ClearwayError.of("feeds.E037", origin=origin, detail=refused) from None
        except dns.tsig.PeerError as error:
            detail = _PEER.get(type(error), "it does not take the signature")
            raise ClearwayError.of("feeds.E037", origin=origin, detail=detail) from None
        except dns.tsig.BadTime:
            raise ClearwayError.of("feeds.E037", origin=origin, detail="its clock is not ours") from None
        except Malformed as error:
            raise ClearwayError.of("feeds.E038", origin=origin, detail=error) from None
        except OSError as error:
            detail = "it takes too long" if self._deadline.passed() else error.strerror or str(error)
            raise ClearwayError.of("feeds.E010", origin=origin, detail=detail or "it is silent") from None

    def _transfer(self, serial: int | None) -> Received:
        query = _query(self._place.zone, serial)
        if self._key is not None:
            query.use_tsig(self._key)
        wire = query.to_wire()
        signatures = Signatures(self._key, query.mac or b"") if self._key is not None else None
        address = (self._place.host, self._place.port)
        gathered = _Gathered(serial)
        with socket.create_connection(address, self._deadline.left(CONNECT_SECONDS_MAX)) as connection:
            connection.settimeout(self._deadline.left(SILENCE_SECONDS_MAX))
            connection.sendall(struct.pack("!H", len(wire)) + wire)
            with _ReadAhead(connection, self._bytes_max) as ahead:
                for message in self._messages(ahead, gathered):
                    answers = answers_of(message, query.id)
                    if answers.rcode and not answers.signature:
                        raise _Refused(answers.rcode)
                    if signatures is not None:
                        signatures.take(message, answers, int(time.time()))
                    if answers.rcode:
                        raise _Refused(answers.rcode)
                    ended = gathered.take(message, answers, self._place.zone)
                    self._check_bounds(gathered)
                    if ended:
                        break
        if signatures is not None:
            signatures.check_end()
        return gathered.received

    def _messages(self, ahead: _ReadAhead, gathered: _Gathered) -> Iterator[bytes]:
        buffer = bytearray()
        while True:
            while len(buffer) >= 2 and len(buffer) - 2 >= (length := buffer[0] << 8 | buffer[1]):
                yield bytes(buffer[2 : length + 2])
                del buffer[: length + 2]
            data = ahead.next(self._deadline.left(SILENCE_SECONDS_MAX))
            if not data:
                raise Malformed(f"the connection ended before it did, after {gathered.count} records")
            buffer += data
            self._bytes += len(data)
            self._check_bounds(gathered)
            self._progress(self._bytes, None)

    def _check_bounds(self, gathered: _Gathered) -> None:
        if self._bytes > self._bytes_max or gathered.text_bytes > self._bytes_max:
            raise ClearwayError.of("feeds.E007", origin=self._place.origin, limit_mib=self._bytes_max >> 20)
        if gathered.count > RECORDS_MAX:
            raise ClearwayError.of("feeds.E039", origin=self._place.origin, limit=f"{RECORDS_MAX:,}", what="records")


class _ReadAhead:
    """Reads a connection in a thread of its own, until it is closed: servers hang up on who does not read for half a
    second, and to understand what was read takes longer at times."""

    def __init__(self, connection: socket.socket, bytes_max: int) -> None:
        self._connection = connection
        self._bytes_max = bytes_max
        self._read: queue.SimpleQueue[bytes | OSError] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._connection.settimeout(SILENCE_SECONDS_MAX)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()  # before its descriptor is another's

    def next(self, seconds: float) -> bytes:
        """What comes next; nothing at the end. Raises OSError, TimeoutError."""
        try:
            found = self._read.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, OSError):
            raise found
        return found

    def _run(self) -> None:
        done = 0
        try:
            while done <= self._bytes_max and (data := self._connection.recv(READ_BYTES)):
                done += len(data)
                self._read.put(data)
            self._read.put(b"")
        except OSError as error:
            self._read.put(error)


def _query(zone: str, serial: int | None) -> dns.message.QueryMessage:
    query = dns.message.make_query(zone, "AXFR" if serial is None else "IXFR", use_edns=False)
    query.flags = dns.flags.Flag(0)  # nobody is asked to recurse
    if serial is not None:
        has = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SOA, f". . {serial} 0 0 0 0")
        name = query.question[0].name
        query.find_rrset(query.authority, name, dns.rdataclass.IN, dns.rdatatype.SOA, create=True).add(has)
    return query


class _Gathered:
    """What the records of one transfer mean, taken in their order. `asked`: the serial to tell changes from."""

    def __init__(self, asked: int | None) -> None:
        self.received = Received()
        self.count = 0
        self.text_bytes = 0
        self._asked = asked
        self._phase = "begin"
        """begin, second, whole, going, coming, end; older: it begins anew, and what changed cannot be said."""
        self._at = asked
        """The serial that the changes read so far lead to."""

    def take(self, message: bytes, answers: Answers, zone: str) -> bool:
        """The next message; whether it is the last. Raises Malformed."""
        lines: list[str] = []
        for record in records(message, answers, zone):
            self.count += 1
            if self._phase == "older":
                break
            if self._phase == "whole" and record.serial < 0:
                lines.append(record.line)
            elif self._phase == "end":
                raise Malformed("something follows its end")
            else:
                self._step(record, lines)
        if lines and self.received.whole is not None:
            piece = "\n".join([*lines, ""]).encode()
            self.text_bytes += len(piece)
            self.received.whole += piece
        return self._phase in ("end", "older")

    def _step(self, record: Record, lines: list[str]) -> None:
        if record.serial >= 0:
            self._phase = self._after_soa(record)
        elif self._phase == "second":  # no changes, but all of it
            self._phase = "whole"
            self.received.whole = bytearray()
            lines.append(record.line)
        elif self._phase == "going":
            self._change(record.line, self.received.added, self.received.removed)
        elif self._phase == "coming":
            self._change(record.line, self.received.removed, self.received.added)
        else:
            raise Malformed("it does not begin with its SOA")

    def _change(self, line: str, undone: set[str] | dict[str, None], done: set[str] | dict[str, None]) -> None:
        """One line that goes or comes: what went and came again is as it was, and the other way round."""
        if line in undone:
            undone.pop(line) if isinstance(undone, dict) else undone.remove(line)
            return
        self.text_bytes += len(line)
        if isinstance(done, dict):
            done[line] = None
        else:
            done.add(line)

    def _after_soa(self, record: Record) -> str:
        received, serial = self.received, record.serial
        if self._phase == "begin":
            received.serial, received.soa = serial, record.line
            if self._asked is None:
                received.whole = bytearray()
                return "whole"
            received.unchanged = serial == self._asked
            if _is_older(serial, self._asked):
                received.serial = -1
                return "older"
            return "end" if received.unchanged else "second"
        if self._phase == "second" and serial == received.serial:  # of an empty zone
            received.whole = bytearray()
            return "end"
        if self._phase == "whole":
            if serial != received.serial:
                raise Malformed("it changed on the way")
            return "end"
        if self._phase == "going":
            self._at = serial
            return "coming"
        if self._phase == "coming" and serial == received.serial == self._at:
            return "end"
        if serial != self._at:
            raise Malformed("its changes do not follow from each other")
        return "going"


def _is_older(serial: int, than: int) -> bool:
    """RFC 1982: serials go round."""
    return serial != than and (than - serial) % (1 << 32) < 1 << 31
