"""The commands of lists as people type them: what is told, exit codes, and what JSON has."""

from pathlib import Path

import pytest
from calling import Call

MANY = "".join(f"45.7.{n}.0/24\n" for n in range(40))


@pytest.fixture
def source(cli: Call, tmp_path: Path) -> Path:
    """A list that is in force as `drop`, and was another before."""
    path = tmp_path / "drop.txt"
    path.write_text(MANY)
    assert cli("feed", "add", "drop", path, "--reason", "malware").code == 0
    path.write_text(MANY + "45.9.9.9\n8.8.8.8\n")
    assert cli("feed", "update", "drop").code == 0
    return path


def test_quarantine_is_told_everywhere_and_decided_by_a_person(cli: Call, source: Path) -> None:
    source.write_text("45.7.1.0/24\n")
    told = cli("feed", "update", "drop")
    assert (told.code, "[store.E040]" in told.err, "rule G4" in told.err) == (1, True, True)
    assert "drop: a version of" in cli("feed", "list").out and "is quarantined by G4" in cli("feed", "list").out
    shown = cli("feed", "quarantine", "show", "drop").out
    assert "  G4: it is far smaller or larger than the last good one: 1 entries after 41" in shown
    assert "  released, it would bring 1 address\n" in shown
    assert cli("feed", "quarantine", "list", "--json").json["quarantine"][0]["state"] == "waits"
    told = cli("feed", "quarantine", "release", "drop", "--note", "they said so")
    assert told.out.startswith("released drop · 1 entry · malware · until ")
    assert cli("feed", "quarantine", "list").out == "nothing is in quarantine\n"
    assert "released" in cli("feed", "quarantine", "list", "--all").out
    assert cli("feed", "quarantine", "discard", "drop").code == 1
    assert "by a person, from G4" in cli("feed", "show", "drop").out


def test_versions_are_shown_compared_and_gone_back_to(cli: Call, source: Path) -> None:
    rows = cli("feed", "versions", "drop", "--json").json["versions"]
    assert [(row["version"], row["wanted"], row["counts"]["v4"]) for row in rows] == [(3, True, 41), (2, False, 40)]
    assert "wanted" in cli("feed", "versions", "drop").out
    told = cli("feed", "diff", "drop")
    lines = ["drop: version 2 → 3", "  - nothing removed", "  + 1 address added", "+ 45.9.9.9"]
    assert (told.code, told.out.splitlines()) == (0, lines)
    assert cli("feed", "diff", "drop", "3", "3").out == "that is one version\n"
    stream = cli("feed", "diff", "drop", "2", "3", "--json").out.splitlines()
    assert len(stream) == 2 and '"value": "45.9.9.9"' in stream[1]
    told = cli("feed", "rollback", "drop", "2", "--note", "9.9 is ours")
    assert told.out.startswith("rolled back drop · 40 entries")
    assert "  version 3 is not taken again, until somebody goes back to it" in told.out
    refused = cli("feed", "update", "drop")
    assert (refused.code, "[store.E043]" in refused.err) == (1, True)
    assert "[store.E046]" in cli("feed", "rollback", "drop", "2").err, "the number that was named stays its name"
    assert cli("feed", "rollback", "drop", "77").code == 1
    assert cli("feed", "rollback", "drop", "x").code == 2


def test_show_tells_what_was_left_out_and_what_is_set(cli: Call, source: Path) -> None:
    out = cli("feed", "show", "drop").out
    assert "G10.resolver" in out and "8.8.8.8" in out
    assert cli("feed", "set", "drop", "--set", "shrink=0.2", "--set", "keep=7", "--every", "6h").code == 0
    out = cli("feed", "show", "drop").out
    assert "shrink=0.2, keep=7\n" in out and "entries      41 addresses\n" in out
    answer = cli("feed", "set", "drop", "--set", "shrink=", "--json").json
    assert (answer["settings"], answer["every_s"]) == ({"keep": 7}, 21600)
    assert cli("feed", "set", "drop", "--every", "", "--json").json["every_s"] is None
    nothing = cli("feed", "set", "drop", "--note", "x")
    assert (nothing.code, "nothing to set for drop was said" in nothing.err) == (2, True)
    for words, id in {
        ("--set", "nonsense=1"): "store.E052",
        ("--set", "shrink"): "store.E053",
        ("--set", "wide=perhaps"): "store.E053",
        ("--set", "shrink=many"): "feeds.E026",
        ("--map", "x=malware"): "store.E020",
    }.items():
        assert cli("feed", "set", "drop", *words, "--json").json["error"]["id"] == id


