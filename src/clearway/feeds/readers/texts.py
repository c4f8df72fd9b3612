"""Whether bytes are the text of a list at all: pages, error messages, UTF-16 and binary files are not."""

from __future__ import annotations

import codecs
import re

from clearway.errors import ClearwayError

START_BYTES = 4096
PIECE_BYTES = 1 << 20

_TEXT = bytes({9, 10, 12, 13, *range(0x20, 0x7F), *range(0x80, 0x100)})
_PAGES = ((b"<!doctype", "a web page"), (b"<html", "a web page"), (b"<?xml", "an XML document"))
_TAG = re.compile(rb"^[ \t]*<(?:!--|[!/]?[a-z][a-z0-9]*(?:[\s>]|/>))", re.MULTILINE | re.IGNORECASE)
"""What opens or closes a tag; `<bad.example>` does not."""
_ERROR = re.compile(rb"\{\s*\"errors?\"\s*:", re.IGNORECASE)
_MESSAGE = re.compile(rb"\s*\{\s*\"(?:message|status|detail|code|title|fault)\"\s*:", re.IGNORECASE)


def check(text: bytes, origin: str) -> None:
    """Raises feeds.E003 for a page or an error message, E009 for what is no text in UTF-8."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ClearwayError.of("feeds.E009", origin=origin, detail="it is UTF-16")
    strange = text.translate(None, delete=_TEXT)
    if strange:
        line = text.count(b"\n", 0, text.index(strange[:1])) + 1
        raise ClearwayError.of("feeds.E009", origin=origin, detail=f"byte 0x{strange[0]:02x} in line {line}")
    if not text.isascii():
        _check_utf8(text, origin)
    start = text[:START_BYTES].lower()
    for mark, what in _PAGES:
        if mark in start:
            raise ClearwayError.of("feeds.E003", origin=origin, what=what)
    if _ERROR.search(start) or (len(text) < START_BYTES and _MESSAGE.match(start)):
        raise ClearwayError.of("feeds.E003", origin=origin, what="an error message")
    if b"<" in text and _TAG.search(text):
        raise ClearwayError.of("feeds.E003", origin=origin, what="a web page")


def _check_utf8(text: bytes, origin: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, len(text), PIECE_BYTES):
        piece = text[at : at + PIECE_BYTES]
        try:
            decoder.decode(piece, final=at + PIECE_BYTES >= len(text))
        except UnicodeDecodeError as error:
            place = max(0, at + error.start)
            line = text.count(b"\n", 0, place) + 1
            raise ClearwayError.of("feeds.E009", origin=origin, detail=f"it is not UTF-8 in line {line}") from None
