"""The events of a MISP feed as one document: `misp+https://HOST/PATH/`, or an address that ends in /manifest.json.

The manifest names the events and when each was changed; those that changed are fetched, one by one, and the others are
what they were the last time. What was fetched is kept also where the whole was not reached, so that the next time goes
on there. Of an event that is kept which says something of hosts; reports, pictures and samples are not.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from clearway.errors import ClearwayError
from clearway.feeds import access_keys, kept_source
from clearway.feeds.fetch import Fetched, Way
from clearway.feeds.http_source import Http
from clearway.feeds.readers import documents, packing
from clearway.feeds.readers.content import Unfit
from clearway.feeds.source_words import EVENTS, MANIFEST, shown

EVENTS_MAX = 50_000
FORMAT = "misp-event"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EVENT_FIELDS = ("uuid", "info", "date", "timestamp", "publish_timestamp")
_ATTRIBUTE_FIELDS = ("uuid", "type", "category", "value", "to_ids", "deleted", "timestamp", "first_seen", "last_seen")


def fetch_events(source: str, way: Way) -> Fetched:
    """The document, as MISP answers a search for events. Its etag is the hash of it; `unchanged` where that is the one
    of what the caller has.

    Raises feeds.E003, E007, E010 to E012, E021, E030 to E036, E039, E041, E042.
    """
    feed = _Feed(source, way)
    key = access_keys.header_key(way.key_file) if way.key_file else None
    try:
        with Http(way.seconds_max, proxy=way.proxy, key=key) as http:
            feed.update(http)
    finally:
        path = feed.keep()
    data = feed.document()
    etag = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if etag == way.etag:
        return Fetched(b"", feed.origin, etag, unchanged=True, format=FORMAT, kept=path)
    return Fetched(data, feed.origin, etag, format=FORMAT, kept=path)


class _Feed:
    """Events by UUID: when each was changed last as the manifest says, and what is kept of it, as JSON."""

    def __init__(self, source: str, way: Way) -> None:
        self.origin = shown(source)
        self._source = source
        self._way = way
        self._folder = _folder(source)
        self._events: dict[str, tuple[str, str]] = {}
        self._changed = False
        self._characters = 0
        """Of all that is kept."""
        self._received = 0
        kept = kept_source.load(way.kept, source)
        if kept is not None:
            self._restore(kept)

    def update(self, http: Http) -> None:
        """Fetches what changed, the newest first, and forgets what the manifest names no longer."""
        manifest = self._manifest(self._get(http, MANIFEST.strip("/")))
        for id in [id for id in self._events if id not in manifest]:
            self._forget(id)
        for id, changed in sorted(manifest.items(), key=lambda row: _seconds(row[1]), reverse=True):
            if id in self._events and self._events[id][0] == changed:
                continue
            event = self._event(id, self._get(http, f"{id}.json"))
            self._forget(id)
            self._events[id] = (changed, event)
            self._characters += len(event)
            if self._characters > self._way.bytes_max:
                raise ClearwayError.of("feeds.E007", origin=self.origin, limit_mib=self._way.bytes_max >> 20)

    def document(self) -> bytes:
        """All events, one a line, in the order of their ids."""
        lines = ",\n".join(self._events[id][1] for id in sorted(self._events))
        return f'{{"response":[\n{lines}\n]}}\n'.encode()

    def keep(self) -> Path | None:
        """What there is, also where it is not all; its path where something is new."""
        if not self._changed:
            return None
        about = {"events": [[id, self._events[id][0]] for id in sorted(self._events)]}
        return kept_source.store(self._way.kept, self._source, about, self.document())

    def _restore(self, kept: kept_source.Kept) -> None:
        listed = kept.about.get("events")
        lines = kept.data.decode(errors="replace").split("\n")[1:-2]
        if isinstance(listed, list) and len(listed) == len(lines):
            for (id, changed), line in zip(listed, lines, strict=True):
                self._events[id] = (changed, line.removesuffix(","))
                self._characters += len(line)

    def _forget(self, id: str) -> None:
        self._changed = True
        if id in self._events:
            self._characters -= len(self._events.pop(id)[1])

    def _get(self, http: Http, name: str) -> Any:
        before = self._received
        answer = http.get(
            urlunsplit(self._folder._replace(path=self._folder.path + name)),
            bytes_max=self._way.bytes_max,
            headers={"Accept": "application/json"},
            progress=lambda done, total: self._way.progress(before + done, None),
        )
        self._received += len(answer.data)
        try:
            return documents.load(packing.unpacked(answer.data, answer.origin))
        except Unfit as unfit:
            raise ClearwayError.of(unfit.id, origin=answer.origin, **unfit.fields) from None

    def _manifest(self, document: Any) -> dict[str, str]:
        """Ids of the events, and when each was changed. Raises feeds.E039, E041."""
        if not isinstance(document, dict):
            raise self._no_feed("its manifest is no object")
        if len(document) > EVENTS_MAX:
            raise ClearwayError.of("feeds.E039", origin=self.origin, limit=f"{EVENTS_MAX:,}", what="events")
        found = {}
        for id, row in document.items():
            if not _UUID.fullmatch(id) or not isinstance(row, dict):  # an id becomes a part of an address
                raise self._no_feed(f"its manifest names {id[:60]!a}, which is no UUID of an event")
            found[id] = str(row.get("timestamp", ""))[:40]
        return found

    def _event(self, id: str, document: Any) -> str:
        event = document.get("Event") if isinstance(document, dict) else None
        if not isinstance(event, dict):
            raise self._no_feed(f"{id}.json holds no event")
        kept = _some(event, _EVENT_FIELDS)
        kept["Attribute"] = _attributes(event)
        kept["Object"] = [
            {**_some(each, ("name", "deleted")), "Attribute": _attributes(each)}
            for each in documents.objects(event.get("Object"))
        ]
        return json.dumps({"Event": kept}, separators=(",", ":"))

    def _no_feed(self, detail: str) -> ClearwayError:
        return ClearwayError.of("feeds.E041", origin=self.origin, detail=detail)


def _folder(source: str) -> SplitResult:
    """Where the manifest and the events lie. Raises feeds.E012."""
    web = source.partition("+")[2] if source.lower().startswith(EVENTS) else source
    divided = urlsplit(web)
    if not divided.hostname:
        raise ClearwayError.of("feeds.E012", value=shown(source))
    path = divided.path.removesuffix(MANIFEST.strip("/"))
    return divided._replace(path=path if path.endswith("/") else f"{path}/", fragment="")


def _seconds(stamp: str) -> int:
    """Since 1970, as manifests have it; 0 for anything else."""
    return int(stamp) if stamp.isascii() and stamp.isdecimal() else 0


def _attributes(thing: dict[str, Any]) -> list[dict[str, Any]]:
    return [_some(each, _ATTRIBUTE_FIELDS) for each in documents.objects(thing.get("Attribute"))]


def _some(thing: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Those fields of a thing, and the names of its tags."""
    kept = {key: thing[key] for key in fields if key in thing}
    tags = [{"name": each.get("name")} for each in documents.objects(thing.get("Tag"))]
    return {**kept, "Tag": tags} if tags else kept
