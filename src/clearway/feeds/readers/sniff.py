"""Which format a text is of: each reader is tried on its start, and the one that makes most of it is named.

JSON is told by its keys instead, since its start is no document. Where two readers make the same of it, the one that
stands first in the table has it: several formats are the same on the lines that most lists have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Protocol

from clearway.feeds.readers.content import Content, Unfit

SAMPLE_BYTES = 64 << 10
"""Headers of some lists are long."""
SAMPLE_LINES = 400


class HasRead(Protocol):
    """What a reader of the table has of it."""

    @property
    def kind(self) -> str: ...
    def read(self, text: bytes, /) -> Content: ...


_JSON_KEYS: tuple[tuple[str, bytes], ...] = (
    ("stix21", rb'"type"\s*:\s*"(?:bundle|indicator)"|"objects"\s*:\s*\[|"spec_version"'),
    ("misp-event", rb'"Event"\s*:\s*\{|"Attribute"\s*:\s*\['),
    ("misp-warninglist", rb'"(?:matching_attributes|list)"\s*:\s*\['),
    ("json-allow-deny", rb'"deny"\s*:\s*\['),
    ("aws-json", rb'"ip_prefix"\s*:'),
    ("google-json", rb'"ipv[46]Prefix"\s*:'),
    ("azure-json", rb'"addressPrefixes"\s*:'),
    ("oracle-json", rb'"cidrs"\s*:'),
    ("fastly-json", rb'"addresses"\s*:\s*\['),
    ("github-json", rb'"hooks"\s*:\s*\['),
    ("cdncheck-json", rb'"cdn"\s*:\s*\{'),
    ("misp-manifest", rb'"(?:threat_level_id|Orgc)"\s*:'),
)
"""A word, and what stands near the beginning of its documents, the surest first."""
_TABLES: tuple[tuple[str, bytes], ...] = (
    ("csv-threatfox", rb"ioc_value\"?\s*,\s*\"?ioc_type"),
    ("csv-urlhaus", rb"dateadded\"?\s*,\s*\"?url\b"),
    ("csv-feodo", rb"first_seen_utc\"?\s*,\s*\"?dst_ip\b|DstIP\"?\s*,\s*\"?DstPort\"?\s*,"),
    ("csv-sslbl", rb"Firstseen\s*,\s*DstIP"),
    ("csv-splunk", rb"\"?host\"?\s*,\s*\"?path\"?\s*,"),
    ("csv-blackbook", rb"Domain\s*,\s*Malware"),
    ("csv-c2intel", rb"#ip\s*,\s*ioc"),
)
"""The same for headers of tables."""
_SURE: tuple[tuple[str, bytes], ...] = (
    ("hosts", rb"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)[ \t]+(?!localhost)[\w-]+\."),
    ("rpz", rb"^\$(?:TTL|ORIGIN)\b|^\S+\s+(?:\d+\s+)?(?:IN\s+)?(?:SOA|CNAME)\s"),
    ("unbound", rb"^[ \t]*local-(?:zone|data):[ \t]*[\"']"),
    ("dnsmasq", rb"^[ \t]*(?:address|server|local)[ \t]*=[ \t]*/[^/\n]*/"),
    ("bind-zone", rb"^[ \t]*zone[ \t]+\"[^\"\n]*\"[^\n]*\{"),
    ("suricata-sni", rb"^(?:alert|drop|reject|pass)\s+\w+\s.*\("),
    ("spamhaus-drop", rb"^[\da-f.:]+/\d+\s*;\s*SBL\d"),
    ("ip-count", rb"^\d+\.\d+\.\d+\.\d+\t\d+\s*$"),
    ("rfc8805-geofeed", rb"^[\da-f.:]+/\d+,(?:[A-Z]{2})?,[^,\n]*,"),
    ("adblock", rb"^\[Adblock|^(?:@@)?(?:\|\|[^|]|\|[\w.-]+[\^|])"),
)
"""Formats of lines that a single one gives away."""


PLAIN = "ip-plain"
_LOOSE = frozenset({"maltrail", "dnscrypt-names", "ubo-hosts-or-url"})
"""Formats that read the lists of others, and some lines more: those have to be more than a slip or two."""
_NAMED = re.compile(
    rb"^(\d+\.\d+\.\d+\.\d+)[ \t]+(?:[\w-]+\.)+[a-z][\w-]*[ \t]*(?:#.*)?\r?$", re.MULTILINE | re.IGNORECASE
)
"""An address and one name."""
_SAYS = re.compile(rb"^[ \t]*[^\s#;!/]", re.MULTILINE)
"""The start of a line that is neither blank nor a comment."""


def table_of(text: bytes, word: str) -> str | None:
    """Another format that the header of a table gives away, where it is not that of `word` as well."""
    sample = _sample(text)
    found = [each for each, look in _TABLES if re.search(look, sample, re.IGNORECASE)]
    return None if word in found or word not in dict(_TABLES) else next(iter(found), None)


def best(text: bytes, readers: Mapping[str, HasRead]) -> str | None:
    """The word of the format; None where none makes more entries of the start than malformed lines."""
    start = text[:SAMPLE_BYTES].removeprefix(b"\xef\xbb\xbf")
    if re.match(rb"\s*(?:\{|\[\s*[\[{\"\]])", start):
        return _of_json(start)
    sample = _sample(text)
    for word, look in _TABLES:
        if re.search(look, sample, re.IGNORECASE):
            return word
    if _is_of_one_host(sample):
        return "hosts"
    sure = [word for word, look in _SURE if re.search(look, sample, re.MULTILINE | re.IGNORECASE)]
    # Any line at all is a pattern of adblock's: only where its marks are
    others = [
        word
        for word, reader in readers.items()
        if (reader.kind == "lines" or word == "csv") and word not in (*sure, "adblock")
    ]
    scores: dict[str, float] = {}
    for word in sure + others:
        try:
            content = readers[word].read(sample)
        except Unfit:
            continue
        if content.entry_lines or word in sure or word == "domains":  # a list of URLs with paths is one of domains
            scores[word] = _score(content, word, sample)
        if word == PLAIN and not len(content.rejects) and content.entry_lines:
            break  # the first of the table makes all of it: no other makes more
    margin = 1.5 + 0.02 * sample.count(b"\n")
    found = None
    for word in scores:
        if found is None or scores[word] > scores[found] + (margin if word in _LOOSE else 0):
            found = word
    if found == PLAIN and _says_more_as_table(sample, readers):
        return "csv"
    given_away = max((word for word in sure if word in scores), key=lambda word: scores[word], default=None)
    if found and given_away and scores[given_away] * 2 >= scores[found]:
        found = given_away
    return found if found is not None and scores[found] > 0 else None


def _says_more_as_table(sample: bytes, readers: Mapping[str, HasRead]) -> bool:
    """Whether a header, which may stand in a comment, finds names or categories in what are else notes of addresses."""
    if b"," not in sample:
        return False
    plain = readers[PLAIN].read(sample)
    try:
        table = readers["csv"].read(sample)
    except Unfit:
        return False
    is_as_good = table.entry_lines >= plain.entry_lines and table.counts["malformed"] <= plain.counts["malformed"]
    return is_as_good and (len(table.blocked) > len(plain.blocked) or bool(table.categories))


def _is_of_one_host(sample: bytes) -> bool:
    """Names that all lead to the same few addresses: those are the refusing party's own, and no list of addresses."""
    addresses = _NAMED.findall(sample)
    is_most = len(addresses) > max(1, len(_SAYS.findall(sample)) // 2)
    return is_most and len(set(addresses)) * 3 <= len(addresses) * 2


def _of_json(start: bytes) -> str | None:
    try:
        row = json.loads(start.lstrip().split(b"\n", 1)[0])
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict) and ("cidr" in row or "asn" in row):
        return "spamhaus-json"
    return next((word for word, look in _JSON_KEYS if re.search(look, start)), None)


