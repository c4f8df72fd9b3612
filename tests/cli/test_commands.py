"""block, unblock, grant, revoke, feed, history, explain, status where no gateway runs: what they store and say."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calling import Call
from patience import HUNG_S


def test_a_block_says_what_until_when_and_that_nobody_enforces_it_yet(cli: Call, state: Path) -> None:
    told = cli("block", "185.0.2.7", "--reason", "brute-force", "--until", "2h", "--note", "ssh")
    assert told.code == 0
    first, second = told.out.splitlines()
    assert first.startswith("blocked 185.0.2.7 · until ")
    assert first.endswith(" UTC (in 2 h) · brute-force · decision 1")
    assert second == f"  stored in {state}; no gateway runs there: in force from its next start"
    answer = cli("block", "185.0.2.8", "--reason", "brute-force", "--until", "2030-01-31T12:00:00+02:00", "--json").json
    assert {key: answer[key] for key in ("decision", "kind", "target", "reason", "until", "enforced")} == {
        "decision": 2,
        "kind": "block",
        "target": "185.0.2.8",
        "reason": "brute-force",
        "until": "2030-01-31T10:00:00Z",
        "enforced": False,
    }


def test_the_login_behind_sudo_is_who_decided(program: Call) -> None:
    arguments = ("block", "185.0.2.7", "--reason", "malware", "--until", "1h", "--json")
    environment = {"SUDO_USER": "alice"}
    wanted = "alice" if os.geteuid() == 0 else None
    assert program(*arguments, environment=environment).json["actor"] == (wanted or program(*arguments).json["actor"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user")
def test_who_may_not_look_is_told_so(cli: Call, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWAY_STATE", str(open_folder / "state"))
    cli("block", "185.0.2.7", "--reason", "malware", "--until", "1h")
    code = (  # called once as root first, since Python itself may lie where others may not look
        "import contextlib, io, os, sys, tempfile\nfrom clearway.cli import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        "    app.call([*sys.argv[1:], '--state', tempfile.mkdtemp()])\n"
        "os.setgid(65534); os.setuid(65534); sys.exit(app.call(sys.argv[1:]))"
    )
    refused = {"history": "store.E003", "status": "gateway.E024", "feed list": "store.E003"}
    for command, id in {**refused, "block 185.0.2.8 --reason malware --until 1h": "store.E003"}.items():
        arguments = [sys.executable, "-c", code, *command.split()]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=HUNG_S)
        assert f"[{id}]" in done.stderr, done.stderr
        assert done.returncode == 3


def test_a_list_is_added_shown_updated_and_removed(cli: Call, state: Path, a_list: Path) -> None:
    told = cli("feed", "add", "drop", a_list, "--reason", "malware")
    assert told.out.startswith("added drop · 3 entries · malware · until ")
    assert "(in 30 days)" in told.out
    row = cli("feed", "list", "--json").json["lists"][0]
    assert (row["feed"], row["entries"], row["source"], row["every_s"]) == ("drop", 3, str(a_list), None)
    assert (state / "feeds" / row["content"]).is_dir()
    assert (state / "snapshots" / "current").is_dir()
    assert "unchanged drop · 3 entries" in cli("feed", "update").out
    a_list.write_text("185.0.2.0/24\n")
    assert "updated drop · 1 entry ·" in cli("feed", "update", "drop").out
    assert "removed drop · decision 5" in cli("feed", "remove", "drop", "--note", "over").out
    assert cli("feed", "list").out.startswith("there is no list yet")
    assert cli("feed", "add", "drop", a_list, "--reason", "malware").code == 0, "a name may come back"


def test_a_list_that_fails_leaves_the_one_before_and_the_others_are_updated(
    cli: Call, a_list: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("193.0.113.0/24\n")
    cli("feed", "add", "a", a_list, "--reason", "malware")
    cli("feed", "add", "b", other, "--reason", "scanner")
    a_list.write_text("<html>gone</html>")
    other.write_text("193.0.113.0/25\n193.0.113.128/26\n")
    told = cli("feed", "update", "--json")
    assert told.code == 1
    failed, updated = told.json["lists"]
    assert (failed["feed"], failed["error"]["id"]) == ("a", "store.E040")
    assert (updated["feed"], updated["counts"]["v4"]) == ("b", 2)
    assert [row["entries"] for row in cli("feed", "list", "--json").json["lists"]] == [3, 2]
    assert cli("explain", "185.0.2.9", "--json").json["outcome"] == "dropped"


@pytest.mark.parametrize("content, rule", [("0.0.0.0/0\n", "G6"), ("::/0\n", "G6"), ("", "G3"), ("<html>\n", "G1")])
def test_a_list_that_must_not_be_believed_is_refused_whole(
    cli: Call, state: Path, a_list: Path, content: str, rule: str
) -> None:
    a_list.write_text("185.0.2.1\n" + content if content else "")
    told = cli("feed", "add", "drop", a_list, "--reason", "malware")
    assert (told.code, f"is quarantined by rule {rule}: " in told.err, "[feeds.E024]" in told.err) == (1, True, True)
    assert cli("feed", "list", "--json").json["lists"] == []


def test_what_covers_the_inside_is_held_back_of_a_list_with_an_alarm(cli: Call, state: Path, a_list: Path) -> None:
    cli("grant", "185.0.2.0/26", "--organisation", "o", "--until", "1h")
    (state / "inside.json").write_text('{"inside_prefixes": ["185.0.2.64/26"]}')
    told = cli("feed", "add", "drop", a_list, "--reason", "malware")
    assert "added drop · 2 entries" in told.out
    assert "  held back by the guard: G10.own 1" in told.out
    assert "  alarm G10.own: 185.0.2.0/24, which touches 185.0.2.64/26" in told.out
    refused = cli("block", "185.0.2.0/24", "--reason", "malware", "--until", "1h", "--json").json
    assert refused["error"]["id"] == "store.E022"


def test_a_list_that_came_to_cover_the_inside_is_left_out_and_named(cli: Call, state: Path, a_list: Path) -> None:
    cli("feed", "add", "drop", a_list, "--reason", "malware")
    (state / "inside.json").write_text('{"inside_prefixes": ["185.0.2.64/26"]}')
    told = cli("feed", "list")
    assert "drop is not enforced: list drop holds 185.0.2.0/24, which covers 185.0.2.64/26" in told.out
    assert cli("explain", "185.0.2.9", "--json").json["outcome"] == "forwarded"


def test_where_a_list_holds_it_unblock_wants_an_end_and_explain_names_both(cli: Call, a_list: Path) -> None:
    cli("feed", "add", "drop", a_list, "--reason", "malware")
    assert cli("unblock", "185.0.2.9", "--json").json["error"]["id"] == "store.E026"
    told = cli("unblock", "185.0.2.9", "--until", "7d")
    assert "  still held by list drop (malware), which the exception overrides" in told.out
    answer = cli("explain", "185.0.2.9", "--json").json
    assert answer["outcome"] == "forwarded"
    assert [(rule["kind"], rule["prefix"]) for rule in answer["rules"]] == [
        ("exception", "185.0.2.9"),
        ("list", "185.0.2.0/24"),
    ]
    assert answer["decided_by"] == answer["rules"][0]


def test_explain_says_which_of_several_rules_wins(cli: Call, a_list: Path) -> None:
    cli("feed", "add", "drop", a_list, "--reason", "malware")
    cli("block", "185.0.0.0/16", "--reason", "scanner", "--until", "1h")
    answer = cli("explain", "185.0.2.9", "--json").json
    assert answer["decided_by"]["kind"] == "block", "a single entry beats a list, whatever the lengths"
    cli("block", "185.0.2.0/28", "--reason", "flood", "--until", "1h")
    assert cli("explain", "185.0.2.9", "--json").json["decided_by"]["prefix"] == "185.0.2.0/28"
    cli("grant", "185.0.2.9", "--organisation", "Example", "--until", "1h")
    answer = cli("explain", "185.0.2.9", "--json").json
    assert (answer["outcome"], answer["decided_by"]["kind"]) == ("green", "grant")
    assert answer["appeal"] is None


def test_explain_of_a_prefix_tells_what_differs_within_it(cli: Call, a_list: Path) -> None:
    cli("feed", "add", "drop", a_list, "--reason", "malware")
    assert cli("explain", "185.0.0.0/16", "--json").json["outcome"] == "partly"
    assert cli("explain", "185.0.2.0/25", "--json").json["outcome"] == "dropped"
    cli("unblock", "185.0.2.9", "--until", "1d")
    assert cli("explain", "185.0.2.0/25", "--json").json["outcome"] == "partly"
    assert cli("explain", "193.0.113.0/24", "--json").json["outcome"] == "forwarded"


def test_explain_tells_on_whose_word_and_how_to_appeal(cli: Call, a_list: Path) -> None:
    cli("feed", "add", "drop", a_list, "--reason", "malware")
    told = cli("explain", "188.51.100.7")
    assert told.out.startswith("packets from and to 188.51.100.7 are dropped\n  by list drop, which holds 188.51.100.7")
    assert str(a_list) in told.out
    assert "Appeal: Ask whoever publishes list drop" in told.out
    assert "naming decision 2." in told.out
    cli("block", "193.0.113.9", "--reason", "exploit", "--until", "1h", "--note", "cve [red]x")
    told = cli("explain", "193.0.113.9")
    assert "  cve [red]x" in told.out
    assert "Appeal: Ask this gateway's operator, naming decision 3." in told.out


def test_explain_of_a_decision_says_whether_it_stands(cli: Call) -> None:
    cli("block", "193.0.113.9", "--reason", "exploit", "--until", "1h")
    assert "decision 1 · block 193.0.113.9" in cli("explain", "1").out
    cli("unblock", "193.0.113.9")
    told = cli("explain", "1", "--json").json
    assert (told["decision"]["stands"], told["outcome"]) == (False, "forwarded")


@pytest.mark.parametrize("name", ["drop.v4", "list.1"])
def test_explain_of_a_decision_about_a_list_takes_its_name_for_no_domain(cli: Call, a_list: Path, name: str) -> None:
    number = cli("feed", "add", name, a_list, "--reason", "malware", "--json").json["decision"]
    told = cli("explain", str(number), "--json").json
    assert (set(told), told["decision"]["target"]) == ({"decision"}, name)
    assert "no rule refuses" not in cli("explain", str(number)).out


def test_explain_of_a_decision_about_traffic_explains_its_target(cli: Call) -> None:
    from clearway.cli.explain import ABOUT_TRAFFIC
    from clearway.store.models import Kind

    assert set(Kind.values) > ABOUT_TRAFFIC
    for words in (["feed", "exclude", "--until", "1d"], ["feed", "protected", "add"]):
        number = cli(*words, "45.7.1.9", "--json").json["decision"]
        assert cli("explain", str(number), "--json").json["target"] == "45.7.1.9"


def test_history_folds_the_renewals_of_a_list_into_one_line(cli: Call, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("45.9.4.1\n45.9.4.2\n")
        assert cli("feed", "add", name, tmp_path / name, "--reason", "malware").code == 0
    for _ in range(3):
        cli("feed", "update")
    (tmp_path / "one").write_text("45.9.4.1\n")
    cli("feed", "update", "one")
    cli("feed", "update", "one")
    cli("feed", "observe", "one")
    cli("feed", "update", "one")
    told = [line.split(" · ") for line in cli("history").out.splitlines()[1:]]
    shown = [(*parts[0].split()[4:6], *(part.split(" since ")[0] for part in parts[2:])) for parts in told]
    assert shown == [
        ("feed-version", "one", "1 entry"),
        ("feed-observe", "one"),
        ("feed-version", "one", "1 entry", "renewed 1 time"),
        ("feed-version", "two", "2 entries", "renewed 3 times"),
        ("feed-version", "one", "2 entries", "renewed 3 times"),
        ("feed-add", "two"),
        ("feed-add", "one"),
    ]
    everything = cli("history", "--json").json["decisions"]
    assert len(everything) == len(cli("history", "--all").out.splitlines()) - 1 == 14
    assert "renewals" not in everything[0]
    assert cli("history", "--limit", "4").out.count("renewed 3 times") == 1, "counted to its end"


def test_renewals_of_a_list_hide_no_decision_before_them(
    cli: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearway.store.history.FOLDED_MAX", 3)
    (tmp_path / "one").write_text("45.9.4.1\n")
    cli("feed", "add", "one", tmp_path / "one", "--reason", "malware")
    for _ in range(5):
        cli("feed", "update", "one")
    told = cli("history").out
    assert ("feed-add" in told, "older ones" in told) == (True, False)
    assert "older ones" in cli("history", "--limit", "1").out


def test_history_is_newest_first_and_says_when_there_is_more(cli: Call) -> None:
    for n in range(3):
        cli("grant", f"10.0.{n}.0/24", "--organisation", f"Org {n}", "--until", "1h")
    told = cli("history", "--limit", "2")
    lines = [line.split() for line in told.out.splitlines()]
    assert [line[0] for line in lines[1:3]] == ["3", "2"]
    assert told.out.endswith("older ones: --limit 10\n")
    narrowed = cli("history", "10.0.1.0/24", "--kind", "grant", "--since", "1h", "--json").json
    assert [row["organisation"] for row in narrowed["decisions"]] == ["Org 1"]
    assert cli("history", "--by", "nobody at all").out == "no decision fits\n"
    assert cli("history", "--kind", "opinion", "--json").json["error"]["id"] == "store.E020"


def test_history_reads_times_as_decisions_do_and_names_every_kind(cli: Call) -> None:
    from clearway.cli.history import KINDS
    from clearway.store.models import Kind

    cli("grant", "10.0.1.0/24", "--organisation", "Org", "--until", "1h")
    for past in ("2026-01-26 01:00:00Z", "2026-01-26t01:00:00.5+05:00"):
        assert len(cli("history", "--since", past, "--json").json["decisions"]) == 1
    assert cli("history", "--since", "2999-01-01 00:00:00Z", "--json").json["decisions"] == []
    assert re.split(", | or ", KINDS) == list(Kind)


def test_status_without_a_gateway_shows_what_is_stored_and_ends_with_1(cli: Call, state: Path, a_list: Path) -> None:
    cli("feed", "add", "drop", a_list, "--reason", "malware")
    cli("block", "193.0.113.9", "--reason", "exploit", "--until", "1h")
    told = cli("status")
    assert told.code == 1
    assert f"error: no gateway runs on {state} [cli.E002]" in told.err
    assert "1 block, 0 exceptions, 0 grants" in told.out
    assert "drop  malware        3" in told.out
    document = cli("status", "--json").json
    assert document["error"]["id"] == "cli.E002"
    assert (document["stored"]["blocks"], document["stored"]["lists"][0]["feed"]) == (1, "drop")


def test_a_list_from_a_url_is_fetched_asked_for_news_and_shown_without_its_password(
    cli: Call, state: Path, a_list: Path, a_server: str
) -> None:
    address = a_server.replace("//", "//user:secret@") + "?auth-key=SECRET"
    told = cli("feed", "add", "drop", address, "--reason", "malware", "--every", "2h")
    assert (told.code, "(in 4 h)" in told.out) == (0, True), told.err
    assert "unchanged drop · 3 entries" in cli("feed", "update").out
    everything = cli("feed", "list").out + cli("history", "--json").out + cli("explain", "185.0.2.1").out
    assert a_server in everything
    everything += cli("status", "--json").out + cli("feed", "list", "--json").out
    assert "secret" not in everything.lower()
    kept = [path for path in state.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert {path.name.removesuffix("-wal") for path in kept} == {"clearway.db"}
    with sqlite3.connect(state / "clearway.db") as database:
        assert database.execute("SELECT source FROM feed").fetchall() == [(address,)]
        assert "SECRET" not in str(database.execute("SELECT * FROM decision").fetchall())
        assert "SECRET" not in str(database.execute("SELECT * FROM feed_version").fetchall())


def test_a_grant_counts_for_inside_addresses_alone_where_those_are_known(cli: Call, state: Path) -> None:
    cli("block", "193.0.113.9", "--reason", "exploit", "--until", "1h")
    cli("grant", "193.0.113.9", "--organisation", "Elsewhere", "--until", "1h")
    assert cli("explain", "193.0.113.9", "--json").json["outcome"] == "green", "nobody knows what is inside"
    (state / "inside.json").write_text('{"inside_prefixes": ["185.0.2.0/24"]}')
    answer = cli("explain", "193.0.113.9", "--json").json
    assert (answer["outcome"], answer["decided_by"]["kind"]) == ("dropped", "block")
    assert [(rule["kind"], rule["enforced"]) for rule in answer["rules"]] == [("block", True), ("grant", False)]
    assert "not inside: changes" in " ".join(cli("explain", "193.0.113.9").out.split())
    cli("grant", "185.0.2.0/28", "--organisation", "Here", "--until", "1h")
    assert cli("explain", "185.0.2.9", "--json").json["outcome"] == "green"


def test_explain_live_asks_about_a_granted_address_outside_as_one_outside(state: Path, cli: Call) -> None:
    from datetime import UTC, datetime

    from clearway.cli import explain_live
    from clearway.config import StateDirectory
    from clearway.policy.model import Prefix

    cli("grant", "193.0.113.9", "--organisation", "Elsewhere", "--until", "1h")
    status = {"gateway": {"inside_prefixes": ["185.0.2.0/24"]}}
    asked = Prefix.parse("193.0.113.9")
    packets = explain_live._packets(StateDirectory(state), asked, status, datetime.now(UTC))
    assert [str(destination) for _, _, destination in packets] == ["193.0.113.9", "185.0.2.1"]
    status["gateway"]["inside_prefixes"] = []
    packets = explain_live._packets(StateDirectory(state), asked, status, datetime.now(UTC))
    assert str(packets[0][1]) == "193.0.113.9"


@pytest.mark.parametrize(
    "asked, inside, peer",
    [
        ("10.1.2.3", ["10.0.0.0/8"], "198.41.0.4"),
        ("198.41.0.9", ["198.41.0.0/24"], "192.5.5.241"),
        ("198.51.100.1", ["0.0.0.0/0"], "10.0.0.1"),
        ("fd00::9", ["fd00::/8"], "2001:503:ba3e::2:30"),
    ],
)
def test_explain_live_of_an_inside_host_talks_to_one_that_the_spoof_guard_lets_pass(
    state: Path, cli: Call, asked: str, inside: list[str], peer: str
) -> None:
    packets = _live_packets(cli, state, asked, inside)
    assert packets == [("outbound", asked, peer), ("inbound", peer, asked)]


def test_explain_live_of_an_outside_host_talks_to_an_inside_one_without_a_grant(state: Path, cli: Call) -> None:
    cli("grant", "10.0.0.0/16", "--organisation", "Clinic", "--until", "1h")
    assert _live_packets(cli, state, "193.0.113.9", ["10.0.0.0/8"])[0] == ("outbound", "10.128.0.0", "193.0.113.9")
    assert _live_packets(cli, state, "193.0.113.9", ["10.7.7.7"])[0] == ("outbound", "10.7.7.7", "193.0.113.9")


def _live_packets(cli: Call, state: Path, asked: str, inside: list[str]) -> list[tuple[str, str, str]]:
    from datetime import UTC, datetime

    from clearway.cli import explain_live
    from clearway.config import StateDirectory
    from clearway.policy.model import Prefix, word

    cli("block", "185.0.2.8", "--reason", "scanner", "--until", "1h")  # that there is a database
    status = {"gateway": {"inside_prefixes": inside}}
    packets = explain_live._packets(StateDirectory(state), Prefix.parse(asked), status, datetime.now(UTC))
    return [(word(direction), str(source), str(destination)) for direction, source, destination in packets]


def test_the_reasons_in_help_are_those_there_are() -> None:
    from clearway.cli.options import REASONS_HELP
    from clearway.policy.model import Reason, word

    *most, last = [word(each) for each in Reason if each is not Reason.NONE]
    assert f"{', '.join(most)} or {last}." == REASONS_HELP


def test_status_names_lists_that_ran_out_under_a_kernel_that_enforces_on(
    cli: Call, a_list: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearway.cli import status

    cli("feed", "add", "short", a_list, "--reason", "malware", "--life", "1s")
    cli("feed", "add", "long", a_list, "--reason", "malware")
    time.sleep(1.1)
    assert cli("status", "--json").json["stored"]["enforced_past_their_end"] == [], "nothing was left on the wire"
    monkeypatch.setattr(status, "_left_on_the_wire", lambda _: "gate")
    assert cli("status", "--json").json["stored"]["enforced_past_their_end"] == ["short"]
    assert "may still be enforced until a gateway runs again: short" in " ".join(cli("status").out.split())
