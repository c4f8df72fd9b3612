"""feed check: what the guard says of a list, before anybody takes it. Needs no rights, no state, no gateway.

One document in every case. Exit codes: 0 accepted, rejects or not; 1 quarantined, a list that did not come among them;
2 misuse, and nothing was judged.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from clearway.cli import feed_options, progress, show
from clearway.cli.feed_options import KeyFileOption, MapOption, PinOption, ProxyOption, SetOption
from clearway.cli.options import REASONS_HELP, JsonOption, StateOption
from clearway.errors import ANSWER_IS_NO, MISUSE, ClearwayError

if TYPE_CHECKING:
    from clearway.feeds.feed_settings import FeedSettings
    from clearway.feeds.guard import Context, HeldBack, Judgement
    from clearway.feeds.protected import Row

SHOWN_OF_RULE = 4
"""Entries held back by one rule that people are shown."""
MALFORMED_SHOWN = 8
COLOURS = {"accept": "green", "accept-with-rejects": "yellow", "quarantine-feed": "bold red"}


NowOption = Annotated[
    str | None, typer.Option("--now", metavar="TIME", help="Judge its age at that time: RFC 3339, or a date.")
]
MaxAgeOption = Annotated[
    str | None,
    typer.Option(
        "--max-age", metavar="D", help="How old its source may have made it: 12h, 7d; or days; 0: not at all."
    ),
]
WideOption = Annotated[
    bool | None,
    typer.Option("--wide/--not-wide", help="May hold prefixes of /8 to /15; as usual for its format by default."),
]
TopSitesOption = Annotated[
    str | None,
    typer.Option("--top-sites", metavar="FILE", help="A list of sites that all visit: their own names are protected."),
]


class Command(TyperCommand):
    """Words that make no command line end in a document too."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """As every command's."""
        from clearway.cli.app import misuse, usage_error

        as_json = "--json" in args
        try:
            return super().make_context(info_name, args, *rest, **extra)
        except usage_error() as error:
            if not as_json:
                raise
            show.document({**_no_document(None), **misuse(error).as_json()})
            raise typer.Exit(MISUSE) from None


