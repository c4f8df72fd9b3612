"""The checkout keeps the house rules, and each rule finds what breaks it. The rules themselves: tidy_checks.py."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import tidy_checks as tidy

from clearway import _engine
from clearway.policy.model import word

ROOT = Path(__file__).resolve().parents[1]
ROOMS: dict[str, set[str]] = {
    "__init__": set(),
    "_engine": set(),
    "errors": set(),
    "boot_clock": set(),
    "config": {"errors"},
    "feeds": {"_engine", "errors", "config", "policy"},
    "policy": {"_engine", "errors", "feeds"},
    "store": {"_engine", "boot_clock", "errors", "config", "policy", "feeds"},
    "telemetry": {"_engine", "errors", "config", "policy", "store"},
    "gateway": {"_engine", "boot_clock", "errors", "config", "policy", "feeds", "store", "telemetry"},
    "doctor": {"_engine", "errors", "config", "gateway"},
    "lab": {"_engine", "errors", "config", "policy", "feeds", "store", "gateway"},
    "bench": {"_engine", "errors", "config", "policy", "feeds", "store", "gateway", "lab"},
    "cli": {
        *("_engine", "boot_clock", "errors", "config", "policy", "feeds", "store", "telemetry", "gateway", "doctor"),
        *("lab", "bench"),
    },
}
"""Which rooms a room may import from: inward, to policy.model. The command line alone may know everybody."""
DISTRIBUTIONS = {"dns": "dnspython"}
"""Where the name of a distribution isn't the one that is imported."""


