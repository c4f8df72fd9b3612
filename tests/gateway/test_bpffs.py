"""The file system of pins is mounted once, however many gateways start at once. No kernel here."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from patience import HUNG_S

from clearway.gateway import bpffs, libc


def test_two_gateways_that_start_at_once_mount_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one on top would hide what the first has pinned: nothing would take that off the wire any more."""
    mounts: list[str] = []
    looked = threading.local()
    both = threading.Barrier(2)

    def kind(_path: str) -> int:
        seen = bpffs._BPF_MAGIC if mounts else 0
        if not hasattr(looked, "once"):
            looked.once = True
            both.wait(HUNG_S)
        return seen

    def mount(source: str, *_: object) -> None:
        time.sleep(0.2)  # for the other to look once more, if it does not wait
        mounts.append(source)

    monkeypatch.setattr(bpffs, "MOUNT_POINT", tmp_path)
    monkeypatch.setattr(libc, "filesystem_kind", kind)
    monkeypatch.setattr(libc, "mount", mount)
    with ThreadPoolExecutor(2) as gateways:
        made = [each.result() for each in [gateways.submit(bpffs.mount_if_absent) for _ in range(2)]]
    assert sorted(made) == [False, True] and mounts == ["bpf"]


def test_one_that_is_detached_meanwhile_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a gateway would not hear that the program of another stands on its port."""
    monkeypatch.setattr(bpffs, "PINS", tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "detached").symlink_to("gone")  # in the list of the folder, and no longer there
    assert bpffs.names() == ["other"]
