"""A list's bytes, from wherever it is published, within bounds of size and time. What they mean is for readers/.

A file, standard input, a server of lists over HTTP; a zone (zone_transfer.py), a TAXII collection (taxii.py) or a MISP
feed (misp_feed.py), each put together to one document. An origin never shows the user or query of a URL, where keys
stand; Feed.source alone keeps them, since they are needed for the next fetch.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clearway.errors import ClearwayError
from clearway.feeds.readers.packing import BYTES_MAX
from clearway.feeds.source_words import Kind, is_url, kind, shown

__all__ = ["Fetched", "Progress", "fetch", "is_url", "shown"]

FETCH_SECONDS_MAX = 300.0
"""Of one file, from start to end: connecting, redirects and headers as well."""
GATHER_SECONDS_MAX = 900.0
"""Of what is put together from many answers."""

FILE_SETTLED_NS = 1_000_000_000
"""Clocks of file systems tick some hundred times a second: two writes within one tick look the same."""

Progress = Callable[[int, int | None], None]
"""Told bytes so far, and in all where that is known."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source gave. `unchanged`: it is what it was when `etag` and `last_modified` were given, and `data` is
    empty."""

    data: bytes
    origin: str
    """Where the bytes really came from: an absolute path, or the URL after redirects, as `shown` has it."""
    etag: str = ""
    """Of a zone its serial, of a collection or feed the hash of its content, of a file what its inode says."""
    last_modified: str = ""
    unchanged: bool = False
    status: int | None = None
    """Of HTTP, where there was one answer."""
    content_type: str = ""
    content_length: int | None = None
    """In bytes, as the server announced it."""
    sha256: str = ""
    """Of `data`, in hexadecimal; "" where it is unchanged."""
    format: str | None = None
    """The format that this kind of source has; None where it may be any."""
    kept: Path | None = None
    """What was written below `kept`."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a source is fetched, beside its name."""

    etag: str = ""
    last_modified: str = ""
    proxy: str | None = None
    key_file: Path | None = None
    kept: Path | None = None
    bytes_max: int = BYTES_MAX
    seconds_max: float = FETCH_SECONDS_MAX
    progress: Progress = lambda done, total: None


def fetch(
    source: str,
    *,
    etag: str = "",
    last_modified: str = "",
    sha256: str | None = None,
    proxy: str | None = None,
    key_file: Path | None = None,
    kept: Path | None = None,
    bytes_max: int = BYTES_MAX,
    seconds_max: float | None = None,
    progress: Progress = lambda done, total: None,
) -> Fetched:
    """Reads a source whole.

    `etag`, `last_modified`: of an earlier answer of this source, whose content the caller has, to ask for news only.
    `sha256`: what `data` must hash to; then all of it is fetched each time. `proxy`: a URL, `none`, or None: what the
    environment says. `key_file`: see access_keys.py. `kept`: a folder for what makes the next fetch of a zone, a
    collection or a feed one of changes; without it all is fetched. `seconds_max` None: FETCH_ or GATHER_SECONDS_MAX.

    Raises feeds.E012 (no source), E013 (a file that cannot be read), E010 (no answer in time), E011 (status, with
    `retry_after_s` where the server says when), E003 (a page), E007 (too large), E030 to E042.
    """
    of = kind(source)
    way = Way(
        "" if sha256 else etag,
        "" if sha256 else last_modified,
        proxy,
        key_file,
        kept,
        bytes_max,
        seconds_max or (FETCH_SECONDS_MAX if of == "web" else GATHER_SECONDS_MAX),
        progress,
    )
    fetched = _reader(of)(source, way)
    if fetched.unchanged:
        return fetched
    found = hashlib.sha256(fetched.data).hexdigest()
    if sha256 and found != sha256.lower():
        raise ClearwayError.of("feeds.E032", origin=fetched.origin, found=found, wanted=sha256)
    return replace(fetched, sha256=found)


