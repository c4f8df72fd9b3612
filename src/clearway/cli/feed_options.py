"""Options of lists that several commands take, and what they say as FeedSettings has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli.progress import Report
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from clearway.feeds.feed_settings import FeedSettings
    from clearway.feeds.fetch import Fetched

FeedName = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, dots, dashes.")]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever reads the history.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A number of a guard's rule (shrink=0.3), wide=yes|no, declared_count=judge|ignore, or keep=N versions. "
        "Repeatable.",
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="CATEGORY=REASON",
        help="The reason of entries of a category of the source's, in place of --reason. Repeatable; others stay out.",
    ),
]
PinOption = Annotated[
    str | None,
    typer.Option("--pin", metavar="SHA256", help="What the download must hash to; anything else is refused."),
]
ProxyOption = Annotated[
    str | None,
    typer.Option("--proxy", metavar="URL", help="Fetch it through that proxy; `none`: past that of the environment."),
]
KeyFileOption = Annotated[
    str | None,
    typer.Option("--key-file", metavar="FILE", help="Holds the key that the source wants; read by whoever fetches."),
]
WORDS: dict[str, dict[str, bool | str]] = {
    "wide": {"yes": True, "no": False},
    "declared_count": {"judge": "judge", "ignore": "ignore"},
}


def settings(
    set: Sequence[str] | None,
    map: Sequence[str] | None,
    pin: str | None,
    proxy: str | None,
    key_file: str | None,
    *,
    lift: bool = False,
) -> dict[str, Any]:
    """Fields of FeedSettings that were said. `lift`: a value that is left empty means "as where nothing is set" (None).

    Raises store.E052 (an unknown key), E053 (not KEY=VALUE), feeds.E025, E026.
    """
    said: dict[str, Any] = {}
    for text in set or ():
        key, value = _divided(text, "--set", "KEY=VALUE")
        _say(said, key, None if lift and not value else value)
    for text in map or ():
        category, reason = _divided(text, "--map", "CATEGORY=REASON", last=True)
        said.setdefault("reasons", {})[category.casefold()] = None if lift and not reason else reason
    for field, given in (("sha256", pin), ("proxy", proxy), ("key_file", key_file)):
        if given is not None:
            said[field] = None if lift and not given else given
    if said.get("sha256"):
        said["sha256"] = said["sha256"].lower()
    if said.get("key_file"):
        said["key_file"] = str(Path(said["key_file"]).expanduser().absolute())
    return said


def checked(said: dict[str, Any], command: str) -> FeedSettings:
    """What `settings` made, of a command that stores nothing. Raises store.E020, policy.E006."""
    from clearway.store.requests import FeedCheckRequest, parse

    return parse(FeedCheckRequest, {"settings": said}, command).settings


def fetched(source: str, settings: FeedSettings, report: Report = lambda step, done, total: None) -> Fetched:
    """A list that is looked at and not taken. Raises what fetch.fetch does; E028 in place of E013."""
    from clearway.feeds.fetch import fetch

    try:
        return fetch(
            source,
            sha256=settings.sha256,
            proxy=settings.proxy,
            key_file=Path(settings.key_file) if settings.key_file else None,
            progress=lambda done, total: report("fetch", done, total),
        )
    except ClearwayError as error:
        if error.id != "feeds.E013":
            raise
        why = error.message.rpartition("cannot be read: ")[2]
        detail = "it is a folder" if Path(source).expanduser().is_dir() else why
        raise ClearwayError.of("feeds.E028", path=source, detail=detail) from None


def add_body(
    name: str,
    source: str,
    reason: str | None,
    format: str | None,
    every: str | None,
    life: str | None,
    observe: bool,
    **settings_said: Any,
) -> dict[str, Any]:
    """Fields of a FeedAddRequest that were said; `settings_said`: what `settings` takes, by name."""
    body = {"name": name, "source": source, "reason": reason, "format": format, "every": every, "life": life}
    said = {key: value for key, value in body.items() if value is not None}
    return said | {"observe": observe, "settings": settings(**settings_said)}


def _divided(text: str, option: str, form: str, last: bool = False) -> tuple[str, str]:
    key, equals, value = text.rpartition("=") if last else text.partition("=")
    if not equals or not key.strip():
        raise ClearwayError.of("store.E053", pair=text, option=option, form=form)
    return key.strip(), value.strip()


def _say(said: dict[str, Any], key: str, value: str | None) -> None:
    from clearway.feeds.guard_rules import THRESHOLDS, parse_setting

    if key in WORDS:
        if value is not None and value.lower() not in WORDS[key]:
            form = f"{key}={'|'.join(WORDS[key])}"
            raise ClearwayError.of("store.E053", pair=f"{key}={value}", option="--set", form=form)
        said[key] = None if value is None else WORDS[key][value.lower()]
    elif key == "keep":
        if value is not None and not value.isdecimal():
            raise ClearwayError.of("store.E053", pair=f"{key}={value}", option="--set", form="keep=NUMBER")
        said[key] = None if value is None else int(value)
    elif key in THRESHOLDS:
        said.setdefault("thresholds", {})[key] = None if value is None else parse_setting(f"{key}={value}")[1]
    else:
        raise ClearwayError.of("store.E052", key=key, known=", ".join([*WORDS, "keep", *THRESHOLDS]))
