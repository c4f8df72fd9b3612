"""Policy zones mean what dnspython's reader of zone files makes of them, however they are written down.

The judge knows RFC 1035 alone (origins, relative names, parentheses, escapes, owners left out); what a record of a
policy zone then means is said here in a few lines, as the draft on response policy zones has it.
"""

from __future__ import annotations

import os
import random
import re
from collections import defaultdict
from unittest import mock

import dns.name
import dns.rdatatype
import dns.zone
import pytest
from list_lines_of import lines_of

from clearway.feeds.readers import lines
from clearway.feeds.readers.table import read

ZONES = 2_000 if os.environ.get("CLEARWAY_TESTS") == "all" else 100
APEX = "rpz.example"
TARGETS = [".", ".", ".", "*.", "rpz-drop.", "rpz-passthru.", "rpz-tcp-only.", "garden.test.", "garden", "rpz-passthru"]
OTHERS = [
    'TXT "a ; b" "( c" "d \\" e"',
    "A 192.0.2.9",
    "AAAA 2001:db8::9",
    "MX 10 mail.test.",
    "TYPE65534 \\# 1 00",
    'HTTPS 1 . alpn="h2"',
    "DS 1 8 2 " + "AB" * 32,
    "RRSIG CNAME 8 2 60 20300101000000 20250101000000 1 a.test. AAAA",
]
TRIGGERS = ["ns{}.test.rpz-nsdname", "32.{}.2.0.192.rpz-client-ip", "32.{}.2.0.192.rpz-nsip"]


def judged(text: str) -> list[str]:
    """What the zone means to dnspython and the draft, as list_lines_of.py writes it; lines that are refused aside."""
    apex = dns.name.from_text(APEX)
    zone = dns.zone.from_text(text, origin=apex, relativize=False, check_origin=False, allow_include=False)
    scopes: dict[tuple[str, bool], set[str]] = defaultdict(set)
    made = []
    for name, _, data in zone.iterate_rdatas(dns.rdatatype.CNAME):
        owner, target = name.relativize(apex), data.to_text()
        inner = owner.to_text(omit_final_dot=True).lower()
        if owner == dns.name.empty or target not in (".", "*.", "rpz-drop.", "rpz-passthru."):
            continue
        exception = target == "rpz-passthru."
        if inner.endswith(".rpz-ip"):
            length, *octets = inner.removesuffix(".rpz-ip").split(".")
            shown = ".".join(reversed(octets)) + (f"/{length}" if length != "32" else "")
            made.append(f"address {shown}" + exception * " exception")
            continue
        is_usual = all(re.fullmatch(rb"[a-zA-Z0-9_-]+", label) for label in owner.labels[owner.is_wild() :])
        if is_usual and not inner.endswith(("rpz-nsdname", "rpz-client-ip", "rpz-nsip")):
            scopes[inner.removeprefix("*."), exception].add("below" if owner.is_wild() else "exact")
    for (inner, exception), found in scopes.items():
        made.append(f"name {inner} {'subtree' if len(found) > 1 else found.pop()}" + exception * " exception")
    return sorted(made)


