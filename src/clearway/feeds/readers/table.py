"""The one table of formats: its word, its reader, what it looks like, who defines it, what of it is not supported.

`read` is the way in: unpack, check that it is text, find the format or hold the given one against what is there, read.
Syntax alone: what a list may do to a network is for feeds/guard.py. Pure, but for the imports of a few readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from clearway.errors import ClearwayError
from clearway.feeds.readers import (
    adblock,
    headers,
    misp,
    packing,
    plain,
    ranges,
    resolvers,
    sniff,
    stix,
    suricata,
    tables,
    texts,
    zones,
)  # fmt: skip
from clearway.feeds.readers.content import Asked, Content, Unfit

Read = Callable[..., Content]
"""The text of a list, and what is Asked besides."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One format. Sentences are for people: help, errors, and the table in the documentation."""

    read: Read
    looks_like: str
    covers: str
    """What an entry is about."""
    source: str
    """Who says what the format is."""
    unsupported: str
    """What of it gives no entry; "" where all of it does."""
    kind: str = "lines"
    """lines, table, json: how it is told from others."""


_RANGES_SOURCE = "the vendor's own documentation of the file"
_ADDRESSES = Reader(
    plain.addresses,
    "192.0.2.1, 192.0.2.0/24 or 192.0.2.1-192.0.2.9 a line; # ; // or a comma opens a note",
    "the address or prefix",
    "the header of FireHOL's *.netset files",
    "addresses with leading zeros, hexadecimal or mapped into IPv6, and two in a line, are malformed; but the first, "
    "the last and the length of one prefix, as DShield's block.txt has them, are that",
)


def _csv(
    read: Read, looks_like: str, source: str, unsupported: str, covers: str = "the address, whichever port"
) -> Reader:
    return Reader(read, looks_like, covers, source, unsupported, "table")


def _ranges(word: str, looks_like: str) -> Reader:
    return Reader(
        ranges.vendor(word), looks_like, "the prefix, with the service it belongs to", _RANGES_SOURCE, "", "json"
    )


