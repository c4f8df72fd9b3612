"""feed load and feed update of several lists: each is taken or refused by itself, and one compilation does for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from calling import Call

from clearway.cli import feed_many
from clearway.errors import ClearwayError


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A file of three lists, and one that is refused."""
    (tmp_path / "one").write_text("45.9.4.1\n45.9.4.2\n")
    (tmp_path / "two words").write_text("bad.example.com\n")
    (tmp_path / "page").write_text("<!doctype html><html><p>not found</p></html>\n")
    file = tmp_path / "lists"
    file.write_text(
        "# what we take\n\n"
        f"one {tmp_path}/one --reason malware --every 1h --life 2d\n"
        f'  two "{tmp_path}/two words" --reason phishing --format domains --observe\n'
        f"page {tmp_path}/page --reason malware\n"
        f"again {tmp_path}/one --reason scanner --set shrink=0.3\n"
    )
    return file


def test_each_line_is_a_list_and_one_that_is_refused_keeps_no_other_out(cli: Call, state: Path, lists: Path) -> None:
    told = cli("feed", "load", lists)
    assert told.code == 1
    first = told.out.splitlines()[0]
    assert first.startswith("added one · 2 entries · malware · until ")
    assert "page" in told.err
    rows = {row["feed"]: row for row in cli("feed", "list", "--json").json["lists"]}
    assert set(rows) == {"one", "two", "again"}
    assert (rows["one"]["every_s"], rows["two"]["observe"], rows["two"]["names"]) == (3600, True, 1)
    assert len(list((state / "snapshots").glob("2*"))) == 1, "one compilation does for all"
    again = cli("feed", "load", lists, "--json")
    assert again.code == 1
    assert {each["error"]["id"] for each in again.json["lists"] if each["feed"] != "page"} == {"store.E029"}


def test_a_name_that_stands_twice_in_a_file_is_taken_once(cli: Call, lists: Path, tmp_path: Path) -> None:
    line = f"one {tmp_path}/one --reason malware\n"
    lists.write_text(line + line)
    told = cli("feed", "load", lists)
    assert (told.code, told.out.startswith("added one · 2 entries"), "[store.E029]" in told.err) == (1, True, True)


def test_an_update_of_all_lists_goes_on_past_one_that_fails(cli: Call, lists: Path, tmp_path: Path) -> None:
    assert {each["feed"] for each in cli("feed", "load", lists, "--json").json["lists"] if "error" in each} == {"page"}
    told = cli("feed", "update", "--json")
    assert (told.code, {each["feed"] for each in told.json["lists"] if each["unchanged"]}) == (
        0,
        {"again", "one", "two"},
    )
    (tmp_path / "two words").write_text("bad.example.com\nworse.example.com\n")
    (tmp_path / "one").unlink()
    told = cli("feed", "update", "--json")
    answers = {each["feed"]: each for each in told.json["lists"]}
    assert told.code == 3
    assert {answers[name]["error"]["id"] for name in ("one", "again")} == {"feeds.E013"}
    assert (answers["two"]["counts"]["names"], answers["two"]["unchanged"]) == (2, False)


def test_the_others_are_compiled_where_the_last_of_them_is_quarantined(cli: Call, state: Path, tmp_path: Path) -> None:
    last = tmp_path / "last"
    last.write_text("".join(f"45.9.{n}.0/24\n" for n in range(40)))
    (tmp_path / "first").write_text("45.8.4.1\n")
    file = tmp_path / "lists"
    file.write_text("".join(f"{name} {tmp_path}/{name} --reason malware\n" for name in ("first", "last")))
    assert cli("feed", "load", file).code == 0
    (tmp_path / "first").write_text("45.8.4.1\n45.8.4.2\n")
    last.write_text("45.9.1.0/24\n")
    told = cli("feed", "update", "--json")
    assert [each.get("error", {}).get("id") for each in told.json["lists"]] == [None, "store.E040"]
    assert {each["feed"]: each["left_out"] for each in cli("feed", "list", "--json").json["lists"]} == {
        "first": None,
        "last": None,
    }
    assert cli("explain", "45.8.4.2", "--json").json["outcome"] == "dropped"


def test_a_list_that_cannot_be_compiled_is_told_so_wherever_it_stands(
    cli: Call, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearway.store import lists as stored

    def full(*_: object) -> Path:
        raise ClearwayError.of("store.E002", path=tmp_path)

    monkeypatch.setattr(stored, "compile_wanted", full)
    told = cli("feed", "load", lists, "--json")
    errors = {each["feed"]: each["error"]["id"] for each in told.json["lists"] if each["feed"] != "page"}
    assert errors == dict.fromkeys(("one", "two", "again"), "store.E032")


def test_one_list_that_the_compilation_leaves_out_is_told_so_and_no_other(
    cli: Call, state: Path, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearway.store import lists as stored

    compile_wanted = stored.compile_wanted

    def damaged_before(*words: Any) -> Path:
        (part,) = (each for each in (state / "feeds").glob("*/v4.bin") if each.stat().st_size)
        part.write_bytes(bytes(part.stat().st_size))
        return compile_wanted(*words)

    monkeypatch.setattr(stored, "compile_wanted", damaged_before)
    told = cli("feed", "load", lists, "--json")
    errors = {each["feed"]: each["error"]["id"] for each in told.json["lists"] if "error" in each}
    assert errors.pop("page") and errors == dict.fromkeys(("one", "again"), "store.E032")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("one", "missing argument"),
        ("one /lists/one --reason", "requires an argument"),
        ("one /lists/one --colour red", "no such option"),
        ('one "/lists/one', "no closing quotation"),
    ],
)
def test_a_line_that_is_no_list_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "lists"
    file.write_text(f"# first\n{line}\n")
    with pytest.raises(ClearwayError) as refused:
        list(feed_many.lines_of(file))
    assert refused.value.id == "cli.E001"
    assert f"line 2 of {file}: " in refused.value.message
    assert said in refused.value.message.lower()


def test_a_file_that_cannot_be_read_is_named(cli: Call, tmp_path: Path) -> None:
    told = cli("feed", "load", tmp_path / "nothing")
    assert told.code == 2
    assert f"{tmp_path / 'nothing'} cannot be read" in told.err
