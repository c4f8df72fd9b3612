"""What a list is held to before it counts: the one table of rules, and the numbers that an operator may set for a list.

G1 to G8 judge a list as a whole: where one of them speaks, nothing of it is taken, and the last good one stays. G9 to
G12 judge entries: those are left out, counted and shown. What single lines must look like (G9, and long lines under
G2) stands in readers/rules.py, with ids of the same form. Data only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from clearway.errors import ClearwayError
from clearway.feeds.readers.rules import RULES as LINE_RULES

FEED = "feed"
ENTRY = "entry"
LINE = "line"


class GuardRule(Enum):
    """A rule: its id, whether it refuses a feed or an entry, whether it alarms beyond that, and what it says."""

    NOT_A_LIST = "G1", FEED, True, "it is no list: a page, an error message, or an answer of a server that says no"
    BYTES = "G2", FEED, True, "its bytes are no text of a list: too many, packed in layers, binary, or too deep"
    NOTHING = "G3", FEED, True, "nothing in it can be enforced, or most of it is no line of its format"
    SIZE = "G4", FEED, True, "it is far smaller or larger than the last good one"
    CUT_OFF = "G5", FEED, True, "it is not whole: it says itself that it has other entries than are there"
    WIDTH = "G6", FEED, True, "it would cut off far too much of the internet"
    OTHER_KIND = "G7", FEED, True, "so much of it is protected that it is another kind of list, not one to block by"
    AGE = "G8", FEED, True, "its source made it too long ago"
    OWN = "G10.own", ENTRY, True, "it touches this network, its customers, or what its operator protects"
    ROOT_SERVER = "G10.root-server", ENTRY, True, "it touches a root server of the DNS"
    RESOLVER = "G10.resolver", ENTRY, True, "it touches a resolver that many networks ask"
    SPECIAL_USE = "G10.special-use", ENTRY, False, "it touches addresses that are of no single network"
    GRANTED = "G10.granted", ENTRY, False, "it touches a registered organisation that is let through"
    ECH = "G10.ech", ENTRY, False, "it covers a name that stands for every site of a provider that encrypts names"
    SUFFIX = "G10.suffix", ENTRY, False, "it covers a public suffix: whoever registers there would be refused"
    SYSTEM = "G10.system", ENTRY, False, "it touches updates, certificate status, time or the way into a network"
    TOP_SITE = "G10.top-site", ENTRY, False, "it covers a site of the operator's list of those that all visit"
    CDN = "G10.cdn", ENTRY, False, "it touches addresses that many sites share"
    WIDE = "G11.wide", ENTRY, False, "it is a wide prefix, and the list is not marked as one of wide prefixes"
    CLOUD = "G11.cloud", ENTRY, False, "it is more than a single host where hosts are let to many tenants"
    OWN_EXCEPTION = "G12", ENTRY, False, "exceptions of a list act inside that list only"

    def __init__(self, id: str, refuses: str, alarms: bool, sentence: str) -> None:
        self.id = id
        self.refuses = refuses
        self.alarms = alarms
        self.sentence = sentence


GUARD_RULES: Mapping[str, GuardRule] = MappingProxyType({rule.id: rule for rule in GuardRule})
"""By id."""
PROTECTED_CASES: tuple[GuardRule, ...] = (
    GuardRule.OWN,
    GuardRule.ROOT_SERVER,
    GuardRule.RESOLVER,
    GuardRule.SPECIAL_USE,
    GuardRule.GRANTED,
    GuardRule.ECH,
    GuardRule.SUFFIX,
    GuardRule.SYSTEM,
    GuardRule.TOP_SITE,
)
"""Of which rows of the protected set can be; an entry that touches several is counted under the first."""
RANGE_RULES = ("G1", "G2", "G3", "G4", "G5")
"""What lists of shared ranges are held to: the others would refuse them for being what they are."""

_LINE_SENTENCES = {rule.id: rule.sentence for rule in LINE_RULES}


def sentence_of(id: str) -> str:
    """What a rule says, a rule of lines among them. KeyError for another id."""
    rule = GUARD_RULES.get(id)
    return rule.sentence if rule is not None else _LINE_SENTENCES[id]


def in_order(id: str) -> tuple[int, str]:
    """Sorts ids: by number, then by word."""
    number, _, word = id.removeprefix("G").partition(".")
    return int(number), word


class Threshold(NamedTuple):
    """A number of a rule, and what it may be."""

    rule: str
    default: float
    unit: str
    low: float
    high: float
    sentence: str
    whole: bool = False


AGE_DAYS_SLOW = 30.0
SLOW_FORMATS = frozenset(
    {
        "spamhaus-drop", "spamhaus-json", "maltrail", "csv-blackbook", "misp-warninglist", "rfc8805-geofeed",
        "aws-json", "azure-json", "cdncheck-json", "fastly-json", "github-json", "google-json", "oracle-json",
    }
)  # fmt: skip
"""Formats of lists that change slowly: `age_days` is AGE_DAYS_SLOW where nobody set it."""
WIDE_FORMATS = frozenset({"spamhaus-drop", "spamhaus-json"})
"""Formats of lists that may hold prefixes of /8 to /15 where nobody says otherwise: networks taken over whole."""

THRESHOLDS: Mapping[str, Threshold] = MappingProxyType(
    {
        "size_mib": Threshold("G2", 256, "MiB", 0.001, 256, "bytes of the list, unpacked, at most"),
        "unpack_ratio": Threshold("G2", 50, "times", 1, 1000, "unpacked to packed bytes, past 16 MiB, at most"),
        "malformed_from": Threshold("G3", 20, "lines", 1, 1e9, "lines from which malformed ones condemn a list", True),
        "malformed_per_entry": Threshold("G3", 1, "lines", 0, 1000, "malformed lines for each entry, at most"),
        "shrink": Threshold("G4", 0.5, "times", 0, 1, "entries, of those of the last good list, at least"),
        "shrink_from": Threshold("G4", 20, "entries", 1, 1e9, "entries of the last good list to judge that by", True),
        "growth": Threshold("G4", 3, "times", 1, 1e6, "entries, of those of the last good list, at most"),
        "growth_new": Threshold("G4", 500, "entries", 0, 1e9, "new entries that are let in whatever the growth", True),
        "declared_percent": Threshold("G5", 1, "%", 0, 100, "entries off the count in the list's header, at most"),
        "widest_v4": Threshold("G6", 8, "bits", 1, 32, "length of an IPv4 prefix, at least", True),
        "widest_v6": Threshold("G6", 19, "bits", 1, 128, "length of an IPv6 prefix, at least", True),
        "share_percent": Threshold("G6", 1, "%", 0, 100, "of the public IPv4 addresses, in this list at most"),
        "total_percent": Threshold("G6", 3, "%", 0, 100, "of the public IPv4 addresses, in all lists at most"),
        "protected_percent": Threshold("G7", 5, "%", 0, 100, "entries that are protected, at most"),
        "protected_entries": Threshold(
            "G7", 20, "entries", 1, 1e9, "protected entries from which their share condemns a list", True
        ),
        "age_days": Threshold("G8", 7, "days", 0, 36500, "since the source made the list, at most; slow lists 30"),
        "wide_v4": Threshold("G11", 16, "bits", 1, 32, "length of IPv4 prefixes that any list may hold", True),
    }
)
"""Each number of the rules, by the key that sets it for a list."""


def checked(thresholds: Mapping[str, float], format: str | None = None) -> dict[str, float]:
    """All numbers: those given, else the defaults, of that format where it has its own.

    Raises feeds.E025 for an unknown key, E026 for a number that makes no sense.
    """
    made = {key: threshold.default for key, threshold in THRESHOLDS.items()}
    if format in SLOW_FORMATS:
        made["age_days"] = AGE_DAYS_SLOW
    for key, value in thresholds.items():
        threshold = THRESHOLDS.get(key)
        if threshold is None:
            raise ClearwayError.of("feeds.E025", key=key, known=", ".join(THRESHOLDS))
        senseless = not math.isfinite(value) or not threshold.low <= value <= threshold.high
        if senseless or (threshold.whole and value != int(value)):
            kind = "a whole number" if threshold.whole else "a number"
            span = f"{kind} from {threshold.low:g} to {threshold.high:g} ({threshold.unit})"
            raise ClearwayError.of("feeds.E026", key=key, value=f"{value:g}", span=span, means=threshold.sentence)
        made[key] = float(value)
    return made


def parse_setting(text: str) -> tuple[str, float]:
    """`KEY=VALUE` as a person writes it. Raises feeds.E025, E026."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if key not in THRESHOLDS:
        raise ClearwayError.of("feeds.E025", key=key or text, known=", ".join(THRESHOLDS))
    threshold = THRESHOLDS[key]
    try:
        number = float(value) if equals else math.nan
    except ValueError:
        number = math.nan
    if math.isnan(number):
        span = f"a number from {threshold.low:g} to {threshold.high:g} ({threshold.unit})"
        raise ClearwayError.of("feeds.E026", key=key, value=value or "nothing", span=span, means=threshold.sentence)
    return key, checked({key: number})[key]
