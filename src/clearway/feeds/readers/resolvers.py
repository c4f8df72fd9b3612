"""Configurations of resolvers, as lists come in them: dnsmasq, unbound, BIND. What refuses no name is no entry."""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from itertools import islice

from clearway._engine import NameScope
from clearway.feeds.readers import lines
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Meaning, Said
from clearway.feeds.readers.lines import Frame, Shape
from clearway.feeds.readers.plain import LOOPBACKS, SUBTREE, subtree_of
from clearway.feeds.readers.rules import Rule

_DNSMASQ = re.compile(r"(address|server|local)\s*=\s*/(.*)/([^/]*)")
_DNSMASQ_OPTION = re.compile(r"[a-z0-9-]+(\s*=.*)?")


def _dnsmasq_line(line: str) -> Meaning:
    text = line.strip()
    if not text or text.startswith("#"):
        return []
    text = re.split(r"\s#", text, maxsplit=1)[0].strip()
    found = _DNSMASQ.fullmatch(text)
    if not found:
        return Rule.OPTION if _DNSMASQ_OPTION.fullmatch(text) else Rule.NOT_A_LINE
    option, names, target = found[1], found[2].split("/"), found[3].strip()
    if option == "address" and target not in LOOPBACKS | {"", "#"}:
        return Rule.REDIRECT
    spares = option != "address" and target == "#"  # takes these names out of a wider block again
    if option != "address" and target and not spares:
        return Rule.OPTION  # forwards them
    if "#" in names:
        return Rule.EVERYTHING
    wanted = [_dnsmasq_name(name.strip(), spares) for name in names]
    refused = next((each for each in wanted if isinstance(each, Rule)), None)
    return refused or [said for each in wanted if not isinstance(each, Rule) for said in each]


def _dnsmasq_name(name: str, spares: bool) -> list[Said] | Rule:
    if name.startswith("*."):
        return [Said(name[2:], NameScope.BELOW, spares)]
    return subtree_of(name.removeprefix("."), spares)


