"""Settings and where things lie."""

import json
import os
import re
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from patience import HUNG_S

from clearway.config import SETTINGS, StateDirectory, state_path
from clearway.errors import ClearwayError

ROOT = Path(__file__).resolve().parents[2]
PAGES = runpy.run_path(str(ROOT / "docs" / "make.py"))


def test_the_page_has_every_setting_and_says_what_the_code_says() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == PAGES["settings_page"](), "run: python docs/make.py"


def test_a_setting_is_one_row() -> None:
    names = [row.name for row in SETTINGS]
    assert len(set(names)) == len(names)
    assert [row.name for row in SETTINGS if not row.sentence.endswith(".")] == []


def test_every_environment_variable_that_is_read_is_a_setting() -> None:
    read = set()
    for path in (ROOT / "src" / "clearway").rglob("*.py"):
        read |= set(re.findall(r'environ(?:\.get\(|\[)\s*"(CLEARWAY_\w+)"', path.read_text()))
    assert read - {row.name for row in SETTINGS} == set()


def test_the_option_beats_the_environment_and_that_the_default(tmp_path: Path) -> None:
    assert state_path(tmp_path, {"CLEARWAY_STATE": "/elsewhere"}) == tmp_path
    assert state_path(None, {"CLEARWAY_STATE": "/elsewhere"}) == Path("/elsewhere")
    assert state_path(None, {"CLEARWAY_STATE": ""}) == Path("/var/lib/clearway")


def test_the_state_directory_is_closed_to_others_and_its_keys_to_the_group(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "a" / "state")
    state.create()
    state.create()
    assert state.path.stat().st_mode & 0o777 == 0o750
    assert state.keys.stat().st_mode & 0o777 == 0o700


def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ClearwayError) as raised:
        StateDirectory(tmp_path / "state").create()
    assert raised.value.id == "store.E012"


def test_one_command_at_a_time_writes(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    inside, order = threading.Event(), []

    def other() -> None:
        inside.wait(HUNG_S)
        with state.writing():
            order.append("second")

    thread = threading.Thread(target=other)
    thread.start()
    with state.writing():
        inside.set()
        time.sleep(0.1)
        order.append("first")
    thread.join(HUNG_S)
    assert order == ["first", "second"]


def test_a_writer_that_stays_is_named_by_its_pid(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    code = (
        "import sys, pathlib, clearway.config as c\n"
        "with c.StateDirectory(pathlib.Path(sys.argv[1])).writing():\n print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with pytest.raises(ClearwayError) as raised, state.writing(wait_s=0.1):
            pass
        assert raised.value.id == "store.E010"
        assert f"pid {holder.pid}" in raised.value.message
        holder.kill()
    with state.writing(wait_s=5):
        assert state.writer_lock.read_text() == f"{os.getpid()}\n"


def test_inside_prefixes_are_those_of_the_last_run(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.inside_prefixes() == ()
    state.remember_inside(["10.0.0.0/8", "2001:db8::/32"])
    assert state.inside_prefixes() == ("10.0.0.0/8", "2001:db8::/32")
    state.inside.write_text(json.dumps(["not", "an", "object"]))
    assert state.inside_prefixes() == ()
