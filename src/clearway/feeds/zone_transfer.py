"""A policy zone from the server that has it: `axfr://HOST[:PORT]/ZONE`.

The zone becomes text as the rpz reader takes it, a line for each record. The text of the last one is kept, and what a
server says has changed since is applied to it; where that does not fit, or it does not say, all of it is transferred.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import dns.exception
import dns.name

from clearway.errors import ClearwayError
from clearway.feeds import access_keys, kept_source
from clearway.feeds.fetch import Fetched, Way
from clearway.feeds.source_words import shown
from clearway.feeds.zone_connection import PORT, Received, ZoneConnection, ZonePlace

SLICE_BYTES = 4 << 20
FORMAT = "rpz"

_SERIAL = re.compile(r"serial:(\d{1,10})")


def fetch_zone(source: str, way: Way) -> Fetched:
    """The zone, as text. Its etag is its serial; `unchanged` where that is the one which the caller has.

    Raises feeds.E007, E010, E012, E035, E037 to E039, E042.
    """
    place = _place(source)
    if way.proxy not in (None, "none"):
        raise ClearwayError.of("feeds.E042", value=shown(way.proxy or ""))
    key = access_keys.tsig_key(way.key_file) if way.key_file else None
    connection = ZoneConnection(place, key, way.seconds_max, way.bytes_max, way.progress)
    kept = kept_source.load(way.kept, source)
    known, before = _serial_of(kept, way.etag), kept.data if kept else None
    received = connection.changes_since(known) if known is not None else connection.whole()
    text = _text(received, before, place.zone)
    if text is None and not (received.unchanged and way.etag == _etag(received)):
        received = connection.whole()
        text = _text(received, None, place.zone)
    etag = _etag(received)
    path = None
    if text is not None and text is not before:
        path = kept_source.store(way.kept, source, {"serial": received.serial}, text)
    if text is None or etag == way.etag:
        return Fetched(b"", place.origin, etag, unchanged=True, format=FORMAT, kept=path)
    if len(text) > way.bytes_max:
        raise ClearwayError.of("feeds.E007", origin=place.origin, limit_mib=way.bytes_max >> 20)
    return Fetched(text, place.origin, etag, format=FORMAT, kept=path)


def _place(source: str) -> ZonePlace:
    try:
        divided = urlsplit(source)
        zone = dns.name.from_text(divided.path.strip("/"))
        host, port = divided.hostname, divided.port or PORT
    except (ValueError, dns.exception.DNSException):
        raise ClearwayError.of("feeds.E012", value=shown(source)) from None
    if not host or len(zone) < 2 or divided.query or divided.fragment or divided.username is not None:
        raise ClearwayError.of("feeds.E012", value=shown(source))
    return ZonePlace(host, port, zone.to_text().lower(), shown(source))


def _serial_of(kept: kept_source.Kept | None, etag: str) -> int | None:
    """The serial to ask from: of what is kept, else of what the caller has."""
    if kept is not None and isinstance(kept.about.get("serial"), int):
        return int(kept.about["serial"])
    said = _SERIAL.fullmatch(etag)
    return int(said[1]) if said else None


def _etag(received: Received) -> str:
    return f"serial:{received.serial}"


def _text(received: Received, before: bytes | None, zone: str) -> bytes | None:
    """The zone, from the text of the one before where only changes came; None where that cannot be."""
    if received.unchanged:
        return before
    head = f"$ORIGIN {zone}\n{received.soa}\n".encode()
    if received.whole is not None:
        return head + received.whole
    if before is None or received.serial < 0:
        return None
    gone = {line.encode() for line in received.removed}
    pieces, found = [head], 0
    at = before.find(b"\n", before.find(b"\n") + 1) + 1  # behind the origin and the SOA
    while at < len(before):  # some at a time: a line alone takes thrice its length
        end = before.rfind(b"\n", at, at + SLICE_BYTES) + 1 or len(before)
        lines = before[at:end].split(b"\n")
        left = [line for line in lines if line not in gone]
        found += len(lines) - len(left)
        pieces.append(b"\n".join(left))
        at = end
    if found < len(gone):
        return None
    pieces += [f"{line}\n".encode() for line in received.added]
    return b"".join(pieces)
