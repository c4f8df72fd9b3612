"""feed parse shows entries or rejects, one a line, with neither state nor gateway; feed formats shows what is read."""

from __future__ import annotations

import io
import json
import runpy
import sys
from pathlib import Path

import pytest
from calling import Call

from clearway.cli import app
from clearway.feeds.readers.table import READERS

LIST = """# a list
evil.example
*.below.example
192.0.2.0/24
2001:db8::1
::7
https://url.example/x
bad..example
"""


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert app.call(["feed", "parse", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "list.txt"
    path.write_text(LIST)
    return str(path)


def test_an_entry_is_an_object_on_a_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, file) == [
        {"kind": "address", "value": "192.0.2.0/24", "scope": None, "exception": False},
        {"kind": "address", "value": "::7", "scope": None, "exception": False},
        {"kind": "address", "value": "2001:db8::1", "scope": None, "exception": False},
        {"kind": "name", "value": "below.example", "scope": "below", "exception": False},
        {"kind": "name", "value": "evil.example", "scope": "exact", "exception": False},
    ]


def test_rejects_are_the_other_lines_each_with_its_rule(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, file, "--rejects", "--format", "domains") == [
        {"line": 7, "class": "unsupported", "rule": "G9.url-with-path", "text": "https://url.example/x"},
        {"line": 8, "class": "malformed", "rule": "G9.label", "text": "bad..example"},
    ]


def test_the_format_that_was_found_is_told_beside_the_entries(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.call(["feed", "parse", file]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == "evil.example\texact"
    assert told.err == (
        "domains (found from its look; --format says another): "
        "8 lines: 5 entries, 1 blank, 1 unsupported, 1 malformed\n"
    )


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"||evil.example^\n@@||good.example^\n")))
    found = lines(capsys, "-", "--format", "adblock")
    assert [(row["value"], row["scope"], row["exception"]) for row in found] == [
        ("evil.example", "subtree", False),
        ("good.example", "subtree", True),
    ]


def test_a_wrong_format_ends_with_an_error(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.call(["feed", "parse", file, "--format", "no-such", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["id"] == "feeds.E001"
    assert app.call(["feed", "parse", file, "--format", "stix21", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["id"] == "feeds.E018"


def test_formats_are_those_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.call(["feed", "formats", "--json"]) == 0
    assert [row["format"] for row in json.loads(capsys.readouterr().out)["formats"]] == list(READERS)
    assert app.call(["feed", "formats"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{word} " in shown for word in READERS)


def test_the_page_of_formats_is_the_table(root: Path) -> None:
    page = runpy.run_path(str(root / "docs" / "make.py"))["formats_page"]()
    assert (root / "docs" / "formats.md").read_text() == page, "run: python docs/make.py"
    assert all(each.source and each.covers for each in READERS.values())


def test_categories_are_counted_for_who_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "list.csv"
    path.write_text("domain,category\na.example,Phishing\nb.example,Phishing\nc.example,Scam\n")
    assert lines(capsys, str(path), "--categories") == [
        {"category": "Phishing", "lines": 2},
        {"category": "Scam", "lines": 1},
    ]
    assert app.call(["feed", "parse", str(path), "--categories"]) == 0
    assert capsys.readouterr().out == "2\tPhishing\n1\tScam\n"


@pytest.mark.parametrize("name", ["none", "."])
def test_where_there_is_no_list_that_is_misuse(cli: Call, tmp_path: Path, name: str) -> None:
    told = cli("feed", "parse", tmp_path / name, "--json")
    assert (told.code, told.json["error"]["id"]) == (2, "feeds.E028")
