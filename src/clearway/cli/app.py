"""`clearway`: the table of commands, and how each way out of one is told.

COMMANDS is the one list; `--help` is printed from it, and a command's module is imported only when it is called. Exit
codes: 0 done, 1 the answer is no, 2 misuse, 3 the machine cannot. Nobody sees a traceback who did not ask for one.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from clearway.errors import MISUSE, ClearwayError

INTERRUPTED = 130
COLLECTED_FROM = 50_000
"""New objects until Python looks for garbage: what a command imports stays, and looking takes a tenth of its time."""


class Row(NamedTuple):
    """A command: where its function or Typer app is, and its sentence in `--help`."""

    module: str
    attribute: str
    sentence: str


COMMANDS: dict[str, dict[str, Row]] = {
    "The gateway": {
        "run": Row("clearway.cli.run", "run", "become a wire between two ports, under the stored policy"),
        "status": Row("clearway.cli.status", "status", "lanes, drops, health; what is wanted against what is enforced"),
        "bypass": Row("clearway.cli.run", "bypass", "a plain wire for a while"),
        "detach": Row("clearway.cli.run", "detach", "off the wire, and the ports as they were before"),
    },
    "Decisions": {
        "block": Row("clearway.cli.decisions", "block", "refuse an address, a prefix or a name"),
        "unblock": Row(
            "clearway.cli.decisions", "unblock", "lift a block, or spare an address or name that a list holds"
        ),
        "grant": Row("clearway.cli.decisions", "grant", "put an inside prefix into the green lane"),
        "revoke": Row("clearway.cli.decisions", "revoke", "take it out again"),
        "feed": Row("clearway.cli.feed", "app", "lists from elsewhere: add, list, update, remove"),
        "cdn": Row("clearway.cli.cdn", "app", "addresses that many sites share: whose, how old, how much is missed"),
    },
    "Why": {
        "explain": Row(
            "clearway.cli.explain", "explain", "what happens to an address or name, by which rule, until when"
        ),
        "history": Row("clearway.cli.history", "history", "who decided what, when"),
        "inspect": Row("clearway.cli.inspect", "inspect", "the names that a capture shows to whoever carries it"),
        "replay": Row("clearway.cli.replay", "replay", "what the policy would have done to a capture's flows"),
    },
    "Trying it": {
        "demo": Row("clearway.cli.demo", "demo", "a small internet on this machine, with a gateway in it"),
        "lab": Row("clearway.cli.lab", "app", "the same small internet, for hands"),
        "bench": Row("clearway.cli.bench", "app", "what the published figures come from"),
        "doctor": Row("clearway.cli.doctor", "doctor", "whether a gateway can run here, and what mends it"),
    },
}

USAGE = """\
Clearway drops what lists and people refuse, lets registered businesses pass untouched, and says why.

Usage: clearway COMMAND [OPTIONS]
       clearway COMMAND --help
"""
ENDING = """\
Options: --version, --help, --install-completion, --show-completion
Each command takes --json; those about a gateway, decisions and why take --state DIR (or CLEARWAY_STATE) as well.
Times are RFC 3339 or a duration: 30m, 2h, 7d.
"""


def main() -> None:
    """The entry point. Ends the process."""
    gc.set_threshold(COLLECTED_FROM)
    sys.stdout = _output(sys.stdout)
    sys.exit(call(sys.argv[1:]))


class Unwritable(OSError):
    """Standard output cannot be written."""


class _Output(io.FileIO):
    """Standard output, which says of an error that it is its own; a reader that went away is none."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unwritable(error.errno, error.strerror) from None


