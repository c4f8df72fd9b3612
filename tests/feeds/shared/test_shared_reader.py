"""What each vendor's own file says, by the tags in it: lines of our own in the vendors' formats."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest

from clearway.errors import ClearwayError
from clearway.feeds.readers import ranges, table
from clearway.feeds.shared_reader import claimed, too_much
from clearway.feeds.shared_vendors import VENDORS, Vendor, vendor_of, vendor_of_name
from clearway.policy.shared_sources import Claim

FRONT, TENANT, ALL = Claim.FRONT_END, Claim.SINGLE_TENANT, Claim.VENDOR


def aws(*rows: tuple[str, str]) -> bytes:
    v4 = [{"ip_prefix": prefix, "service": service} for prefix, service in rows if ":" not in prefix]
    v6 = [{"ipv6_prefix": prefix, "service": service} for prefix, service in rows if ":" in prefix]
    return json.dumps({"syncToken": "1", "prefixes": v4, "ipv6_prefixes": v6}).encode()


def azure(**tags: list[str]) -> bytes:
    values = [
        {"name": name.replace("_", "."), "properties": {"addressPrefixes": given}} for name, given in tags.items()
    ]
    return json.dumps({"changeNumber": 1, "values": values}).encode()


def oracle(*rows: tuple[str, list[str]]) -> bytes:
    return json.dumps({"regions": [{"cidrs": [{"cidr": cidr, "tags": tags} for cidr, tags in rows]}]}).encode()


SAID: list[tuple[str, bytes, dict[Claim, list[str]]]] = [
    (
        "aws",
        aws(
            ("5.8.0.0/16", "AMAZON"),
            ("5.8.1.0/24", "EC2"),
            ("5.8.2.0/24", "CLOUDFRONT"),
            ("5.8.2.0/24", "AMAZON"),
            ("5.8.3.0/24", "S3"),
            ("2a05:d000::/32", "GLOBALACCELERATOR"),
            ("5.8.4.0/24", "A_SERVICE_OF_TOMORROW"),
        ),
        {
            FRONT: ["5.8.2.0/24", "5.8.3.0/24", "2a05:d000::/32"],
            TENANT: ["5.8.0.0/16", "5.8.1.0/24", "5.8.2.0/24", "5.8.4.0/24"],
        },
    ),
    ("cloudflare", b"5.8.0.0/20\n2a06:98c0::/29\n", {FRONT: ["5.8.0.0/20", "2a06:98c0::/29"]}),
    (
        "fastly",
        b'{"addresses": ["5.8.0.0/16"], "ipv6_addresses": ["2a04:4e40::/32"]}',
        {FRONT: ["5.8.0.0/16", "2a04:4e40::/32"]},
    ),
    (
        "google",
        b'{"syncToken": "1", "prefixes": [{"ipv4Prefix": "5.8.0.0/16"}, {"ipv6Prefix": "2600:1900::/28"}]}',
        {ALL: ["5.8.0.0/16", "2600:1900::/28"]},
    ),
    (
        "google-cloud",
        b'{"syncToken": "1", "prefixes": [{"ipv4Prefix": "5.8.0.0/16", "service": "Google Cloud"}]}',
        {TENANT: ["5.8.0.0/16"]},
    ),
    (
        "azure",
        azure(
            AzureCloud=["5.8.0.0/16"],
            AzureCloud_westeurope=["5.8.0.0/17"],
            AzureFrontDoor_Frontend=["5.8.1.0/24", "2a01:111::/32"],
            Storage_WestEurope=["5.8.2.0/24"],
            BatchNodeManagement=["5.8.3.0/24"],
        ),
        {
            FRONT: ["5.8.1.0/24", "5.8.2.0/24", "2a01:111::/32"],
            TENANT: ["5.8.0.0/16", "5.8.0.0/17", "5.8.3.0/24"],
        },
    ),
    (
        "oracle",
        oracle(("5.8.1.0/24", ["OCI"]), ("5.8.2.0/24", ["OSN"]), ("5.8.3.0/24", ["OSN", "OBJECT_STORAGE"])),
        {FRONT: ["5.8.2.0/24", "5.8.3.0/24"], TENANT: ["5.8.1.0/24"]},
    ),
    ("digitalocean", b"5.8.0.0/24,NL,NL-NH,Amsterdam,\n", {TENANT: ["5.8.0.0/24"]}),
    ("linode", b"# geofeed\n5.8.0.0/24,FR,FR-IDF,Paris,\n", {TENANT: ["5.8.0.0/24"]}),
    (
        "github",
        b'{"hooks": ["5.8.1.0/24"], "pages": ["5.8.2.0/24"], "actions": ["5.8.3.0/24"], "ssh_keys": ["ssh-rsa A"]}',
        {FRONT: ["5.8.1.0/24", "5.8.2.0/24"], TENANT: ["5.8.3.0/24"]},
    ),
    (
        "bunny",
        b'{"name": "b", "type": "cidr", "version": 1, "list": ["5.8.0.7/32"]}',
        {FRONT: ["5.8.0.7/32"]},
    ),
    (
        "cdncheck",
        b'{"cdn": {"fastly": ["5.8.1.0/24"], "google": ["5.8.2.0/24"]}, "waf": {"cloudflare": ["5.8.3.0/24"]},'
        b' "cloud": {"aws": ["5.8.4.0/24"], "office365": ["5.8.5.0/24"]}}',
        {
            FRONT: ["5.8.1.0/24", "5.8.3.0/24", "5.8.5.0/24"],
            ALL: ["5.8.2.0/24"],
            TENANT: ["5.8.4.0/24"],
        },
    ),
]


def written(found: Any) -> list[str]:
    v4 = [f"{ipaddress.IPv4Address(key >> 8)}/{key & 0xFF}" for key in found.v4.tolist()]
    v6 = [f"{ipaddress.IPv6Address(high << 64 | low)}/{length}" for high, low, length in found.v6.tolist()]
    return sorted(v4 + v6)


@pytest.mark.parametrize(("vendor", "data", "wanted"), SAID, ids=[vendor for vendor, _, _ in SAID])
def test_each_vendor_is_read_by_its_tags(vendor: str, data: bytes, wanted: dict[Claim, list[str]]) -> None:
    found = claimed(data, vendor_of(vendor))
    assert {claim: written(ranges) for claim, ranges in found.claims.items()} == {
        claim: sorted(prefixes) for claim, prefixes in wanted.items()
    }
    assert found.counts() == {claim.value: len(prefixes) for claim, prefixes in wanted.items()}


def test_a_list_of_a_vendor_in_another_format_has_no_tags() -> None:
    found = claimed(b'{"list": ["5.8.0.0/16"], "type": "cidr", "name": "a"}', vendor_of("aws"), "misp-warninglist")
    assert list(found.claims) == [TENANT]


def test_a_text_that_is_no_prefix_claims_nothing() -> None:
    given = ["5.8.0.0/24", "5.9.0.0/24\n6.0.0.0/8", "5.10.0.0/24 and all", "5.11.0.0-5.12.0.0", "\ud800", "x", "# note"]
    found = claimed(json.dumps({"addresses": given}).encode(), vendor_of("fastly"))
    assert found.counts() == {"front-end": 1}


def test_a_list_without_an_address_is_refused_by_its_name() -> None:
    with pytest.raises(ClearwayError, match="holds no address range") as told:
        claimed(b'{"list": ["example.com"], "type": "string", "name": "n"}', vendor_of("bunny"), origin="bunny.json")
    assert told.value.id == "feeds.E047"
    assert "bunny.json" in told.value.message


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        (b"0.0.0.0/0\n", "a range of /0"),
        (b"5.0.0.0/7\n4.0.0.0/7\n", "a range of /7"),
        (b"2000::/3\n", "a range of /3"),
        (b"".join(b"%d.0.0.0/8\n" % n for n in range(11, 17)), "2.3% of all IPv4 addresses as front-end"),
        (b"17.0.0.0/8\n", None),
    ],
)
def test_a_list_that_claims_the_internet_says_too_much(lines: bytes, seen: str | None) -> None:
    found = too_much(claimed(lines, vendor_of("cloudflare")))
    assert (found or "").startswith(seen or "")
    assert (found is None) == (seen is None)


def test_the_table_of_vendors_is_of_formats_that_there_are() -> None:
    for row in VENDORS.values():
        table.reader_of(row.format)
        assert not row.tags or row.format in ranges.VENDORS, row.name
        assert all(url.startswith("https://") for url in row.urls.values()), row.name
        assert row.urls or row.note, row.name
    names = [name for row in VENDORS.values() for name in row.urls]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        ("d111111abcdef8.cloudfront.net", "aws"),
        ("x.cdn.cloudflare.net.", "cloudflare"),
        ("shop.azurefd.net", "azure"),
        ("E1.A.AKAMAIEDGE.NET", "akamai"),
        ("notcloudfront.net", None),
        ("example.com", None),
    ],
)
def test_whose_a_name_is_shows_at_its_end(name: str, vendor: str | None) -> None:
    found = vendor_of_name(name)
    assert (found.name if isinstance(found, Vendor) else None) == vendor
