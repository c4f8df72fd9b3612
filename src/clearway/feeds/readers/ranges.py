"""Address ranges as vendors publish them, with the service that each belongs to; and JSON lists of a few makers.

`tagged` gives the ranges of a vendor's document with their tags, from which follows who shares an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from clearway._engine import NameScope
from clearway.feeds.readers import documents
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Gatherer, Item, Meaning, Said, Unfit
from clearway.feeds.readers.documents import Places, objects, shown_time, text_of, texts
from clearway.feeds.readers.lines import LINE_BYTES_MAX
from clearway.feeds.readers.plain import of_column
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import looks_like_address

Ranges = Iterator[tuple[str, str]]
"""Text of a prefix, and its tag."""


def _aws(document: Any) -> Ranges:
    for row in objects(document["prefixes"]):
        yield text_of(row.get("ip_prefix")), text_of(row.get("service"))
    for row in objects(document.get("ipv6_prefixes")):
        yield text_of(row.get("ipv6_prefix")), text_of(row.get("service"))


def _google(document: Any) -> Ranges:
    for row in objects(document["prefixes"]):
        yield text_of(row.get("ipv4Prefix") or row.get("ipv6Prefix")), text_of(row.get("service"))


def _azure(document: Any) -> Ranges:
    for row in objects(document["values"]):
        properties = row.get("properties")
        for prefix in texts(properties.get("addressPrefixes")) if isinstance(properties, dict) else [""]:
            yield prefix, text_of(row.get("name"))


def _oracle(document: Any) -> Ranges:
    for region in objects(document["regions"]):
        for row in objects(region.get("cidrs")):
            yield text_of(row.get("cidr")), " ".join(texts(row.get("tags")))


def _fastly(document: Any) -> Ranges:
    for prefix in texts(document["addresses"]) + texts(document.get("ipv6_addresses")):
        yield prefix, "Fastly"


def _github(document: Any) -> Ranges:
    document["hooks"]
    for service, prefixes in document.items():
        for prefix in texts(prefixes):
            if looks_like_address(prefix):  # keys and domains stand beside them
                yield prefix, text_of(service)


def _cdncheck(document: Any) -> Ranges:
    for kind in ("cdn", "waf", "cloud"):
        vendors = document[kind] if kind == "cdn" else document.get(kind)
        for vendor, prefixes in vendors.items() if isinstance(vendors, dict) else ():
            for prefix in texts(prefixes):
                yield prefix, f"{kind} {text_of(vendor)}"


VENDORS: dict[str, Callable[[Any], Ranges]] = {
    "aws-json": _aws,
    "azure-json": _azure,
    "cdncheck-json": _cdncheck,
    "fastly-json": _fastly,
    "github-json": _github,
    "google-json": _google,
    "oracle-json": _oracle,
}

_PUBLISHED = ("syncToken", "changeNumber", "last_updated_timestamp")


def tagged(text: bytes, format: str) -> list[tuple[str, str]]:
    """The ranges of a vendor's document as (prefix as written, tag). Raises feeds.E021, E022 as `read` does."""
    try:
        return list(VENDORS[format](documents.load(text)))
    except (KeyError, TypeError, AttributeError):
        raise Unfit("feeds.E022", format=format) from None


def vendor(format: str) -> Callable[[bytes, Asked], Content]:
    """The reader of a vendor's document."""

    def read(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
        document = documents.load(text)
        gatherer, places = Gatherer(asked), Places(text)
        try:
            for prefix, tag in VENDORS[format](document):
                said = Said(prefix, categories=(tag,) if tag else ())
                meaning: Meaning = [said] if looks_like_address(prefix) else Rule.ADDRESS
                gatherer.take(_placed(places, prefix, meaning))
            published = next((document[key] for key in _PUBLISHED if key in document), None)
        except (KeyError, TypeError, AttributeError):
            raise Unfit("feeds.E022", format=format) from None
        gatherer.published = shown_time(published)
        return gatherer.content()

    return read


def _placed(places: Places, text: str, meaning: Meaning) -> Item:
    return Item(places.line_of(text), text, meaning)


def allow_deny(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """`{"allow": […], "deny": […]}`: names with all below them; `allow` spares, inside this list."""
    document = documents.load(text)
    if not isinstance(document, dict) or not isinstance(document.get("deny"), list):
        raise Unfit("feeds.E022", format="json-allow-deny")
    gatherer, places = Gatherer(asked), Places(text)
    for key, exception in (("allow", True), ("deny", False), ("denySub", False)):
        for value in texts(document.get(key, [])):
            meaning = of_column(value, NameScope.SUBTREE, NameScope.BELOW)
            if isinstance(meaning, list):
                meaning = [said._replace(exception=exception) for said in meaning]
            gatherer.take(_placed(places, value, meaning))
    return gatherer.content()


def spamhaus_json(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """An object a line with its `cidr`; the last one is metadata, and says how many there are."""
    gatherer = Gatherer(asked)
    gatherer.has_metadata = False
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            gatherer.blank += bool(line) or number <= text.count(b"\n")
            continue
        gatherer.take(_spamhaus_line(number, line, gatherer))
    return gatherer.content()


def _spamhaus_line(number: int, line: bytes, gatherer: Gatherer) -> Item:
    shown = line[:1024].decode("utf-8", "replace")
    if len(line) > LINE_BYTES_MAX:
        return Item(number, shown, Rule.LONG_LINE)
    try:
        row = documents.strict(line)
    except (ValueError, RecursionError):
        return Item(number, shown, Rule.NOT_A_LINE)
    if not isinstance(row, dict):
        return Item(number, shown, Rule.NOT_A_LINE)
    if row.get("type") == "metadata":
        gatherer.has_metadata = True
        records = row.get("records")
        gatherer.declared = records if type(records) is int and 0 <= records < 1 << 63 else None
        gatherer.published = shown_time(row.get("timestamp"))
        return Item(number, shown, [])
    if "cidr" not in row and "asn" in row:
        return Item(number, shown, Rule.NO_OBSERVABLE)  # the list of networks by their number has the same form
    cidr = row.get("cidr")
    return Item(number, shown, [Said(cidr)] if isinstance(cidr, str) and looks_like_address(cidr) else Rule.FIELD)