def _output(stream: TextIO | None) -> TextIO:
    """In place of that stream, with the same buffers; None where it was closed."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream or Path(os.devnull).open("w")
    raw = _Output(stream.fileno(), "w", closefd=False)
    buffered = raw if stream.write_through else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffered,
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def rows() -> dict[str, Row]:
    """All commands by name, in the order of `--help`."""
    return {name: row for group in COMMANDS.values() for name, row in group.items()}


def help_text(bold: bool) -> str:
    """What `clearway --help` prints."""
    width = max(map(len, rows())) + 2
    parts = [USAGE]
    for title, group in COMMANDS.items():
        heading = f"\x1b[1m{title}\x1b[0m" if bold else title
        parts.append("\n".join([heading, *(f"  {name:{width}}{row.sentence}" for name, row in group.items()), ""]))
    return "\n".join([*parts, ENDING])


def call(arguments: list[str]) -> int:
    """Runs one command line to its exit code; every error is told here."""
    try:
        return _told(arguments)
    except BrokenPipeError:
        _no_more_output()
        return 0
    except Unwritable as error:
        from clearway.cli import show

        _no_more_output()
        told = ClearwayError.of("cli.E007", detail=error.strerror)
        with suppress(OSError):
            show.error(told, as_json=False)
        return told.exit_code


def _told(arguments: list[str]) -> int:
    """The same, where what is told can be written."""
    as_json = "--json" in arguments
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except ClearwayError as error:
        told = error
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BrokenPipeError, Unwritable):
        raise
    except Exception as error:
        if os.environ.get("CLEARWAY_TRACEBACK") == "1":
            raise
        told = ClearwayError.of("cli.E004", detail=f"{type(error).__name__}: {error}")
    from clearway.cli import show

    show.error(told, as_json)
    sys.stdout.flush()
    return told.exit_code


def _no_more_output() -> None:
    """What is left to write goes nowhere, or Python complains when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    if "_CLEARWAY_COMPLETE" not in os.environ and arguments[:1] in ([], ["--help"], ["-h"], ["help"]):
        print(help_text(sys.stdout.isatty() and "NO_COLOR" not in os.environ), end="")
        return 0
    if arguments == ["--version"]:
        from importlib.metadata import version

        print(f"clearway {version('clearway')}")
        return 0
    import typer

    root = _group()
    if "_CLEARWAY_COMPLETE" in os.environ:
        root.main(arguments, prog_name="clearway", complete_var="_CLEARWAY_COMPLETE")
    try:
        with root.make_context("clearway", arguments) as context:
            code = root.invoke(context)
    except typer.Exit as end:
        code = end.exit_code
    except typer.Abort:
        return INTERRUPTED
    except usage_error() as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error)
            return MISUSE
        raise misuse(error) from None
    return code if isinstance(code, int) else 0


def usage_error() -> type[Exception]:
    """What Typer raises for words that make no command line; its name is at home in another package since 0.26."""
    import typer

    return typer.BadParameter.__mro__[1]


def misuse(error: Exception) -> ClearwayError:
    """cli.E001, of such an error."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "clearway"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return ClearwayError.of("cli.E001", message=_sentence(message), command=command)


def _sentence(message: str) -> str:
    """Typer's messages in the form of ours: a small letter first, no full stop."""
    message = " ".join(message.split()).removesuffix(".")
    return message[:1].lower() + message[1:]


def load(name: str) -> Any:
    """The Typer command behind a name of COMMANDS; imports its module."""
    from importlib import import_module

    import typer
    from typer.main import get_command

    row = rows()[name]
    found = getattr(import_module(row.module), row.attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(name)(found)
        found = app
    command = get_command(found)
    command.name = name
    return command


def _group() -> Any:
    """The root as a Typer group that knows its commands by name, and imports the one that is called."""
    import typer
    from typer.core import TyperCommand, TyperGroup
    from typer.main import get_command

    class Commands(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(rows())

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            row = rows().get(cmd_name)
            return TyperCommand(name=cmd_name, help=row.sentence) if row else None

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, stub, rest = super().resolve_command(ctx, args)
            return name, load(name) if stub is not None and name else stub, rest

        def format_help(self, ctx: Any, formatter: Any) -> None:
            formatter.write(help_text(False))

    app = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback()
    def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
        """Clearway."""

    return get_command(app)


if __name__ == "__main__":
    main()
