"""What the store answers with: plain values, importable before the database is set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clearway.policy.model import Prefix
    from clearway.policy.name_table import NameEntry


def stamp(time: datetime) -> str:
    """RFC 3339 in UTC to the second, as every answer has it."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Change:
    """What a stored decision changed, for whoever brings it into the kernel; the row stands when this is returned."""

    decision_id: int
    answer: dict[str, Any]
    """For the person who asked: JSON-ready; the gateway adds `enforced`."""
    overlay: tuple[Prefix, ...] = ()
    """Keys to write anew from wanted.overlay_at."""
    green: tuple[Prefix, ...] = ()
    """Keys to write anew from wanted.grant_at."""
    names: tuple[str, ...] = ()
    """Names at which to write anew what wanted.names_at says."""
    base_changed: bool = False
    versions: tuple[tuple[str, str], ...] = ()
    """Name and content of what is wanted of a list from now on."""
    bypass_until: datetime | None = None
    """Set by bypass only: until then a plain wire; a time not after `now` ends it."""


@dataclass(frozen=True, slots=True)
class OverlayWanted:
    """One key of the overlay. At least one of the two times is set, and both may be."""

    prefix: Prefix
    block_until: datetime | None
    exception_until: datetime | None


@dataclass(frozen=True, slots=True)
class NameWanted:
    """What a person said of one name, and what is told to the refused. At least one of the two times is set."""

    name: str
    scope: str
    """exact, below or subtree."""
    block_until: datetime | None
    exception_until: datetime | None
    rule: str
    """Its id: `decision` and the number that `explain` takes."""
    reason: str
    """The reason's public word; "" for an exception."""
    source: str
    """Who decided."""


@dataclass(frozen=True, slots=True)
class GrantWanted:
    """One key of the green table."""

    prefix: Prefix
    until: datetime
    organisation: str


@dataclass(frozen=True, slots=True)
class ListWanted:
    """One list in force: the newest version of an active feed, not yet expired; of a feed that a table of reasons
    divides, one for each reason."""

    feed: str
    reason: str
    content: str
    """Content hash: the folder below feeds/."""
    fetched_at: datetime
    until: datetime
    source: str
    version_id: int
    decision_id: int
    observe: bool = False
    """Its hits are counted, and drop nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One single entry or grant in force, with the decision that put it there."""

    kind: str
    """block, exception or grant."""
    prefix: Prefix
    since: datetime
    until: datetime
    actor: str
    reason: str
    note: str
    organisation: str
    decision_id: int


@dataclass(frozen=True, slots=True)
class StandingName:
    """One name in force, with the decision that put it there."""

    kind: str
    """block or exception."""
    entry: NameEntry
    since: datetime
    until: datetime
    actor: str
    reason: str
    note: str
    decision_id: int


@dataclass(frozen=True, slots=True)
class NameHit:
    """An entry of a list that covers a name, or lies below it."""

    feed: str
    reason: str
    entry: NameEntry
    since: datetime
    until: datetime
    source: str
    decision_id: int = 0
    """Of the version that holds it."""
    spared_by: str = ""
    """The list's own exception that covers what was asked, where there is one."""


@dataclass(frozen=True, slots=True)
class ListHit:
    """An entry of a list that covers an address or prefix, or lies within it."""

    feed: str
    reason: str
    prefix: Prefix
    since: datetime
    until: datetime
    source: str
    decision_id: int = 0
    """Of the version that holds it."""


QUARANTINE = "quarantine-feed"
"""The guard's verdict that condemns a list whole."""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Entries that were fetched, judged and stored in feeds/, about to become a version of a list, or of quarantine."""

    content: str
    """"" where nothing could be read of it."""
    counts: dict[str, int] = field(hash=False)
    origin: str
    """Where the bytes really came from: a path, or the URL after redirects."""
    etag: str = ""
    last_modified: str = ""
    parts: dict[str, str] = field(default_factory=dict, hash=False)
    """Reason → content, where a table of reasons divides the list; `content` has all of them."""
    sha256: str = ""
    """Of the bytes as they came; "" where the server said that nothing is new."""
    judgement: dict[str, Any] = field(default_factory=dict, hash=False)
    """What the guard said, without the entries: verdict, rule, rules, alarms, rejected, held_back …; `read_as` is
    prepare.read_as of the settings it was judged by, `asked` the moment that its source was asked."""
    feed: int | None = None
    """Id of the list that it was prepared for, since another may have its name by the end; None: of no list that had
    that source."""

    @property
    def quarantined(self) -> bool:
        """The guard condemned it whole."""
        return bool(self.judgement.get("verdict") == QUARANTINE)

    @property
    def contents(self) -> set[str]:
        """Folders below feeds/ that it needs."""
        return {content for content in (self.content, *self.parts.values()) if content}