class Writer:
    """A policy zone in one of the many ways that a zone can be written."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lines: list[str] = []
        self.origin = APEX
        self.is_named = self.chance.random() < 0.8
        """The text says the zone's name."""

    def text(self) -> str:
        end = self.chance.choice(["\n", "\n", "\r\n"])
        self._head()
        for number in range(self.chance.randint(1, 25)):
            self._record(number)
        return end.join(self.lines) + end

    def _space(self) -> str:
        return self.chance.choice([" ", "\t", "  ", " \t "])

    def _head(self) -> None:
        soa = self.chance.choice(["a. b. 1 3600 600 86400 300", "a. root.localhost. (", "a.test. b\\.c.test. (1"])
        comment = self.chance.choice(["; a list", "", ";"])
        self.lines += ["$TTL " + self.chance.choice(["300", "1h", "1H30M"]), comment]
        owner = "@"
        way = self.chance.choice(["origin", "absolute", "root", "parent"]) if self.is_named else "nameless"
        first, _, parent = APEX.partition(".")
        if way in ("origin", "root", "parent"):
            self.lines.append("$ORIGIN " + {"origin": f"{APEX}.", "root": ".", "parent": f"{parent}."}[way])
        owner = {"absolute": f"{APEX}.", "root": APEX, "parent": first}.get(way, "@")
        self.lines.append(f"{owner}{self._space()}{self.chance.choice(['', 'IN ', '60 IN ', 'IN 60 '])}SOA {soa}")
        if "(" in soa:
            self.lines += ["  2 ; serial" if soa.endswith("(") else "; serial", "3600 600", "\t86400 300 ) ; end"]
        if self.chance.random() < 0.7:
            self.lines.append(f"{self._space()}NS{self._space()}localhost.")
        if way in ("root", "parent"):
            self.lines.append(f"$ORIGIN {APEX}.")

    def _record(self, number: int) -> None:
        if self.is_named and self.chance.random() < 0.15:
            self.origin = self.chance.choice(["com.", "a.b.", "", "", "elsewhere/"]) + APEX
            self.origin = "outside.test" if "/" in self.origin else self.origin
            self.lines.append(f"$ORIGIN {self.origin}.{self.chance.choice(['', ' ; now'])}")
        if self.chance.random() < 0.15:
            self.lines.append(self.chance.choice(["", "; x CNAME .", "   ", "\t; x"]))
        name = f"n{number}.{self.chance.choice(['test', 'Evil.Example', 'a_b.test', 'x-y.z.test'])}"
        if self.chance.random() < 0.15:
            name = self.chance.choice([f"24.0.{number}.2.192.rpz-ip", f"32.{number}.2.0.192.rpz-ip", *TRIGGERS])
            name = name.format(number)
        kind, data = "CNAME", self.chance.choice(TARGETS)
        if self.chance.random() < 0.15:
            kind, _, data = self.chance.choice(OTHERS).partition(" ")
            self._write(self._owner(name), kind, data)
            return
        if "rpz-" in name:
            self._write(self._owner(name), kind, data)
            return
        for star in self.chance.choice([["", "*."], ["*.", ""], [""], ["*."]]):
            self._write(self._owner(f"{star}{name}"), kind, data)
            if self.chance.random() < 0.1:
                self._write(" ", kind, data)  # once more, of the same owner

    def _owner(self, name: str) -> str:
        """Relative to the origin that is in force, or absolute; with an escape here and there."""
        owner = f"{name}.{APEX}." if self.is_named and self.chance.random() < 0.3 else name
        if "rpz-" not in name and self.chance.random() < 0.15:
            at = self.chance.randrange(len(owner))
            if owner[at].isalpha():
                owner = owner[:at] + self.chance.choice([f"\\{ord(owner[at]):03}", f"\\{owner[at]}"]) + owner[at + 1 :]
            elif owner[at] == "." and 0 < at < len(owner) - 1 and self.chance.random() < 0.3:
                owner = owner[:at] + self.chance.choice(["\\.", "\\046", "\\;", "\\032"]) + owner[at + 1 :]
        return owner

    def _write(self, owner: str, kind: str, data: str) -> None:
        kind = self.chance.choice([kind, kind.lower()]) if kind == "CNAME" else kind
        between = self.chance.choice(["", "", "60 ", "IN ", "60 IN ", "IN 1h "])
        space, comment = self._space(), self.chance.choice(["", "", " ; x ( y", ";x"])
        form = self.chance.choice([0, 0, 0, 1, 2, 3])
        if form == 0:
            self.lines.append(f"{owner}{space}{between}{kind}{space}{data}{comment}")
        elif form == 1:
            self.lines.append(f"{owner}{space}({between}{kind} {data} ){comment}")
        elif form == 2:
            self.lines += [f"{owner} {between}{kind} ({comment}", f"\t{data}", f") {comment}"]
        else:
            self.lines += [f"{owner} ( {between}", f"{kind}{comment}", "", f" {data})"]


@pytest.mark.parametrize("block", range(5))
def test_a_zone_means_what_dnspython_reads_in_it(block: int) -> None:
    entries = 0
    for seed in range(block, ZONES, 5):
        text = Writer(seed).text()
        with mock.patch.object(lines, "LEARN_BYTES_MIN", seed % 2 << 30):  # half of them as long lists are read
            content = read(text.encode(), "rpz").content
        found = sorted(line for line in lines_of(content) if not line.startswith("line "))
        assert found == judged(text), text
        entries += len(found)
    assert entries > ZONES // 5


def test_no_line_of_such_a_zone_is_malformed_but_of_names_that_cannot_be_asked_for() -> None:
    for seed in range(ZONES // 5):
        text = Writer(seed).text()
        content = read(text.encode(), "rpz").content
        assert {reject.rule.id for reject in content.rejects if reject.rule.kind == "malformed"} <= {"G9.character"}, (
            text
        )
        assert content.counts["lines"] == len(text.splitlines())


def test_files_that_a_zone_includes_or_makes_up_are_left_out_and_told() -> None:
    head = f"$TTL 1\n$ORIGIN {APEX}.\n@ SOA a. b. 1 2 3 4 5\n"
    text = f"{head}$INCLUDE more.zone\n$GENERATE 1-9 a$.test CNAME .\nb.test CNAME .\n"
    content = read(text.encode(), "rpz").content
    assert lines_of(content) == [
        "name b.test exact",
        "line 4 unsupported G9.include",
        "line 5 unsupported G9.include",
    ]
