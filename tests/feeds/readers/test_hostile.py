"""What is no list, or means harm, ends in a clear error or in counted lines: within bounds of memory and time."""

from __future__ import annotations

import gzip
import io
import struct
import time
import tracemalloc
import zipfile

import pytest
import zstandard
from patience import HUNG_S

from clearway.errors import ClearwayError
from clearway.feeds.readers import content, documents, packing
from clearway.feeds.readers.table import READERS, read

SECONDS_MAX = HUNG_S
"""For input that takes a fraction of a second on an idle machine; what is endless takes minutes."""


def refused(data: bytes, format: str | None = None) -> ClearwayError:
    with pytest.raises(ClearwayError) as error:
        read(data, format)
    return error.value


def zip_of(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def many_of_zip(count: int) -> bytes:
    """The directory of an archive, which says that it is of one file."""
    row = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 9, 1, *[0] * 6) + b"a"
    return row * count + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(row) * count, 4, 0)


BOMB = b"a.example\n" * (4 << 20)


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(BOMB), zip_of(list=BOMB), zstandard.ZstdCompressor().compress(BOMB)],
    ids=["gzip", "zip", "zstd"],
)
def test_a_bomb_is_given_up_at_the_limit(packed: bytes) -> None:
    tracemalloc.start()
    error = refused(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (error.id, "16 MiB" in error.message) == ("feeds.E008", True)
    assert peak < 3 * packing.RATIO_FREE_BYTES + (64 << 20)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"a.example\n" * 100)[:-9],
        gzip.compress(b"a.example\n") + b"and more",
        zstandard.ZstdCompressor().compress(b"a.example\n" * 100)[:-3],
        zip_of(one=b"a.example\n", two=b"b.example\n"),
        zip_of(one=b"a.example\n" * 100)[:-30],
        gzip.compress(gzip.compress(b"a.example\n")),
        b"PK\x03\x04 not really",
        b"\x28\xb5\x2f\xfd not really",
        gzip.compress(b"a.example\n") + gzip.compress(b"") * 100_000,
        zstandard.ZstdCompressor().compress(b"") * 100_000,
        b"PK\x03\x04" + many_of_zip(300_000),
    ],
    ids=[
        "cut-gzip", "more-behind", "cut-zstd", "two-files", "cut-zip", "twice", "no-zip", "no-zstd", "gzip-members",
        "zstd-frames", "many-files",
    ],
)  # fmt: skip
def test_what_cannot_be_unpacked_says_why(data: bytes) -> None:
    begun = time.monotonic()
    error = refused(data)
    assert error.id == "feeds.E008"
    assert error.message.partition(": ")[2]
    assert time.monotonic() - begun < SECONDS_MAX


@pytest.mark.parametrize(
    "packed",
    [
        b"".join(gzip.compress(b"a%d.example\n" % number) for number in range(1000)),
        b"".join(zstandard.ZstdCompressor().compress(b"a%d.example\n" % number) for number in range(1000)),
        gzip.compress(b"".join(b"a%d.example\n" % number for number in range(1000))) + bytes(5000),
        b"\x50\x2a\x4d\x18\4\0\0\0note"  # a frame to skip, RFC 8878 section 3.1.2
        + zstandard.ZstdCompressor().compress(b"".join(b"a%d.example\n" % number for number in range(1000))),
    ],
    ids=["gzip-members", "zstd-frames", "padding", "skippable"],
)
def test_packed_in_several_parts_is_one_list(packed: bytes) -> None:
    assert len(read(packed).content.blocked) == 1000


