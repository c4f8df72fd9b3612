"""A list of names is read as one, and what would refuse far too much is refused whole."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

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


def refused(data: bytes, id: str, **options: str) -> ClearwayError:
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
        "lines": 315, "blank": 3, "entries": 307, "malformed": 2, "unsupported": 3, "v4": 0, "v6": 0, "names": 305,
    }  # fmt: skip
    assert parsed.rejected == [(2, "! not a comment here"), (15, "localhost")]


def test_a_name_in_a_list_is_that_one_name_and_a_star_all_below_it() -> None:
    parsed = read(b"bad.example\n*.wild.example\n", "domains")
    assert names(parsed) == {"exact bad.example", "below wild.example"}


def test_addresses_among_names_are_counted_and_not_taken() -> None:
    parsed = read(b"192.0.2.1\n192.0.2.2\nbad.example\n2001:db8::1\n")
    assert (parsed.format, parsed.counts["unsupported"], parsed.counts["names"]) == ("domains", 3, 1)


def test_a_list_of_addresses_alone_has_no_name_in_it() -> None:
    assert refused(b"192.0.2.1\n", "feeds.E002", format="domains").retry


def test_one_name_in_a_list_of_addresses_makes_no_list_of_names() -> None:
    addresses = b"".join(b"192.0.2.%d\n" % number for number in range(200))
    assert read(addresses + b"bad.example\n").format == "ip-plain"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"127.0.0.1 localhost\n0.0.0.0 bad.example\n0.0.0.0 worse.example\n", "a hosts file"),
        (b"! Title: x\n||bad.example^\n", "an adblock list"),
        (b"[Adblock Plus]\n||bad.example^\n", "an adblock list"),
        (b"address=/bad.example/#\n", "a dnsmasq configuration"),
        (b'server:\nlocal-zone: "bad.example" always_nxdomain\n', "an unbound configuration"),
        (b"$TTL 60\n@ SOA localhost. root. 1 1 1 1 1\n", "a zone of response policies"),
        (b"bad.example CNAME .\n", "a zone of response policies"),
        (b"http://bad.example/x\n", "a list of URLs"),
        (b'["bad.example"]', "JSON"),
        (b"# all of them\n*.bad.example\n*.worse.example\n", "a list of wildcards"),
    ],
)
def test_a_format_that_is_known_and_not_read_is_refused_by_its_name(data: bytes, what: str) -> None:
    assert f" is {what}, " in refused(data, "feeds.E015").message


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