READERS: dict[str, Reader] = {
    "ip-plain": _ADDRESSES,
    "netset": _ADDRESSES,
    "cidr-lines": _ADDRESSES,
    "ip-count": Reader(
        plain.addresses, "192.0.2.1, a tab and a number a line", "the address", "the header of ipsum.txt", "the number",
    ),
    "domains": Reader(
        plain.domains, "bad.example a line; *.bad.example: all below it",
        "that name alone", "none; each maker's own", "URLs; asterisks elsewhere",
    ),
    "wildcard-domains": Reader(
        plain.wildcard_domains, "*.bad.example a line",
        "the name and all below it, as blocky reads it", "blocky's configuration.md", "everything below an address",
    ),
    "hosts": Reader(
        plain.hosts, "0.0.0.0 bad.example a line", "each name alone",
        "hosts(5)",
        "names behind an address that leads somewhere (a redirect); all names of a line of which one is malformed",
    ),
    "adblock": Reader(
        adblock.adblock, "||bad.example^ a line, @@||good.example^ an exception",
        "the name and all below it; a bare name alone", "AdGuard's DNS filtering syntax",
        "URL patterns, regular expressions, cosmetic rules; any modifier but all, important, document, network",
    ),
    "rpz": Reader(
        zones.rpz, "bad.example CNAME . and *.bad.example CNAME . as records",
        "the name, or what is below it; both merge", "draft-vixie-dnsop-dns-rpz-00",
        "rewrites, client and name-server triggers, $INCLUDE, $GENERATE",
    ),
    "dnsmasq": Reader(
        resolvers.dnsmasq, "address=/bad.example/0.0.0.0, server=/bad.example/ or local=/bad.example/ a line",
        "the name and all below it", "dnsmasq(8)",
        "all other options; address=/#/, which is every name; server=/good.example/# is an exception",
    ),
    "unbound": Reader(
        resolvers.unbound, 'local-zone: "bad.example" always_nxdomain a line',
        "the name and all below it; local-data the name alone", "unbound.conf(5)",
        "redirecting zones, include, all other options; transparent zones are exceptions",
    ),
    "bind-zone": Reader(
        resolvers.bind_zone, 'zone "bad.example" { type master; file "null.zone.file"; }; a line',
        "the name and all below it", "BIND's reference manual",
        "include, zones of another type",
    ),
    "dnscrypt-names": Reader(
        plain.dnscrypt_names, "bad.example a line; =bad.example: that name alone", "the name and all below it",
        "dnscrypt-proxy's example-blocked-names.txt", "patterns, times",
    ),
    "ubo-hosts-or-url": Reader(
        plain.ubo_hosts_or_url, "bad.example or bad.example/path a line", "the name and all below it",
        "uBlock Origin's static filter syntax", "URLs with a path",
    ),
    "maltrail": Reader(
        plain.maltrail, "bad.example, 192.0.2.1:443 or /path a line", "that name or address alone, whichever port",
        "the README of maltrail's trails", "paths, URLs, one port of a name, expressions",
    ),
    "spamhaus-drop": Reader(
        plain.addresses, "192.0.2.0/24 ; SBL1 a line; lines that begin with ; are comments", "the prefix",
        "Spamhaus' page on DROP", "",
    ),
    "spamhaus-json": Reader(
        ranges.spamhaus_json, '{"cidr": "192.0.2.0/24", …} a line, the last one metadata', "the prefix",
        "Spamhaus' page on DROP", "", "json-lines",
    ),
    "csv-urlhaus": _csv(
        tables.urlhaus, "id,dateadded,url,… a line", "the header of the file", "URLs with a path, as nearly all are",
        "the host of a URL without a path",
    ),
    "csv-feodo": _csv(tables.feodo, "first_seen_utc,dst_ip,dst_port,… a line", "the header of the file", ""),
    "csv-sslbl": _csv(tables.sslbl, "Firstseen,DstIP,DstPort a line", "the header of the file", ""),
    "csv-threatfox": _csv(
        tables.threatfox, "first_seen_utc,ioc_id,ioc_value,ioc_type,… a line", "the header of the file",
        "rows of the types url and *_hash", "the name alone; the address, whichever port",
    ),
    "csv-c2intel": _csv(tables.c2intel, "#ip,ioc above 192.0.2.1,note a line", "the header of the file", ""),
    "csv-blackbook": _csv(
        tables.blackbook, "Domain,Malware,Date added,Source a line", "the header of the file", "", "the name alone",
    ),
    "csv-splunk": _csv(
        tables.splunk, '"host","path","message","updated" a line', "the header of the file", "rows with a path",
        "the name and all below it",
    ),
    "csv": _csv(
        tables.by_name(None),
        "any table with a header that names a domain, ip, cidr or indicator; csv:COLUMN or csv:COLUMN:CATEGORY chooses",
        "RFC 4180", "URLs, hashes; rows whose to_ids is 0; fields with a line break",
        "the name alone; the address, whichever port",
    ),
    "rfc8805-geofeed": _csv(plain.geofeed, "192.0.2.0/24,NL,NL-NH,Amsterdam, a line", "RFC 8805", "", "the prefix"),
    "suricata-sni": Reader(
        suricata.suricata_sni, 'alert tls … (… tls.sni; bsize:11; content:"bad.example"; …) a line',
        "the name alone; with dotprefix all below it", "Suricata's user guide",
        "pieces of names, expressions, several contents, pass rules",
    ),
    "stix21": Reader(
        stix.stix, '{"type": "bundle", "objects": […]} with indicators', "the value alone", "OASIS STIX 2.0 and 2.1",
        "AND, NOT, FOLLOWEDBY, qualifiers, LIKE, MATCHES; URLs and hashes; other pattern languages; older "
        "versions of an indicator", "json",
    ),
    "misp-event": Reader(
        misp.event, '{"Event": {"Attribute": […]}} or {"response": […]}', "the value alone, whichever port",
        "the MISP core format", "attributes without to_ids; URLs; one port of a name", "json",
    ),
    "misp-manifest": Reader(
        misp.manifest, '{"UUID": {"info": …}, …}', "nothing: it names the files of events", "the MISP feed format",
        "the events, which are other files", "json",
    ),
    "misp-warninglist": Reader(
        misp.warning_list, '{"type": "cidr", "list": […], …}', "as its type says: cidr, string the name alone, "
        "hostname with all below it", "the README of misp-warninglists", "types regex and substring", "json",
    ),
    "json-allow-deny": Reader(
        ranges.allow_deny, '{"allow": […], "deny": […]}', "the name and all below it",
        "polkadot-js/phishing's README", "paths in denySub", "json",
    ),
    "aws-json": _ranges("aws-json", '{"syncToken": …, "prefixes": [{"ip_prefix": …, "service": …}]}'),
    "azure-json": _ranges("azure-json", '{"changeNumber": …, "values": [{"properties": {"addressPrefixes": […]}}]}'),
    "cdncheck-json": _ranges("cdncheck-json", '{"cdn": {"vendor": […]}, "waf": …, "cloud": …}'),
    "fastly-json": _ranges("fastly-json", '{"addresses": […], "ipv6_addresses": […]}'),
    "github-json": _ranges("github-json", '{"hooks": […], "web": […], …}'),
    "google-json": _ranges("google-json", '{"syncToken": …, "prefixes": [{"ipv4Prefix": …}]}'),
    "oracle-json": _ranges("oracle-json", '{"last_updated_timestamp": …, "regions": [{"cidrs": […]}]}'),
}  # fmt: skip

