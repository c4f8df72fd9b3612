"""Every format gives what its sample says, line by line, however the sample comes."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from list_lines_of import lines_of

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.feeds.readers import table
from clearway.feeds.readers.rules import RULES
from clearway.feeds.readers.table import READERS, read

SAMPLES = Path(__file__).parent / "samples"
"""A folder for each format: list.* and expected.txt. All lines were written for this project, with names and addresses
that documentation may use."""


def sample(word: str) -> bytes:
    return next((SAMPLES / word).glob("list.*")).read_bytes()


def expected(word: str) -> list[str]:
    return (SAMPLES / word / "expected.txt").read_text().splitlines()


def zipped(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("list.txt", data)
    return made.getvalue()


def test_every_format_has_a_sample_and_every_sample_a_format() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == set(READERS)


@pytest.mark.parametrize("word", READERS)
def test_a_sample_gives_what_stands_beside_it(word: str) -> None:
    found = read(sample(word), word)
    assert (found.format, lines_of(found.content)) == (word, expected(word))


@pytest.mark.parametrize("word", READERS)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data + b"\n\n",
        gzip.compress,
        zipped,
        lambda data: zstandard.ZstdCompressor().compress(data),
    ],
    ids=["byte-order-mark", "crlf", "blank-lines", "gzip", "zip", "zstd"],
)
def test_a_sample_reads_the_same_in_another_dress(word: str, change: Callable[[bytes], bytes]) -> None:
    assert lines_of(read(change(sample(word)), word).content) == expected(word)


@pytest.mark.parametrize("word", READERS)
def test_each_line_is_counted_once(word: str) -> None:
    counts = read(sample(word), word).content.counts
    parts = ("blank", "entries", "unsupported", "malformed")
    assert counts["lines"] == sum(counts[part] for part in parts)
    if READERS[word].kind in ("lines", "table"):
        assert counts["lines"] == len(sample(word).splitlines())


@pytest.mark.parametrize("word", [word for word, reader in READERS.items() if reader.kind in ("lines", "table")])
def test_the_engine_reads_usual_lines_as_the_format_says(word: str) -> None:
    engine_reads = _engine.parse_list

    def reads_nothing(
        data: bytes, frames: object, comments: list[bytes], special: list[bytes], separators: object = None
    ) -> object:
        return engine_reads(data, [], comments or [b"#", b";", b"//"], special)

    with mock.patch.object(_engine, "parse_list", reads_nothing):
        slowly = lines_of(read(sample(word), word).content)
    assert slowly == expected(word)


def test_every_rule_has_an_id_of_its_own_and_a_sentence() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.sentence and rule.kind in ("malformed", "unsupported") for rule in RULES)


def test_every_format_of_the_indexes_has_a_reader(shared_data: Path) -> None:
    words = set()
    for room in ("feeds", "cdn"):
        header, *rows = (shared_data / room / "INDEX.tsv").read_text().splitlines()
        at = header.split("\t").index("format")
        words |= {row.split("\t")[at] for row in rows}
    assert len(words) >= 35
    for word in words:
        table.reader_of(word)


def test_an_indicator_past_its_time_gives_nothing_where_a_time_is_given() -> None:
    from datetime import UTC, datetime

    content = read(sample("stix21"), now=datetime(2026, 11, 25, tzinfo=UTC)).content
    assert "name late.example exact" not in lines_of(content)
    assert "G9.expired" in {reject.rule.id for reject in content.rejects}


def test_a_column_may_be_named() -> None:
    data = b"when,victim,source\n2026,good.example,192.0.2.7\n"
    assert lines_of(read(data, "csv:source").content) == ["address 192.0.2.7"]
    with pytest.raises(ClearwayError) as error:
        read(data, "csv:nothing")
    assert error.value.id == "feeds.E020"


@pytest.mark.parametrize("word", READERS)
@given(data=st.binary(max_size=200), cut=st.integers(0, 4000))
def test_any_bytes_are_read_or_refused_with_an_id(word: str, data: bytes, cut: int) -> None:
    try:
        content = read(sample(word)[:cut] + data, word).content
    except ClearwayError as error:
        assert error.id.startswith("feeds.")
    else:
        assert content.counts["lines"] >= len(content.rejects)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("evil.example", "domains"),
        ("192.0.2.1", "ip-plain"),
        ("*.evil.example", "wildcard-domains"),
        ("||evil.example^", "adblock"),
        ("[Adblock Plus]\n||evil.example^\n", "adblock"),
        ("evil.example CNAME .", "rpz"),
        ("rpz.x.\t60\tIN\tSOA\ta. b. 1 2 3 4 5\nevil.example.rpz.x.\t60\tIN\tCNAME\t.\n", "rpz"),
        ('server:\n    local-zone: "evil.example." always_nxdomain\n', "unbound"),
        ("server=/evil.example/", "dnsmasq"),
        ('zone "evil.example" { type master; file "x"; };', "bind-zone"),
        ("127.0.0.1 localhost\n0.0.0.0 evil.example", "hosts"),
        ("domain\nevil.example", "csv"),
        ("ip;note\n192.0.2.1;x", "csv"),
        ('{"cidr":"192.0.2.0/24","sblid":"SBL1"}', "spamhaus-json"),
        ('{"list":["192.0.2.0/24"],"type":"cidr","name":"x"}', "misp-warninglist"),
        ("192.0.2.1\nevil.example", "domains"),
        ("# nothing", "ip-plain"),
    ],
)
def test_a_few_lines_are_enough_to_find_a_format(text: str, word: str) -> None:
    assert table.detect(text.encode()) == word
