"""STIX 2.0 and 2.1: what a bundle's indicators name by equality. Bare observables are no indicators, and give nothing.

Of a pattern (STIX 2.1, part 9): comparisons by `=`, `IN` and, of addresses, `ISSUBSET`, joined by OR, each a value of
its own; with AND, NOT, FOLLOWEDBY or a qualifier it means more than one thing at a time and gives none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from clearway._engine import NameScope
from clearway.feeds.readers import documents
from clearway.feeds.readers.content import Content, Gatherer, Item, Meaning, Said, Unfit
from clearway.feeds.readers.documents import Places, objects, text_of, texts
from clearway.feeds.readers.plain import of_url
from clearway.feeds.readers.rules import Rule

PATTERN_CHARACTERS_MAX = 1 << 20

_ADDRESSES = frozenset(
    {"ipv4-addr:value", "ipv6-addr:value", "network-traffic:dst_ref.value", "network-traffic:src_ref.value"}
)
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<path>[a-z0-9-]+:[\w.'"\[\]*-]+)
    | (?P<word>[A-Za-z]+)
    | (?P<mark>!=|[<>]=?|[\[\](),=])
    | (?P<other>[^\s\[\](),='<>!]+)
    )""",
    re.VERBOSE,
)

_OPERATORS = frozenset({"IN", "ISSUBSET", "ISSUPERSET", "LIKE", "MATCHES", "=", "!=", "<", ">", "<=", ">="})


def stix(text: bytes, now: datetime | None = None) -> Content:
    """A bundle. `now`: indicators past their `valid_until` then give nothing; None: they are not judged by time."""
    document = documents.load(text)
    if not isinstance(document, dict) or not isinstance(document.get("objects"), list):
        raise Unfit("feeds.E022", format="stix21")
    gatherer, places = Gatherer(), Places(text)
    for item in objects(document["objects"]):
        if item.get("type") == "indicator":
            line = places.line_of(text_of(item.get("id")))
            gatherer.take_all(Item(line, shown, meaning) for shown, meaning in _indicator(item, now))
    return gatherer.content()


def _indicator(item: dict[str, Any], now: datetime | None) -> Iterator[tuple[str, Meaning]]:
    pattern = text_of(item.get("pattern"))
    if item.get("revoked") is True:
        yield pattern, Rule.WITHDRAWN
    elif item.get("pattern_type", "stix") != "stix":
        yield pattern, Rule.LANGUAGE
    elif set(texts(item.get("indicator_types", item.get("labels")))) in ({"benign"}, {"allowlist"}):
        yield pattern, Rule.BENIGN
    elif now and _is_past(item.get("valid_until"), now):
        yield pattern, Rule.EXPIRED
    elif not pattern or len(pattern) > PATTERN_CHARACTERS_MAX:
        yield pattern, Rule.FIELD
    else:
        values = _comparisons(pattern)
        if isinstance(values, Rule):
            yield pattern, values
        else:
            yield from values


def _is_past(text: Any, now: datetime) -> bool:
    try:
        until = datetime.fromisoformat(text_of(text))
    except ValueError:
        return False
    return (until if until.tzinfo else until.replace(tzinfo=UTC)) <= now


def _comparisons(pattern: str) -> list[tuple[str, Meaning]] | Rule:
    """The values of a pattern, each with what it means."""
    found: list[tuple[str, Meaning]] = []
    path, operator, at = "", "", 0
    while at < len(pattern.rstrip()):
        token = _TOKEN.match(pattern, at)
        if not token:
            return Rule.NOT_A_LINE
        at = token.end()
        kind, text = token.lastgroup, token[0].strip()
        if kind == "path":
            path, operator = text, ""
        elif kind == "string" and path and operator:
            value = re.sub(r"\\(.)", r"\1", text[1:-1])
            found.append((value, _of_value(path, operator, value)))
        elif text in _OPERATORS and kind != "string":
            operator = text
        elif kind == "word" and text != "OR":
            return Rule.CONJUNCTION
        elif kind == "other" and not (path and operator):
            return Rule.NOT_A_LINE
    if not found:
        return Rule.NO_OBSERVABLE if path else Rule.NOT_A_LINE
    return found


def _of_value(path: str, operator: str, value: str) -> Meaning:
    if operator in ("LIKE", "MATCHES"):
        return Rule.EXPRESSION
    is_address = path in _ADDRESSES
    if operator not in ("=", "IN") and not (is_address and operator == "ISSUBSET"):
        return Rule.CONJUNCTION
    if path == "url:value":
        return of_url(value)
    return [Said(value, NameScope.EXACT)] if is_address or path == "domain-name:value" else Rule.NO_OBSERVABLE
