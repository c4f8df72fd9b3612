"""A vendor's list of ranges → what each of them is: front ends, what is let, all that the vendor has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.feeds.readers import packing, ranges, table, texts
from clearway.feeds.readers.content import Entries, Unfit, entries_of
from clearway.feeds.shared_vendors import Vendor
from clearway.policy import arrays
from clearway.policy.arrays import U64
from clearway.policy.names import StoredNames
from clearway.policy.shared import Ranges
from clearway.policy.shared_sources import Claim


@dataclass(frozen=True)
class Claimed:
    """The ranges of one version, by what they are. Arrays as in policy/arrays.py."""

    claims: Mapping[Claim, Entries]
    """Those that hold something."""
    tags: Mapping[str, int] = field(default_factory=dict)
    """The vendor's own words for its services, and how many ranges are of each; empty where its list has none."""

    def counts(self) -> dict[str, int]:
        """Ranges by claim."""
        return {claim.value: len(entries.v4) + len(entries.v6) for claim, entries in self.claims.items()}


def claimed(data: bytes, vendor: Vendor, format: str | None = None, *, origin: str = "the list") -> Claimed:
    """Reads a vendor's list, packed or not. `format` None: the vendor's own.

    Raises feeds.E047 where it holds no address, and what readers/table.py's `read` does.
    """
    word = (format or vendor.format).lower()
    table.reader_of(word)
    if word not in ranges.VENDORS:
        found = table.read(data, word, origin=origin).content.blocked
        return _claimed({vendor.otherwise: (found.v4, found.v6)}, {}, origin)
    text = packing.unpacked(data, origin)
    texts.check(text, origin)
    try:
        tagged = ranges.tagged(text, word)
    except Unfit as unfit:
        raise ClearwayError.of(unfit.id, origin=origin, **unfit.fields) from None
    own_tags = word == vendor.format
    tags: dict[str, int] = {}
    prefixes: dict[Claim, dict[str, None]] = {}
    for prefix, tag in tagged:
        tags[tag] = tags.get(tag, 0) + 1
        claim = vendor.claim_of(tag) if own_tags else vendor.otherwise
        prefixes.setdefault(claim, {})[prefix] = None
    return _claimed({claim: _arrays(found) for claim, found in prefixes.items()}, tags, origin)


def _claimed(arrays: Mapping[Claim, tuple[U64, U64]], tags: Mapping[str, int], origin: str) -> Claimed:
    none = StoredNames()
    claims = {claim: Entries(v4, v6, none) for claim, (v4, v6) in arrays.items() if len(v4) or len(v6)}
    if not claims:
        raise ClearwayError.of("feeds.E047", origin=origin)
    return Claimed(claims, tags)


_PREFIX = re.compile(r"[\da-f.:]+(?:/\d+)?", re.ASCII | re.IGNORECASE)


def _arrays(prefixes: Iterable[str]) -> tuple[U64, U64]:
    """What is no prefix was judged by the guard, and gives nothing here."""
    lines = "\n".join(each for each in prefixes if _PREFIX.fullmatch(each))
    found = entries_of(_engine.parse_list(lines.encode("ascii"), [], [], [], b""))
    return found.v4, found.v6


LENGTH_MIN = {4: 8, 6: 16}
"""The widest range that anybody has, by IP version."""
SHARE_MAX = {Claim.FRONT_END: 0.02, Claim.VENDOR: 0.02, Claim.SINGLE_TENANT: 0.05}
"""Of all IPv4 addresses, what one source may claim. The largest claim half of that, and a claim takes away blocks: a
list that holds half of the internet must not."""


def too_much(found: Claimed) -> str | None:
    """What a list claims that nobody has, in words."""
    for claim, entries in found.claims.items():
        for version, lengths in arrays.lengths_of(entries.v4, entries.v6).items():
            if lengths and min(lengths) < LENGTH_MIN[version]:
                return f"a range of /{min(lengths)}, and the limit is /{LENGTH_MIN[version]}"
        share = Ranges.of(entries.v4, entries.v6).count(4) / (1 << 32)
        if share > SHARE_MAX[claim]:
            return f"{share:.1%} of all IPv4 addresses as {claim.value}, and the limit is {SHARE_MAX[claim]:.0%}"
    return None
