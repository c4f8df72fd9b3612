"""Suricata rules on the name in a TLS hello: those that name one host exactly, and `dotprefix` with all below it."""

from __future__ import annotations

import re

from clearway._engine import NameScope
from clearway.feeds.readers import lines
from clearway.feeds.readers.content import NOTHING_MORE, Asked, Content, Meaning, Said
from clearway.feeds.readers.lines import Shape
from clearway.feeds.readers.rules import Rule

_RULE = re.compile(r"(alert|drop|reject|rejectsrc|rejectdst|rejectboth|pass)\s+\S+\s[^()]*\((.*)\)")
_OPTION = re.compile(r"((?:\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z)|[^;\"])++);?")
_STARTS = frozenset({"startswith", "depth"})
_NAMES = frozenset({"tls.sni", "tls_sni", "dns.query", "dns_query", "http.host", "quic.sni"})
_BUFFER = re.compile(r"[a-z0-9_]+\.[a-z0-9_.]+|tls_sni|dns_query|\w+_data")


def _rule_line(line: str) -> Meaning:
    text = line.strip()
    if not text or text.startswith("#"):
        return []
    rule = _RULE.fullmatch(text)
    if not rule:
        return Rule.NOT_A_LINE
    if rule[1] == "pass":
        return Rule.OPTION
    parts = [option.partition(":") for option in _OPTION.findall(rule[2])]
    options = [(name.strip(), value.strip()) for name, _, value in parts]
    words = {name for name, _ in options}
    contents = [value for name, value in options if name == "content"]
    buffers = [name for name, value in options if name == "content" or (not value and _BUFFER.fullmatch(name))]
    if "pcre" in words:
        return Rule.EXPRESSION
    if not words & _NAMES or not contents:
        return Rule.NO_OBSERVABLE
    if len(contents) > 1 or contents[0].startswith("!"):
        return Rule.CONJUNCTION
    if buffers[max(0, buffers.index("content") - 1)] not in _NAMES:
        return Rule.NO_OBSERVABLE  # the content stands in what the last buffer in front of it holds
    name = contents[0].strip('"')
    if "|" in name:
        return Rule.EXPRESSION
    categories = tuple(value for option, value in options if option == "classtype" and value)
    if "dotprefix" in words and "endswith" in words and name.startswith("."):
        return [Said(name[1:], NameScope.SUBTREE, categories=categories)]
    ends = "endswith" in words or ("isdataat", "!1,relative") in options
    # `bsize` says how long the whole name is, so that nothing may stand beside it. Its number is not compared: a maker
    # of lists has written one and the same in all rules
    if any(name == "bsize" and value.isdecimal() for name, value in options) or (ends and words & _STARTS):
        return [Said(name, categories=categories)]
    if ends and name.startswith("."):
        return [Said(name[1:], NameScope.BELOW, categories=categories)]
    return Rule.SUBSTRING


def suricata_sni(text: bytes, asked: Asked = NOTHING_MORE) -> Content:
    """Rules; each by itself."""
    return lines.read(text, Shape(comments=("#",)), _rule_line, asked)
