"""Lists of one thing a line: names, addresses, hosts files, trails."""

from __future__ import annotations

import re

from clearway._engine import NameScope
from clearway.feeds.readers import lines
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Meaning, Said, Unfit
from clearway.feeds.readers.lines import Frame, Shape, without_comment
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import address_of, looks_like_address

EXACT, BELOW, SUBTREE = NameScope.EXACT, NameScope.BELOW, NameScope.SUBTREE
COMMENTS = ("#", ";", "//", "!")
MARKS = ("#", ";", "//")

_URL = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#]+)/?", re.IGNORECASE)
_HOST_PORT_PATH = re.compile(r"([\w-]*[.*][\w.*-]*)(:\d{1,5})?([/?].*)?")
_LENGTH = re.compile(r"[\d.]+/[\d.-]*", re.ASCII)
"""An address with what should be its length."""
_COSMETIC = re.compile(r"\s*[^\s#]+#[@?$%]{0,2}#\S")
"""A rule about a page's parts: no name with a comment behind it."""


def subtree_of(name: str, exception: bool = False) -> list[Said] | Rule:
    """A name with all below it, as resolvers take their zones; below one label stands a whole registry."""
    return [Said(name, SUBTREE, exception)] if "." in name.strip(".") or ":" in name else Rule.SUFFIX


def of_url(text: str) -> Meaning:
    """A URL that has no path, query or user names a host, of whichever port if that is an address; others do not: a
    path cannot be enforced, and a host with many tenants is not what is meant."""
    bare = _URL.fullmatch(text)
    if not bare or "@" in bare[1]:
        return Rule.URL
    host, colon, port = bare[1].rpartition(":")
    if not colon or bare[1].endswith("]"):
        return [Said(bare[1].strip("[]"))]
    if not port.isdecimal():
        return Rule.NOT_A_LINE
    host = host.strip("[]")
    return [Said(host)] if looks_like_address(host) else Rule.PORT


def of_column(text: str, plain: NameScope, starred: NameScope) -> Meaning:
    """What one name or address says that has nothing beside it; `*.` in front of a name as the format says."""
    if "://" in text:
        return of_url(text) if _URL.match(text) else Rule.NOT_A_LINE
    if text.startswith("/"):
        return Rule.PATH
    if text in ("*", "*.", "*.*", "."):
        return Rule.EVERYTHING
    if text.startswith("*."):
        inner = text[2:]
        if looks_like_address(inner):
            return Rule.ADDRESS_WILDCARD
        return [Said(inner, starred)] if "." in inner else Rule.SUFFIX
    if text.startswith("."):
        return [Said(text[1:], BELOW)]
    found = _HOST_PORT_PATH.fullmatch(text)
    if found and not _LENGTH.fullmatch(text):
        host, port, path = found.groups()
        if path:
            return Rule.URL
        if port and not looks_like_address(host):
            return Rule.PORT
    return [Said(text, plain)]


def _names(text: bytes, plain: NameScope, starred: NameScope, asked: Asked) -> Content:
    def line_reader(line: str) -> Meaning:
        if _COSMETIC.match(line):
            return Rule.COSMETIC
        column = without_comment(line, *MARKS)
        return of_column(column, plain, starred) if column else []

    frames = (Frame("", "", plain), Frame("*.", "", starred, addresses=False))
    return lines.read(text, Shape(frames, COMMENTS, probe=line_reader), line_reader, asked)


