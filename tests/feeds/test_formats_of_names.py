"""A list of names is read as one, and what would refuse far too much is refused whole."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearway.errors import ClearwayError
from clearway.feeds.formats import Parsed, read

SAMPLE = Path(__file__).parent / "samples" / "domains"
MANY = b"".join(b"host-%d.example\n" % number for number in range(300))


def names(parsed: Parsed) -> set[str]:
    return {
        f"{scope.name.lower()} {name}"
        for scope, blob in parsed.names.blobs().items()
        for name in blob.tobytes().decode().split()
    }


def refused(data: bytes, id: str, **options: Any) -> ClearwayError:
    with pytest.raises(ClearwayError) as error:
        read(data, **options)
    assert error.value.id == id, error.value
    return error.value


@pytest.mark.parametrize(
    "change", [lambda b: b, gzip.compress, lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b]
)
def test_a_sample_gives_its_names_its_format_and_each_line_counted_once(change: Callable[[bytes], bytes]) -> None:
    parsed = read(change((SAMPLE / "list.txt").read_bytes() + MANY))
    made = {name for name in names(parsed) if not name.startswith("exact host-")}
    assert made == set((SAMPLE / "expected.txt").read_text().splitlines())
    assert parsed.format == "domains"
    assert parsed.counts == {
        "lines": 315, "blank": 4, "entries": 310, "malformed": 1, "unsupported": 0, "v4": 1, "v6": 1, "names": 305,
        "spared": 0,
    }  # fmt: skip
    assert parsed.rejected == [(15, "localhost")]


def test_a_name_in_a_list_is_that_one_name_and_a_star_all_below_it() -> None:
    parsed = read(b"bad.example\n*.wild.example\n", "domains")
    assert names(parsed) == {"exact bad.example", "below wild.example"}


def test_addresses_among_names_are_entries_as_they_are() -> None:
    parsed = read(b"192.0.2.1\n192.0.2.2\nbad.example\n2001:db8::1\n")
    assert (parsed.format, {key: parsed.counts[key] for key in ("v4", "v6", "names")}) == (
        "domains", {"v4": 2, "v6": 1, "names": 1},
    )  # fmt: skip


def test_a_list_of_many_addresses_and_a_name_is_read_for_both() -> None:
    addresses = b"".join(b"192.0.2.%d\n" % number for number in range(200))
    counts = read(addresses + b"bad.example\n").counts
    assert (counts["v4"], counts["names"], counts["malformed"]) == (200, 1, 0)


@pytest.mark.parametrize("line", [b"*.co.uk", b"*.github.io", b"*.foo.ck"])
def test_everything_below_a_public_suffix_refuses_the_list(line: bytes) -> None:
    assert line.decode()[2:] in refused(MANY + line, "feeds.E016", format="domains").message


def test_a_public_suffix_as_one_name_is_read() -> None:
    assert "exact github.io" in names(read(MANY + b"github.io\n"))


@pytest.mark.parametrize("line", [b"cloudflare-ech.com", b"*.cloudflare-ech.com"])
def test_the_name_that_stands_for_every_encrypted_one_refuses_the_list_where_it_is_held(line: bytes) -> None:
    if line.startswith(b"*"):
        assert "below cloudflare-ech.com" in names(read(MANY + line, "domains"))
    else:
        refused(MANY + line, "feeds.E017")
