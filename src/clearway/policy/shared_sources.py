"""Shared ranges by who published them: what each version of a source claims, and what all of them make together.

    front-end          addresses behind which many names stand
    single-tenant      addresses that are let to somebody, one by one
    vendor             all that a vendor has: front ends, but for what any source says is let

The last one is how Google and GitHub publish: everything in one file, what is let to customers in another. The entries
of each claim lie in feeds/ by content hash, as those of lists do (policy/entries.py). Pure, but for opening those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clearway.policy import entries
from clearway.policy.arrays import U64
from clearway.policy.bogons import BOGONS, LINK
from clearway.policy.model import Prefix
from clearway.policy.shared import NOWHERE, Ranges, Shared, SharedClass

WITHIN_MAX = 1000
"""Ranges within a wide prefix that are looked at to name one."""


class Claim(Enum):
    """What a source says of its ranges."""

    FRONT_END = "front-end"
    SINGLE_TENANT = "single-tenant"
    VENDOR = "vendor"


_SPECIAL_USE = Ranges.of_prefixes([*BOGONS, *LINK])

CLASSES = {
    SharedClass.FRONT_END: (Claim.FRONT_END, Claim.VENDOR),
    SharedClass.SINGLE_TENANT: (Claim.SINGLE_TENANT,),
}
"""Claims that can make an address one of that class, the plainest first."""


class HasRanges(Protocol):
    """The ranges of one claim: entries.StoredEntries, or arrays that come with the package."""

    @property
    def v4(self) -> U64: ...
    @property
    def v6(self) -> U64: ...
    def covering(self, prefix: Prefix) -> Sequence[Prefix]: ...
    def within(self, prefix: Prefix, limit: int) -> Sequence[Prefix]: ...


@dataclass(frozen=True, slots=True)
class SharedSource:
    """One version of one source."""

    name: str
    vendor: str
    source: str
    """Where it came from, as it may be shown."""
    since: datetime
    """When it was fetched; of what comes with the package, when it was published."""
    contents: Mapping[Claim, str]
    """Hash of the ranges of each claim, below feeds/."""

    def as_json(self) -> dict[str, Any]:
        """As a snapshot's manifest has it."""
        claims = {claim.value: content for claim, content in self.contents.items()}
        since = self.since.isoformat(timespec="microseconds")
        return {"name": self.name, "vendor": self.vendor, "source": self.source, "since": since, "claims": claims}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SharedSource:
        """The opposite. Raises KeyError, TypeError, ValueError for what is none."""
        claims = {Claim(claim): str(content) for claim, content in document["claims"].items()}
        since = datetime.fromisoformat(document["since"])
        return cls(document["name"], document["vendor"], document["source"], since, claims)


@dataclass(frozen=True, slots=True)
class SharedRule:
    """Why an address is not refused as lists or people would have it."""

    shared: SharedClass
    prefix: Prefix
    """As published; one of several, where a prefix was asked that holds more."""
    name: str
    vendor: str
    source: str
    since: datetime


@dataclass(frozen=True)
class SharedRanges:
    """All versions of all sources that count. `held`: each with its ranges; the newest version of a source first."""

    held: Sequence[tuple[SharedSource, Mapping[Claim, HasRanges]]] = ()

    @classmethod
    def opened(cls, feeds: Path, sources: Iterable[SharedSource]) -> SharedRanges:
        """From their folders. Raises feeds.E014."""
        return cls(
            [
                (each, {claim: entries.open_entries(feeds / content, verify=False)
                        for claim, content in each.contents.items()})
                for each in sources
            ]
        )  # fmt: skip

    @property
    def sources(self) -> list[SharedSource]:
        return [source for source, _ in self.held]

    @cached_property
    def shared(self) -> Shared:
        """The classes: what a source says outright is a front end is one, whoever says that it is let.

        Special-use addresses are nobody's to claim: vendors' lists do hold some.
        """
        said = {claim: self._union(claim).minus(_SPECIAL_USE) for claim in Claim}
        let = said[Claim.SINGLE_TENANT]
        front_ends = said[Claim.FRONT_END].union(said[Claim.VENDOR].minus(let))
        return Shared(front_ends, let.minus(front_ends))

    @cached_property
    def content(self) -> str:
        """Hash of the classes: the same addresses in the same classes give the same, whoever published them."""
        made = hashlib.sha256()
        for ranges in (self.shared.front_ends, self.shared.single_tenant):
            for array in (ranges.v4, ranges.v6):
                made.update(len(array).to_bytes(8, "little") + np.ascontiguousarray(array, dtype="<u8").tobytes())
        return made.hexdigest()

    def rule(self, prefix: Prefix) -> SharedRule | None:
        """The strictest class that any address of `prefix` is of, with a published range that says so."""
        found = self.shared.class_of(prefix)
        for claim in CLASSES.get(found, ()):
            for covers in (True, False):
                rules = [rule for rule in self._claiming(claim, prefix, covers) if self._stands(found, claim, rule)]
                if rules:
                    return (max if covers else min)(rules, key=lambda rule: rule.prefix.length)
        if found is SharedClass.ELSEWHERE:
            return None
        source = self.held[0][0]  # far down within a very wide prefix: which range it is, matters to nobody
        return SharedRule(found, prefix, source.name, "several vendors", "several lists", source.since)

    def _union(self, claim: Claim) -> Ranges:
        parts = [Ranges.of(claims[claim].v4, claims[claim].v6) for _, claims in self.held if claim in claims]
        return NOWHERE.union(*parts)

    def _claiming(self, claim: Claim, prefix: Prefix, covers: bool) -> Iterable[SharedRule]:
        for source, claims in self.held:
            if claim in claims:
                ranges = claims[claim]
                for range in ranges.covering(prefix)[:1] if covers else ranges.within(prefix, WITHIN_MAX):
                    shared = SharedClass.SINGLE_TENANT if claim is Claim.SINGLE_TENANT else SharedClass.FRONT_END
                    yield SharedRule(shared, range, source.name, source.vendor, source.source, source.since)

    def _stands(self, found: SharedClass, claim: Claim, rule: SharedRule) -> bool:
        """Whether a range of a vendor holds more than what is let."""
        return claim is not Claim.VENDOR or self.shared.class_of(rule.prefix) is found


NO_RANGES = SharedRanges()


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """What a snapshot keeps of the shared ranges that it was compiled under."""

    content: str = ""
    """SharedRanges.content; "" where there were none."""
    sources: tuple[SharedSource, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        return {"content": self.content, "sources": [each.as_json() for each in self.sources]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> SharedRecord:
        """Of a manifest; None: one from before there were any. Raises KeyError, TypeError, ValueError."""
        if document is None:
            return cls()
        sources = tuple(SharedSource.from_json(each) for each in document["sources"])
        return cls(document["content"], sources)

    @classmethod
    def of(cls, ranges: SharedRanges) -> SharedRecord:
        return cls(ranges.content, tuple(ranges.sources)) if ranges.held else cls()