def _score(content: Content, word: str, sample: bytes) -> float:
    """Lines that were understood, less those that were not. Those of no use speak for a format no more than entries."""
    counts = content.counts
    score = counts["entries"] + min(counts["unsupported"], counts["entries"] + 1) / 2 - counts["malformed"]
    if word != "wildcard-domains":
        return score
    # It widens plain names: only where there are next to none
    starred = len(re.findall(rb"^\*\.", sample, re.MULTILINE))
    return score + 0.5 if starred * 10 >= (counts["entries"] + counts["unsupported"]) * 9 else score - 1


def _sample(text: bytes) -> bytes:
    """Whole lines from the start, with what comments say, from the middle and from the end."""
    if len(text) <= SAMPLE_BYTES:
        return text
    half = SAMPLE_BYTES // 2
    parts = [
        _lines(text[:half], is_start=True),
        _lines(text[len(text) // 2 : len(text) // 2 + half // 2]),
        _lines(text[-half // 2 :], is_end=True),
    ]
    return b"\n".join(parts)


def _lines(piece: bytes, *, is_start: bool = False, is_end: bool = False) -> bytes:
    """Those that stand whole in a piece, SAMPLE_LINES at most."""
    found = piece.splitlines()[0 if is_start else 1 : None if is_end else -1]
    return b"\n".join(found[:SAMPLE_LINES])


def first_line(text: bytes) -> str:
    """The first line that is neither blank nor a comment, cut for an error."""
    for line in text[:SAMPLE_BYTES].decode("utf-8", "replace").removeprefix("\ufeff").splitlines():
        if line.strip() and not line.lstrip().startswith(("#", ";", "!", "//")):
            return line.strip()[:80]
    return ""
