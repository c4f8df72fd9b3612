"""The ranges of the package: what is in them, that they may be there, and that they are read once."""

from __future__ import annotations

import csv
import ipaddress
from importlib import resources

import pytest

from clearway.feeds.shared_bundle import bundled, bundled_ranges
from clearway.policy.model import Prefix
from clearway.policy.shared import SharedClass

FOLDER = resources.files("clearway.feeds") / "bundled" / "ranges"
ROWS = list(csv.DictReader((FOLDER / "INDEX.tsv").read_text("utf-8").splitlines(), delimiter="\t"))


def test_every_file_is_named_with_its_source_and_is_in_the_public_domain() -> None:
    files = sorted(each.name for each in FOLDER.iterdir() if each.name.endswith(".txt"))
    assert files == sorted(row["file"] for row in ROWS)
    notice = (FOLDER / "NOTICE").read_text("utf-8")
    for row in ROWS:
        assert row["licence"] == "CC0-1.0"
        assert row["repository"] in notice
        assert len(row["commit"]) == 40


def test_every_line_is_a_prefix_and_is_read() -> None:
    held = {each.name.removeprefix("bundled-"): len(each.v4) + len(each.v6) for each in bundled()}
    for name, count in held.items():
        lines = [
            line
            for row in ROWS
            if row["name"] == name
            for line in (FOLDER / row["file"]).read_text("ascii").splitlines()
        ]
        assert len({ipaddress.ip_network(line) for line in lines}) == len(lines) == count


@pytest.mark.parametrize(
    ("address", "found", "source"),
    [
        ("104.16.1.1", SharedClass.FRONT_END, "bundled-cloudflare"),
        ("2606:4700::6810:101", SharedClass.FRONT_END, "bundled-cloudflare"),
        ("151.101.1.1", SharedClass.FRONT_END, "bundled-fastly"),
        ("140.82.112.3", SharedClass.FRONT_END, "bundled-github"),
        ("142.250.1.1", SharedClass.FRONT_END, "bundled-google"),
        ("23.1.1.1", SharedClass.FRONT_END, "bundled-akamai"),
        ("52.95.110.1", SharedClass.SINGLE_TENANT, "bundled-amazon"),
        ("159.65.1.1", SharedClass.SINGLE_TENANT, "bundled-digitalocean"),
        ("35.187.1.1", SharedClass.SINGLE_TENANT, "bundled-google-cloud"),
        ("193.0.6.139", SharedClass.ELSEWHERE, None),
    ],
)
def test_well_known_addresses_are_of_their_class(address: str, found: SharedClass, source: str | None) -> None:
    ranges = bundled_ranges()
    rule = ranges.rule(Prefix.parse(address))
    assert ranges.shared.class_of(Prefix.parse(address)) is found
    assert (rule.name if rule else None) == source


def test_they_are_read_once() -> None:
    assert bundled() is bundled() and bundled_ranges() is bundled_ranges()