@pytest.mark.parametrize(
    ("data", "id"),
    [
        ("evil.example\n".encode("utf-16"), "feeds.E009"),
        (b"evil.example\n\0\0\0", "feeds.E009"),
        (b"evil.example\n\x07\n", "feeds.E009"),
        (b"# caf\xe9\nevil.example\n", "feeds.E009"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "feeds.E003"),
        (b"evil.example\n\n  <title>Not found</title>\n", "feeds.E003"),
        (b'{"error": "no key"}', "feeds.E003"),
        (b'<?xml version="1.0"?><Error/>', "feeds.E003"),
        (b"Please sign in to go on.\n", "feeds.E023"),
    ],
)
def test_what_is_no_list_is_told_apart(data: bytes, id: str) -> None:
    assert refused(data).id == id


@pytest.mark.parametrize("word", [word for word, reader in READERS.items() if reader.kind == "json"])
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"[" + b"[]," * 3_000_000 + b"[]]",
        b'{"type": "bundle", "objects": [{"type": "indica',
        b'{"a": "' + b'\\"' * 2_000_000,
        b'{"n": ' + b"9" * 100_000 + b"}",
        b"[]",
        b"{}",
        b'{"objects": 1, "list": 1, "deny": 1, "prefixes": 1, "values": 1, "regions": 1, "addresses": 1}',
        b'{"objects": [1], "prefixes": [1], "values": [{"properties": 1}], "regions": [1], "cdn": {"x": 1}}',
    ],
    ids=["deep", "over-64", "parts", "cut", "quotes", "digits", "list", "object", "wrong-types", "wrong-items"],
)
def test_json_of_the_wrong_shape_is_refused_or_gives_nothing(word: str, data: bytes) -> None:
    begun = time.monotonic()
    try:
        assert read(data, word).content.counts["entries"] == 0
    except ClearwayError as error:
        assert error.id in ("feeds.E018", "feeds.E021", "feeds.E022", "feeds.E039")
    assert time.monotonic() - begun < SECONDS_MAX


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"list": ["192.0.2.1"], "type": "cidr", "list": []}', "'list' stands twice"),
        ('{"list": ["192.0.2.1"], "type": "cidr", "version": NaN}', "NaN"),
        ('{"list": ["192.0.2.1"], "type": "cidr", "\\ud800": 1, "\\ud800": 2}', "stands twice"),
    ],
)
def test_json_that_its_readers_take_differently_is_refused(text: str, why: str) -> None:
    error = refused(text.encode(), "misp-warninglist")
    assert (error.id, why in error.message) == ("feeds.E021", True), error.message


def test_words_of_a_document_can_be_shown() -> None:
    lone = b'{"cidr": "192.0.2.0/24"}\n{"type": "metadata", "timestamp": "\\ud800", "records": true}\n'
    assert (read(lone).content.published, read(lone).content.declared) == (None, None)
    event = (
        b'{"Event": {"Attribute": [{"type": "domain", "to_ids": true, "value": "a.example", "category": "\\ud800"}]}}'
    )
    assert "?" in read(event).content.categories


def test_json_has_a_depth_and_a_number_of_parts() -> None:
    deep = refused(b'{"objects": ' + b"[" * 64 + b"]" * 64 + b"}", "stix21")
    assert (deep.id, "more than 64 levels" in deep.message) == ("feeds.E039", True)
    assert documents.load(b'{"a": "[[[[{{{{", "b": ' + b"[" * 63 + b"]" * 63 + b"}")


LINES = [
    b"a" * (1 << 20),
    b"||" + b"a." * (1 << 18) + b"^",
    b"||a.example^$" + b"x," * (1 << 18),
    b"0.0.0.0 " + b"a.example " * (1 << 15),
    b"address=/" + b"a.b/" * (1 << 14) + b"0.0.0.0",
    b'"' * (1 << 17),
    b"(" * (1 << 17),
    b"alert tls any any -> any any (" + b'content:"a"; ' * 4000 + b")",
    b'local-zone: "' + b"a" * 60_000,
    b"1." * 30_000,
    b":" * 60_000,
    b"a.example CNAME " + b'"' * 50_000,
    b"#" * 60_000 + b"#@#",
    "ａ．".encode() * 15_000,
    b"xn--" + b"a" * 59 + b".example",
    b"zone " + b'"a" { ' * 10_000,
    b"1.2.3.4-" * 8_000,
    b"a://" * 15_000,
    b" " * 60_000 + b"x",
    b"$" * 60_000,
    b"- " * 30_000,
    b"x" + b" " * 60_000 + b"-",
    b"192.0.2.1" + b" " * 60_000 + b"- 192.0.2.2 x",
    b"192.0.2.1" + b" ," * 30_000,
    b'{"cidr":' + b'"cidr":' * 8_000,
]


