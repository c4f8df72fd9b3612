"""What several sources make together, and which of them is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from clearway.policy import arrays
from clearway.policy.model import Prefix
from clearway.policy.prefix_table import PrefixSet
from clearway.policy.shared import SharedClass
from clearway.policy.shared_sources import Claim, HasRanges, SharedRanges, SharedRecord, SharedSource

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Held(PrefixSet):
    def __init__(self, *texts: str) -> None:
        prefixes = [Prefix.parse(text) for text in texts]
        super().__init__(prefixes)
        self.v4, self.v6 = arrays.of_prefixes(prefixes)


def ranges(*sources: tuple[str, dict[Claim, list[str]]]) -> SharedRanges:
    held: list[tuple[SharedSource, Mapping[Claim, HasRanges]]] = [
        (
            SharedSource(name, name, f"https://example.org/{name}", NOON, dict.fromkeys(claims, "0" * 64)),
            {claim: Held(*texts) for claim, texts in claims.items()},
        )
        for name, claims in sources
    ]
    return SharedRanges(held)


def said(held: SharedRanges, target: str) -> tuple[str, str, str] | None:
    rule = held.rule(Prefix.parse(target))
    return (rule.shared.value, str(rule.prefix), rule.name) if rule else None


def test_what_a_vendor_has_is_a_front_end_but_for_what_is_let() -> None:
    held = ranges(
        ("google", {Claim.VENDOR: ["5.8.0.0/16"]}),
        ("google-cloud", {Claim.SINGLE_TENANT: ["5.8.128.0/17", "5.8.1.0/24"]}),
    )
    assert said(held, "5.8.0.1") == ("front-end", "5.8.0.0/16", "google")
    assert said(held, "5.8.1.1") == ("single-tenant", "5.8.1.0/24", "google-cloud")
    assert said(held, "5.8.200.1") == ("single-tenant", "5.8.128.0/17", "google-cloud")
    assert said(held, "5.9.0.1") is None


def test_what_is_said_to_be_a_front_end_is_one_whoever_lets_it() -> None:
    held = ranges(
        ("aws", {Claim.SINGLE_TENANT: ["5.8.0.0/16"], Claim.FRONT_END: ["5.8.7.0/24"]}),
        ("other", {Claim.SINGLE_TENANT: ["5.8.7.0/25"]}),
    )
    assert said(held, "5.8.7.1") == ("front-end", "5.8.7.0/24", "aws")
    assert said(held, "5.8.8.1") == ("single-tenant", "5.8.0.0/16", "aws")


def test_of_a_wide_prefix_the_strictest_range_within_is_named() -> None:
    held = ranges(("a", {Claim.SINGLE_TENANT: ["5.8.0.0/16"]}), ("b", {Claim.FRONT_END: ["5.9.0.0/24", "5.9.9.9"]}))
    assert said(held, "5.0.0.0/8") == ("front-end", "5.9.0.0/24", "b")
    assert said(held, "5.8.0.0/15") == ("front-end", "5.9.0.0/24", "b")
    assert said(held, "5.0.0.0/12") == ("front-end", "5.9.0.0/24", "b")


def test_special_use_addresses_are_nobodys_to_claim() -> None:
    held = ranges(
        ("geofeed", {Claim.SINGLE_TENANT: ["198.51.100.0/24", "5.8.0.0/24"], Claim.FRONT_END: ["10.0.0.0/7"]})
    )
    assert said(held, "198.51.100.0/24") is None
    assert said(held, "10.1.1.1") is None
    assert said(held, "11.1.1.1") == ("front-end", "10.0.0.0/7", "geofeed")
    assert said(held, "5.8.0.1") == ("single-tenant", "5.8.0.0/24", "geofeed")


def test_the_newest_version_is_named_where_two_say_the_same() -> None:
    old = SharedSource("a", "a", "old", NOON, {})
    new = SharedSource("a", "a", "new", NOON, {})
    held = SharedRanges([(new, {Claim.FRONT_END: Held("5.8.0.0/16")}), (old, {Claim.FRONT_END: Held("5.8.0.0/16")})])
    rule = held.rule(Prefix.parse("5.8.0.1"))
    assert rule is not None
    assert rule.source == "new"
    assert rule.shared is SharedClass.FRONT_END


def test_the_content_is_that_of_the_classes_alone() -> None:
    one = ranges(("a", {Claim.FRONT_END: ["5.8.0.0/17", "5.8.128.0/17"]}))
    other = ranges(("b", {Claim.FRONT_END: ["5.8.0.0/16"]}), ("c", {Claim.SINGLE_TENANT: ["5.8.7.0/24"]}))
    assert one.content == other.content
    assert one.content != ranges(("a", {Claim.SINGLE_TENANT: ["5.8.0.0/16"]})).content


def test_a_record_is_read_as_it_was_written() -> None:
    held = ranges(("a", {Claim.FRONT_END: ["5.8.0.0/16"], Claim.SINGLE_TENANT: ["5.9.0.0/16"]}))
    record = SharedRecord.of(held)
    assert SharedRecord.from_json(record.as_json()) == record
    assert SharedRecord.from_json(None) == SharedRecord()