def check(
    file: Annotated[str, typer.Argument(metavar="FILE|URL|-", help="A list, compressed or not; - is standard input.")],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="PREFIX|NAME", help="More of what --protect names.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="A word of `clearway feed formats`; else found from its look."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="R", help=f"What its entries would be refused for: {REASONS_HELP}")
    ] = None,
    last_good: Annotated[
        str | None,
        typer.Option("--last-good", metavar="FILE", help="The list as it was: growth and shrinking are judged by it."),
    ] = None,
    protect: Annotated[
        list[str] | None,
        typer.Option("--protect", metavar="PREFIX|NAME", help="May not be touched, and alarms. Several may follow."),
    ] = None,
    now: NowOption = None,
    max_age: MaxAgeOption = None,
    set: SetOption = None,
    map: MapOption = None,
    wide: WideOption = None,
    top_sites: TopSitesOption = None,
    pin: PinOption = None,
    proxy: ProxyOption = None,
    key_file: KeyFileOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Judge a list as an update of it would be judged: taken, taken without some entries, or quarantined.

    With --state: as that gateway would, by its protected set, shared ranges, and the list of that source in force.

    Example: clearway feed check list.txt --last-good yesterday.txt --json

    Example: clearway feed check https://lists.test/drop.txt --protect 5.9.0.0/16 --set shrink=0.3
    """
    try:
        judged, origin = _judge(
            file,
            format,
            reason=reason,
            last_good=last_good,
            protect=_all_protected(protect, more),
            now=_time_of(now),
            max_age=None if max_age is None else _age_of(max_age),
            settings=_settings(feed_options.settings(set, map, pin, proxy, key_file), wide),
            top_sites=top_sites,
            state=state,
            quiet=json,
        )
    except ClearwayError as error:
        if json:
            show.document({**_no_document(format), **error.as_json()})
        else:
            show.error(error, False)
        raise typer.Exit(MISUSE) from None
    if json:
        show.document({**judged.document(), "origin": origin, "reason": reason})
    else:
        _show(judged, origin)
    raise typer.Exit(ANSWER_IS_NO if judged.verdict == "quarantine-feed" else 0)


def _judge(
    file: str,
    format: str | None,
    *,
    reason: str | None,
    last_good: str | None,
    protect: Sequence[str],
    now: datetime,
    max_age: timedelta | None,
    settings: FeedSettings,
    top_sites: str | None,
    state: Path | None,
    quiet: bool,
) -> tuple[Judgement, str]:
    from clearway.feeds import guard, guard_rules
    from clearway.feeds.readers import table
    from clearway.feeds.top_sites import read as top_sites_of
    from clearway.policy.model import Reason, parse_word

    if format is not None:
        table.reader_of(format)
    if reason is not None:
        parse_word(Reason, reason)
    guard_rules.checked(settings.thresholds)
    rows = [_protected_row(text) for text in protect]
    sites = top_sites_of(top_sites) if top_sites is not None else ()
    context = replace(_context(settings, state, file, rows, sites, now), max_age=max_age)
    if last_good == file == "-":
        raise ClearwayError.of("feeds.E027", path="-", why="standard input is the list itself")
    if last_good is not None:
        context = replace(context, last_good=_last_good(last_good, format, context, now))
    try:
        with progress.shown(not quiet) as report:
            fetched = feed_options.fetched(file, context.settings, report)
    except ClearwayError as error:
        return guard.failed(error, format=format, context=context), file
    context = replace(
        context, status=fetched.status, content_type=fetched.content_type, content_length=fetched.content_length
    )
    word = format or fetched.format
    return guard.check(fetched.data, format=word, origin=fetched.origin, context=context, now=now), fetched.origin


def _last_good(file: str, format: str | None, context: Context, now: datetime) -> Any:
    """Its entries, or feeds.E027. It may be in another format than the list is today."""
    from clearway.feeds import guard
    from clearway.feeds.fetch import fetch

    def read(word: str | None) -> Any:
        return guard.kept_of(fetched.data, format=word, origin=fetched.origin, context=context, now=now)

    try:
        fetched = fetch(file)
        word = format or fetched.format
        try:
            return read(word)
        except ClearwayError:
            if word is None:
                raise
            return read(None)
    except ClearwayError as error:
        raise ClearwayError.of("feeds.E027", path=file, why=error.message) from None


def _context(
    settings: FeedSettings, state: Path | None, file: str, protect: Sequence[Row], sites: Sequence[str], now: datetime
) -> Context:
    """By what the list is judged: what comes with Clearway or that gateway knows, and what the command line adds."""
    from clearway.feeds import guard

    if state is None:
        from clearway.feeds.shared_bundle import bundled_ranges

        ranges = bundled_ranges()
        context = guard.Context(settings=settings, shared=ranges.shared, shared_ranges=ranges)
    else:
        from clearway.cli import ask
        from clearway.feeds.fetch import is_url

        directory = ask.directory(state)
        ask.read_store(directory)
        from clearway.store import judge

        source = file if is_url(file) or file == "-" else str(Path(file).expanduser().absolute())
        context = judge.context_of(directory, source, None, now, ask.inside(directory))
        context = replace(context, settings=_over(context.settings, settings))
    return replace(context, protected=context.protected.adding(protect, sites))


def _over(stored: FeedSettings, given: FeedSettings) -> FeedSettings:
    """The settings of a list, and what the command line says over them."""
    said = {field: getattr(given, field) for field in given.model_fields_set}
    merged = {field: {**getattr(stored, field), **said.get(field, {})} for field in ("thresholds", "reasons")}
    return stored.model_copy(update={**said, **merged})


def _all_protected(named: list[str] | None, more: list[str] | None) -> list[str]:
    """Those behind --protect, each time it is given. Raises cli.E001 for words that stand behind none."""
    if more and not named:
        message = f"got unexpected extra arguments ({' '.join(more)})"
        raise ClearwayError.of("cli.E001", message=message, command="clearway feed check")
    return [*(named or ()), *(more or ())]


def _protected_row(text: str) -> Row:
    from clearway._engine import NameScope
    from clearway.feeds.guard_rules import GuardRule
    from clearway.feeds.protected import Row
    from clearway.feeds.readers import values
    from clearway.policy.model import Prefix
    from clearway.policy.name_table import NameEntry

    bare = text.strip()
    if values.looks_like_address(bare):
        address = values.address_of(bare)
        if isinstance(address, values.Address):
            return Row(Prefix.cut(*address), GuardRule.OWN, "--protect")
    else:
        name = values.name_of(bare.removeprefix("*."))
        if isinstance(name, str):
            return Row(NameEntry(name, NameScope.SUBTREE), GuardRule.OWN, "--protect")
    raise ClearwayError.of("feeds.E029", value=text)


def _settings(said: dict[str, Any], wide: bool | None) -> FeedSettings:
    """Of the options; --wide says more than --set does."""
    return feed_options.checked(said if wide is None else {**said, "wide": wide}, "feed check")


def _time_of(text: str | None) -> datetime:
    """RFC 3339, a date (its end: a list of that day is not from the future), seconds since 1970, or now.

    Raises policy.E004.
    """
    if text is None:
        return datetime.now(UTC)
    stripped = text.strip()
    try:
        if re.fullmatch(r"\d{9,11}", stripped, re.ASCII):
            return datetime.fromtimestamp(int(stripped), UTC)
        if re.fullmatch(r"\d{4}-\d\d-\d\d", stripped):
            return datetime.combine(datetime.fromisoformat(stripped).date(), time(23, 59, 59), UTC)
        found = datetime.fromisoformat(stripped.upper().replace("Z", "+00:00"))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ClearwayError.of("policy.E004", value=text) from None


def _age_of(text: str) -> timedelta:
    """A duration, or days; 0: no list that says its time is young enough. Raises policy.E004."""
    from clearway.policy.model import duration

    if re.fullmatch(r"0+[smhdw]?", text.strip()):
        return timedelta(0)
    return duration(f"{text.strip()}d" if text.strip().isdecimal() else text)


def _no_document(format: str | None) -> dict[str, Any]:
    """What is known of a list that was not judged, under the keys of one that was."""
    from clearway.feeds.judgement import Judgement

    return {**Judgement(format).document(), "verdict": None, "origin": None, "reason": None}


def _first_of_each(held_back: Sequence[HeldBack]) -> list[HeldBack]:
    """The first few of each rule."""
    rules = dict.fromkeys(each.rule for each in held_back)
    return [each for rule in rules for each in [held for held in held_back if held.rule == rule][:SHOWN_OF_RULE]]


def _show(judged: Judgement, origin: str) -> None:
    from clearway.feeds.guard_rules import sentence_of

    counts = judged.counts
    colour = COLOURS[judged.verdict]
    head = show.table("", "")
    head.show_header = False
    head.add_row("list", show.plain(origin))
    head.add_row("format", judged.format or "none that is read")
    head.add_row("verdict", f"[{colour}]{judged.verdict}[/]" if show.colours(sys.stdout) else judged.verdict)
    for finding in judged.findings:
        limit = f" (limit {finding.limit}; --set {finding.key}=…)" if finding.key else ""
        head.add_row("", show.plain(f"{finding.rule}: {sentence_of(finding.rule)}: {finding.seen}{limit}"))
    head.add_row("entries", show.count(judged.entries))
    if counts:
        lines = ", ".join(
            f"{show.count(counts[key])} {key}" for key in ("entries", "blank", "unsupported", "malformed")
        )
        head.add_row("lines", f"{show.count(counts['lines'])}: {lines}")
    if judged.published is not None:
        head.add_row("made", f"{judged.published:%Y-%m-%d %H:%M} UTC")
    parts: list[Any] = [head]
    told = [alarm for alarm in judged.alarms if alarm.hit]  # those of the list stand above
    if told:
        alarms = show.table("alarm", "what", "touches")
        for alarm in told:
            alarms.add_row(alarm.rule, show.plain(alarm.value), show.plain(alarm.hit))
        parts += ["", alarms]
    if judged.rejected:
        rejected = show.table("left out", "rule", "why", right=("left out",))
        for rule, count in judged.document()["rejected"].items():
            rejected.add_row(show.count(count), rule, show.plain(sentence_of(rule)))
        parts += ["", rejected]
    if judged.held_back:
        held = show.table("line", "held back", "rule", "touches", right=("line",))
        for each in _first_of_each(judged.held_back):
            value = each.value if each.scope in (None, "exact") else f"{each.value} ({each.scope})"
            held.add_row(show.count(each.line), show.plain(value), each.rule, show.plain(each.hit))
        parts += ["", held]
    if judged.malformed:
        malformed = show.table("line", "malformed", right=("line",))
        for number, text in judged.malformed[:MALFORMED_SHOWN]:
            malformed.add_row(show.count(number), show.plain(text))
        parts += ["", malformed]
    show.put(*parts)
