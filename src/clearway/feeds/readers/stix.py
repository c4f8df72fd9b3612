"""STIX 2.0 and 2.1: what a bundle's indicators name by equality. Bare observables are no indicators, and give nothing.

What a pattern says stands in stix_pattern.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from clearway.feeds.readers import documents
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Gatherer, Item, Meaning, Unfit
from clearway.feeds.readers.documents import Places, objects, text_of, texts
from clearway.feeds.readers.headers import NEVER
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.stix_pattern import comparisons

BENIGN = frozenset({"benign", "allowlist"})


def stix(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """A bundle, what a TAXII server answers, a list of objects, or one. Indicators past their `valid_until` give
    nothing, where a time is given."""
    document = documents.load(text)
    found = _objects(document)
    if found is None:
        raise Unfit("feeds.E022", format="stix21")
    gatherer, places = Gatherer(asked), Places(text)
    last = _last_versions(found)
    for item in found:
        if not isinstance(item, dict):
            gatherer.take(Item(places.line_of(""), str(item)[:200], Rule.FIELD))
        elif item.get("type") == "indicator":
            line = places.line_of(text_of(item.get("id")))
            categories = tuple(word for key in ("indicator_types", "labels") for word in texts(item.get(key)) if word)
            is_old = _time_of(item.get("modified")) < last.get(text_of(item.get("id")), NEVER)
            for shown, meaning in _indicator(item, asked.now, is_old):
                if isinstance(meaning, list):
                    meaning = [said._replace(categories=categories) for said in meaning]
                gatherer.take(Item(line, shown, meaning))
    return gatherer.content()


def _objects(document: Any) -> list[Any] | None:
    """None: it is no document of STIX."""
    if isinstance(document, dict):
        if isinstance(document.get("objects"), list):
            return list(document["objects"])
        is_envelope = "more" in document or document.get("type") == "bundle"  # `objects` may be absent where none are
        return [document] if document.get("type") == "indicator" else [] if is_envelope else None
    found = objects(document)
    return found if found and all("type" in item for item in found) else None


def _last_versions(found: list[Any]) -> dict[str, datetime]:
    """When the last version of each indicator was made, of which several may stand there: it takes the place of the
    others (STIX 2.1, 3.6)."""
    last: dict[str, datetime] = {}
    for item in found:
        if isinstance(item, dict) and item.get("type") == "indicator" and (id := text_of(item.get("id"))):
            last[id] = max(last.get(id, NEVER), _time_of(item.get("modified")))
    return last


def _indicator(item: dict[str, Any], now: datetime | None, is_old: bool) -> Iterator[tuple[str, Meaning]]:
    pattern = text_of(item.get("pattern"))
    said = {word.lower() for word in texts(item.get("indicator_types")) + texts(item.get("labels"))}
    if item.get("revoked") is True or is_old:
        yield pattern, Rule.WITHDRAWN
    elif item.get("pattern_type", "stix") != "stix":
        yield pattern, Rule.LANGUAGE
    elif said & BENIGN:
        yield pattern, Rule.BENIGN
    elif now and NEVER < _time_of(item.get("valid_until")) <= now:
        yield pattern, Rule.EXPIRED
    elif not pattern:
        yield pattern, Rule.FIELD
    else:
        found = comparisons(pattern)
        yield from [(pattern, found)] if isinstance(found, Rule) else found


def _time_of(text: Any) -> datetime:
    """NEVER, where it is none."""
    try:
        time = datetime.fromisoformat(text_of(text))
    except ValueError:
        return NEVER
    return time if time.tzinfo else time.replace(tzinfo=UTC)