def test_a_list_is_observed_and_then_enforced(cli: Call, tmp_path: Path) -> None:
    path = tmp_path / "seen.txt"
    path.write_text("45.1.1.1\n")
    assert cli("feed", "add", "seen", path, "--reason", "malware", "--observe").out.startswith("observing seen")
    assert "seen (observed)" in cli("feed", "list").out
    assert cli("feed", "observe", "seen").code == 1
    told = cli("explain", "45.1.1.1", "--json").json
    assert told["sentence"].endswith("forwarded; list seen would drop it, and is only observed")
    assert (told["outcome"], told["rules"][0]["enforced"], told["rules"][0]["observe"]) == ("forwarded", False, True)
    assert cli("explain", "45.1.0.0/16", "--json").json["outcome"] == "forwarded"
    assert cli("feed", "diff", "seen").out == "seen: version 2 is the only one that is kept\n"
    assert cli("feed", "enforce", "seen", "--note", "quiet for a week").code == 0
    assert cli("feed", "list", "--json").json["lists"][0]["observe"] is False
    assert cli("explain", "45.1.1.1", "--json").json["outcome"] == "dropped"


def test_a_false_positive_is_spared_shown_and_lifted(cli: Call, source: Path) -> None:
    told = cli("feed", "exclude", "45.7.1.9", "--until", "7d", "--note", "a shop")
    assert told.out.startswith("excluded 45.7.1.9 · until ") and "  held by list drop (malware)" in told.out
    assert "a shop" in cli("feed", "excluded").out
    assert cli("explain", "45.7.1.9", "--json").json["outcome"] == "forwarded"
    assert cli("explain", "45.7.1.8", "--json").json["outcome"] == "dropped"
    assert cli("feed", "include", "45.7.1.9").code == 0
    assert cli("feed", "include", "45.7.1.9").code == 1
    assert cli("feed", "excluded").out == "nothing is excluded from lists\n"


def test_the_protected_set_is_shown_with_who_says_so(cli: Call, source: Path) -> None:
    assert cli("feed", "protected", "add", "45.7.1.0/24", "--note", "ours").code == 0
    out = cli("feed", "protected", "list").out
    assert "45.7.1.0/24" in out and ": ours" in out and "IANA IPv4 special-purpose registry" in out
    source.write_text(MANY)
    assert "  alarm G10.own: 45.7.1.0/24" in cli("feed", "update", "drop").out
    assert cli("feed", "protected", "remove", "192.0.2.0/24").code == 0
    assert "taken out" in cli("feed", "protected", "list").out
    assert cli("feed", "protected", "remove", "45.0.0.0/16").code == 1


def test_the_report_names_what_stands_elsewhere_and_draws_it(cli: Call, source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("45.7.1.7\n45.7.2.7\n")
    cli("feed", "add", "other", other, "--reason", "scanner")
    document = cli("feed", "report", "--json").json
    rows = {row["feed"]: row for row in document["lists"]}
    assert [(rows[name]["entries"], rows[name]["unique"]) for name in ("drop", "other")] == [(41, 41), (2, 0)]
    assert document["overlap"] == {"drop": {"other": 0}, "other": {"drop": 2}}
    assert (rows["other"]["hits"], rows["other"]["notes"]) == (None, ["all of it stands in other lists"])
    picture = tmp_path / "overlap.png"
    told = cli("feed", "report", "--plot", picture)
    assert "drop 100 %" in told.out and "nobody counts hits" in told.out and picture.read_bytes().startswith(b"\x89PNG")
    refused = cli("feed", "report", "--plot", tmp_path / "overlap.nonsense")
    assert (refused.code, "[store.E054]" in refused.err) == (2, True)


def test_a_table_of_reasons_is_typed_as_pairs(cli: Call, tmp_path: Path) -> None:
    path = tmp_path / "iocs.csv"
    path.write_text("kind,address\nc2,45.1.1.1\npayload,45.1.1.2\nother,45.1.1.3\n")
    words = (
        "feed",
        "add",
        "iocs",
        path,
        "--format",
        "csv:address:kind",
        "--map",
        "C2=botnet-c2",
        "--map",
        "payload=malware",
    )
    answer = cli(*words, "--json").json
    assert (answer["reason"], answer["rejected"]) == ("botnet-c2, malware", {"G9.category": 1})
    assert cli("explain", "45.1.1.1", "--json").json["decided_by"]["reason"] == "botnet-c2"
    assert cli("feed", "set", "iocs", "--map", "other=scanner").code == 0
    assert cli("feed", "update", "iocs", "--json").json["lists"][0]["reason"] == "botnet-c2, malware, scanner"
    refused = cli("feed", "add", "both", path, "--reason", "malware", "--map", "c2=malware", "--json").json
    assert refused["error"]["id"] == "store.E020"