SYNONYMS = {"stix20": "stix21", "taxii21": "stix21"}
"""Other words for one reader."""
PACKINGS = ("+gzip", "+zip", "+zstd")
"""May stand behind a word, and says nothing: compression is found by itself."""


@dataclass(frozen=True, slots=True)
class Found:
    """A list, and the word of the format that it was read by."""

    format: str
    content: Content


def bare(word: str) -> str:
    """A word without what may stand behind it; of synonyms the one that stands in READERS."""
    found = word.lower().partition(":")[0]
    for packing_word in PACKINGS:
        found = found.removesuffix(packing_word)
    return SYNONYMS.get(found, found)


def reader_of(word: str) -> Reader:
    """The reader of a word. Raises feeds.E001."""
    _, _, columns = word.lower().partition(":")
    column, _, category = columns.partition(":")
    found = bare(word)
    reader = READERS.get(found)
    if reader is None or (columns and found != "csv"):
        raise ClearwayError.of("feeds.E001", value=word, known=", ".join(READERS))
    if columns:
        return replace(reader, read=tables.by_name(column or None, category or None))
    return reader


def read(
    data: bytes,
    format: str | None = None,
    *,
    origin: str = "the list",
    now: datetime | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Found:
    """Reads a list, packed or not. `format` None: found from its look; `now` and `reasons` as Asked has them.

    Raises feeds.E001, E003, E007 to E009, E018 to E023; `origin` names the list in them.
    """
    reader = reader_of(format) if format else None
    text = packing.unpacked(data, origin)
    if b"\r" in text and text.count(b"\r") != text.count(b"\r\n"):  # a search is a tenth of a count
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # a line end that what looks for lines knows
    texts.check(text, origin)
    word = format or detect(text, origin)
    reader = reader or READERS[word]
    other = sniff.table_of(text, bare(word)) if reader.kind == "table" else None
    if other:
        raise ClearwayError.of("feeds.E018", origin=origin, format=word, best=other)
    try:
        content = reader.read(text, Asked(now, reasons))
    except Unfit as unfit:
        _check_guess(text, word, origin)
        raise ClearwayError.of(unfit.id, origin=origin, **unfit.fields) from None
    counts = content.counts
    if counts["malformed"] > counts["entries"] + counts["unsupported"]:
        _check_guess(text, word, origin, understood=counts["lines"] - counts["malformed"])
    elif format and reasons is None and not counts["entries"] + counts["exceptions"] and word != "hosts":
        _check_guess(text, word, origin)
    return Found(word, _dated(content, text, reader.kind))


def _dated(content: Content, text: bytes, kind: str) -> Content:
    """With what the list says of itself as a whole."""
    declared, published = content.declared, content.published
    if kind in ("lines", "table"):
        declared, published = headers.of_text(text)
    published_at = headers.time_of(published)
    is_unterminated = kind != "json" and not text.endswith((b"\n", b"\r"))
    return replace(
        content,
        declared=declared,
        published=published,
        published_at=published_at,
        is_unterminated=is_unterminated,
    )


def detect(text: bytes, origin: str = "the list") -> str:
    """The format that fits the start of a text best. Raises feeds.E023 where none does."""
    if not sniff.first_line(text):
        return "ip-plain"  # a list of nothing is one in any format
    best = sniff.best(text, READERS)
    if best is None:
        raise ClearwayError.of("feeds.E023", origin=origin, first=sniff.first_line(text))
    return best


def _check_guess(text: bytes, word: str, origin: str, understood: int = 0) -> None:
    """Refuses a format where another one makes more of the list. Raises feeds.E018."""
    best = sniff.best(text, READERS)
    if best is None or best == bare(word) or READERS[best].read is reader_of(word).read:
        return
    try:
        counts = READERS[best].read(text).counts
    except Unfit:
        return
    if counts["lines"] - counts["malformed"] > understood and counts["entries"] > counts["malformed"]:
        raise ClearwayError.of("feeds.E018", origin=origin, format=word, best=best)