@cache
def files() -> dict[str, str]:
    """Text files of the checkout by path: what git tracks, and what it would if it were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    else:  # an archive
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
    found = {}
    for name in names:
        path = ROOT / name
        if path.is_file() and not name.startswith((".venv/", "target/")):
            try:
                found[name] = path.read_text()
            except UnicodeDecodeError:
                continue
    return found


def sources(*suffixes: str) -> dict[str, str]:
    return {path: text for path, text in files().items() if path.endswith(suffixes)}


def package_imports() -> list[tidy.Import]:
    return [row for path, text in sources(".py").items() if path.startswith("src/") for row in tidy.imports(path, text)]


NOT_OURS = (
    "LICENSE",
    "LICENSES/",
    "requirements.lock",
    "Cargo.lock",
    "engine/fuzz/Cargo.lock",
    "tests/tidy_checks.py",
    "tests/test_tidy.py",
)


@pytest.mark.parametrize("check", [tidy.banned, tidy.too_long, tidy.long_functions], ids=lambda check: check.__name__)
def test_no_file_breaks_a_rule(check: Callable[[str, str], list[str]]) -> None:
    broken = [row for path, text in files().items() if not path.startswith(NOT_OURS) for row in check(path, text)]
    assert not broken, "\n" + "\n".join(broken)


def test_every_name_says_what_is_in_it() -> None:
    broken = [row for path in files() for row in tidy.vague_name(path)]
    assert not broken, "\n" + "\n".join(broken)


def test_no_two_test_files_share_a_name() -> None:
    names = [Path(path).name for path in files() if path.startswith("tests/") and path.endswith(".py")]
    assert {name for name in names if names.count(name) > 1} <= {"conftest.py"}, "pytest would collect one of them only"


def test_imports_point_inward() -> None:
    broken = tidy.wrong_direction(package_imports(), ROOMS)
    assert not broken, "\n" + "\n".join(broken)


def test_the_model_knows_only_the_closed_lists_and_the_errors() -> None:
    known = {row.imported.split(".")[0] for row in package_imports() if row.importer == "policy.model"}
    assert known <= {"_engine", "errors"}


def test_only_the_command_line_starts_the_daemon() -> None:
    broken = tidy.only_from(package_imports(), "gateway.daemon", "cli")
    assert not [row for row in broken if not row.startswith("gateway.")], broken


def test_every_module_is_reached_from_another_file() -> None:
    python = sources(".py")
    imported = {row.imported for row in package_imports()}
    dead = []
    for path in python:
        if not path.startswith("src/clearway/") or "/migrations/" in path or path.endswith("__init__.py"):
            continue
        module = ".".join(Path(path).with_suffix("").parts[2:])
        reached = any(name == module or name.startswith(module + ".") for name in imported)
        named = any(f"clearway.{module}" in text for other, text in files().items() if other != path)
        if not reached and not named:
            dead.append(path)
    assert not dead


def test_every_rust_file_is_declared_as_a_module() -> None:
    rust = "\n".join(sources(".rs").values())
    dead = [
        path
        for path in sources(".rs")
        if path.startswith("engine/")
        and Path(path).stem not in ("lib", "main", "mod", "build")
        and "/tests/" not in path
        and "fuzz_targets" not in path
        and not re.search(rf"\bmod {Path(path).stem};", rust)
    ]
    assert not dead


def _stem(path: str) -> str:
    return Path(path).name.split(".")[0]


def test_every_c_file_is_included_or_compiled() -> None:
    text = "\n".join(sources(".c", ".h", ".rs", ".py").values())
    dead = [path for path in sources(".c", ".h") if not re.search(rf'"{Path(path).name}"|"{_stem(path)}"', text)]
    assert not dead


def test_every_page_and_picture_is_linked_from_another() -> None:
    pages = {path: text for path, text in sources(".md").items() if not path.startswith("tests/")}
    dead = []
    for path in files():
        if path.startswith("docs/") and path.endswith((".md", ".svg", ".png")):
            name = Path(path).name
            whole_folder = f"]({Path(path).parent})"  # a page may link a folder whose pages are read one by one
            if not any(name in text or whole_folder in text for other, text in pages.items() if other != path):
                dead.append(path)
    assert not dead


def test_every_link_of_a_page_leads_somewhere() -> None:
    dead = []
    for path, text in sources(".md").items():
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not re.match(r"[a-z]+:", link) and not (ROOT / path).parent.joinpath(link).exists():
                dead.append(f"{path}: {link}")
    assert not dead


def test_every_script_of_set_up_is_called() -> None:
    callers = files()["Makefile"] + files().get(".ci/run", "")
    assert [path for path in sources(".sh") if path.startswith("setup/") and path not in callers] == []


def test_every_dependency_is_imported_and_every_import_declared() -> None:
    project = tomllib.loads(files()["pyproject.toml"])["project"]
    extras = [row for rows in project.get("optional-dependencies", {}).values() for row in rows]
    declared = {re.split(r"[^\w-]", row)[0].lower() for row in project["dependencies"]}
    used: set[str] = set()
    for path, text in sources(".py").items():
        if path.startswith("src/"):
            used |= {DISTRIBUTIONS.get(name, name) for name in tidy.third_parties(text)}
    third = {
        name for name in used if name not in sys.stdlib_module_names and name not in ("clearway", "typing_extensions")
    }
    optional = {re.split(r"[^\w-]", row)[0].lower() for row in extras}
    assert third - declared - optional == set(), "imported, not declared"
    assert declared - third == set(), "declared, not imported"


@pytest.mark.parametrize("kind", ["Reason", "Lane", "Direction", "Verdict", "DropReason", "Fact"])
def test_the_page_of_words_has_a_row_for_each_word_and_no_other(kind: str) -> None:
    titles = {"DropReason": "Drop reasons", "Direction": "Directions", "Verdict": "Verdicts"}
    section = files()["docs/vocabulary.md"].split(f"## {titles.get(kind, kind + 's')}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE)
    words = [word(member) for member in getattr(_engine, kind) if not (kind == "Reason" and member.name == "NONE")]
    assert rows == words


def test_the_page_of_words_has_a_row_for_each_absence_and_no_other() -> None:
    section = files()["docs/vocabulary.md"].split("## Absences\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE) == _engine.ABSENCES


def test_the_changelog_begins_with_what_the_package_says_it_is() -> None:
    version = tomllib.loads(files()["pyproject.toml"])["project"]["version"]
    headings = re.findall(r"^## (\S+)", files()["CHANGELOG.md"], re.MULTILINE)
    assert headings[0] == version


# Each rule finds what breaks it.


@pytest.mark.parametrize(
    "path,text",
    [
        ("a.py", "# TO" + "DO: later"),
        ("a.rs", "un" + "implemented!()"),
        ("docs/a.md", "A block" + "list? A white" + "list!"),
        ("a.toml", 'path = "/ro' + 'ot/x"'),
        ("Makefile", "--index-url https://py" + "pi.org/simple"),
        ("README.md", "runs at line " + "rate"),
        ("src/clearway/policy/a.py", "import time\nnow = time.time()\n"),
        ("src/clearway/gateway/a.py", "print(1)"),
        ("src/clearway/a.py", "try:\n    x()\nexcept Exception:\n    pass\n"),
        ("src/clearway/a.py", "x = 1  # noqa"),
        ("engine/src/a.rs", "static mut X: u8 = 0;"),
    ],
)
def test_a_banned_word_is_found_with_its_line_and_replacement(path: str, text: str) -> None:
    found = tidy.banned(path, "\n" + text)
    assert found
    assert re.match(rf"{re.escape(path)}:[2345]: .*: write instead ", found[0])


def test_a_ban_holds_only_where_it_is_meant() -> None:
    assert tidy.banned("src/clearway/cli/a.py", "print(1)") == []
    assert tidy.banned("src/clearway/gateway/a.py", "now = time.time()") == []
    assert tidy.banned("Cargo.lock", 'source = "registry+https://github.com/rust-lang/crates.io-index"') == []


def test_a_long_file_must_say_why() -> None:
    body = "x = 1\n" * (tidy.FILE_LINES_MAX + 1)
    assert tidy.too_long("a.py", body)
    assert tidy.too_long("a.py", '"""Long because the list is one."""\n' + body) == []
    assert tidy.too_long("a.py", "x = 1\n" * tidy.FILE_LINES_MAX) == []


@pytest.mark.parametrize(
    "path,head,line,tail",
    [
        ("a.py", "class A:\n    def f(self):", "        x = 1", ""),
        ("a.rs", "impl A {\n    pub(crate) fn f(&self) -> u8 {", "        x();", "    }\n}"),
        ("a.h", "static __always_inline int f(struct s *p,\n\t\t\t      int n)\n{", "\tx();", "}"),
    ],
)
def test_a_function_longer_than_a_screen_is_found(path: str, head: str, line: str, tail: str) -> None:
    def function(lines: int) -> str:
        return "\n".join([head, *[line] * lines, tail])

    assert len(tidy.long_functions(path, function(tidy.FUNCTION_LINES_MAX + 1))) == 1
    assert tidy.long_functions(path, function(tidy.FUNCTION_LINES_MAX - 5)) == []


def test_a_name_that_says_nothing_is_found() -> None:
    assert tidy.vague_name("src/clearway/uti" + "ls.py")
    assert tidy.vague_name("src/clearway/commonplace.py") == []


def test_an_outward_import_is_found_also_inside_a_function() -> None:
    found = tidy.imports("src/clearway/policy/a.py", "def f():\n    from clearway.cli import show\n")
    assert tidy.wrong_direction(found, ROOMS) == ["policy.a:2 imports cli.show: policy may not know cli"]
    found = tidy.imports("src/clearway/lab/a.py", "from clearway.gateway import daemon, hook\n")
    assert tidy.only_from(found, "gateway.daemon", "cli") == ["lab.a:1 imports gateway.daemon: only cli starts it"]
