"""The indicators of a TAXII 2.1 collection, as one STIX bundle: `taxii+https://HOST/ROOT/collections/ID/`.

What is kept of the last time makes the next one a question for what was added since (`added_after`), and the bundle is
the same as if all of it had been asked for: of each indicator the version that was modified last, in the order of ids.
What a server deletes it does not tell of, so all of it is asked for at least once in FULL_EVERY_S.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from clearway.errors import ClearwayError
from clearway.feeds import access_keys, kept_source
from clearway.feeds.fetch import Fetched, Way
from clearway.feeds.http_source import Answer, Http
from clearway.feeds.readers import documents, packing
from clearway.feeds.readers.content import Unfit
from clearway.feeds.source_words import shown

MEDIA_TYPE = "application/taxii+json;version=2.1"
PAGE_OBJECTS = 1000
"""Asked for at a time; a server may give fewer."""
PAGES_MAX = 20_000
OBJECTS_MAX = 1_000_000
FULL_EVERY_S = 86400
OVERLAP = timedelta(minutes=5)
"""Asked for again: what was being added while the last answer was made may carry an earlier time."""
TICK = timedelta(milliseconds=1)
"""What the time of a page may be rounded by."""
FORMAT = "stix21"


@dataclass(slots=True)
class _Collected:
    """Indicators by id: when each was modified last, and what it is, as JSON."""

    objects: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    added_last: datetime | None = None
    """The latest time that the server put an object in, as far as it said."""
    received: int = 0

    def take(self, each: dict[str, Any]) -> None:
        """An object of the collection, if it is an indicator and none that is newer is there."""
        id = documents.text_of(each.get("id"))
        if each.get("type") != "indicator" or not id:
            return
        modified = _time(each.get("modified")) or _time(each.get("created")) or datetime.min.replace(tzinfo=UTC)
        if id not in self.objects or modified >= self.objects[id][0]:
            self.objects[id] = (modified, json.dumps(each, sort_keys=True, separators=(",", ":")))

    def bundle(self, source: str) -> bytes:
        """All of them, one a line, so that a reader can say where one stands."""
        id = uuid.uuid5(uuid.NAMESPACE_URL, shown(source))
        lines = ",\n".join(self.objects[key][1] for key in sorted(self.objects))
        return f'{{"type":"bundle","id":"bundle--{id}","objects":[\n{lines}\n]}}\n'.encode()


def fetch_collection(source: str, way: Way) -> Fetched:
    """The bundle. Its etag is the hash of it; `unchanged` where that is the one of what the caller has.

    Raises feeds.E003, E007, E010 to E012, E021, E030 to E036, E039, E040, E042.
    """
    key = access_keys.header_key(way.key_file) if way.key_file else None
    kept = kept_source.load(way.kept, source)
    now = time.time()
    collected, full_at = _Collected(), now
    if kept is not None:
        full_at = float(kept.about.get("full_at", 0.0))
        since = _time(kept.about.get("added_last"))
        if since and 0 <= now - full_at < FULL_EVERY_S and _restore(collected, kept.data):
            collected.added_last = since
        else:
            full_at = now
    with Http(way.seconds_max, proxy=way.proxy, key=key) as http:
        _Pages(http, source, way, collected).read(collected.added_last - OVERLAP if collected.added_last else None)
    data = collected.bundle(source)
    if len(data) > way.bytes_max:
        raise ClearwayError.of("feeds.E007", origin=shown(source), limit_mib=way.bytes_max >> 20)
    path = None
    if collected.added_last is not None:
        about = {"added_last": collected.added_last.isoformat(), "full_at": full_at}
        path = kept_source.store(way.kept, source, about, data)
    etag = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if etag == way.etag:
        return Fetched(b"", shown(source), etag, unchanged=True, format=FORMAT, kept=path)
    return Fetched(data, shown(source), etag, format=FORMAT, kept=path)


def _objects_url(source: str) -> str:
    """Where the objects of the collection are asked for. Raises feeds.E012."""
    divided = urlsplit(source.partition("+")[2])
    path = divided.path.rstrip("/").removesuffix("/objects")
    if not divided.hostname or not path.rpartition("/")[0].endswith("/collections"):
        raise ClearwayError.of("feeds.E012", value=shown(source))
    return urlunsplit(divided._replace(path=f"{path}/objects/", fragment=""))


def _restore(collected: _Collected, bundle: bytes) -> bool:
    try:
        for line in bundle.decode().split("\n")[1:-2]:
            collected.take(json.loads(line.removesuffix(",")))
    except ValueError:
        collected.objects.clear()
        return False
    return True


class _Pages:
    """Reads a collection page by page, as `more` and `next` say, or else by the time of the last object."""

    def __init__(self, http: Http, source: str, way: Way, collected: _Collected) -> None:
        self._http = http
        self._url = _objects_url(source)
        self._origin = shown(source)
        self._way = way
        self._collected = collected

    def read(self, added_after: datetime | None) -> None:
        """All that was added after that time; None: all there is."""
        next_page = ""
        for _ in range(PAGES_MAX):
            envelope, added_last = self._page(added_after, next_page)
            for each in documents.objects(envelope.get("objects")):
                self._collected.take(each)
            if len(self._collected.objects) > OBJECTS_MAX:
                raise ClearwayError.of("feeds.E039", origin=self._origin, limit=f"{OBJECTS_MAX:,}", what="indicators")
            if added_last is not None:
                self._collected.added_last = max(added_last, self._collected.added_last or added_last)
            if envelope.get("more") is not True:
                return
            next_page = documents.text_of(envelope.get("next"))
            if not next_page:
                added_after = self._after(added_after, added_last)
        raise ClearwayError.of("feeds.E039", origin=self._origin, limit=f"{PAGES_MAX:,}", what="pages")

    def _after(self, before: datetime | None, added_last: datetime | None) -> datetime:
        """Where to go on without `next`. Objects that were added at one time may be on two pages, so a little before
        the last of this page, if that is further than where it began."""
        if added_last is None:
            raise self._no_collection("it says that there is more, and not where")
        if before is None or added_last - TICK > before:
            return added_last - TICK
        if added_last > before:
            return added_last
        raise self._no_collection("its pages do not go on")

    def _page(self, added_after: datetime | None, next_page: str) -> tuple[dict[str, Any], datetime | None]:
        divided = urlsplit(self._url)
        asked = {"limit": str(PAGE_OBJECTS), "match[type]": "indicator"} | dict(parse_qsl(divided.query))
        if added_after is not None:
            asked["added_after"] = added_after.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if next_page:
            asked["next"] = next_page
        before = self._collected.received
        answer = self._http.get(
            urlunsplit(divided._replace(query=urlencode(asked))),
            bytes_max=self._way.bytes_max,
            headers={"Accept": MEDIA_TYPE},
            progress=lambda done, total: self._way.progress(before + done, None),
        )
        self._collected.received += len(answer.data)
        if self._collected.received > self._way.bytes_max:
            raise ClearwayError.of("feeds.E007", origin=self._origin, limit_mib=self._way.bytes_max >> 20)
        return self._envelope(answer), _time(_header(answer, "last")) or _time(_header(answer, "first"))

    def _envelope(self, answer: Answer) -> dict[str, Any]:
        try:
            document = documents.load(packing.unpacked(answer.data, answer.origin))
        except Unfit as unfit:
            raise ClearwayError.of(unfit.id, origin=answer.origin, **unfit.fields) from None
        if not isinstance(document, dict) or not isinstance(document.get("objects", []), list):
            raise self._no_collection("it answers with something else than objects")
        return document

    def _no_collection(self, detail: str) -> ClearwayError:
        return ClearwayError.of("feeds.E040", origin=self._origin, detail=detail)


def _header(answer: Answer, which: str) -> str:
    """When the first or last object of a page was added; a server with one object on a page may say the first alone."""
    return answer.headers.get(f"x-taxii-date-added-{which}", "")


def _time(said: Any) -> datetime | None:
    """A time as STIX and TAXII write it."""
    try:
        found = datetime.fromisoformat(documents.text_of(said))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
