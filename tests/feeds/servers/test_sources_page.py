"""docs/sources.md says what the code does: every kind of source, and every bound as it is."""

from pathlib import Path

from clearway.feeds import access_keys, deadline, fetch, http_source, misp_feed, source_words, taxii, zone_connection
from clearway.feeds.readers import packing


def test_the_page_names_every_kind_of_source_and_every_bound(root: Path) -> None:
    page = " ".join((root / "docs" / "sources.md").read_text().split())
    for scheme in source_words.SCHEMES:
        assert scheme.removesuffix("://") in page, scheme
    silence = deadline.SILENCE_SECONDS_MAX
    bounds = (
        f"after {fetch.FETCH_SECONDS_MAX / 60:.0f} minutes ({fetch.GATHER_SECONDS_MAX / 60:.0f} where many",
        f"{deadline.CONNECT_SECONDS_MAX:.0f} seconds without a connection, {silence:.0f} seconds of",
        f"{packing.BYTES_MAX >> 20} MiB; {http_source.REDIRECTS_MAX} redirects",
        f"{zone_connection.RECORDS_MAX // 1_000_000} million records of a zone",
        f"{taxii.PAGES_MAX:,} pages and a million indicators",
        f"{misp_feed.EVENTS_MAX:,} events",
    )
    for bound in bounds:
        assert bound in page, bound
    assert taxii.OBJECTS_MAX == 1_000_000
    assert http_source.RETRY_AFTER_SECONDS_MAX == taxii.FULL_EVERY_S == 86400 and "up to a day" in page
    assert "hmac-sha256" in access_keys.TSIG_ALGORITHMS
