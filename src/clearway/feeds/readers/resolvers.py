"""Configurations of resolvers, as lists come in them: dnsmasq, unbound, BIND. What refuses no name is no entry."""

from __future__ import annotations

import re
from collections.abc import Callable

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
    if option != "address" and target:
        return Rule.OPTION  # forwards these names, or with "#" takes them out again
    if "#" in names:
        return Rule.EVERYTHING
    wanted = [subtree_of(name.removeprefix("*.").removeprefix(".")) for name in names]
    refused = next((each for each in wanted if isinstance(each, Rule)), None)
    return refused or [said for each in wanted if not isinstance(each, Rule) for said in each]


def dnsmasq(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Names that are answered with an address that leads nowhere, or with none: each with all below it."""
    targets = ("0.0.0.0", "", "#", "127.0.0.1", "::")
    frames = [Frame("address=/", f"/{target}", SUBTREE) for target in targets]
    frames += [Frame("server=/", "/", SUBTREE), Frame("local=/", "/", SUBTREE)]
    return lines.read(text, Shape(frames, ("#",)), _dnsmasq_line, asked)


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

_UNBOUND_ZONE = re.compile(r"local-zone:\s*\"?([^\s\"]+)\"?\s+\"?([a-z_]+)\"?")
_UNBOUND_DATA = re.compile(r"local-data:\s*[\"'](\S+)\s+(?:\d+\s+)?(?:IN\s+)?(A|AAAA)\s+(\S+)[\"']", re.IGNORECASE)
_UNBOUND_OPTION = re.compile(r"[a-z0-9-]+:(\s.*)?")


def _unbound_reader() -> Callable[[str], Meaning]:
    redirected: set[str] = set()  # zones that local-data fills

    def line_reader(line: str) -> Meaning:
        text = re.split(r"\s#", line.strip(), maxsplit=1)[0].strip()
        if not text or text.startswith("#"):
            return []
        if zone := _UNBOUND_ZONE.fullmatch(text):
            name, kind = zone[1], zone[2]
            if name == ".":
                return Rule.EVERYTHING
            if kind == "redirect" and len(redirected) < 1_000_000:
                redirected.add(name.lower().rstrip("."))
            return subtree_of(name) if kind in (*UNBOUND_REFUSES, "deny", "inform_deny") else Rule.OPTION
        if data := _UNBOUND_DATA.fullmatch(text):
            if data[3] not in LOOPBACKS:
                return Rule.REDIRECT
            is_zone = data[1].lower().rstrip(".") in redirected
            return [Said(data[1], SUBTREE if is_zone else NameScope.EXACT)]
        if text.startswith("include"):
            return Rule.ELSEWHERE
        if text in ("server:", "view:"):
            return []
        return Rule.OPTION if _UNBOUND_OPTION.fullmatch(text) else Rule.NOT_A_LINE

    return line_reader


def unbound(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Zones that refuse a name with all below it; `local-data` to nowhere refuses one name."""
    frames = [Frame('local-zone: "', f'" {kind}', SUBTREE, addresses=False) for kind in UNBOUND_REFUSES]
    return lines.read(text, Shape(frames, ("#",)), _unbound_reader(), asked)


_BIND_ZONE = re.compile(r"zone\s+\"?([^\s\";]+)\"?\s*(?:IN\s*)?\{(.*)\}\s*;", re.IGNORECASE)
_BIND_TYPE = re.compile(r"\btype\s+(\w+)", re.IGNORECASE)
BIND_USUAL = (
    '" { type master; notify no; file "null.zone.file"; };',
    '" {type master; file "/etc/namedb/blockeddomain.hosts";};',
    '" { type master; notify no; file "/etc/bind/db.blocked"; };',
)


BIND_STATEMENT_CHARACTERS_MAX = 4096


def _bind_reader() -> Callable[[str], Meaning]:
    statement = ""  # what earlier lines began: a zone may go over several, and counts where it ends

    def line_reader(line: str) -> Meaning:
        nonlocal statement
        text = re.split(r"\s(?:#|//)", line.strip(), maxsplit=1)[0].strip()
        if not text or text.startswith(("#", "//", "/*", "*/", "* ")):
            return []
        whole = text if text.startswith("zone") else f"{statement} {text}".strip()
        statement = ""
        if whole.startswith("zone") and (whole.count("{") > whole.count("}") or "{" not in whole):
            if len(whole) > BIND_STATEMENT_CHARACTERS_MAX:
                return Rule.NOT_A_LINE
            statement = whole
            return []
        return _bind_statement(whole)

    return line_reader


def _bind_statement(text: str) -> Meaning:
    zone = _BIND_ZONE.fullmatch(text)
    if not zone:
        return Rule.ELSEWHERE if text.startswith("include") else Rule.NOT_A_LINE
    if zone[1] == ".":
        return Rule.EVERYTHING
    kind = _BIND_TYPE.search(zone[2])
    return subtree_of(zone[1]) if kind and kind[1].lower() in ("master", "primary") else Rule.OPTION


def bind_zone(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Zones that this server answers itself, from a file that holds nothing: each name with all below it."""
    frames = [Frame('zone "', behind, SUBTREE, addresses=False) for behind in BIND_USUAL]
    return lines.read(text, Shape(frames, ("#", "//")), _bind_reader(), asked)
