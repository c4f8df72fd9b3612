"""Why a list is not taken as a whole: rules G1 to G8, each a function from what is known to what it found. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from clearway.errors import ClearwayError
from clearway.feeds.guard_entries import Held, addresses_of
from clearway.feeds.guard_rules import GuardRule
from clearway.feeds.judgement import Finding, is_empty, limit_of
from clearway.feeds.protected import bundled_rows
from clearway.feeds.readers.content import Content, Entries
from clearway.feeds.readers.rules import Rule
from clearway.policy.arrays import of_prefixes
from clearway.policy.model import Prefix

ERROR_RULES: Mapping[str, GuardRule] = {
    "feeds.E002": GuardRule.NOTHING,
    "feeds.E003": GuardRule.NOT_A_LIST,
    "feeds.E007": GuardRule.BYTES,
    "feeds.E008": GuardRule.BYTES,
    "feeds.E009": GuardRule.BYTES,
    "feeds.E010": GuardRule.NOT_A_LIST,
    "feeds.E011": GuardRule.NOT_A_LIST,
    "feeds.E018": GuardRule.NOTHING,
    "feeds.E019": GuardRule.NOTHING,
    "feeds.E020": GuardRule.NOTHING,
    "feeds.E021": GuardRule.NOTHING,
    "feeds.E022": GuardRule.NOTHING,
    "feeds.E023": GuardRule.NOTHING,
    "feeds.E030": GuardRule.NOT_A_LIST,
    "feeds.E031": GuardRule.NOT_A_LIST,
    "feeds.E032": GuardRule.NOT_A_LIST,
    "feeds.E033": GuardRule.CUT_OFF,
    "feeds.E034": GuardRule.BYTES,
    "feeds.E037": GuardRule.NOT_A_LIST,
    "feeds.E038": GuardRule.CUT_OFF,
    "feeds.E039": GuardRule.BYTES,
    "feeds.E040": GuardRule.NOT_A_LIST,
    "feeds.E041": GuardRule.NOT_A_LIST,
}
"""What an error of reading or fetching says of the list; with E010 there is none. Others are about the request."""

Thresholds = Mapping[str, float]


def of_error(error: ClearwayError) -> Finding | None:
    """None: it is not about the list."""
    rule = ERROR_RULES.get(error.id)
    if rule is None:
        return None
    return Finding(rule.id, error.message, "", "", error.id)


def of_answer(status: int | None, content_type: str) -> Iterator[Finding]:
    """G1, of what a server said beside the list."""
    if status not in (None, 200, 304):
        yield Finding(GuardRule.NOT_A_LIST.id, f"the server answered {status}", "", "")
    if content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        yield Finding(GuardRule.NOT_A_LIST.id, f"the server says that it is {content_type}", "", "")


def of_bytes(unpacked: int, limits: Thresholds) -> Iterator[Finding]:
    """G2, of their number; how far a list may unpack is packing.py's."""
    if unpacked > limits["size_mib"] * (1 << 20):
        seen = f"{unpacked / (1 << 20):.1f} MiB"
        yield Finding(GuardRule.BYTES.id, seen, limit_of("size_mib", limits["size_mib"]), "size_mib")


def of_lines(content: Content, limits: Thresholds) -> Iterator[Finding]:
    """G3, of what is in a list."""
    counts = content.counts
    entries, malformed, unsupported = counts["entries"], counts["malformed"], counts["unsupported"]
    if entries + malformed + unsupported >= limits["malformed_from"] and (
        malformed > limits["malformed_per_entry"] * entries
    ):
        seen = f"{malformed} malformed lines beside {entries} that give an entry"
        limit = f"{limits['malformed_per_entry']:g} for each of those"
        yield Finding(GuardRule.NOTHING.id, seen, limit, "malformed_per_entry")
    elif not entries:
        yield Finding(GuardRule.NOTHING.id, f"none of {counts['lines']} lines gives an entry{_why(content)}", "", "")


def _why(content: Content) -> str:
    """What a table of reasons has to do with it; "" where nothing."""
    left_out = content.rejects.by_rule().get(Rule.CATEGORY, 0)
    if not left_out:
        return ""
    column = "" if content.categories else "; of a table, --format csv:COLUMN:CATEGORY names the column that says it"
    return f": {left_out} are of no category that has a reason{column}"


def of_rest(content: Content, kept: Entries) -> Iterator[Finding]:
    """G3, of what is left in it: asked where no other rule speaks, as those say more."""
    entries = content.counts["entries"]
    if entries and is_empty(kept):
        yield Finding(GuardRule.NOTHING.id, f"nothing is left of {entries} lines that give an entry", "", "")