def _reader(of: Kind) -> Callable[[str, Way], Fetched]:
    """Who fetches that kind of source. The modules are slow to import; commands that fetch nothing do without."""
    if of == "zone":
        from clearway.feeds.zone_transfer import fetch_zone

        return fetch_zone
    if of == "collection":
        from clearway.feeds.taxii import fetch_collection

        return fetch_collection
    if of == "events":
        from clearway.feeds.misp_feed import fetch_events

        return fetch_events
    if of == "web":
        return _read_web
    return _read_standard_input if of == "input" else _read_file


def _read_web(url: str, way: Way) -> Fetched:
    from clearway.feeds import access_keys
    from clearway.feeds.http_source import Http

    asked = {"Accept": "text/plain, */*;q=0.5"}
    if way.etag:
        asked["If-None-Match"] = way.etag
    if way.last_modified:
        asked["If-Modified-Since"] = way.last_modified
    key = access_keys.header_key(way.key_file) if way.key_file else None
    with Http(way.seconds_max, proxy=way.proxy, key=key) as http:
        answer = http.get(url, bytes_max=way.bytes_max, headers=asked, whole=True, progress=way.progress)
    if answer.status == 304:
        return Fetched(b"", answer.origin, way.etag, way.last_modified, unchanged=True, status=304)
    return Fetched(
        answer.data,
        answer.origin,
        answer.etag,
        answer.last_modified,
        status=answer.status,
        content_type=answer.headers.get("content-type", ""),
        content_length=answer.content_length,
    )


def _read_standard_input(source: str, way: Way) -> Fetched:
    """As long as whoever writes it takes: who waits for it sits before it."""
    pieces: list[bytes] = []
    done = 0
    while piece := sys.stdin.buffer.read(1 << 20):
        done += len(piece)
        if done > way.bytes_max:
            raise ClearwayError.of("feeds.E007", origin="standard input", limit_mib=way.bytes_max >> 20)
        pieces.append(piece)
        way.progress(done, None)
    return Fetched(b"".join(pieces), "standard input")


def _path_of(source: str) -> Path:
    if source.lower().startswith("file://"):
        divided = urlsplit(source)
        if divided.netloc not in ("", "localhost"):
            raise ClearwayError.of("feeds.E012", value=shown(source))
        return Path(unquote(divided.path))
    if "://" in source or not source.strip() or "\0" in source:
        raise ClearwayError.of("feeds.E012", value=shown(source))
    return Path(source).expanduser().absolute()


def _read_file(source: str, way: Way) -> Fetched:
    path = _path_of(source)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would wait for its writer
        before, at = os.fstat(descriptor), time.time_ns()
        if not stat.S_ISREG(before.st_mode):
            os.close(descriptor)
            raise ClearwayError.of("feeds.E013", path=path, detail="it is no plain file")
        with os.fdopen(descriptor, "rb") as file:
            etag = _file_etag(before, at)
            if etag and etag == way.etag:
                return Fetched(b"", str(path), etag, unchanged=True)
            size = before.st_size
            data = file.read(way.bytes_max + 1) if size <= way.bytes_max else b""  # it may grow meanwhile
            after = os.fstat(descriptor)
    except OSError as error:
        raise ClearwayError.of("feeds.E013", path=path, detail=error.strerror or error) from None
    if size > way.bytes_max or len(data) > way.bytes_max:
        raise ClearwayError.of("feeds.E007", origin=path, limit_mib=way.bytes_max >> 20)
    way.progress(len(data), len(data))
    return Fetched(data, str(path), etag if etag == _file_etag(after, at) else "")


def _file_etag(about: os.stat_result, at: int) -> str:
    """What tells a file's content from what it held at another time; "" where a write just now would not show."""
    if at - max(about.st_ctime_ns, about.st_mtime_ns) < FILE_SETTLED_NS:
        return ""
    return f"file:{about.st_dev}-{about.st_ino}-{about.st_size}-{about.st_mtime_ns}-{about.st_ctime_ns}"
