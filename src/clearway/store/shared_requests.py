"""What can be asked of a gateway about shared ranges; as requests.py has it for all else."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from clearway.store.requests import ContentHash, FeedName, Line, Request, Word

RuleWord = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^G[0-9]{1,2}$")]
"""A rule of guard_rules by its id."""


class StoredRanges(BaseModel):
    """Ranges that the caller fetched, judged and stored in feeds/ already."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contents: dict[str, ContentHash]
    """Claim → content; empty where the list was not taken."""
    counts: dict[str, int]
    origin: Annotated[str, StringConstraints(max_length=2048)]
    etag: Annotated[str, StringConstraints(max_length=255)] = ""
    last_modified: Annotated[str, StringConstraints(max_length=64)] = ""
    judgement: dict[str, Any] = {}
    row: int | None = None


class CdnAddRequest(Request):
    """Take a vendor's ranges from a source. `accept`: a rule that a person overrules, this once."""

    name: FeedName
    source: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2048)] = ""
    vendor: Word | None = None
    format: Word | None = None
    every: Word | None = None
    accept: RuleWord | None = None
    stored: StoredRanges | None = None


class CdnUpdateRequest(Request):
    """Fetch them again."""

    accept: RuleWord | None = None
    stored: StoredRanges | None = None


class CdnRemoveRequest(Request):
    """Let a source's ranges count no longer."""

    note: Line = ""