def domains(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """A name covers itself, `*.name` what is below it."""
    return _names(text, EXACT, BELOW, asked)


def wildcard_domains(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """A name with all below it, whether `*.` stands in front or not."""
    return _names(text, SUBTREE, SUBTREE, asked)


def dnscrypt_names(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """A name with all below it; `=name` it alone, `*` elsewhere is a pattern."""

    def line_reader(line: str) -> Meaning:
        if _COSMETIC.match(line):
            return Rule.COSMETIC
        column = without_comment(line, "#")
        if not column or column.startswith("="):
            return [Said(column[1:])] if column else []
        return of_column(column.removeprefix("."), SUBTREE, SUBTREE)

    shape = Shape((Frame("", "", SUBTREE), Frame("*.", "", SUBTREE, addresses=False), Frame("=", "", EXACT)), ("#",))
    return lines.read(text, shape, line_reader, asked)


def ubo_hosts_or_url(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """A name with all below it, or a URL without its scheme, as uBlock Origin takes lists of hosts."""

    def line_reader(line: str) -> Meaning:
        if line.startswith(("||", "!")):
            return Rule.PATTERN if line[0] == "|" else []
        if _COSMETIC.match(line):
            return Rule.COSMETIC
        column = without_comment(line, *MARKS)
        return of_column(column, SUBTREE, SUBTREE) if column else []

    return lines.read(text, Shape((Frame("", "", SUBTREE),), COMMENTS, probe=line_reader), line_reader, asked)


_COMMENT = re.compile(r"[#;]|//")
_PARTS = re.compile(r"([^\s,-]+)(\s*)(?:-\s*([^\s,]*)|,?\s*([^\s,]*),?\s*([^\s,]*))")
"""The first column, then what stands behind a hyphen, or the second column and the third."""


def _address_line(line: str) -> Meaning:
    text = line.strip()
    if not text or text.startswith(COMMENTS):
        return []
    if text.startswith("<"):
        return Rule.NOT_A_LINE
    parts = _PARTS.match(_COMMENT.split(text, maxsplit=1)[0])
    if not parts:
        return Rule.ADDRESS
    column, space, last, beside, third = parts.groups()
    if not looks_like_address(column):
        return Rule.ADDRESS
    if last is not None and not (space and address_of(last) is Rule.ADDRESS):
        is_range = looks_like_address(last) and "/" not in column + last
        return [Said(f"{column}-{last}")] if is_range else Rule.ADDRESS
    if beside and address_of(beside.partition("-")[0]) is not Rule.ADDRESS:
        return [Said(f"{column}/{third}")] if _is_block(column, beside, third) else Rule.NOT_A_LINE
    return [Said(column)]


def _is_block(first: str, last: str, length: str) -> bool:
    """Whether these are the first address, the last one and the length of one prefix."""
    low, high, block = address_of(first), address_of(last), address_of(f"{first}/{length}")
    if isinstance(low, Rule) or isinstance(high, Rule) or isinstance(block, Rule) or "/" in last:
        return False
    hosts = (1 << low.length - block.length) - 1
    return low.version == high.version and (low.address, high.address) == (block.address, block.address | hosts)


_HOSTS_LOOK = re.compile(rb"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)[ \t]+(?![\d./-]+\s*$)[\w*:.[]", re.MULTILINE)
_LOOK_BYTES = 64 << 10


def addresses(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """An address, a prefix or a range; `#`, `;`, `//`, a comma or white space end it. Of a hosts file the first column
    is not what is refused: there it raises feeds.E018."""
    if _HOSTS_LOOK.search(text, 0, _LOOK_BYTES):
        raise Unfit("feeds.E018", format="a list of addresses", best="hosts")
    return lines.read(text, Shape(comments=("!",), separators=","), _address_line, asked)


def geofeed(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """The first column of RFC 8805: a prefix, then where it is."""

    def line_reader(line: str) -> Meaning:
        column = line.partition(",")[0].strip()
        return [Said(column)] if looks_like_address(column) else Rule.ADDRESS

    return lines.read(text, Shape(separators=","), line_reader, asked)


LOOPBACKS = frozenset({"0.0.0.0", "127.0.0.1", "::", "::1", "0", "::0", "0:0:0:0:0:0:0:0", "0:0:0:0:0:0:0:1"})
"""Addresses that a hosts file refuses names with."""
_OWN_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "local", "broadcasthost", "loopback", "0.0.0.0", "127.0.0.1", "::1"}
    | {f"localhost{version}{domain}" for version in "46" for domain in ("", f".localdomain{version}")}
)
"""What systems write into the file themselves."""

_IP6_NAME = re.compile(r"ip6-[a-z]+\Z", re.IGNORECASE)


def hosts_line(line: str) -> Meaning:
    """One line of hosts(5)."""
    address, *names = without_comment(line, "#").split() or [""]
    if not names or not (looks_like_address(address.partition("%")[0]) or address in LOOPBACKS):
        return Rule.NOT_A_LINE
    wanted = [name for name in names if name.lower() not in _OWN_NAMES and not _IP6_NAME.match(name)]
    if wanted and address not in LOOPBACKS:
        return Rule.REDIRECT
    return [Said(name) for name in wanted]


def hosts(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """hosts(5): names behind an address that leads nowhere, each by itself."""
    before = [f"{address}{space}" for address in ("0.0.0.0", "127.0.0.1") for space in (" ", "\t")]
    frames = [Frame(each, "", EXACT, addresses=False) for each in before]
    shape = Shape(frames, ("#",), special_labels=("localdomain", "localdomain4", "localdomain6"), probe=hosts_line)
    return lines.read(text, shape, hosts_line, asked)


_PORT = re.compile(r"(.+):\d{1,5}")
_ADDRESS_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d{1,5}", re.ASCII)
_EXPRESSION = re.compile(r"[\[\]()\\^$|]")
_TRAIL_ROW = re.compile(r'"?([^\s",]+)"?,(?:"[^"]*"|[^",]*),(?:"[^"]*"|[^",]*)')
"""A line of the trails.csv that sensors keep: trail, info, reference."""


def _trail_line(line: str) -> Meaning:
    usual = _ADDRESS_PORT.fullmatch(line)
    if usual:
        return [Said(usual[1])]
    row = _TRAIL_ROW.fullmatch(line)
    trail = row[1] if row else line.split(" #")[0].split("\t#")[0].strip()
    if trail.startswith("/") or not trail:
        return Rule.PATH if trail else []
    if _EXPRESSION.search(trail) and not trail.startswith("["):
        return Rule.EXPRESSION
    with_port = _PORT.fullmatch(trail)
    if with_port and trail.count(":") == 1:
        return [Said(with_port[1])] if looks_like_address(with_port[1]) else Rule.PORT
    if trail.startswith("["):
        return [Said(trail[1:].partition("]")[0])]
    return of_column(trail, EXACT, BELOW)


def maltrail(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """A name or an address (its port is not looked at), each by itself; a path or URL gives none."""
    return lines.read(text, Shape((Frame("", "", EXACT),), ("#",)), _trail_line, asked)