def of_change(held: Held, last: Entries | None, limits: Thresholds) -> Iterator[Finding]:
    """G4. What is held back is no shrinking, and no growth either; special-use space is not there at all."""
    if last is None:
        return
    before, found, now = len(last), held.judged, len(held.kept)
    if before >= limits["shrink_from"] and found < limits["shrink"] * before:
        seen = f"{found} entries after {before}, {found / before:.2f} times"
        yield Finding(GuardRule.SIZE.id, seen, limit_of("shrink", limits["shrink"]), "shrink")
    elif now > limits["growth"] * before and now > limits["growth_new"]:
        new = _new_in(held.kept, last) if now - before <= limits["growth_new"] else now - before
        if new > limits["growth_new"]:
            seen = f"{now} entries after {before}, {now / before:.1f} times"
            yield Finding(GuardRule.SIZE.id, seen, limit_of("growth", limits["growth"]), "growth")


def _new_in(now: Entries, last: Entries) -> int:
    """Entries that were not there; only asked of short lists."""
    old = _as_set(last)
    return sum(each not in old for each in _as_set(now))


def _as_set(entries: Entries) -> set[object]:
    names = {
        (scope, name) for scope, blob in entries.names.blobs().items() for name in blob.tobytes().split(b"\n") if name
    }
    return {*entries.v4.tolist(), *map(tuple, entries.v6.tolist()), *names}


def of_length(bytes_found: int, content_length: int | None) -> Iterator[Finding]:
    """G5, of what came of it."""
    if content_length is not None and bytes_found < content_length:
        seen = f"{bytes_found} bytes of {content_length} that the server announced"
        yield Finding(GuardRule.CUT_OFF.id, seen, "", "")


def of_wholeness(content: Content, found: int, judge_count: bool, limits: Thresholds) -> Iterator[Finding]:
    """G5, of what it says itself. `found`: distinct entries."""
    if content.has_metadata is False:
        yield Finding(GuardRule.CUT_OFF.id, "its last line, with the count of records, is missing", "", "")
    declared = content.declared
    if declared is None or not judge_count:
        return
    counts = content.counts
    lines, unsupported, malformed = counts["entries"], counts["unsupported"], counts["malformed"]
    candidates = {lines, found, lines + unsupported, lines + unsupported + malformed}
    nearest = min(candidates, key=lambda count: abs(declared - count))
    off = abs(declared - nearest) * 100 / max(declared, 1)
    if off > limits["declared_percent"]:
        seen = f"its header says {declared} entries, and there are {lines}"
        yield Finding(
            GuardRule.CUT_OFF.id, seen, limit_of("declared_percent", limits["declared_percent"]), "declared_percent"
        )
    elif content.is_unterminated and nearest < declared:
        seen = f"its last line has no end, and its header says {declared} entries where there are {nearest}"
        yield Finding(GuardRule.CUT_OFF.id, seen, "", "")


def public_v4() -> int:
    """IPv4 addresses outside special-use space."""
    special = [
        row.value
        for row in bundled_rows()
        if row.case == GuardRule.SPECIAL_USE and isinstance(row.value, Prefix) and row.value.version == 4
    ]
    return (1 << 32) - addresses_of(of_prefixes(special)[0])


def of_width(held: Held, other_share: int, limits: Thresholds) -> Iterator[Finding]:
    """G6. `other_share`: IPv4 addresses of all other lists."""
    if held.widest:
        shown = ", ".join(map(str, held.widest[:3]))
        key = "widest_v4" if held.widest[0].version == 4 else "widest_v6"
        seen = f"it holds {shown}" + (f" and {held.widest_count - 3} more so wide" if held.widest_count > 3 else "")
        yield Finding(GuardRule.WIDTH.id, seen, f"/{limits[key]:g}", key)
    public = public_v4()
    for share, key, whose in (
        (held.share, "share_percent", "its prefixes hold"),
        (held.kept_share + other_share, "total_percent", "with all other lists it holds"),
    ):
        percent = share * 100 / public
        if percent > limits[key]:
            seen = f"{whose} {percent:.2f} % of the public IPv4 addresses"
            yield Finding(GuardRule.WIDTH.id, seen, limit_of(key, limits[key]), key)


def of_protected(held: Held, limits: Thresholds) -> Iterator[Finding]:
    """G7."""
    if held.protected < limits["protected_entries"] or not held.judged:
        return
    percent = held.protected * 100 / held.judged
    if percent > limits["protected_percent"]:
        seen = f"{held.protected} of {held.judged} entries ({percent:.1f} %) are protected"
        yield Finding(
            GuardRule.OTHER_KIND.id,
            seen,
            limit_of("protected_percent", limits["protected_percent"]),
            "protected_percent",
        )


def of_age(published: datetime | None, now: datetime, max_age: timedelta) -> Iterator[Finding]:
    """G8. Without a time in the list nothing is said."""
    if published is not None and now - published > max_age:
        days = (now - published).total_seconds() / 86400
        seen = f"its source made it at {published:%Y-%m-%d %H:%M} UTC, {days:.0f} days ago"
        yield Finding(GuardRule.AGE.id, seen, limit_of("age_days", max_age.total_seconds() / 86400), "age_days")


def in_order_of_rules(findings: Sequence[Finding]) -> list[Finding]:
    """Lowest first, each rule's own order kept; of the same thing found twice, one."""
    return sorted(dict.fromkeys(findings), key=lambda finding: int(finding.rule.removeprefix("G")))
