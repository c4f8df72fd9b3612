"""The house rules as pure functions over text: each takes a file and returns what is wrong with it, one line each.

test_tidy.py runs them over the checkout, and each of them over a sample that breaks its rule.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
HEADER_LINES = 40
"""Where a file longer than FILE_LINES_MAX says why: "Long because …"."""
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "tools", "stuff", "base_utils"}


@dataclass(frozen=True)
class Ban:
    """A pattern that is not written here, what is written in its place, and in which files the ban holds."""

    pattern: str
    instead: str
    suffixes: tuple[str, ...] = ()  # () all
    under: tuple[str, ...] = ()  # path prefixes; () all
    spares: tuple[str, ...] = ()  # path prefixes


CODE = (".py", ".rs", ".c", ".h", ".sh")
PROSE = (".md", ".py", ".rs", ".c", ".h", ".toml", ".service")
BANS = (
    Ban(r"\b(TODO|FIXME|XXX|HACK)\b", "write it, or remove the promise"),
    Ban(r"\bNotImplementedError\b|\bunimplemented!|\btodo!", "write it, or remove the promise", CODE),
    Ban(r"(?i)\bblack-?list|\bwhite-?list", "list, block, grant: the words of docs/vocabulary.md"),
    Ban(r"/(work|root|home)/\w", "a path below --state, tmp_path or ../shared: no path of one machine"),
    Ban(
        r"pypi\.org|pythonhosted\.org|\bcrates\.io|deb\.debian\.org|ubuntu\.com/ubuntu",
        "nothing: indexes and mirrors come from the environment",
        spares=("Cargo.lock",),
    ),
    Ban(
        r"(?i)\b(claude|chatgpt|copilot|llm|this session|the issue|issue (#|\d))", "the project speaks of itself alone"
    ),
    Ban(
        r"(?i)\b(blazing|lightning.fast|unbreakable|bulletproof|military.grade|revolutionary|world.class|zero.cost"
        r"|line.rate|wire.speed|costs nothing|100% secure|gdpr.compliant)\b",
        "a figure that a command prints",
        PROSE,
    ),
    Ban(
        r"(?<![\w.])print\(",
        "a return value; only what a command shows is printed",
        (".py",),
        ("src/",),
        ("src/clearway/cli/", "src/clearway/lab/", "src/clearway/bench/"),
    ),
    Ban(r"shell=True|os\.system\(", "a list of arguments", (".py",)),
    Ban(r"except( Exception)?:\s*pass|except:\s*$", "contextlib.suppress of what is expected", (".py",)),
    Ban(r"# type: ignore(?!\[)|# noqa(?!:)", "the same with the rule's name", (".py",)),
    Ban(r"\btime\.time\(|datetime\.now\(|\brandom\.|\burandom\b", "an argument", (".py",), ("src/clearway/policy/",)),
    Ban(r"\bstatic mut\b|\bdbg!|\beprintln!", "state that is handed down; an error that is returned", (".rs",)),
    Ban(r"\bbpf_printk\b|\bbpf_trace_printk\b", "a counter or an event", (".c", ".h")),
)


def banned(path: str, text: str) -> list[str]:
    """Patterns of BANS in a file, each with its line and what to write instead."""
    found = []
    for ban in BANS:
        if (ban.suffixes and not path.endswith(ban.suffixes)) or path.startswith(ban.spares or ("\0",)):
            continue
        if ban.under and not path.startswith(ban.under):
            continue
        for match in re.finditer(ban.pattern, text, re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path}:{line}: {match[0].strip()!r}: write instead {ban.instead}")
    return found


def too_long(path: str, text: str) -> list[str]:
    """A file of more than FILE_LINES_MAX lines that does not say why in its header."""
    lines = text.splitlines()
    if (
        not path.endswith(CODE)
        or len(lines) <= FILE_LINES_MAX
        or re.search(r"(?i)\blong because\b", "\n".join(lines[:HEADER_LINES]))
    ):
        return []
    return [f"{path}: {len(lines)} lines: split it by reason to change, or say 'Long because …' in its header"]


def long_functions(path: str, text: str) -> list[str]:
    """Functions of more than FUNCTION_LINES_MAX lines, in Python, Rust or C."""
    if path.endswith(".py"):
        measured = _python_functions(text)
    elif path.endswith(".rs"):
        measured = _braced_functions(
            text, r"^( *)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe |extern \"C\" )*fn (\w+)"
        )
    elif path.endswith((".c", ".h")):
        measured = _braced_functions(text, r"^()(?:[a-z_][\w ]*[ *])(\w+)\([^;]*$")
    else:
        return []
    return [
        f"{path}:{line}: {name} has {length} lines, {FUNCTION_LINES_MAX} is a screen"
        for name, line, length in measured
        if length > FUNCTION_LINES_MAX
    ]


def _python_functions(text: str) -> Iterable[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def _braced_functions(text: str, opening: str) -> Iterable[tuple[str, int, int]]:
    """Functions as formatters leave them: the closing brace stands alone under the first column of the opening."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if match := re.match(opening, line):
            closing = match[1] + "}"
            for end in range(number, len(lines)):
                if lines[end] == closing:
                    yield match[2], number + 1, end - number + 1
                    break
                if lines[end].endswith(";") and not any("{" in part for part in lines[number : end + 1]):
                    break  # only declared


def vague_name(path: str) -> list[str]:
    """A file or folder whose name says nothing."""
    bad = [part for part in PurePosixPath(path).parts if part.split(".")[0].lower() in VAGUE_NAMES]
    return [f"{path}: {part} says nothing: name what is in it" for part in bad]


@dataclass(frozen=True)
class Import:
    """One import of another module of the package: by `module`, of `name` ("" for the module itself)."""

    importer: str  # dotted, without clearway.
    imported: str
    line: int


def imports(path: str, text: str, package: str = "clearway") -> list[Import]:
    """What a file below src/ imports of its own package, wherever in the file; TYPE_CHECKING included."""
    importer = ".".join(PurePosixPath(path).with_suffix("").parts[2:]).removesuffix(".__init__")
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith(f"{package}."):
                found.append(Import(importer, name.removeprefix(f"{package}."), node.lineno))
    return found


def wrong_direction(found: Iterable[Import], allowed: Mapping[str, set[str]]) -> list[str]:
    """Imports from a room that the importer's room may not know."""
    wrong = []
    for row in found:
        room, target = row.importer.split(".")[0], row.imported.split(".")[0]
        if room != target and target not in allowed.get(room, set()):
            wrong.append(f"{row.importer}:{row.line} imports {row.imported}: {room} may not know {target}")
    return wrong


def only_from(found: Iterable[Import], module: str, importer_room: str) -> list[str]:
    """Imports of a module that one room alone may start."""
    return [
        f"{row.importer}:{row.line} imports {row.imported}: only {importer_room} starts it"
        for row in found
        if (row.imported + ".").startswith(module + ".") and row.importer.split(".")[0] != importer_room
    ]


def third_parties(text: str) -> set[str]:
    """Top-level names that a Python file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names
