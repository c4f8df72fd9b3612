"""MISP: events, the manifest of a feed, warning lists.

Of an event those attributes that name a host, and that their author wants acted on (`to_ids`). All others are no part
of a list of hosts and count as nothing. A manifest names the files of its events, which are fetched one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from clearway._engine import NameScope
from clearway.feeds.readers import documents
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Gatherer, Item, Meaning, Said, Unfit
from clearway.feeds.readers.documents import Places, objects, shown_time, text_of
from clearway.feeds.readers.plain import of_url
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import looks_like_address

_HOSTS = frozenset({"domain", "hostname", "ip-src", "ip-dst"})
_PAIRS = frozenset({"domain|ip"})
_WITH_PORT = frozenset({"ip-dst|port", "ip-src|port"})
_OTHERS = {"uri": Rule.PATH, "hostname|port": Rule.PORT}
_HASH = re.compile(r"[\da-f]{32}|[\da-f]{40}|[\da-f]{64}|[\da-f]{128}", re.ASCII | re.IGNORECASE)


def event(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """One event or several: `Event`, `response[].Event`, or a list of them."""
    document = documents.load(text)
    gatherer, places = Gatherer(asked), Places(text)
    found = False
    for each in _events(document):
        found = True
        of_event = _tags(each)
        for attribute in _attributes(each):
            value = text_of(attribute.get("value")).strip()
            meaning = _of_attribute(attribute, value)
            if isinstance(meaning, list) and meaning:
                own = (text_of(attribute.get("category")), text_of(attribute.get("type")))
                categories = (*_tags(attribute), *of_event, *(word for word in own if word))
                meaning = [said._replace(categories=categories) for said in meaning]
            gatherer.take(Item(places.line_of(value), value, meaning))
    if not found:
        raise Unfit("feeds.E022", format="misp-event")
    return gatherer.content()


def _events(document: Any) -> Iterator[dict[str, Any]]:
    rows = document.get("response", [document]) if isinstance(document, dict) else document
    for row in objects(rows if isinstance(rows, list) else [rows]):
        if isinstance(row.get("Event"), dict):
            yield row["Event"]
        elif "type" not in row and isinstance(row.get("Attribute"), list):
            yield row  # attributes that a server was asked for, whichever their events


def _attributes(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from objects(event.get("Attribute"))
    for thing in objects(event.get("Object")):
        if not _is_true(thing.get("deleted")):
            yield from objects(thing.get("Attribute"))


def _is_true(value: Any) -> bool:
    """Old servers write numbers, or numbers as text."""
    return value is True or (isinstance(value, int | str) and value in (1, "1", "true"))


def _tags(thing: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for tag in objects(thing.get("Tag")) if (name := text_of(tag.get("name"))))


def _of_attribute(attribute: dict[str, Any], value: str) -> Meaning:
    kind = text_of(attribute.get("type"))
    if kind not in _HOSTS | _PAIRS | _WITH_PORT and kind != "url" and kind not in _OTHERS:
        return []
    if _is_true(attribute.get("deleted")):
        return Rule.WITHDRAWN
    if not _is_true(attribute.get("to_ids")):
        return Rule.NOT_DETECTION
    if kind in _OTHERS:
        return _OTHERS[kind]
    if not value:
        return Rule.FIELD
    if kind == "url":
        return of_url(value)
    parts = value.split("|")
    if kind in _PAIRS:
        return [Said(part) for part in parts] if len(parts) == 2 else Rule.FIELD
    host = parts[0] if kind in _WITH_PORT else value
    return [Said(host)] if not kind.startswith("ip-") or looks_like_address(host) else Rule.ADDRESS


def manifest(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """The manifest of a feed: an event for each key."""
    document = documents.load(text)
    if not isinstance(document, dict) or not all(isinstance(row, dict) and "info" in row for row in document.values()):
        raise Unfit("feeds.E022", format="misp-manifest")
    places = Places(text)
    return Gatherer().take_all(Item(places.line_of(key), f"{key}.json", Rule.ELSEWHERE) for key in document).content()


def warning_list(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """A warning list: what is not to be refused. Single labels stand here too, since suffixes are protected."""
    document = documents.load(text)
    if not isinstance(document, dict) or not isinstance(document.get("list"), list):
        raise Unfit("feeds.E022", format="misp-warninglist")
    kind = text_of(document.get("type"))
    gatherer, places = Gatherer(asked, labels_min=1), Places(text)
    for value in document["list"]:
        shown = text_of(value).strip()
        gatherer.take(Item(places.line_of(shown), shown, _of_listed(shown, kind)))
    gatherer.published = shown_time(document.get("version"))
    return gatherer.content()


def _of_listed(value: str, kind: str) -> Meaning:
    if kind == "regex":
        return Rule.EXPRESSION
    if kind == "substring":
        return Rule.SUBSTRING
    if kind == "cidr":
        return [Said(value)] if looks_like_address(value) else Rule.ADDRESS
    if _HASH.fullmatch(value):
        return Rule.NO_OBSERVABLE
    if value.startswith("."):
        return [Said(value[1:], NameScope.BELOW)]
    return [Said(value, NameScope.SUBTREE if kind == "hostname" else NameScope.EXACT)]