def dnsmasq(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Names that are answered with an address that leads nowhere, or with none: each with all below it."""
    targets = ("0.0.0.0", "", "#", "127.0.0.1", "::")
    frames = [Frame("address=/", f"/{target}", SUBTREE) for target in targets]
    frames += [Frame("server=/", "/", SUBTREE), Frame("local=/", "/", SUBTREE)]
    return lines.read(text, Shape(frames, ("#",), probe=_dnsmasq_line), _dnsmasq_line, asked)


UNBOUND_REFUSES = (
    "always_nxdomain",
    "always_refuse",
    "always_null",
    "always_deny",
    "always_nodata",
    "static",
    "refuse",
)
"""Types of a zone that refuse its name and all below it. `deny` is one more; `redirect` and `inform*` answer."""

REDIRECTED_MAX = 1_000_000
"""Zones of a list that are looked for among its local-data."""

UNBOUND_SPARES = ("transparent", "always_transparent", "typetransparent")
"""Types of a zone that take its name out of a wider one again."""

_UNBOUND_ZONE = re.compile(r"local-zone:\s*(?:\"([^\s\"]+)\"\s*|'([^\s']+)'\s*|([^\s\"']+)\s+)[\"']?([a-z_]+)[\"']?")
_UNBOUND_DATA = re.compile(
    r"local-data:\s*[\"'](\S+)\s+(?:(?:\d+|(?:\d+[smhdw])+)\s+)?(?:IN\s+)?(A|AAAA)\s+([^\s\"']+)\s*[\"']", re.IGNORECASE
)
_UNBOUND_NEXT = re.compile(r"(?<=\S)\s++(?=local-(?:zone|data):)")
"""Where another statement begins: they need no line of their own."""
_UNBOUND_REDIRECT = re.compile(rb"^[^#\n]*local-zone:\s*[\"']?([^\s\"']{1,256})[\"']?\s+[\"']?redirect\b", re.MULTILINE)
_UNBOUND_OPTION = re.compile(r"[a-z0-9-]+:(\s.*)?")


def _unbound_reader(redirected: Set[str]) -> Callable[[str], Meaning]:
    """Of a text in which these zones answer with local-data, as much as there is of it, whatever the order."""

    def line_reader(line: str) -> Meaning:
        text = re.split(r"\s#", line.strip(), maxsplit=1)[0].strip()
        text = text.removeprefix("server:").lstrip() if text.startswith("server:") else text
        if not text or text.startswith("#"):
            return []
        meanings = [statement(part) for part in _UNBOUND_NEXT.split(text)]
        refused = [meaning for meaning in meanings if isinstance(meaning, Rule)]
        said = [each for meaning in meanings if not isinstance(meaning, Rule) for each in meaning]
        return Rule.NOT_A_LINE if Rule.NOT_A_LINE in refused else said or (refused[0] if refused else [])

    def statement(text: str) -> Meaning:
        if zone := _UNBOUND_ZONE.fullmatch(text):
            name, kind = zone[1] or zone[2] or zone[3], zone[4]
            if name == ".":
                return Rule.EVERYTHING
            if kind in UNBOUND_SPARES:
                return subtree_of(name, exception=True)
            return subtree_of(name) if kind in (*UNBOUND_REFUSES, "deny", "inform_deny") else Rule.OPTION
        if data := _UNBOUND_DATA.fullmatch(text):
            if data[3] not in LOOPBACKS:
                return Rule.REDIRECT
            is_zone = data[1].lower().rstrip(".") in redirected
            return [Said(data[1], SUBTREE if is_zone else NameScope.EXACT)]
        if text.startswith("include"):
            return Rule.ELSEWHERE
        if text == "view:":
            return []
        is_whole = text.count('"') % 2 == 0
        return Rule.OPTION if is_whole and _UNBOUND_OPTION.fullmatch(text) else Rule.NOT_A_LINE

    return line_reader


def _unbound_zone_line(line: str) -> Meaning:
    """Zones alone: what other lines say may hang on them."""
    return _unbound_reader(frozenset())(line) if line.lstrip().startswith("local-zone:") else []


def unbound(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Zones that refuse a name with all below it; `local-data` to nowhere refuses one name."""
    behind = [f'{dot}" {kind}' for kind in UNBOUND_REFUSES for dot in ("", ".")]
    frames = [Frame('local-zone: "', each, SUBTREE, addresses=False) for each in behind]
    names = (found[1] for found in _UNBOUND_REDIRECT.finditer(text))
    redirected = {name.decode("utf-8", "replace").lower().rstrip(".") for name in islice(names, REDIRECTED_MAX)}
    return lines.read(text, Shape(frames, ("#",), probe=_unbound_zone_line), _unbound_reader(redirected), asked)


_BIND_ZONE = re.compile(r"zone\s+[\"']?([^\s\"';{]+)[\"']?\s*(?:IN\s*)?\{(.*)\}", re.IGNORECASE)
_BIND_HEAD = re.compile(r"zone\s+[^\s;{]+(?:\s+IN)?", re.IGNORECASE)
_BIND_TYPE = re.compile(r"\btype\s+(\w+)", re.IGNORECASE)
_BIND_OTHER = re.compile(
    r"(?:acl|category|channel|controls|dnssec-policy|http|key|logging|masters|options|primaries|response-policy|server|"
    r"statistics-channels|tls|trust-anchors)\b.*",
    re.IGNORECASE,
)
BIND_USUAL = (
    '" { type master; notify no; file "null.zone.file"; };',
    '" {type master; file "/etc/namedb/blockeddomain.hosts";};',
    '" { type master; notify no; file "/etc/bind/db.blocked"; };',
)
BIND_STATEMENT_CHARACTERS_MAX = 4096
_BIND_COMMENTS = ("/*", "//", "#")
_BIND_PART = re.compile(r"\"[^\"]*\"?|/\*.*?(?:\*/|\Z)|(?://|#).*|[^\"/#]+|/")
"""A string, a comment, or what stands between: nothing opens a comment inside of a string."""


class _Bind:
    """Statements, one or more a line, or over several lines. A view's braces around zones say nothing."""

    def __init__(self) -> None:
        self.unfinished = ""
        self._depth = 0
        """Braces that are open in what is unfinished."""
        self._in_comment = False

    def __call__(self, line: str) -> Meaning:
        text = self._without_comments(line)
        if not text:
            return []
        if not self.unfinished and (text == "};" or (text.startswith("view ") and text.endswith("{"))):
            return []
        whole, self.unfinished = f"{self.unfinished} {text}".strip(), ""
        if len(whole) > BIND_STATEMENT_CHARACTERS_MAX:
            self._depth = 0
            return Rule.NOT_A_LINE
        bare = re.sub(r"\"[^\"]*\"", "", text)
        self._depth += bare.count("{") - bare.count("}")
        if self._depth > 0:
            self.unfinished = whole
            return []
        self._depth = 0
        *statements, rest = _statements(whole)
        if _BIND_HEAD.fullmatch(rest):
            self.unfinished = rest  # its braces follow
        elif rest:
            return Rule.NOT_A_LINE
        said: list[Said] = []
        for meaning in map(_bind_statement, statements):
            if isinstance(meaning, Rule):
                return meaning
            said += meaning
        return said

    def _without_comments(self, line: str) -> str:
        if self._in_comment:
            _, end, line = line.partition("*/")
            self._in_comment = not end
        parts = _BIND_PART.findall(line)
        last = parts[-1] if parts else ""
        self._in_comment = self._in_comment or (last.startswith("/*") and not last[2:].endswith("*/"))
        return "".join(" " if part.startswith(_BIND_COMMENTS) else part for part in parts).strip()


def _statements(text: str) -> list[str]:
    """What ends in a semicolon outside of braces, each without it; then what is left behind the last."""
    made, start, depth = [], 0, 0
    for found in re.finditer(r"\"[^\"]*\"|[{};]", text):
        mark = found[0]
        depth += (mark == "{") - (mark == "}")
        if mark == ";" and depth <= 0:
            made.append(text[start : found.start()].strip())
            start, depth = found.end(), 0
    return [*made, text[start:].strip()]


def _bind_statement(text: str) -> Meaning:
    if not text:
        return []
    zone = _BIND_ZONE.fullmatch(text)
    if not zone:
        if text.startswith("include"):
            return Rule.ELSEWHERE
        return Rule.OPTION if _BIND_OTHER.fullmatch(text) else Rule.NOT_A_LINE
    if zone[1] == ".":
        return Rule.EVERYTHING
    kind = _BIND_TYPE.search(zone[2])
    return subtree_of(zone[1]) if kind and kind[1].lower() in ("master", "primary") else Rule.OPTION


def bind_zone(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Zones that this server answers itself, from a file that holds nothing: each name with all below it."""
    frames = [Frame('zone "', behind, SUBTREE, addresses=False) for behind in BIND_USUAL]
    return lines.read(text, Shape(frames, ("#", "//"), probe=lambda line: _Bind()(line)), _Bind(), asked)
