"""What an operator sets for one list, beside its source, reason and times: how it is judged, read, fetched and kept.

Stored as JSON with the list; every change of it is a decision. Secrets never stand here: `key_file` is a path.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from clearway.policy.model import Reason, parse_word, word

KEEP = 5
"""Versions of a list that are kept, where nothing else is set."""
KEEP_MAX = 1000
CATEGORIES_MAX = 1000

Path = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^/[^\x00-\x1f\x7f]*$")]


def _reason(value: object) -> object:
    """The word as it is written everywhere. Raises policy.E006."""
    return word(parse_word(Reason, value)) if isinstance(value, str) else value


def _casefolded(value: object) -> object:
    return value.strip().casefold() if isinstance(value, str) else value


Category = Annotated[str, BeforeValidator(_casefolded), StringConstraints(min_length=1, max_length=255)]
ReasonWord = Annotated[str, BeforeValidator(_reason)]
ThresholdKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


Proxy = Annotated[str, StringConstraints(max_length=2048, pattern=r"^(none|https?://[^@\x00-\x20\x7f]+)$")]


class FeedSettings(BaseModel):
    """Defaults are those of a list of which nothing was said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thresholds: dict[ThresholdKey, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Numbers of guard_rules that are others for this list, by their key."""
    reasons: dict[Category, ReasonWord] = Field(default_factory=dict, max_length=CATEGORIES_MAX)
    """The source's category, casefolded → the reason its entries get. Not empty: an entry of any other category, or of
    none, is left out and counted."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the bytes as downloaded: anything else is refused."""
    wide: bool | None = None
    """May hold prefixes of /8 to /15 (rule G11). None: as usual for its format."""
    declared_count: Literal["judge", "ignore"] = "judge"
    """`ignore`: the count in the list's own header is known to lie (rule G5)."""
    proxy: Proxy | None = None
    """URL of the proxy that this list is fetched through, without user and password; `none`: not even through that of
    the environment, which may have both."""
    key_file: Path | None = None
    """Absolute path of a file with the key that the source wants: TSIG for a zone, else a token."""
    keep: Annotated[int, Field(ge=1, le=KEEP_MAX)] = KEEP
    """Versions kept for `feed diff` and `feed rollback`, the one in force among them."""
