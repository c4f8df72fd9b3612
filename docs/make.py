"""Writes the pages of docs/ that say what the code says (errors.md, settings.md, commands.md, formats.md) or what a run
measured (figures.md, figures-names.md).

    python docs/make.py [PAGE…]

Without a page, all that there are.

A test fails while a page differs from what this makes.
"""

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from clearway.bench.page import markdown
from clearway.cli.app import COMMANDS, call, load
from clearway.config import SETTINGS
from clearway.errors import ANSWER_IS_NO, CATALOG, MACHINE_CANNOT, MISUSE
from clearway.feeds.readers.rules import RULES
from clearway.feeds.readers.table import READERS, SYNONYMS

HERE = Path(__file__).parent
COLUMNS = "80"
"""Width that help is wrapped at."""

TURN = {
    ANSWER_IS_NO: "Exit code 1: understood, and the answer is no.",
    MISUSE: "Exit code 2: the request cannot be meant as written.",
    MACHINE_CANNOT: "Exit code 3: the machine cannot.",
}
AREAS = {
    "bench": "Measuring",
    "cli": "The command line",
    "engine": "The kernel side",
    "feeds": "Lists from elsewhere",
    "gateway": "The gateway",
    "inspect": "Captures",
    "lab": "The lab",
    "policy": "Addresses, reasons, times, snapshots",
    "setup": "This machine",
    "store": "Decisions and the state directory",
}


def errors_page() -> str:
    """Every id with its message, the way out, and whose turn it is."""
    lines = [
        "# Errors",
        "",
        "What Clearway says when it cannot do what was asked. An id stays for good and is never used again.",
        "Words in braces stand for what a message names. On the command line an error is two lines on standard error;",
        'with `--json`, and over HTTP, it is `{"error": {"id", "message", "fix", "retry"}}`.',
    ]
    for area, title in AREAS.items():
        ids = sorted(id for id in CATALOG if id.startswith(f"{area}."))
        if ids:
            lines += ["", f"## {title}"]
        for id in ids:
            kind = CATALOG[id]
            retry = " The same request may do later." if kind.retry else ""
            lines += ["", f"### {id}", "", kind.message, "", f"Fix: {kind.fix}", "", TURN[kind.exit_code] + retry]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Every setting with its unit, default and sentence."""
    lines = [
        "# Settings",
        "",
        "There is no configuration file. Names in capitals are environment variables, the others options of commands.",
    ]
    for row in SETTINGS:
        facts = [f"Default: `{row.default}`." if row.default else "Default: none."]
        if row.unit:
            facts.insert(0, f"Takes: {row.unit}.")
        lines += ["", f"## {row.name}", "", row.sentence, "", " ".join(facts)]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """`--help` of every command."""
    lines = [
        "# Commands",
        "",
        "Exit codes: 0 done, 1 the answer is no, 2 misuse, 3 the machine cannot (each error says the way out).",
        "What `--format` of a list may be: [formats.md](formats.md).",
    ]
    for title, group in COMMANDS.items():
        lines += ["", f"## {title}"]
        for name in group:
            lines += ["", f"### {name}", "", "```", help_of(name), "```"]
            for below in subcommands(name):
                lines += ["", f"#### {name} {below}", "", "```", help_of(name, below), "```"]
    return "\n".join(lines) + "\n"


def help_of(*command: str) -> str:
    """What `clearway COMMAND --help` prints."""
    told = io.StringIO()
    os.environ["COLUMNS"] = COLUMNS
    with contextlib.redirect_stdout(told):
        code = call([*command, "--help"])
    assert code == 0, f"clearway {' '.join(command)} --help ended with {code}"
    return "\n".join(line.rstrip() for line in told.getvalue().strip().splitlines())


def subcommands(name: str) -> list[str]:
    """Commands below one, by name."""
    return list(getattr(load(name), "commands", {}))


def formats_page() -> str:
    """The table of readers, and the rules by which a line gives no entry."""
    synonyms = "; ".join(f"`{word}` is `{reader}`" for word, reader in SYNONYMS.items())
    lines = [
        "# Formats of lists",
        "",
        "What `--format` takes. Without it the format is found from the look of a list, and shown. Compression (gzip,",
        f"zip, zstd) is found by itself. {synonyms}; `csv:COLUMN` names the column that holds the entries.",
        "",
        "Each line of a list is one of four: it says nothing, is an entry, is *unsupported* (it means what is not",
        "enforced) or *malformed* (it is none of its format). The last two are counted by the rules below, and listed",
        "by `clearway feed parse FILE --rejects`. A list's exceptions act inside that list alone.",
        "",
        "| format | one line | an entry is about | defined by | gives no entry |",
        "|---|---|---|---|---|",
    ]
    for word, each in READERS.items():
        cells = (f"`{word}`", code_of(each.looks_like), each.covers, each.source, each.unsupported or "–")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    lines += ["", "## Rules", "", "| id | class | what it refuses |", "|---|---|---|"]
    lines += [f"| {rule.id} | {rule.kind} | {rule.sentence} |" for rule in RULES]
    return "\n".join(lines) + "\n"


def code_of(looks_like: str) -> str:
    """As it stands, but no mark-up is seen in it."""
    return "".join(f"\\{each}" if each in "*<>[]_" else each for each in looks_like)


def figures_page() -> str:
    """What the last published run of `clearway bench wire --json` printed, kept in figures.json."""
    document: dict[str, Any] = json.loads((HERE / "figures.json").read_text())
    return markdown(document)


def figures_names_page() -> str:
    """The same of `clearway bench names --json`, kept in figures-names.json."""
    document: dict[str, Any] = json.loads((HERE / "figures-names.json").read_text())
    return markdown(document, "figures-names", "Figures of names")


PAGES = {
    "errors.md": errors_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "formats.md": formats_page,
    "figures.md": figures_page,
    "figures-names.md": figures_names_page,
}


def main() -> None:
    for name in sys.argv[1:] or [name for name in PAGES if (HERE / name).exists()]:
        (HERE / name).write_text(PAGES[name]())


if __name__ == "__main__":
    main()
