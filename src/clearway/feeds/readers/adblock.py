"""Adblock rules as resolvers take them: `||name^` and its exceptions, and no modifier that is only half honoured."""

from __future__ import annotations

import re

from clearway._engine import NameScope
from clearway.feeds.readers import lines
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Meaning, Said
from clearway.feeds.readers.lines import Frame, Shape
from clearway.feeds.readers.plain import hosts_line
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import looks_like_address

WHOLE = frozenset({"all", "document", "doc", "network"})
"""Modifiers with which a rule refuses a visit to the name itself. A browser reads `document` as the page's own request,
and a page that cannot be opened is what phishing lists write it for; AdGuard's hostlist compiler drops these four for
resolvers (its RemoveModifiers), Technitium takes `doc` and `all`."""
BESIDE = frozenset({"important", "popup"})
"""Those that change nothing beside others: `important` orders rules of several lists, which here each keep to
themselves; types add up, so that `document,popup` is more than `document`. `popup` by itself spares every visit that is
no pop-up, which a name cannot: the hostlist compiler drops it all the same, and warns of what that hits; AdGuard Home
and Technitium leave the rule out, and so does this."""

_COSMETIC = re.compile(r"#[@?$%]{0,2}#|\$\$")
_HOST = re.compile(r"[^/^|*?:\s=&,~<>]+")
_HOSTS_LINE = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s")
_AGENT = re.compile(r"\[[^\[\]|^$:]+\]")
"""The first line of some lists: for which blocker they are."""


def _rule_line(line: str) -> Meaning:
    text = line.strip()
    if text.startswith("!") or _AGENT.fullmatch(text) or (text.startswith("#") and not _COSMETIC.match(text)):
        return []
    if _COSMETIC.search(text):
        return Rule.COSMETIC
    if _HOSTS_LINE.match(text):
        return hosts_line(text)
    if text[:1].isalnum():
        text = re.split(r"\s#", text, maxsplit=1)[0]  # AdGuard's names of a line each may have a note
    rule = text.removeprefix("@@")
    if rule.startswith("/"):
        return Rule.EXPRESSION if rule.rstrip("$").count("/") > 1 else Rule.PATTERN
    pattern, dollar, modifiers = rule.partition("$")
    meaning = _of_pattern(pattern, exception=text.startswith("@@"))
    if isinstance(meaning, list) and dollar:
        words = set(modifiers.split(","))
        if words - WHOLE - BESIDE or ("popup" in words and not words & WHOLE):
            return Rule.MODIFIER
    return meaning


def _of_pattern(pattern: str, exception: bool) -> Meaning:
    anchored = pattern.startswith("||")
    host = pattern.removeprefix("||")
    if not anchored and pattern.startswith("|"):
        # From the beginning of the name to its end: it alone
        whole = re.fullmatch(r"\|([\w.-]+)(?:\^\|?|\|)", pattern)
        return [Said(whole[1], NameScope.EXACT, exception)] if whole and "." in whole[1] else Rule.PATTERN
    # A bar ends the name, to resolvers; without the one in front, the name may begin with anything
    host = host.removesuffix("|" if anchored else "^|").removesuffix("^")
    if host.strip("*.^:/") == "":
        return Rule.EVERYTHING if host or anchored else Rule.NOT_A_LINE
    if not anchored and host.startswith(".") and pattern.endswith("^"):
        host = f"*{host}"  # whatever name ends in it
    starred = host.startswith("*.")
    host = host.removeprefix("*.")
    if anchored and host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if looks_like_address(host):
        return Rule.ADDRESS_WILDCARD if starred else [Said(host, NameScope.SUBTREE, exception)]
    if not _HOST.fullmatch(host):
        return _fault_of(host)
    if host.endswith(".") or host.startswith("."):
        return Rule.PATTERN
    if not anchored and not pattern.endswith("^") and not starred:
        # A bare word is a piece of a URL to browsers, and to resolvers a name; but a piece of names where it spares
        scope = NameScope.SUBTREE if exception else NameScope.EXACT
        return [Said(host, scope, exception)] if "." in host else Rule.NOT_A_LINE
    if "." not in host:
        return Rule.SUFFIX
    return [Said(host, NameScope.BELOW if starred else NameScope.SUBTREE, exception)]


def _fault_of(host: str) -> Rule:
    if " " in host or "<" in host:
        return Rule.NOT_A_LINE
    name = re.split(r"[/?^:=&]", host, maxsplit=1)[0]
    if "*" in name:
        return Rule.WILDCARD
    return Rule.PATTERN


def adblock(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Names with all below them; `@@` spares what it covers, inside this list."""
    frames = (
        Frame("||", "^", NameScope.SUBTREE),
        Frame("||", "^$all", NameScope.SUBTREE),
        Frame("||", "^$important", NameScope.SUBTREE),
    )
    return lines.read(text, Shape(frames, ("!",), probe=_rule_line), _rule_line, asked)
