"""What can be asked of a gateway, as pydantic models: the command line and the HTTP API read requests by these alone.

They check shape: kinds, lengths, closed forms. What a request means against the clock, the lists and what stands
already is checked where it is decided (decide.py). Times stay text until then, since `2h` counts from the decision.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from clearway.errors import ClearwayError
from clearway.feeds.feed_settings import FeedSettings, ReasonWord

TEXT_MAX = 1000
"""Characters of a note."""
BATCH_MAX = 100
"""Lists of one request."""

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=TEXT_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
Organisation = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")
]
FeedName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Scope = Literal["exact", "below", "subtree"]
"""What a name is about; a test holds it to NameScope. None: it with all below it."""
ContentHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Request(BaseModel):
    """What all have. `actor` is who asks, as the command line says; a daemon puts the peer's uid where it is empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: Line = ""


class BlockRequest(Request):
    """Refuse an address, prefix or name from now until `until`."""

    target: Word
    reason: Word
    until: Word
    scope: Scope | None = None
    note: Line = ""


class UnblockRequest(Request):
    """Lift a manual block; spare the address or name until `until` where something else still holds it."""

    target: Word
    until: Word | None = None
    scope: Scope | None = None
    note: Line = ""


class GrantRequest(Request):
    """Put an inside prefix into the green lane until `until`."""

    prefix: Word
    organisation: Organisation
    until: Word
    note: Line = ""


class RevokeRequest(Request):
    """Take an inside prefix out of the green lane; only if it is that organisation's, where one is named."""

    prefix: Word
    organisation: Organisation | None = None
    note: Line = ""


class StoredContent(BaseModel):
    """Entries that the caller fetched, read and stored in feeds/ already: a file only it may read, for one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    content: ContentHash | Literal[""]
    counts: dict[str, int]
    origin: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    etag: str = ""
    last_modified: str = ""
    parts: dict[ReasonWord, ContentHash] = Field(default_factory=dict)
    sha256: ContentHash | Literal[""] = ""
    judgement: dict[str, Any] = Field(default_factory=dict)
    feed: int | None = None


class FeedAddRequest(Request):
    """Take a list from a file or URL. Without `stored`, whoever decides fetches it. Its reason is `reason`, or that of
    each category by `settings.reasons`."""

    name: FeedName
    source: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2048)]
    reason: Word | None = None
    format: Word | None = None
    every: Word | None = None
    life: Word | None = None
    observe: bool = False
    settings: FeedSettings = FeedSettings()
    stored: StoredContent | None = None

    @model_validator(mode="after")
    def _one_word_on_reasons(self) -> Self:
        if (self.reason is None) != bool(self.settings.reasons):
            raise ValueError("a list has a reason (--reason), or a table of them by category (--map), and never both")
        return self


class FeedCheckRequest(Request):
    """Judge a list, and take nothing of it."""

    settings: FeedSettings = FeedSettings()


class FeedUpdateRequest(Request):
    """Fetch a list again now."""

    stored: StoredContent | None = None


class FeedRemoveRequest(Request):
    """Enforce a list no longer."""

    note: Line = ""


class FeedNoteRequest(Request):
    """A decision about a list that needs no more than its name: enforce, observe, release, discard."""

    note: Line = ""


class FeedRollbackRequest(Request):
    """Take an older version of a list again."""

    version: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[0-9a-f]{1,64}$")]
    """The number of a decision, as `feed versions` shows, or how a content begins, 8 digits or more."""
    note: Line = ""


class FeedBatchRequest(Request):
    """Several lists at once, all of them read by the caller; each is taken or refused by itself."""

    add: list[FeedAddRequest] = Field(default_factory=list, max_length=BATCH_MAX)
    update: dict[FeedName, StoredContent] = Field(default_factory=dict, max_length=BATCH_MAX)

    @model_validator(mode="after")
    def _are_read(self) -> Self:
        if any(each.stored is None for each in self.add):
            raise ValueError("lists of a batch are read by who asks")
        return self


class FeedSetRequest(Request):
    """Change what is set for a list. `settings`: fields of FeedSettings to write anew; tables are merged, key by key,
    and a null takes a key or a field back to what it is where nothing is set; so does "" of `every` and `life`."""

    every: Word | Literal[""] | None = None
    life: Word | Literal[""] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    note: Line = ""


class ExcludeRequest(Request):
    """Let no list refuse an address, prefix or name until then."""

    target: Word
    until: Word
    scope: Scope | None = None
    note: Line = ""


class TargetRequest(Request):
    """Something about an address, prefix or name: lift its exclusion, protect it, protect it no longer."""

    target: Word
    note: Line = ""


class BypassRequest(Request):
    """A plain wire for a while (`on`, `duration`), or no longer."""

    on: bool
    duration: Word | None = None
    note: Line = ""

    @model_validator(mode="after")
    def _for_how_long(self) -> Self:
        if self.on and self.duration is None:
            raise ValueError("a bypass needs --for, so that it ends by itself")
        return self


class ProbeRequest(Request):
    """One frame through the loaded program; nothing is sent and nothing is counted but the probe."""

    frame: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){14,9216}$")]
    """Bytes from the Ethernet header on, in hexadecimal."""
    direction: Literal["outbound", "inbound"]


PATTERNS = {
    "name": "1 to 63 small letters, digits, dots, dashes or underscores, a letter or digit first",
    "organisation": "one line, without control characters",
    "note": "one line, without control characters",
    "version": "the number of a decision, or 8 digits or more of a content, as `clearway feed versions` shows them",
    "settings.sha256": "64 hexadecimal digits",
    "settings.proxy": "`none`, or http:// or https:// without user and password",
    "settings.key_file": "an absolute path",
    "frame": "a frame from its Ethernet header on, in hexadecimal: 14 to 9216 bytes",
}
"""Patterns in words, by field."""

AnyRequest = TypeVar("AnyRequest", bound=Request)


def parse(model: type[AnyRequest], values: dict[str, Any], command: str = "") -> AnyRequest:
    """The request that `values` describe. Raises store.E020, which names the first field that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "request"
        detail = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":
            detail = PATTERNS.get(field, "it holds what may not stand there")
        raise ClearwayError.of("store.E020", field=field, detail=detail, command=command or "clearway") from None
