"""feed parse, feed formats: what a list holds, line by line, and which lists are read. Needs no rights and no state.

Syntax alone: whether a list may be enforced is not asked here.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from clearway.cli import feed_options, show
from clearway.cli.feed_options import KeyFileOption, PinOption, ProxyOption
from clearway.cli.options import JsonOption

if TYPE_CHECKING:
    from clearway.feeds.readers.content import Content, Entries

VALUES_AT_ONCE = 20_000


def parse(
    file: Annotated[str, typer.Argument(metavar="FILE|URL|-", help="A list, compressed or not; - is standard input.")],
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="A word of `clearway feed formats`; else found from its look."),
    ] = None,
    rejects: Annotated[
        bool,
        typer.Option("--rejects", help="Show the lines that gave no entry, each with its rule, in place of those."),
    ] = False,
    categories: Annotated[
        bool,
        typer.Option(
            "--categories",
            help="Show what the source says that its entries are, and how many lines are of each: what `--map` of "
            "`clearway feed add` gives a reason to.",
        ),
    ] = False,
    pin: PinOption = None,
    proxy: ProxyOption = None,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Show the entries of a list as they would be taken, each once, or the lines that give none.

    Example: clearway feed parse list.txt --json

    Example: clearway feed parse zone.db --format rpz --rejects
    """
    from clearway.feeds.readers import table

    settings = feed_options.checked(feed_options.settings(None, None, pin, proxy, key_file), "feed parse")
    fetched = feed_options.fetched(file, settings)
    found = table.read(fetched.data, format or fetched.format, origin=fetched.origin)
    if categories:
        lines = _categories(found.content, json)
    else:
        lines = _rejected(found.content, json) if rejects else _entries(found.content, json)
    for block in lines:
        sys.stdout.write(block)
    sys.stdout.flush()
    counts = found.content.counts
    words = [f"{show.count(counts[key])} {key}" for key in ("entries", "blank", "unsupported", "malformed")]
    how = "" if format else " (found from its look; --format says another)"
    print(f"{found.format}{how}: {show.plural(counts['lines'], 'line')}: {', '.join(words)}", file=sys.stderr)


def formats(json: JsonOption = False) -> None:
    """Show the formats that are read: what a list of each looks like, and what of it gives no entry.

    Example: clearway feed formats
    """
    from clearway.feeds.readers.table import READERS

    if json:
        rows = [
            {
                "format": word,
                "looks_like": each.looks_like,
                "covers": each.covers,
                "source": each.source,
                "unsupported": each.unsupported,
            }
            for word, each in READERS.items()
        ]
        show.document({"formats": rows})
        return
    made = show.table("format", "looks like", "an entry is about")
    for word, each in READERS.items():
        made.add_row(word, show.plain(each.looks_like), show.plain(each.covers))
    show.put(made)


def _entries(content: Content, json: bool) -> Iterator[str]:
    """Blocks of lines. No value holds a character that JSON writes otherwise, so all of a block has one frame."""
    for entries, exception in ((content.blocked, False), (content.excepted, True)):
        for kind, scope, values in values_of(entries):
            if json:
                of_scope = f'"{scope}"' if scope else "null"
                before = f'{{"kind": "{kind}", "value": "'
                behind = f'", "scope": {of_scope}, "exception": {"true" if exception else "false"}}}\n'
            else:
                before = ""
                behind = "".join(f"\t{word}" for word in (scope, "exception" if exception else "") if word) + "\n"
            if values:
                yield before + f"{behind}{before}".join(values) + behind


def values_of(entries: Entries) -> Iterator[tuple[str, str, list[str]]]:
    """Kind, scope ("" of addresses) and values, some thousands at a time."""
    for at in range(0, len(entries.v4), VALUES_AT_ONCE):
        yield "address", "", [_v4_text(key) for key in entries.v4[at : at + VALUES_AT_ONCE].tolist()]
    for at in range(0, len(entries.v6), VALUES_AT_ONCE):
        yield "address", "", [_v6_text(*row) for row in entries.v6[at : at + VALUES_AT_ONCE].tolist()]
    for scope, blob in entries.names.blobs().items():
        names = blob.tobytes().decode("ascii").splitlines()
        for at in range(0, len(names), VALUES_AT_ONCE):
            yield "name", scope.name.lower(), names[at : at + VALUES_AT_ONCE]


def _v4_text(key: int) -> str:
    """As Prefix writes it; a list has millions."""
    address = f"{key >> 32}.{key >> 24 & 255}.{key >> 16 & 255}.{key >> 8 & 255}"
    length = key & 255
    return address if length == 32 else f"{address}/{length}"


def _v6_text(high: int, low: int, length: int) -> str:
    from clearway.policy.model import Prefix

    if not high:  # the C library writes some of these as IPv4
        return str(Prefix(6, low, length))
    address = socket.inet_ntop(socket.AF_INET6, high.to_bytes(8, "big") + low.to_bytes(8, "big"))
    return address if length == 128 else f"{address}/{length}"


def _categories(content: Content, json: bool) -> Iterator[str]:
    from json import dumps

    for category, count in sorted(content.categories.items(), key=lambda row: (-row[1], row[0])):
        if json:
            yield dumps({"category": category, "lines": count}, ensure_ascii=False) + "\n"
        else:
            yield f"{count}\t{_visible(category)}\n"


def _visible(text: str) -> str:
    """Without what a terminal would act on."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _rejected(content: Content, json: bool) -> Iterator[str]:
    from json import dumps

    for reject in content.rejects:
        if json:
            row = {"line": reject.line, "class": reject.rule.kind, "rule": reject.rule.id, "text": reject.text}
            yield dumps(row, ensure_ascii=False) + "\n"
        else:
            yield f"{reject.line}\t{reject.rule.kind}\t{reject.rule.id}\t{_visible(reject.text)}\n"
