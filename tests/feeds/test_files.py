"""Entries of lists are kept by content: the same entries have the same hash, and a changed byte is found out."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from clearway.errors import ClearwayError
from clearway.feeds import files
from clearway.feeds.readers import table
from clearway.feeds.readers.content import Entries
from clearway.policy.model import Prefix

LIST = b"192.0.2.0/24\n192.0.2.7\n192.0.2.64/26\n198.51.100.1\n2001:db8::/32\n2001:db8::1\n2001:db8:0:1::/64\n"


def read(text: bytes) -> Entries:
    """The entries of a list."""
    return table.read(text).content.blocked


def test_the_same_entries_have_the_same_hash_and_bytes(tmp_path: Path) -> None:
    one = files.store(tmp_path / "a", read(LIST))
    shuffled = b"\n".join(sorted(LIST.split(), reverse=True)) + b"\n# by another hand\n192.0.2.7\n"
    other = files.store(tmp_path / "b", read(shuffled))
    assert one.hash == other.hash
    for path in one.path.iterdir():
        assert path.read_bytes() == (other.path / path.name).read_bytes()
    assert files.store(tmp_path / "c", read(b"192.0.2.1\n")).hash != one.hash


def test_what_was_stored_is_opened(tmp_path: Path) -> None:
    parsed = read(LIST)
    stored = files.store(tmp_path, parsed)
    opened = files.open(tmp_path, stored.hash)
    assert (opened.v4.tolist(), opened.v6.tolist()) == (parsed.v4.tolist(), parsed.v6.tolist())
    assert opened.lengths == {4: [24, 26, 32], 6: [32, 64, 128]}


def test_storing_again_leaves_what_is_there_alone_and_mends_what_is_damaged(tmp_path: Path) -> None:
    stored = files.store(tmp_path, read(LIST))
    before = (stored.path / "v4.bin").stat().st_ino
    files.store(tmp_path, read(LIST))
    assert (stored.path / "v4.bin").stat().st_ino == before
    (stored.path / "v4.bin").write_bytes(b"")
    files.store(tmp_path, read(LIST))
    files.open(tmp_path, stored.hash)
    assert [path.name for path in tmp_path.iterdir()] == [stored.hash]


def test_what_is_found_there_is_as_new_as_what_was_written(tmp_path: Path) -> None:
    """What no list names is removed once it is old: whoever found it is about to name it."""
    path = files.store(tmp_path, read(LIST)).path
    os.utime(path, (0, 0))
    files.store(tmp_path, read(LIST))
    assert path.stat().st_mtime > time.time() - 60


@pytest.mark.parametrize("damaged", [False, True])
def test_many_that_keep_the_same_entries_at_once_all_find_them(tmp_path: Path, damaged: bool) -> None:
    """`feed load` reads lists beside each other, and two may hold the same."""
    expected = files.store(tmp_path / "alone", read(LIST)).hash
    with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
        for turn in range(25):
            place = tmp_path / str(turn)
            if damaged:
                (files.store(place, read(LIST)).path / "v6.bin").write_bytes(b"")
            stored = [pool.submit(_store_and_read, place, time.monotonic() + 0.01) for _ in range(4)]
            assert [each.result() for each in stored] == [expected] * 4
            assert [path.name for path in place.iterdir()] == [expected]


def _store_and_read(place: Path, at: float) -> str:
    while time.monotonic() < at:  # all at once
        pass
    stored = files.store(place, read(LIST))
    return files.open(place, stored.hash).hash


@pytest.mark.parametrize(
    ("file", "content", "detail"),
    [
        ("v4.bin", b"", "v4: 0 bytes in place of 32"),
        ("v4.bin", b"\0" * 32, "v4: its SHA-256 is another than the manifest's"),
        ("v6.bin", None, "v6: No such file or directory"),
        ("manifest.json", b"{}", "manifest.json: is not in the form of a manifest"),
        ("manifest.json", b'{"parts": {}}', "manifest.json: its SHA-256 is not the folder's name"),
        ("manifest.json", b"\xff", "manifest.json: is no JSON"),
        ("manifest.json", None, "manifest.json: No such file or directory"),
    ],
)
def test_damaged_entries_are_refused_and_the_part_is_named(
    tmp_path: Path, file: str, content: bytes | None, detail: str
) -> None:
    stored = files.store(tmp_path, read(LIST))
    (stored.path / file).unlink()
    if content is not None:
        (stored.path / file).write_bytes(content)
    with pytest.raises(ClearwayError, match=detail) as error:
        files.open(tmp_path, stored.hash)
    assert error.value.id == "feeds.E014"


@pytest.mark.parametrize("hash", ["", "../x", "0" * 64, "a" * 63])
def test_a_hash_that_is_not_there_is_refused(tmp_path: Path, hash: str) -> None:
    with pytest.raises(ClearwayError) as error:
        files.open(tmp_path, hash)
    assert error.value.id == "feeds.E014"


@pytest.mark.parametrize(
    ("asked", "covering", "within"),
    [
        ("192.0.2.7", ["192.0.2.7", "192.0.2.0/24"], []),
        ("192.0.2.65", ["192.0.2.64/26", "192.0.2.0/24"], []),
        ("192.0.2.0/24", ["192.0.2.0/24"], ["192.0.2.7", "192.0.2.64/26"]),
        ("192.0.0.0/16", [], ["192.0.2.0/24", "192.0.2.7"]),
        ("203.0.113.1", [], []),
        ("2001:db8::1", ["2001:db8::1", "2001:db8::/32"], []),
        ("2001:db8::/32", ["2001:db8::/32"], ["2001:db8::1", "2001:db8:0:1::/64"]),
        ("::/0", [], ["2001:db8::/32", "2001:db8::1"]),
        ("3fff::", [], []),
    ],
)
def test_searches_find_what_covers_a_prefix_and_what_lies_within(
    tmp_path: Path, asked: str, covering: list[str], within: list[str]
) -> None:
    stored = files.store(tmp_path, read(LIST))
    assert [str(p) for p in stored.covering(Prefix.parse(asked))] == covering
    assert [str(p) for p in stored.within(Prefix.parse(asked), 2)] == within