@pytest.mark.parametrize("word", [word for word, reader in READERS.items() if reader.kind != "json"])
def test_a_line_made_to_hurt_is_one_line_and_the_next_is_read(word: str) -> None:
    begun = time.monotonic()
    for line in LINES:
        data = b"\n".join([line, b"192.0.2.7", b"a.example", line]) + b"\n"
        try:
            content = read(data, word).content
        except ClearwayError as error:
            assert error.id in ("feeds.E018", "feeds.E020")
            continue
        assert content.counts["lines"] == 4
        assert all(len(reject.text) <= 200 for reject in content.rejects)
    assert time.monotonic() - begun < SECONDS_MAX


def test_a_line_over_64_kib_is_one_malformed_line() -> None:
    content = read(b"a.example\n" + b"x" * 70_000 + b"\nb.example\n", "domains").content
    assert content.counts["names"] == 2
    assert [(reject.line, reject.rule.id) for reject in content.rejects] == [(2, "G2.long-line")]


def test_malformed_lines_that_are_most_of_a_list_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MALFORMED_MAX", 20_000)
    error = refused(b"x\n" * 60_000, "domains")
    assert (error.id, "20000" in error.message) == ("feeds.E019", True)
    assert len(read(b"x\n" * 30_000 + b"||a.example^\n" * 90_000, "adblock").content.blocked) == 1


def test_a_range_cannot_grow_without_bound() -> None:
    wide = b"1::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe\n"
    content = read(wide * 4_000 + b"192.0.2.1\n", "ip-plain").content
    assert content.counts["v6"] <= 254
    assert content.counts["lines"] == 4_001


def test_a_wrong_format_is_refused_with_the_one_that_fits() -> None:
    hosts = b"".join(b"0.0.0.0 a%d.example\n" % n for n in range(50))
    adblock = b"".join(b"||a%d.example^\n" % n for n in range(50))
    for data, given_word, best in [
        (hosts, "adblock", None), (hosts, "domains", "hosts"), (hosts, "ip-plain", "hosts"),
        (adblock, "domains", "adblock"),
        (adblock, "rpz", "adblock"), (adblock, "stix21", "adblock"), (b"192.0.2.1\n" * 9, "hosts", "ip-plain"),
        (b'{"allow": [], "deny": ["a.example", "b.example"]}', "domains", "json-allow-deny"),
    ]:  # fmt: skip
        if best is None:
            assert len(read(data, given_word).content.blocked) == 50
        else:
            error = refused(data, given_word)
            assert (error.id, f"reads as {best}" in error.message) == ("feeds.E018", True), error.message


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    error = refused(b"a.example\n", "no-such")
    assert (error.id, "wildcard-domains" in error.fix) == ("feeds.E001", True)


def test_homographs_are_names_of_their_own() -> None:
    content = read("gооgle.example\ngoogle.example\n".encode(), "domains").content  # the first in Cyrillic
    assert sum(content.blocked.names.counts().values()) == 2
    assert all(name.isascii() for name in content.blocked.names.exact.tobytes().decode().split())


@pytest.mark.parametrize("way", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_that_its_reader_would_unpack_at_once_is_refused(way: int) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", way) as archive:
        archive.writestr("list.txt", b"\n" * (40 << 20))
    tracemalloc.start()
    error = refused(made.getvalue())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (error.id, "deflate" in error.message, peak < 8 << 20) == ("feeds.E008", True, True)
