"""Nouns of policy cannot be built wrong, and say what is wrong with what a person wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearway.errors import ClearwayError
from clearway.policy.model import (
    DropReason,
    Entry,
    Name,
    Prefix,
    Reason,
    duration,
    parse_target,
    parse_word,
    until,
    word,
)

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


def refusal(error: pytest.ExceptionInfo[ClearwayError]) -> str:
    return f"{error.value.id}: {error.value.message} | {error.value.fix}"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        (" 192.0.2.0/24 ", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
    ],
)
def test_a_prefix_reads_and_prints_in_one_form(text: str, canonical: str) -> None:
    assert str(Prefix.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2", "policy.E001: 192.0.2 is no address and no prefix"),
        ("192.0.2.01", "policy.E001"),
        ("0x7f.0.0.1", "policy.E001"),
        ("192.0.2.0/255.255.255.0", "policy.E001"),
        ("192.0.2.0/33", "policy.E001"),
        ("192.0.2.0/", "policy.E001"),
        ("192.0.2.0/+4", "policy.E001"),
        ("192.0.2.0/024", "policy.E001"),
        ("2001:db8::/129", "policy.E001"),
        ("", "policy.E001"),
        ("192.0.2.1/24", "policy.E002: 192.0.2.1/24 has bits set beyond its length | Write 192.0.2.0/24"),
        ("::ffff:192.0.2.1/120", "policy.E002: ::ffff:192.0.2.1/120 has bits set beyond its length | Write 192.0.2.0"),
        ("fe80::1%eth0/64", "policy.E003"),
        ("fe80::1%eth0", "policy.E003: fe80::1%eth0 names a zone, which means something on its own machine only | "),
    ],
)
def test_a_prefix_that_is_none_is_refused_with_the_way_out(text: str, expected: str) -> None:
    with pytest.raises(ClearwayError) as error:
        Prefix.parse(text)
    assert refusal(error).startswith(expected)


def test_the_constructor_refuses_what_parse_would() -> None:
    for version, address, length in [
        (5, 0, 0),
        (4, 1, 24),
        (4, 1 << 32, 32),
        (4, 0, 33),
        (6, 1, 127),
        (6, 0xFFFF << 32, 96),
    ]:
        with pytest.raises(ValueError):
            Prefix(version, address, length)


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    if draw(st.booleans()):
        return Prefix.cut(4, draw(st.integers(0, (1 << 32) - 1)), draw(st.integers(0, 32)))
    return Prefix.cut(6, draw(st.integers(0, (1 << 128) - 1)), draw(st.integers(0, 128)))


@given(prefixes())
def test_a_prefix_survives_its_text_and_its_kernel_form(prefix: Prefix) -> None:
    assert Prefix.parse(str(prefix)) == prefix
    assert Prefix.from_mapped(*prefix.mapped()) == prefix


@given(prefixes(), prefixes())
def test_covering_is_being_the_same_after_a_cut(one: Prefix, other: Prefix) -> None:
    same = one.version == other.version and one.length <= other.length
    assert one.covers(other) == (same and Prefix.cut(one.version, other.address, one.length) == one)
    assert one.covers(one)


def test_ipv6_prefixes_say_nothing_of_ipv4() -> None:
    assert not Prefix.parse("::/0").covers(Prefix.parse("::ffff:192.0.2.1"))


def entry(**changed: object) -> Entry:
    fields: dict[str, object] = {
        "target": Prefix.parse("192.0.2.0/24"),
        "reason": Reason.MALWARE,
        "source": "someone",
        "since": NOW,
        "until": NOW + timedelta(days=1),
    }
    return Entry(**(fields | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "id"),
    [
        ({"reason": Reason.NONE}, "policy.E006"),
        ({"reason": None}, "policy.E006"),
        ({"reason": 1}, "policy.E006"),
        ({"until": None}, "policy.E007"),
        ({"until": NOW}, "policy.E005"),
        ({"until": NOW - timedelta(seconds=1)}, "policy.E005"),
    ],
)
def test_an_entry_without_a_reason_or_an_end_to_come_is_refused(changed: dict[str, object], id: str) -> None:
    with pytest.raises(ClearwayError) as error:
        entry(**changed)
    assert error.value.id == id


def test_an_entry_keeps_what_it_was_given() -> None:
    made = entry(target=Name.parse("Bad.Example."), exception=True)
    assert (str(made.target), made.exception, made.note) == ("bad.example", True, "")


@pytest.mark.parametrize(
    "text", ["localhost", "a..b", "-a.example", "bücher.example", "1.2.3.4", "a.b.1", "x" * 64 + ".a", ""]
)
def test_a_name_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ClearwayError) as error:
        Name.parse(text)
    assert error.value.id == "policy.E008"


@pytest.mark.parametrize(
    ("text", "kind"), [("192.0.2.1", Prefix), ("2001:db8::/32", Prefix), ("bad.example", Name), ("10.0.0.0/8", Prefix)]
)
def test_a_target_is_a_prefix_or_a_name(text: str, kind: type) -> None:
    assert isinstance(parse_target(text), kind)


@pytest.mark.parametrize(
    ("text", "id"), [("1.2.3", "policy.E001"), ("bad/name", "policy.E001"), ("bad", "policy.E008")]
)
def test_a_target_that_is_neither_is_refused_as_what_it_resembles(text: str, id: str) -> None:
    with pytest.raises(ClearwayError) as error:
        parse_target(text)
    assert error.value.id == id


def test_words_lead_back_to_their_members() -> None:
    for kind in (Reason, DropReason):
        for member in kind:
            if member.name != "NONE":
                assert parse_word(kind, word(member)) is member
    assert word(Reason.BOTNET_C2) == "botnet-c2"


@pytest.mark.parametrize("text", ["none", "opinion", "", "MALWARE!", "1"])
def test_a_word_that_is_not_on_the_list_is_refused_with_the_list(text: str) -> None:
    with pytest.raises(ClearwayError) as error:
        parse_word(Reason, text)
    assert error.value.id == "policy.E006"
    assert "malware, phishing, botnet-c2" in error.value.fix and "none" not in error.value.fix


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", NOW + timedelta(seconds=90)),
        ("30m", NOW + timedelta(minutes=30)),
        ("2h", NOW + timedelta(hours=2)),
        ("7d", NOW + timedelta(days=7)),
        ("2w", NOW + timedelta(days=14)),
        ("2030-02-01T00:00:00Z", datetime(2030, 2, 1, tzinfo=UTC)),
        ("2030-02-01t00:00:00.123456789z", datetime(2030, 2, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2030-02-01 05:00:00+05:00", datetime(2030, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339_or_a_duration_from_now(text: str, time: datetime) -> None:
    found = until(text, NOW.astimezone(timezone(timedelta(hours=5))))
    assert found == time and found.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("", "policy.E004"),
        ("7", "policy.E004"),
        ("0d", "policy.E004"),
        ("-1d", "policy.E004"),
        ("1y", "policy.E004"),
        ("9999999999w", "policy.E004"),
        ("9999999w", "policy.E004"),
        ("2030-02-01", "policy.E004"),
        ("2030-02-01T00:00:00", "policy.E004"),
        ("2030-02-31T00:00:00Z", "policy.E004"),
        ("forever", "policy.E004"),
        ("2030-01-31T12:00:00Z", "policy.E005"),
        ("2020-01-01T00:00:00Z", "policy.E005"),
    ],
)
def test_a_time_that_is_none_or_over_is_refused(text: str, id: str) -> None:
    with pytest.raises(ClearwayError) as error:
        until(text, NOW)
    assert error.value.id == id


def test_a_duration_alone_can_be_read() -> None:
    assert duration("2h") == timedelta(hours=2)
