"""Whether bytes are the text of a list at all: pages, error messages, UTF-16 and binary files are not."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from clearway.errors import ClearwayError

START_BYTES = 4096
PIECE_BYTES = 1 << 20

_TEXT = bytes({9, 10, 12, 13, *range(0x20, 0x7F), *range(0x80, 0x100)})
_PAGES = ((b"<!doctype", "a web page"), (b"<html", "a web page"), (b"<?xml", "an XML document"))
_OPENS = rb"[ \t\f]*<(?:!--|[!/?]?[a-z][\w-]*(?::[\w-]+)?(?:[\s>]|/>|\Z))"
"""What opens or closes a tag; `<bad.example>` does not."""
_FIRST_TAG = re.compile(rb"(?:\xef\xbb\xbf)?" + _OPENS, re.IGNORECASE)
_TAG = re.compile(rb"[\r\n]" + _OPENS, re.IGNORECASE)
_ERROR = re.compile(rb"\{\s*\"errors?\"\s*:", re.IGNORECASE)
_MESSAGE = re.compile(rb"\s*\{\s*\"(?:message|status|detail|code|title|fault)\"\s*:", re.IGNORECASE)


def check(text: bytes, origin: str) -> None:
    """Raises the first of `faults`."""
    for fault in faults(text, origin):
        raise fault


def faults(text: bytes, origin: str) -> Iterator[ClearwayError]:
    """feeds.E003 of a page or an error message, E009 of what is no text in UTF-8: a page may be both."""
    what = _page(text)
    if what:
        yield ClearwayError.of("feeds.E003", origin=origin, what=what)
    detail = _no_text(text)
    if detail:
        yield ClearwayError.of("feeds.E009", origin=origin, detail=detail)


def _page(text: bytes) -> str:
    """What it is in place of a list; "" where it may be one."""
    start = text[:START_BYTES].lower()
    for mark, what in _PAGES:
        if mark in start:
            return what
    if _ERROR.search(start) or (len(text) < START_BYTES and _MESSAGE.match(start)):
        return "an error message"
    return "a web page" if b"<" in text and (_FIRST_TAG.match(text) or _TAG.search(text)) else ""


def _no_text(text: bytes) -> str:
    """What of it is no text in UTF-8; "" where all of it is."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16"
    strange = text.translate(None, delete=_TEXT)
    if strange:
        line = text.count(b"\n", 0, text.index(strange[:1])) + 1
        return f"byte 0x{strange[0]:02x} in line {line}"
    return "" if text.isascii() else _no_utf8(text)


def _no_utf8(text: bytes) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, len(text), PIECE_BYTES):
        piece = text[at : at + PIECE_BYTES]
        try:
            decoder.decode(piece, final=at + PIECE_BYTES >= len(text))
        except UnicodeDecodeError as error:
            place = max(0, at + error.start)
            line = text.count(b"\n", 0, place) + 1
            return f"it is not UTF-8 in line {line}"
    return ""
