"""Patterns of STIX (2.1, part 9; 2.0, part 5): which values each say by themselves that something is meant. Pure.

Comparisons by `=`, `IN` and, of addresses, `ISSUBSET`, joined by OR, are each a value of its own. What AND, FOLLOWEDBY
or a qualifier joins means more than one thing at a time, and gives none; the other sides of an OR around it still do.
"""

from __future__ import annotations

import re

from clearway.feeds.readers.content import Meaning, Said
from clearway.feeds.readers.plain import of_url
from clearway.feeds.readers.rules import Rule
from clearway.feeds.readers.values import looks_like_address

CHARACTERS_MAX = 1 << 20
DEPTH_MAX = 64
"""Of parentheses."""

_ADDRESSES = frozenset({"ipv4-addr:value", "ipv6-addr:value"})
_ENDS = frozenset({"network-traffic:dst_ref.value", "network-traffic:src_ref.value"})
"""Addresses too, or names."""
_SKIP = re.compile(r"(?:\s+|/\*.*?\*/|//[^\r\n]*)*+", re.ASCII | re.DOTALL)
"""White space, and what the grammar of OASIS calls a comment."""
_TOKEN = re.compile(
    r"""
    (?P<literal>[tbh]'(?:[^'\\]|\\['\\])*+')
    | (?P<string>'(?:[^'\\]|\\['\\])*+')
    | (?P<path>[\w-]+:(?:[\w-]+|'(?:[^'\\]|\\.)*')(?:\.(?:[\w-]+|'(?:[^'\\]|\\.)*')|\[(?:\*|-?\w+)\])*)
    | (?P<number>[+-]?(?:\d*\.\d+|0|[1-9]\d*))
    | (?P<word>[A-Za-z]+)
    | (?P<mark>==|!=|<>|[<>]=?|[\[\](),=])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_OPERATORS = frozenset({"=", "==", "!=", "<>", "<", ">", "<=", ">="})
_OF_TEXT = frozenset({"LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"})
"""Operators whose other side is a text."""

Found = list[tuple[str, Meaning]]
"""Values, or pieces of a pattern, each with what it means."""


class _NotAPattern(Exception):
    pass


def comparisons(pattern: str) -> Found | Rule:
    """The values of a pattern; the rule, where it is none or too large."""
    if len(pattern) > CHARACTERS_MAX:
        return Rule.FIELD
    try:
        return _Parser(pattern).whole()
    except _NotAPattern:
        return Rule.NOT_A_LINE


class _Parser:
    """Reads from left to right. FOLLOWEDBY binds less than OR, and OR less than AND."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0
        self._kind, self._text, self._start, self._end = "", "", 0, 0
        self._step()

    def whole(self) -> Found:
        found = self._followed()
        if self._kind:
            raise _NotAPattern
        return found

    def _step(self) -> None:
        """To the next token; the kind is "" behind the last."""
        skipped = _SKIP.match(self._pattern, self._end)
        behind = skipped.end() if skipped else self._end
        if behind == len(self._pattern):
            self._kind, self._text, self._start = "", "", behind
            return
        token = _TOKEN.match(self._pattern, behind)
        if not token or not token.lastgroup:
            raise _NotAPattern
        self._kind, self._text = token.lastgroup, token[token.lastgroup]
        self._start, self._end = token.span()

    def _take(self, *texts: str) -> bool:
        """Goes on where one of these words or marks stands."""
        if self._kind in ("word", "mark") and self._text in texts:
            self._step()
            return True
        return False

    def _want(self, *texts: str) -> None:
        if not self._take(*texts):
            raise _NotAPattern

    def _conjunction(self, start: int) -> Found:
        return [(self._pattern[start : self._start].strip(), Rule.CONJUNCTION)]

    def _followed(self) -> Found:
        start, found, several = self._start, self._either(is_inner=False), False
        while self._take("FOLLOWEDBY"):
            self._either(is_inner=False)
            several = True
        return self._conjunction(start) if several else found

    def _either(self, *, is_inner: bool) -> Found:
        found = self._both(is_inner)
        while self._take("OR"):
            found += self._both(is_inner)
        return found

    def _both(self, is_inner: bool) -> Found:
        start, several = self._start, False
        found = self._one(is_inner)
        while self._take("AND"):
            self._one(is_inner)
            several = True
        return self._conjunction(start) if several else found

    def _one(self, is_inner: bool) -> Found:
        """Of comparisons (`is_inner`) or of what stands in brackets: one, or several in parentheses."""
        start = self._start
        if self._take("("):
            self._depth += 1
            if self._depth > DEPTH_MAX:
                raise _NotAPattern
            found = self._either(is_inner=True) if is_inner else self._followed()
            self._want(")")
            self._depth -= 1
        elif is_inner:
            return self._comparison()
        else:
            self._want("[")
            found = self._either(is_inner=True)
            self._want("]")
        return found if is_inner or not self._qualifiers() else self._conjunction(start)

    def _qualifiers(self) -> bool:
        found = False
        while self._kind == "word" and self._text in ("START", "WITHIN", "REPEATS"):
            is_span, is_time = self._text == "START", self._text == "WITHIN"
            self._step()
            self._value("literal", "string") if is_span else self._value("number")
            self._want("STOP" if is_span else "SECONDS" if is_time else "TIMES")
            if is_span:
                self._value("literal", "string")
            found = True
        return found

    def _comparison(self) -> Found:
        if self._take("NOT"):
            self._want("EXISTS")
            return [(self._value("path"), Rule.NO_OBSERVABLE)]
        if self._take("EXISTS"):
            return [(self._value("path"), Rule.NO_OBSERVABLE)]
        path = self._value("path")
        is_negated = self._take("NOT")
        if self._take("IN"):
            return self._set(path, "NOT" if is_negated else "IN")
        operator = self._text
        if self._kind not in ("word", "mark") or operator not in _OPERATORS | _OF_TEXT:
            raise _NotAPattern
        self._step()
        if operator in _OF_TEXT and self._kind != "string":
            raise _NotAPattern
        return [self._compared(path, "NOT" if is_negated else "=" if operator == "==" else operator)]

    def _set(self, path: str, operator: str) -> Found:
        self._want("(")
        if self._take(")"):
            return [(path, Rule.NO_OBSERVABLE)]
        found = [self._compared(path, operator)]
        while self._take(","):
            found.append(self._compared(path, operator))
        self._want(")")
        return found

    def _compared(self, path: str, operator: str) -> tuple[str, Meaning]:
        if self._kind == "string":
            value = re.sub(r"\\(['\\])", r"\1", self._text[1:-1])
            self._step()
            return value, _of_value(path, operator, value)
        if self._kind == "word" and self._text not in ("true", "false"):
            raise _NotAPattern
        shown = self._value("number", "literal", "word")
        return shown, Rule.NO_OBSERVABLE

    def _value(self, *kinds: str) -> str:
        if self._kind not in kinds:
            raise _NotAPattern
        text = self._text
        self._step()
        return text


def _of_value(path: str, operator: str, value: str) -> Meaning:
    if operator in ("LIKE", "MATCHES"):
        return Rule.EXPRESSION
    is_address = path in _ADDRESSES
    if operator not in ("=", "IN") and not (operator == "ISSUBSET" and (is_address or path in _ENDS)):
        return Rule.CONJUNCTION
    if path == "url:value":
        return of_url(value)
    if is_address:
        return [Said(value)] if looks_like_address(value) else Rule.ADDRESS
    return [Said(value)] if path in _ENDS or path == "domain-name:value" else Rule.NO_OBSERVABLE
