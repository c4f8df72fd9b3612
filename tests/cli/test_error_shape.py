"""All errors have one shape: two lines on standard error, or one document on standard output, and their own code."""

import json
from pathlib import Path

import pytest
from calling import Call

from clearway.errors import CATALOG

BLOCK = ("block", "192.0.2.7", "--reason", "malware", "--until", "1h")

CASES = {
    "cli.E001": ("block", "192.0.2.7"),
    "cli.E001 unknown command": ("frobnicate",),
    "cli.E001 unknown option": ("block", "--frobnicate"),
    "cli.E001 not a number": ("history", "--limit", "many"),
    "cli.E002": ("status",),
    "cli.E003": ("bypass", "on", "--for", "10m"),
    "cli.E006": ("explain", "999"),
    "cli.E006 no number that a database takes": ("explain", "9" * 25),
    "policy.E008": ("explain", "\u00b2"),
    "policy.E001": ("block", "300.1.2.3", "--reason", "malware", "--until", "1h"),
    "policy.E002": ("block", "192.0.2.7/24", "--reason", "malware", "--until", "1h"),
    "policy.E003": ("block", "fe80::1%eth0", "--reason", "malware", "--until", "1h"),
    "policy.E004": ("block", "192.0.2.7", "--reason", "malware", "--until", "soon"),
    "policy.E004 life": ("feed", "add", "x", "/x", "--reason", "malware", "--life", "9999999d"),
    "policy.E004 every": ("feed", "add", "x", "https://x.example/", "--reason", "malware", "--every", "9999999d"),
    "policy.E004 since": ("history", "--since", "999999d"),
    "policy.E004 since a time": ("history", "--since", "0001-01-01T00:00:00+14:00"),
    "policy.E004 since a time without its zone": ("history", "--since", "2026-11-26T01:00:00"),
    "policy.E004 bypass": ("bypass", "on", "--for", "9999999d"),
    "policy.E004 a time too far": ("block", "192.0.2.7", "--reason", "malware", "--until", "9999-01-01T00:00:00Z"),
    "policy.E005": ("block", "192.0.2.7", "--reason", "malware", "--until", "2020-01-01T00:00:00Z"),
    "policy.E006": ("block", "192.0.2.7", "--reason", "opinion", "--until", "1h"),
    "store.E020": ("feed", "add", "Not A Name", "/x", "--reason", "malware"),
    "store.E020 the name of single blocks": ("feed", "add", "block", "/x", "--reason", "malware"),
    "store.E021": ("block", "0.0.0.0/0", "--reason", "malware", "--until", "1h"),
    "store.E020 scope": ("block", "192.0.2.7", "--reason", "malware", "--until", "1h", "--scope", "exact"),
    "store.E020 no scope": ("block", "bad.example", "--reason", "malware", "--until", "1h", "--scope", "all"),
    "store.E023": ("explain", "bad.example", "--live"),
    "store.E027 name": ("unblock", "bad.example"),
    "store.E034": ("block", "co.uk", "--reason", "malware", "--until", "1h"),
    "store.E035": ("block", "cloudflare-ech.com", "--reason", "malware", "--until", "1h"),
    "policy.E008 single label": ("block", "localhost", "--reason", "malware", "--until", "1h"),
    "store.E027": ("unblock", "203.0.113.1"),
    "store.E028": ("revoke", "10.0.0.0/8"),
    "store.E030": ("feed", "remove", "nothing"),
    "feeds.E012": ("feed", "add", "x", "gopher://lists.example/x", "--reason", "malware"),
    "feeds.E013": ("feed", "add", "x", "/no/such/file", "--reason", "malware"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_error_has_its_shape_and_its_code(cli: Call, case: str) -> None:
    id = case.split()[0]
    cli(*BLOCK)
    spoken = cli(*CASES[case])
    assert spoken.code == CATALOG[id].exit_code
    first, second, *rest = spoken.err.splitlines()
    assert first.startswith("error: ")
    assert first.endswith(f" [{id}]")
    assert second.startswith("  fix: ")
    assert rest == []
    written = cli(*CASES[case], "--json")
    assert (written.code, written.err) == (spoken.code, "")
    error = written.json["error"]
    assert list(error) == ["id", "message", "fix", "retry"]
    assert (error["id"], error["retry"]) == (id, CATALOG[id].retry)
    assert f"error: {error['message']} [{id}]" == first
    assert f"  fix: {error['fix']}" == second


def test_where_nothing_is_stored_that_is_said(cli: Call, state: Path) -> None:
    for command in (["history"], ["explain", "192.0.2.1"], ["feed", "list"], ["feed", "update"]):
        told = cli(*command, "--json")
        assert (told.code, told.json["error"]["id"]) == (1, "store.E011")
    assert not state.exists(), "looking makes nothing"


def test_a_refused_command_stores_nothing(cli: Call) -> None:
    cli(*BLOCK)
    for arguments in CASES.values():
        cli(*arguments)
    assert [row["kind"] for row in cli("history", "--json").json["decisions"]] == ["block"]


def test_a_program_ends_with_the_same(program: Call) -> None:
    told = program("block", "co.uk", "--reason", "malware", "--until", "1h", "--json")
    assert (told.code, told.err) == (2, "")
    assert json.loads(told.out)["error"]["id"] == "store.E034"
