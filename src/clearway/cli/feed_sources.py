"""A list on its way from its source into force, as the commands that add and update lists share it.

A file is read with the caller's rights, here; a URL is fetched by the gateway where one runs. Plain functions: no
options, nothing printed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from clearway.cli import ask, progress
from clearway.config import StateDirectory
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from clearway.feeds.feed_settings import FeedSettings
    from clearway.policy.model import Prefix
    from clearway.store.change import Change


def add(directory: StateDirectory, body: dict[str, Any], report: progress.Report) -> dict[str, Any]:
    """Takes a list in, by the fields of a FeedAddRequest; the answer. Raises what store.lists.add does."""
    ask.open_store(directory)
    from clearway.store import subscribe
    from clearway.store.requests import FeedAddRequest, parse

    request = parse(FeedAddRequest, body, "feed add")
    subscribe.check_new(request)
    body = body | prepared(directory, request.source, request.format, report, settings=request.settings)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        from clearway.store import lists

        change = lists.add(directory, parse(FeedAddRequest, body, "feed add"), now, ask.actor(), inside, report)
        return lists.enforce(directory, change, now, inside, report)

    report("enforce", 0, 1)
    return ask.change(directory, "POST", "/v1/feeds", body, store)


def update(directory: StateDirectory, name: str, report: progress.Report) -> dict[str, Any]:
    """Fetches a list again; the answer. Raises what store.lists.update does; a fetch that failed is remembered."""
    from clearway.store import lists, trouble
    from clearway.store.requests import FeedUpdateRequest, parse

    source, format, settings = lists.source_of(name)
    try:
        body = prepared(directory, source, format, report, settings=settings, name=name)
    except ClearwayError as error:
        trouble.failed(name, error, ask.open_store(directory), None)
        raise
    body.pop("format", None)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        change = lists.update(
            directory, name, parse(FeedUpdateRequest, body, "feed update"), now, ask.actor(), inside, report
        )
        return lists.enforce(directory, change, now, inside, report)

    report("enforce", 0, 1)
    return ask.change(directory, "POST", f"/v1/feeds/{name}/update", body, store)


def prepared(
    directory: StateDirectory,
    source: str,
    format: str | None,
    report: progress.Report,
    *,
    settings: FeedSettings | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """`stored` and `format` for a request, where the entries are to be read here; {} where the gateway fetches them."""
    from dataclasses import asdict

    from clearway.feeds.fetch import is_url
    from clearway.store import lists

    if is_url(source) and ask.gateway_runs(directory):
        return {}
    now, inside = ask.open_store(directory), ask.inside(directory)
    version, found = lists.prepare(directory, source, format, inside, report, now=now, settings=settings, name=name)
    return {"stored": asdict(version), **({"format": found} if found else {})}
