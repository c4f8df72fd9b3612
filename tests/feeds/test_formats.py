"""A list is read whole or refused whole, and the refusal says what it is and what to do."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearway.errors import ClearwayError
from clearway.feeds.formats import Parsed, read
from clearway.feeds.readers import packing
from clearway.policy.model import Prefix

SAMPLES = Path(__file__).parent / "samples"
ADDRESSES = b"".join(b"198.18.%d.%d\n" % (n >> 8, n & 255) for n in range(1, 400))


def prefixes(parsed: Parsed) -> list[str]:
    v4 = [Prefix(4, key >> 8, key & 0xFF) for key in parsed.v4.tolist()]
    v6 = [Prefix(6, high << 64 | low, length) for high, low, length in parsed.v6.tolist()]
    return [str(prefix) for prefix in v4 + v6]


def refused(data: bytes, id: str, **options: object) -> ClearwayError:
    with pytest.raises(ClearwayError) as error:
        read(data, **options)  # type: ignore[arg-type]
    assert error.value.id == id, error.value
    return error.value


@pytest.mark.parametrize(("name", "format"), [("plain", "ip-plain"), ("spamhaus", "spamhaus-drop")])
@pytest.mark.parametrize(
    "change", [lambda b: b, gzip.compress, lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b]
)
def test_a_sample_gives_its_entries_and_its_format(name: str, format: str, change: Callable[[bytes], bytes]) -> None:
    data = (SAMPLES / name / "list.txt").read_bytes()
    if name == "plain":
        data += ADDRESSES  # so that its malformed line is one of many
    parsed = read(change(data))
    wanted = set((SAMPLES / name / "expected.txt").read_text().split())
    assert {p for p in prefixes(parsed) if p.encode() + b"\n" not in ADDRESSES} == wanted
    assert parsed.format == format
    assert prefixes(read(data, format)) == prefixes(parsed)


def test_each_line_is_counted_once() -> None:
    parsed = read((SAMPLES / "plain" / "list.txt").read_bytes() + ADDRESSES)
    assert parsed.counts == {
        "lines": 414, "blank": 4, "entries": 408, "malformed": 2, "unsupported": 0, "v4": 406, "v6": 2, "names": 0,
        "spared": 0,
    }  # fmt: skip
    assert parsed.rejected == [(14, "::ffff:192.0.2.200"), (15, "0x7f.0.0.1")]


def test_more_than_one_malformed_line_in_a_hundred_condemns_the_list_and_names_the_first() -> None:
    good = b"\n".join(b"192.0.2.%d" % n for n in range(99))
    assert read(good + b"\nnonsense\n").counts["malformed"] == 1
    error = refused(good + b"\nnonsense here\n" + b"192.0.2.256\n", "feeds.E004", origin="LIST")
    assert error.message == ("2 of 101 lines of LIST cannot be read as ip-plain; the first is line 100: nonsense here")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# only\n; comments\n", gzip.compress(b"")])
def test_a_list_with_nothing_in_it_is_refused(data: bytes) -> None:
    refused(data, "feeds.E002")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b"\n\n  <HTML><body>192.0.2.1", "a web page"),
        (b"192.0.2.1\n<head>\n", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "an XML document"),
        (b'{"error": "invalid key"}', "an error message"),
    ],
)
def test_a_page_in_place_of_a_list_is_refused(data: bytes, what: str) -> None:
    assert what in refused(data, "feeds.E003").message


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"192.0.2.1\n192.0.2.2\0\n", "byte 0x00 in line 2"),
        (b"\x7fELF\x02\x01", "byte 0x7f in line 1"),
        ("192.0.2.1\n".encode("utf-16"), "it is UTF-16"),
        ("192.0.2.1\n".encode("utf-16-le"), "byte 0x00 in line 1"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, detail: str) -> None:
    assert detail in refused(data, "feeds.E009").message


@pytest.mark.parametrize(
    ("line", "prefix"),
    [
        (b"0.0.0.0/0", "0.0.0.0/0"),
        (b"::/0", "::/0"),
        (b"224.0.0.0/3", "224.0.0.0/3"),
        (b"126.0.0.0-127.255.255.255", "126.0.0.0/7"),
        (b"2000::/15", "2000::/15"),
    ],
)
def test_a_prefix_too_wide_for_a_list_refuses_it(line: bytes, prefix: str) -> None:
    assert f" holds {prefix}, wider" in refused(ADDRESSES + line + b"\n", "feeds.E005").message


def test_the_widest_prefixes_allowed_are_read() -> None:
    assert prefixes(read(b"10.0.0.0/8\n2001::/16\n")) == ["10.0.0.0/8", "2001::/16"]


@pytest.mark.parametrize("line", [b"198.51.100.0/24", b"198.51.100.64/26", b"198.51.0.0/16", b"2001:db8::/32"])
def test_a_prefix_that_covers_the_inside_refuses_the_list(line: bytes) -> None:
    inside = [Prefix.parse("198.51.100.64/26"), Prefix.parse("2001:db8:5::/48")]
    assert "inside this gateway" in refused(ADDRESSES + line, "feeds.E006", forbidden=inside).message


def test_a_prefix_beside_or_within_the_inside_is_read() -> None:
    inside = [Prefix.parse("198.51.100.64/26")]
    assert len(prefixes(read(b"198.51.100.0/26\n198.51.100.65\n", forbidden=inside))) == 2


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (gzip.compress(ADDRESSES)[:-9], "cut off"),
        (gzip.compress(ADDRESSES) + b"tail", "something else follows"),
        (b"\x1f\x8b\x08\x00" + b"x" * 40, ""),
        (gzip.compress(b"\n" * (17 << 20)), "more than 16 MiB"),
    ],
)
def test_compressed_data_that_is_damaged_or_a_bomb_is_refused(data: bytes, detail: str) -> None:
    assert detail in refused(data, "feeds.E008").message


def test_a_compressed_list_of_several_members_is_read_whole() -> None:
    parsed = read(gzip.compress(b"192.0.2.1\n") + gzip.compress(b"192.0.2.2\n") + b"\0" * 512)
    assert prefixes(parsed) == ["192.0.2.1", "192.0.2.2"]


def test_a_list_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BYTES_MAX", 1 << 10)
    refused(ADDRESSES, "feeds.E007")
    refused(gzip.compress(ADDRESSES), "feeds.E007" if len(gzip.compress(ADDRESSES)) > 1 << 10 else "feeds.E008")


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    assert refused(b"192.0.2.1\n", "feeds.E001", format="no-such").fix.startswith("Choose one of ip-plain, netset")


@given(st.binary(max_size=300), st.sampled_from([b"", b"192.0.2.1\n", b"\x1f\x8b\x08\x00"]))
def test_any_bytes_are_read_or_refused_with_an_id(data: bytes, start: bytes) -> None:
    try:
        parsed = read(start + data)
    except ClearwayError as error:
        assert error.id.startswith("feeds.")
    else:
        assert parsed.counts["entries"] > 0


def test_real_lists_give_the_entries_that_their_index_states(shared_data: Path) -> None:
    seen = 0
    with (shared_data / "feeds" / "INDEX.tsv").open(newline="") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            if row["format"] == "domains":
                parsed = read((shared_data / "feeds" / row["file"]).read_bytes())
                assert (row["file"], parsed.counts["names"]) == (row["file"], int(row["names"]))
                assert (parsed.format, parsed.counts["malformed"]) == ("domains", int(row["rejected"]))
                seen += 1
            plain = row["format"] in ("ip-plain", "ip-count", "netset") and row["file"] != "firehol-level1.netset"
            if plain:
                parsed = read((shared_data / "feeds" / row["file"]).read_bytes())
                assert (row["file"], len(prefixes(parsed))) == (row["file"], int(row["valid_unique"]))
                seen += 1
    assert seen >= 13


def test_a_real_list_that_holds_the_inside_of_networks_is_refused(shared_data: Path) -> None:
    refused((shared_data / "feeds" / "firehol-level1.netset").read_bytes(), "feeds.E005")


@pytest.mark.parametrize(
    ("file", "counted"),
    [
        ("urlhaus-online.hosts", {"names": 619, "v4": 0}),
        ("urlhaus-online.wildcard.txt", {"names": 619, "v4": 0, "unsupported": 2234}),
        ("urlhaus-online.adblock-agh.txt", {"names": 619, "v4": 2234}),
        ("urlhaus-online.rpz", {"names": 619, "v4": 0}),
        ("spamhaus-drop-v4.json", {"names": 0, "v4": 1406}),
        ("misp-event-glupteba.json", {"names": 272, "v4": 44}),
    ],
)
def test_real_lists_of_other_formats_are_taken(shared_data: Path, file: str, counted: dict[str, int]) -> None:
    counts = read((shared_data / "feeds" / file).read_bytes()).counts
    assert {key: counts[key] for key in counted} == counted


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("||evil.example^\n@@||good.example^\n", ["subtree evil.example"]),
        ("||evil.example^\n@@||evil.example^\n||b.example^\n", ["subtree b.example"]),
        ("||a.evil.example^\n@@||evil.example^\n||b.example^\n", ["subtree b.example"]),
        ("||evil.example^\n@@||good.evil.example^\n||b.example^\n", ["subtree b.example"]),
        ("||evil.example^\n@@evil.example\n", ["below evil.example"]),
        ("evil.example\n@@||*.evil.example^\n", ["exact evil.example"]),
    ],
)
def test_an_exception_acts_inside_its_own_list(text: str, left: list[str]) -> None:
    parsed = read(text.encode(), "adblock")
    blobs = parsed.names.blobs().items()
    assert [f"{scope.name.lower()} {name}" for scope, blob in blobs for name in blob.tobytes().decode().split()] == left


def test_an_excepted_address_is_spared_with_what_would_cover_it() -> None:
    zone = b"$TTL 1\n32.1.2.0.192.rpz-ip CNAME .\n32.2.2.0.192.rpz-ip CNAME .\n24.0.100.51.198.rpz-ip CNAME .\n"
    spared = b"32.1.2.0.192.rpz-ip CNAME rpz-passthru.\n32.7.100.51.198.rpz-ip CNAME rpz-passthru.\n"
    parsed = read(zone + spared, "rpz")
    assert (prefixes(parsed), parsed.counts["spared"]) == (["192.0.2.2"], 2)
