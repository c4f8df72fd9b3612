"""What lists say of themselves as a whole is taken as they write it, and as a number or a time where it is one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearway.feeds.readers import headers
from clearway.feeds.readers.table import read


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("# Entries         : 2892 subnets, 619304666 unique IPs", 2892),
        ("# Entries: 190,215", 190_215),
        ("! Entries: 1,904", 1904),
        ("# Number of entries: 28", 28),
        ("# Number of unique domains: 123,456 (2026)", 123_456),
        ("; Total number of network filters: 455009", 455_009),
        ("# Total domains: 7", 7),
        ("# Domain Count: 1,234", 1234),
        ("# Total count: 28", 28),
        ("# Count: 28", 28),
        ("# Account: 28", None),
        ("# Country count: 28", None),
        ("# END 28 entries", 28),
        ("# END (114) entries", 114),
        ("# Version: 25992", None),
        ("# Entries: see below", None),
        ("# Rules: 1.2.3", None),
        ("# IPs: 192.0.2.1", None),
        ("# Domains behind a proxy: 7", None),
        ("192.0.2.9 # Entries: 7", None),
        ("# Count: 1 per host", None),
        ("# IP count: 3 of 5", None),
    ],
)
def test_a_declared_count(line: str, count: int | None) -> None:
    assert read(f"{line}\n192.0.2.1\n".encode(), "ip-plain").content.declared == count


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("# Last update: Sat, 22 Aug 2026 03:00:29 +0200", datetime(2026, 8, 22, 1, 0, 29)),
        ("# This File Date  : Mon Jun 28 05:00:36 UTC 2021", datetime(2021, 6, 28, 5, 0, 36)),
        ("# Last updated: 2026-02-26 12:05:20 (UTC)                      #", datetime(2026, 2, 26, 12, 5, 20)),
        ("! Updated: 2025-07-19T12:11:28Z", datetime(2025, 7, 19, 12, 11, 28)),
        ("# Last modified: 2026-07-06 00:40:29 UTC", datetime(2026, 7, 6, 0, 40, 29)),
        ("# Last modified: 2025-07-24 10:00:06.525037", datetime(2025, 7, 24, 10, 0, 6, 525037)),
        ("; Last-Modified: Fri, 20 Sep 2024 08:28:22 GMT", datetime(2024, 9, 20, 8, 28, 22)),
        ("# Date: 12 July 2024 04:29:22 (UTC)", datetime(2024, 7, 12, 4, 29, 22)),
        ("# Last modified: 19 Jul 2025 00:20 UTC", datetime(2025, 7, 19, 0, 20)),
        ("# Timestamp: 1752926488", datetime(2025, 7, 19, 12, 1, 28)),
        ("# last_updated: 1752926488", datetime(2025, 7, 19, 12, 1, 28)),
        ("# Last updated 2026-08-10 12:00 UTC", datetime(2026, 8, 10, 12)),
        ("! Generated at 2026-08-10T14:00:00+02:00", datetime(2026, 8, 10, 12)),
        ("# List compiled on 10 Aug 2026", datetime(2026, 8, 10)),
        ("# File created: 10/Aug/2026", datetime(2026, 8, 10)),
        ("# Release date: 10.08.2026 12:00", datetime(2026, 8, 10, 12)),
        ("# Last updated: 2026-08-10 12:00:00 CEST", datetime(2026, 8, 10, 12)),
        ("# Last change: Mon, 10 Aug 2026 12:00:00 EST", datetime(2026, 8, 10, 17)),
        ("# Created: 2016-02-01\n# Updated: 2026-08-10\n# Date: 2020-01-01", datetime(2026, 8, 10)),
        ("# Updated 2026-08-10: two names taken out", None),
        ("# Expires: 12 hours (update frequency)", None),
        ("# Updated: every now and then", None),
        ("# Source File Date: Sat Nov  7 22:41:34 UTC 2015", None),
        ("# Date: 99999999999999999999", None),
        ("# Date: 0001-01-01", None),
    ],
)
def test_a_time(line: str, when: datetime | None) -> None:
    content = read(f"{line}\n192.0.2.1\n".encode(), "ip-plain").content
    assert content.published_at == (when and when.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("file", "format", "declared", "when"),
    [
        ("feeds/firehol-level1.netset", "netset", 2892, "2021-06-28"),
        ("feeds/spamhaus-drop-v4.json", "spamhaus-json", 1406, None),
        ("feeds/blp-ransomware.adblock.txt", "adblock", 1904, "2026-07-06"),
        ("feeds/feodo-ipblocklist.csv", "csv-feodo", 28, "2024-04-04"),
        ("feeds/sslbl-ipblacklist.csv", "csv-sslbl", 114, None),
        ("feeds/urlhaus-online.rpz", "rpz", None, "2025-07-19"),
        ("feeds/stix21-candiru.json", "stix21", None, None),
        ("feeds/misp-event-glupteba.json", "misp-event", None, None),
        ("cdn/aws-ip-ranges.json", "aws-json", None, "2025-07-24"),
        ("cdn/google-cloud.json", "google-json", None, "2025-07-25"),
        ("cdn/oracle-cloud.json", "oracle-json", None, "2025-07-21"),
        ("cdn/azure-service-tags.json", "azure-json", None, None),
        ("cdn/misp-akamai.json", "misp-warninglist", None, "2024-04-22"),
        ("cdn/misp-google.json", "misp-warninglist", None, None),
    ],
)
def test_of_real_lists(shared_data: Path, file: str, format: str, declared: int | None, when: str | None) -> None:
    content = read((shared_data / file).read_bytes(), format).content
    shown = content.published_at and f"{content.published_at:%Y-%m-%d}"
    if file != "feeds/spamhaus-drop-v4.json":
        assert (content.declared, shown) == (declared, when)
    else:
        assert (content.declared, content.has_metadata, content.published_at is None) == (1406, True, False)


def test_an_end_that_is_missing_is_told() -> None:
    assert read(b"a.example\nb.example").content.is_unterminated
    assert not read(b"a.example\nb.example\n").content.is_unterminated
    rows = b'{"cidr":"192.0.2.0/24","sblid":"SBL1"}\n'
    assert read(rows, "spamhaus-json").content.has_metadata is False
    assert read(rows + b'{"type":"metadata","records":1}\n').content.has_metadata is True
    assert read(b"192.0.2.1\n").content.has_metadata is None


@given(st.text(max_size=80))
def test_any_words_are_a_time_or_none(text: str) -> None:
    found = headers.time_of(text)
    assert found is None or found.tzinfo is UTC
    headers.of_text(f"# Updated: {text}\n# Entries: {text}\n".encode("utf-8", "replace"))
