"""What the comments of a list say of it as a whole: how many entries it has, and when it was made. Pure.

They are its maker's word, and some makers' are known to be wrong: what follows from them is for the guard.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

START_BYTES = 16 << 10
END_BYTES = 4 << 10
YEARS = range(1990, 2200)
NEVER = datetime.min.replace(tzinfo=UTC)

_THINGS = (
    r"entries|records|domains|hostnames|hosts|names|addresses|ips|ip addresses|subnets|networks|cidrs|rules|filters|"
    r"network filters|indicators|iocs|lines"
)
_COUNT = r"(?:(?:domain|hostname|host|name|address|ip|subnet|network|rule|entry|record|indicator|total)\s+)?count"
_DECLARED = re.compile(
    rf"(?:total\s+)?(?:(?:number|count)\s+of\s+|total\s+)?(?:unique\s+|blocked\s+|listed\s+)*(?:{_COUNT}|(?:{_THINGS})"
    r"(?:\s+count)?)\s*[:=]\s*(\d{1,3}(?:[,.' ]\d{3})+|\d+)(?![\d.,]|\s+(?:per|of|in|an?)\b)",
    re.IGNORECASE | re.ASCII,
)
_END = re.compile(rf"end\s*[(:]?\s*(\d+)\s*\)?\s*(?:{_THINGS})\b", re.IGNORECASE | re.ASCII)
_PUBLISHED = re.compile(
    r"(?:(?:this )?(?:file|list|feed) )?(?:(?:last[ _-]?)?(?:modified|updated?|changed?)|time ?updated|generated|"
    r"compiled|created|published|(?:build |release )?date|timestamp)(?: on| at)?(?:\s*[:=]\s*|\s+)(\S.{3,60})",
    re.IGNORECASE,
)
_SHORT_ZONE = re.compile(r"(?<=\d) \(?(?!UTC\b|[AP]M\b)[A-Z]{2,5}\)?$")
"""Most mean several zones, and some hours decide nothing here."""
_FORMS = (
    "%a %b %d %H:%M:%S UTC %Y",
    "%a %b %d %H:%M:%S %Y",
    "%d %b %Y %H:%M UTC",
    "%d %b %Y %H:%M:%S UTC",
    "%d %B %Y %H:%M:%S UTC",
    "%d %B %Y %H:%M UTC",
    "%d %B %Y",
    "%d %b %Y",
    "%B %d, %Y",
    "%d/%b/%Y",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%d %H:%M UTC",
)
_COMMENT = re.compile(rb"^[ \t]*(?:[#;!]|//)(.*)", re.MULTILINE)


def of_text(text: bytes) -> tuple[int | None, str | None]:
    """How many entries a list of lines declares, and when it says that it was made: the latest time, where it says
    several, since lists are updated long after they were created."""
    start = _comments(text[:START_BYTES])
    end = _comments(text[-END_BYTES:])
    declared = next((found for line in start if (found := _DECLARED.match(line))), None)
    declared = declared or next((found for line in end if (found := _END.match(line) or _DECLARED.match(line))), None)
    published = [found[1].strip() for line in start if (found := _PUBLISHED.match(line))]
    return (
        int(re.sub(r"\D", "", declared[1])[:15]) if declared else None,
        max(published, key=lambda text: time_of(text) or NEVER, default=None),
    )


def _comments(piece: bytes) -> list[str]:
    return [found.strip(b"#;!/* \t\r")[:200].decode("utf-8", "replace") for found in _COMMENT.findall(piece)]


def time_of(published: str | None) -> datetime | None:
    """The moment that a list's own words say; None where they say none. Without a zone it is UTC."""
    if not published:
        return None
    text = re.sub(r"\(?\b(?:UTC|GMT|Z)\b\)?", "UTC", published.strip()).strip()
    moment = _moment(text) or _moment(_SHORT_ZONE.sub("", text))
    if moment is None:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC) if moment.year in YEARS else None


def _moment(text: str) -> datetime | None:
    try:
        return _parsed(text)
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        return None


def _parsed(text: str) -> datetime | None:
    if re.fullmatch(r"\d{10}|\d{13}", text, re.ASCII):
        return datetime.fromtimestamp(int(text) / (1000 if len(text) == 13 else 1), UTC)
    if re.fullmatch(r"\d{1,7}|\d{9,}", text, re.ASCII):
        return None
    for form in _FORMS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text.removesuffix("UTC").strip())
    except ValueError:
        return parsedate_to_datetime(text.replace("UTC", "+0000"))
