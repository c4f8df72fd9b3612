"""The table of commands, help, completion, and how a command ends."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from calling import Call
from patience import HUNG_S

from clearway.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = runpy.run_path(str(ROOT / "docs" / "make.py"))
OURS = ["run", "status", "bypass", "detach", "block", "unblock", "grant", "revoke", "explain", "history"]


def test_help_names_every_command_with_its_sentence(program: Call) -> None:
    told = program("--help")
    assert (told.code, told.err) == (0, "")
    for name, row in app.rows().items():
        assert f"  {name} " in told.out
        assert row.sentence in told.out
    assert program().out == told.out


def test_help_and_version_import_nothing_heavy(program: Call) -> None:
    code = (
        "import sys; from clearway.cli import app\nsys.argv = ['clearway', sys.argv[1]]\ntry:\n app.main()\n"
        "except SystemExit:\n pass\n"
        "print(sorted({'typer', 'rich', 'django', 'numpy', 'pydantic', 'httpx'} & set(sys.modules)))"
    )
    for option in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, timeout=HUNG_S)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_command_imports_only_its_own_module() -> None:
    code = (
        "import sys; from clearway.cli import app; app.call(['history', '--state', '/nonexistent'])\n"
        "print(sorted(name for name in sys.modules if name.startswith(('clearway.gateway', 'clearway.lab', 'numpy'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", [*OURS, "feed add", "feed list", "feed update", "feed remove"])
def test_each_command_has_an_example_and_takes_state_and_json(cli: Call, name: str) -> None:
    told = cli(*name.split(), "--help")
    assert told.code == 0
    assert f"Example: clearway {name}" in " ".join(told.out.split())
    assert "--state DIR" in told.out
    assert "--json" in told.out


OF_FILES = {"inspect", "replay", "feed parse", "feed formats"}
"""Commands that read a file or nothing at all, and no state."""


def commands() -> list[tuple[str, bool]]:
    """Every command with its words, those of groups one by one, and whether it is about a state directory."""
    found = []
    for title, group in app.COMMANDS.items():
        for name in group:
            words = leaves(name, app.load(name))
            about = title in ("The gateway", "Decisions", "Why")
            found += [(each, about and each not in OF_FILES) for each in words]
    return found


def leaves(name: str, command: Any) -> list[str]:
    """The commands of a group, and of groups within it."""
    below = getattr(command, "commands", None)
    if below is None:
        return [name]
    return [leaf for word, each in below.items() for leaf in leaves(f"{name} {word}", each)]


@pytest.mark.parametrize("name, about_state", commands())
def test_each_command_takes_json_and_those_of_a_gateway_take_state(cli: Call, name: str, about_state: bool) -> None:
    told = cli(*name.split(), "--help")
    assert told.code == 0
    assert "--json" in told.out
    assert "--state DIR" in told.out or not about_state


def test_version_is_the_packages(program: Call) -> None:
    from importlib.metadata import version

    assert program("--version").out == f"clearway {version('clearway')}\n"


@pytest.mark.parametrize(
    "line, wanted",
    [("clearway unbl", "unblock"), ("clearway feed up", "update"), ("clearway block 192.0.2.1 --re", "--reason")],
)
def test_the_shell_is_told_how_a_word_goes_on(program: Call, line: str, wanted: str) -> None:
    environment = {
        "_CLEARWAY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    assert wanted in program(environment=environment).out.split()


def test_an_unforeseen_error_is_one_line_with_an_id_and_a_traceback_only_when_asked(
    cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: list[str]) -> int:
        raise RuntimeError("boom")

    monkeypatch.setattr(app, "_dispatch", fail)
    told = cli("status")
    assert (told.code, told.out) == (3, "")
    assert "error: unexpected: RuntimeError: boom [cli.E004]" in told.err
    assert "Traceback" not in told.err
    monkeypatch.setenv("CLEARWAY_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="boom"):
        cli("status")


def test_a_reader_that_goes_away_is_no_error(state: Path, cli: Call) -> None:
    for n in range(30):
        cli("block", f"192.0.2.{n}", "--reason", "scanner", "--until", "1h")
    command = f"{sys.executable} -m clearway.cli.app history | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=HUNG_S)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("words", ["--help", "--version", "feed formats", "feed formats --json"])
def test_output_that_cannot_be_written_is_one_error_on_the_other_stream(state: Path, words: str) -> None:
    command = f"{sys.executable} -m clearway.cli.app {words} >/dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HUNG_S)
    assert done.returncode == 3
    assert done.stderr.startswith("error: what this command says cannot be written to standard output: No space left")
    assert len(done.stderr.splitlines()) == 2, "and its fix"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_an_error_that_cannot_be_written_as_json_is_told_on_the_other_stream(state: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m clearway.cli.app inspect {tmp_path}/none.pcap --json >/dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HUNG_S)
    assert (done.returncode, "[cli.E007]" in done.stderr, "Traceback" in done.stderr) == (3, True, False)


def test_closed_output_is_no_error(state: Path) -> None:
    command = f"{sys.executable} -m clearway.cli.app feed formats >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HUNG_S)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_no_colour_in_a_pipe_and_none_on_a_terminal_that_wants_none(state: Path, cli: Call) -> None:
    assert "\x1b" not in cli("block", "192.0.2.1", "--reason", "scanner", "--until", "1h").out
    assert "\x1b" not in cli("history").out + cli("status").err
    assert "\x1b" in _on_a_terminal({})
    assert "\x1b[1" not in _on_a_terminal({"NO_COLOR": "1"})


def _on_a_terminal(environment: dict[str, str]) -> str:
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **environment}
    process = subprocess.Popen([sys.executable, "-m", "clearway.cli.app", "status"], stderr=theirs, env=environment)
    process.wait(HUNG_S)
    os.close(theirs)
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    return text


def test_the_page_of_commands_says_what_help_says() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == PAGES["commands_page"](), "run: python docs/make.py"
