"""What a server said last is kept whole or not at all, under a name that tells nothing, and goes with its list."""

import os
from pathlib import Path

import pytest

from clearway.feeds import kept_source

SOURCE = "taxii+https://user:s3cr3t@lists.example/r/collections/1/"


def test_what_is_kept_comes_back_by_its_source_alone(kept: Path) -> None:
    path = kept_source.store(kept, SOURCE, {"serial": 7}, b"data\n" * 1000)
    found = kept_source.load(kept, SOURCE)
    assert found == kept_source.Kept({"serial": 7}, b"data\n" * 1000)
    assert kept_source.load(kept, SOURCE + "x") is None and kept_source.load(None, SOURCE) is None
    assert path is not None and "lists" not in path.name and path.stat().st_mode & 0o007 == 0
    assert b"s3cr3t" not in path.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other", "link"])
def test_what_is_damaged_is_as_if_it_were_not_there(kept: Path, damage: str) -> None:
    path = kept_source.store(kept, SOURCE, {}, os.urandom(5000))
    assert path is not None
    whole = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(whole[:-9])
    elif damage == "flipped":
        whole[2500] ^= 1
        path.write_bytes(whole)
    elif damage == "link":
        path.unlink()
        path.symlink_to("/nowhere")
    else:
        path.write_bytes(b"" if damage == "empty" else b'{"version":1}\ndata')
    assert kept_source.load(kept, SOURCE) is None


def test_no_room_costs_no_more_than_a_whole_fetch(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert kept_source.store(tmp_path / "file", SOURCE, {}, b"data") is None
    assert kept_source.store(None, SOURCE, {}, b"data") is None


def test_what_belongs_to_no_list_goes_in_time(kept: Path) -> None:
    stays = kept_source.store(kept, SOURCE, {}, b"data")
    goes = kept_source.store(kept, "axfr://gone.example/rpz", {}, b"data")
    new = kept_source.store(kept, "axfr://new.example/rpz", {}, b"data")
    assert stays and goes and new
    unfinished = kept / f"{kept_source.UNFINISHED}x"
    unfinished.write_bytes(b"half")
    for path in (stays, goes, unfinished):
        os.utime(path, (1000, 1000))
    kept_source.prune(kept, [SOURCE], before=2000)
    assert sorted(kept.iterdir()) == sorted([stays, new])
    kept_source.prune(kept / "none", [], before=2000)
