"""Names by hand: block, unblock, explain, history and lists of names, as a person types and reads them."""

from pathlib import Path

import pytest
from calling import Call

PHISH = ("--reason", "phishing", "--until", "7d")


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """A list of three names, and an address that is not taken."""
    path = tmp_path / "phish.txt"
    path.write_text("# ours\nbad.example\nlogin.bad.example\n*.wild.example\n185.0.2.9\n")
    return path


def test_a_name_is_blocked_with_everything_below_it_and_lifted(cli: Call) -> None:
    told = cli("block", "Worse.Example", *PHISH)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("blocked worse.example · with everything below it · until ")
    assert cli("explain", "www.worse.example", "--json").json["outcome"] == "dropped"
    assert "lifted the block of worse.example" in cli("unblock", "worse.example").out
    assert cli("explain", "www.worse.example", "--json").json["outcome"] == "forwarded"


def test_scope_says_what_of_a_name_is_meant(cli: Call) -> None:
    told = cli("block", "worse.example", *PHISH, "--scope", "exact", "--json").json
    assert (told["scope"], told["enforced"]) == ("exact", False)
    assert cli("explain", "www.worse.example", "--json").json["outcome"] == "forwarded"
    assert "scope" in cli("block", "185.0.2.1", *PHISH, "--scope", "exact", "--json").json["error"]["message"]


def test_help_says_what_a_name_covers(cli: Call) -> None:
    for command in ("block", "unblock"):
        assert "with everything below it; the default" in " ".join(cli(command, "--help").out.split())


def test_a_list_of_names_is_found_from_its_look_enforced_updated_and_removed(cli: Call, names: Path) -> None:
    told = cli("feed", "add", "phish", names, "--reason", "phishing")
    assert told.out.startswith("added phish · 3 names · 1 address · phishing · until ")
    row = cli("feed", "list", "--json").json["lists"][0]
    assert (row["format"], row["addresses"], row["names"], row["entries"]) == ("domains", 1, 3, 4)
    assert [part.split()[:4] for part in cli("feed", "list").out.splitlines()] == [
        ["list", "reason", "addresses", "names"],
        ["phish", "phishing", "1", "3"],
    ]
    assert cli("explain", "login.bad.example", "--json").json["decided_by"]["list"] == "phish"
    names.write_text("new.example\n")
    assert "updated phish · 1 name ·" in cli("feed", "update", "phish").out
    assert cli("explain", "login.bad.example", "--json").json["outcome"] == "forwarded"
    cli("feed", "remove", "phish")
    assert cli("explain", "new.example", "--json").json["outcome"] == "forwarded"


def test_explain_shows_every_rule_of_a_name_the_winner_first_and_on_whose_word(cli: Call, names: Path) -> None:
    cli("feed", "add", "phish", names, "--reason", "phishing")
    refused = cli("unblock", "bad.example", "--json").json["error"]
    assert (refused["id"], "list phish (phishing)" in refused["message"]) == ("store.E026", True)
    assert cli("unblock", "bad.example", "--until", "2d", "--scope", "exact").code == 0
    out = cli("explain", "bad.example").out
    lines = out.splitlines()
    assert lines[0] == "bad.example is forwarded, but for what is refused below it"
    assert lines[1].startswith("  by an exception of bad.example · until ")
    rules = cli("explain", "bad.example", "--json").json["rules"]
    assert [(rule["kind"], rule["name"], rule["relation"]) for rule in rules] == [
        ("exception", "bad.example", "covers"),
        ("list", "bad.example", "covers"),
        ("list", "login.bad.example", "within"),
    ]
    assert [line.split()[:2] for line in lines[4:7]] == [["→", "exception"], ["list", "phish"], ["list", "phish"]]
    assert str(names) in out


def test_explain_takes_the_number_of_a_decision_about_a_name(cli: Call) -> None:
    number = cli("block", "worse.example", *PHISH, "--json").json["decision"]
    told = cli("explain", number, "--json").json
    assert (told["decision"]["stands"], told["target"], told["outcome"]) == (True, "worse.example", "dropped")
    assert told["appeal"] == f"Ask this gateway's operator, naming decision {number}."
    cli("unblock", "worse.example")
    assert "it stands no more" in cli("explain", number).out


def test_history_finds_a_name_however_it_is_written(cli: Call) -> None:
    cli("block", "worse.example", *PHISH)
    cli("block", "other.example", *PHISH)
    rows = cli("history", "WORSE.example.", "--json").json["decisions"]
    assert [(row["kind"], row["target"], row["detail"]) for row in rows] == [
        ("block", "worse.example", {"scope": "subtree"})
    ]
    assert "phishing · subtree · until" in cli("history", "worse.example").out


def test_what_is_stored_counts_names_beside_addresses(cli: Call) -> None:
    cli("block", "worse.example", *PHISH)
    cli("block", "185.0.2.1", "--reason", "malware", "--until", "1h")
    assert "1 block, 0 exceptions, 0 grants, 1 blocked name" in cli("status").out


def test_what_an_exception_of_a_wider_name_leaves_blocked_is_named(cli: Call) -> None:
    cli("block", "www.worse.example", *PHISH)
    cli("block", "worse.example", *PHISH)
    cli("unblock", "www.worse.example")
    cli("unblock", "www.worse.example", "--until", "1h")
    assert "exceptions within it go on: www.worse.example" in cli("block", "worse.example", *PHISH).out
