"""Input made to fill memory or time, one child process each: it ends soon, within a small multiple of its size."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable

import pytest
from patience import HUNG_S

from clearway.errors import ClearwayError
from clearway.feeds.readers import content
from clearway.feeds.readers.table import read

MIB = 1 << 20
SIZE = 2 * MIB
SECONDS_MAX = 4 * HUNG_S
"""For what takes two or three on an idle machine."""
ALL = os.environ.get("CLEARWAY_TESTS") == "all"
USUAL = ("one-line", "many-origins", "open-braces", "comment", "wide-ranges", "values-of-a-pattern", "rules", "gzip")
"""Those of every run; CLEARWAY_TESTS=all asks for the others too."""
AT_REST = 200 * MIB
"""Of a child that has read nothing yet, with room for what it imports."""


def filled(piece: bytes, size: int = SIZE) -> bytes:
    return piece * (size // len(piece))


def bundle(pattern: str) -> bytes:
    item = json.dumps({"type": "indicator", "id": "i", "pattern": pattern}).encode()
    return b'{"type": "bundle", "objects": [' + filled(item + b",", SIZE) + item + b"]}"


def numbered(piece: str, count: int) -> bytes:
    return "".join(piece.format(number) for number in range(count)).encode()


INPUTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "one-line": ("domains", lambda: b"a" * (64 * MIB)),
    "one-line-of-names": ("hosts", lambda: b"0.0.0.0 " + filled(b"a.example ")),
    "lines-of-one-byte": ("domains", lambda: filled(b"x\n", MIB + MIB // 4)),
    "short-patterns": ("adblock", lambda: filled(b"@@||a.b^$x\n")),
    "exceptions": ("adblock", lambda: numbered("@@||a{}.example^\n", 100_000)),
    "open-parentheses": ("rpz", lambda: filled(b"a CNAME (\n")),
    "many-origins": ("rpz", lambda: filled(b"$ORIGIN a\n")),
    "long-owners": ("rpz", lambda: b"@ SOA a. b. 1 2 3 4 5\n" + filled(b"$ORIGIN " + b"a." * 1000 + b"x\n")),
    "open-braces": ("bind-zone", lambda: filled(b'zone "a" {\n')),
    "one-statement": ("bind-zone", lambda: b'zone "a" {' + filled(b"{;\n")),
    "comment": ("bind-zone", lambda: filled(b"/*\n")),
    "names-a-line": ("dnsmasq", lambda: filled(b"address=/" + b"a.example/" * 2000 + b"\n")),
    "redirects": ("unbound", lambda: numbered('local-zone: "a{}.example" redirect\n', 100_000)),
    "wide-ranges": ("ip-plain", lambda: filled(b"1::1-ffff::fffe\n")),
    "headers": ("csv", lambda: b"domain,x\n" + filled(b"domain,x\n")),
    "columns": ("csv", lambda: b"domain\n" + filled(b"a.example" + b"," * 30_000 + b"\n")),
    "objects": ("spamhaus-json", lambda: filled(b'{"cidr":{}}\n')),
    "deep-lines": ("spamhaus-json", lambda: filled(b"[" * 60_000 + b"\n")),
    "values-of-a-pattern": ("stix21", lambda: bundle("[domain-name:value IN (" + "'a.b'," * 100_000 + "'a.b')]")),
    "conjunctions": ("stix21", lambda: bundle("[" + " OR ".join(["(a:b='c' AND a:b='c')"] * 4000) + "]")),
    "parentheses": ("stix21", lambda: bundle("(" * 50_000)),
    "attributes": ("misp-event", lambda: b'{"Event":{"Attribute":[' + filled(b"{},", MIB) + b"{}]}}"),
    "one-text": ("misp-warninglist", lambda: b'{"list":["' + filled(b"a") + b'"]}'),
    "list": ("misp-warninglist", lambda: b'{"list":[' + filled(b"1,", MIB) + b"1]}"),
    "rules": ("suricata-sni", lambda: filled(b"alert tls any any -> any any (" + b"a:b;" * 15_000 + b")\n")),
    "trails": ("maltrail", lambda: filled(b"1.2.3.4:1\n")),
    "idn": ("wildcard-domains", lambda: filled("*.bücher.example\n".encode(), MIB)),
    "gzip": ("domains", lambda: gzip.compress(numbered("a{}.example\n", 400_000))),
}


def child(word: str, make: Callable[[], bytes], answers: multiprocessing.SimpleQueue[tuple[str, int, int]]) -> None:
    data = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = f"{read(data, word).content.counts['lines']} lines"
    except ClearwayError as error:
        found = error.id
    answers.put((found, len(data), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10))


@pytest.mark.parametrize("name", INPUTS if ALL else USUAL)
def test_memory_and_time_are_bounded(name: str) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    begun = time.monotonic()
    process = context.Process(target=child, args=(*INPUTS[name], answers))
    process.start()
    process.join(SECONDS_MAX)
    is_late = process.is_alive()
    process.kill()
    process.join()
    assert not is_late, f"not done after {SECONDS_MAX} s"
    found, size, grown = answers.get()
    print(name, found, f"{size >> 20} MiB, grown by {grown >> 20} MiB, {time.monotonic() - begun:.1f} s")
    assert found.endswith(" lines") or found.startswith("feeds.E")
    assert grown < AT_REST + 8 * size, found


def test_a_document_of_endless_values_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "ITEMS_MAX", 100)
    with pytest.raises(ClearwayError) as error:
        read(bundle("[domain-name:value IN (" + "'a.example'," * 100 + "'a.example')]"), "stix21")
    assert error.value.id == "feeds.E019"
