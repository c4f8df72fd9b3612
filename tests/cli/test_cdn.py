"""`clearway cdn`: sources as a person adds them, and what they miss by a DNS server of our own on loopback.

What it measures here says that it counts right, and nothing of any real list.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from calling import Call

from clearway.cli.show import moment, parse_stamp

ZONE = {
    ("www.shop.example.", "CNAME"): "d1.cloudfront.net.",
    ("d1.cloudfront.net.", "A"): "52.84.1.1",
    ("d1.cloudfront.net.", "AAAA"): "2600:9000::1",
    ("www.blog.example.", "CNAME"): "x.fastly.net.",
    ("x.fastly.net.", "A"): "151.101.1.1",
    ("own.example.", "A"): "193.0.6.139",
    ("empty.example.", "TXT"): "nothing",
}
"""CloudFront's address is in no list of the package as a front end; Fastly's is."""


def answer(wire: bytes) -> bytes:
    query = dns.message.from_wire(wire)
    made = dns.message.make_response(query)
    made.flags |= dns.flags.RA
    question = query.question[0]
    name, kind = str(question.name), dns.rdatatype.to_text(question.rdtype)
    while (name, "CNAME") in ZONE:
        target = ZONE[name, "CNAME"]
        made.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", target))
        name = target
    if (name, kind) in ZONE:
        made.answer.append(dns.rrset.from_text(name, 60, "IN", kind, ZONE[name, kind]))
    elif all(held != name for held, _ in ZONE):
        made.set_rcode(dns.rcode.NXDOMAIN)
    return made.to_wire()


@pytest.fixture
def resolver() -> Iterator[str]:
    """Where a DNS server answers from ZONE."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    wire, peer = listening.recvfrom(4096)
                except OSError:
                    return
                if wire == b"end":
                    return
                listening.sendto(answer(wire), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        address, port = listening.getsockname()
        yield f"{address}:{port}"
        listening.sendto(b"end", (address, port))
        thread.join()


@pytest.fixture
def aws(tmp_path: Path) -> Path:
    path = tmp_path / "ip-ranges.json"
    rows = [("3.5.0.0/16", "S3"), ("3.6.0.0/16", "EC2"), ("52.84.0.0/15", "CLOUDFRONT")]
    document = {
        "syncToken": "1",
        "prefixes": [{"ip_prefix": prefix, "service": service} for prefix, service in rows],
        "ipv6_prefixes": [{"ipv6_prefix": "2600:9000::/28", "service": "CLOUDFRONT"}],
    }
    path.write_text(json.dumps(document))
    return path


def test_a_vendors_file_is_added_shown_updated_and_removed(cli: Call, aws: Path) -> None:
    added = cli("cdn", "add", "aws", aws)
    assert added.code == 0, added.err
    assert "added aws · 3 front-end · 1 single-tenant · decision 2" in added.out
    rows = {row["name"]: row for row in cli("cdn", "list", "--json").json["sources"]}
    assert rows["aws"]["counts"] == {"front-end": 3, "single-tenant": 1}
    assert rows["aws"]["source"] == str(aws)
    assert cli("cdn", "list", "--json").json["undivided"] == ["azure", "oracle"]
    assert not rows["bundled-amazon"]["counts_now"]
    assert "comes with Clearway (MISP/misp-warninglists)" in cli("cdn", "list").out
    assert cli("cdn", "update", "--json").json["sources"][0]["unchanged"]
    told = cli("explain", "52.84.1.1", "--json").json
    assert (told["outcome"], told["decided_by"]["kind"]) == ("forwarded", "shared")
    assert f"by shared range 52.84.0.0/15 of aws (front-end) · {aws}" in cli("explain", "52.84.1.1").out
    assert cli("cdn", "remove", "aws", "--note", "test").code == 0
    assert cli("cdn", "remove", "aws").code == 1
    assert [row["kind"] for row in cli("history", "--json").json["decisions"]][:2] == ["cdn-remove", "cdn-version"]


def test_a_host_of_a_cloud_is_told_with_the_day_that_it_acts_and_with_the_end_of_its_list(
    cli: Call, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_text("159.65.1.1\n")
    assert cli("feed", "add", "bad", path, "--reason", "malware", "--life", "30d").code == 0
    rule = cli("explain", "159.65.1.1", "--json").json["decided_by"]
    assert parse_stamp(rule["list_until"]) - parse_stamp(rule["until"]) == timedelta(days=29)
    told = cli("explain", "159.65.1.1").out
    assert f"until {moment(rule['until'])} (in 24 h)" in told
    assert f"a host of a cloud: for a day, though the list lasts until {moment(rule['list_until'])}" in told


def test_a_block_at_a_front_end_ends_with_1_and_says_whose_it_is(cli: Call, aws: Path) -> None:
    cli("cdn", "add", "aws", aws)
    refused = cli("block", "52.84.0.0/16", "--reason", "malware", "--until", "1h")
    assert refused.code == 1
    assert "52.84.0.0/15, a front end of Amazon Web Services that many sites share" in refused.err
    assert "of today" in refused.err
    assert "clearway block NAME" in refused.err


def test_what_cannot_be_meant_is_told(cli: Call, aws: Path) -> None:
    assert cli("cdn", "add").code == 2
    assert cli("cdn", "add", "aws", "--all").code == 2
    assert "Choose one of akamai" in cli("cdn", "add", "nobody", aws).err
    azure = cli("cdn", "add", "azure")
    assert azure.code == 1
    assert "a new address every week" in azure.err
    assert cli("cdn", "check", "--names", aws).code == 2


def test_check_shows_source_and_age_of_what_there_is(cli: Call) -> None:
    document = cli("cdn", "check", "--json").json
    rows = {row["name"]: row for row in document["vendors"]}
    assert rows["bundled-cloudflare"]["ranges"] == {"front-end": 22}
    assert rows["bundled-cloudflare"]["age_s"] > 0
    assert document["names"] is None
    assert document["front_end_v4"] > 10_000_000
    assert document["undivided"] == ["aws", "azure", "oracle"]
    told = cli("cdn", "check").out
    assert "how much they miss: clearway cdn check --names FILE" in told
    assert "front ends of aws, azure, oracle (CloudFront," in told
    assert "clearway cdn add --all; azure: clearway cdn add azure FILE" in told


def test_check_counts_what_names_resolved_now_are_missed(cli: Call, aws: Path, resolver: str, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("# ours\n1,www.shop.example\nwww.blog.example\nown.example\nempty.example\ngone.example\n")
    asked = ("cdn", "check", "--names", names, "--resolver", resolver)
    found = cli(*asked, "--json").json["names"]
    assert (found["asked"], found["resolved"]) == (5, 3)
    assert {each["name"]: each["why"] for each in found["unresolved"]} == {
        "empty.example": "it has no address",
        "gone.example": "there is no such name",
    }
    assert found["all"]["addresses"] == 4
    known = found["of_known_vendors"]
    assert (known["addresses"], known["front_end"], known["miss_rate"]) == (3, 1, 0.6667)
    assert found["vendors"]["fastly"]["miss_rate"] == 0
    assert found["vendors"]["aws"]["miss_rate"] == 1
    assert found["vendors"]["–"]["elsewhere"] == 1
    misses = {each["address"]: each for each in found["misses"]}
    assert set(misses) == {"52.84.1.1", "2600:9000::1", "193.0.6.139"}
    assert misses["52.84.1.1"]["class"] == "single-tenant"
    assert misses["52.84.1.1"]["chain"] == ["d1.cloudfront.net"]
    assert misses["193.0.6.139"]["vendor"] is None
    told = cli(*asked).out
    assert "missed: 52.84.1.1 of www.shop.example (aws, single-tenant)" in told
    assert "miss rate: 66.7 % of 3 addresses of such names" in told

    cli("cdn", "add", "aws", aws)
    assert cli(*asked, "--json").json["names"]["of_known_vendors"]["miss_rate"] == 0


def test_a_resolver_that_does_not_answer_is_told(cli: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clearway.feeds import shared_cover

    monkeypatch.setattr(shared_cover, "LIFETIME_S", 0.2)
    names = tmp_path / "names.txt"
    names.write_text("www.example.com\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        asked = ("cdn", "check", "--names", names, "--resolver")
        refused = cli(*asked, f"127.0.0.1:{deaf.getsockname()[1]}")
    assert refused.code == 3
    assert "feeds.E054" in refused.err
    assert cli(*asked, "not-an-address").code == 3
