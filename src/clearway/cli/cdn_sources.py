"""A source of shared ranges on its way into force, as the commands that add and update one share it.

A file is read with the caller's rights, here; a URL is fetched by the gateway where one runs. Nothing is printed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from clearway.cli import ask, progress
from clearway.config import StateDirectory

if TYPE_CHECKING:
    from clearway.policy.model import Prefix
    from clearway.store.change import Change


def add(directory: StateDirectory, body: dict[str, Any], report: progress.Report) -> dict[str, Any]:
    """By the fields of a CdnAddRequest; the answer. Raises what shared_change.add does."""
    now = ask.open_store(directory)
    from clearway.store import shared_change, shared_ranges
    from clearway.store.requests import parse
    from clearway.store.shared_requests import CdnAddRequest

    request = parse(CdnAddRequest, body, "cdn add")
    if not shared_ranges.is_bundled(request.name):
        source, vendor, _ = shared_change.check_new(request)
        if _is_here(directory, source):
            new = shared_change.prepare(
                directory, source, vendor.name, request.format, now=now, accept=request.accept, progress=report
            )
            body = body | {"stored": shared_change.document(new)}

    def store(now: datetime, inside: list[Prefix]) -> Change:
        change = shared_change.add(directory, parse(CdnAddRequest, body), now, ask.actor(), report)
        return _enforced(directory, change, now, inside, report)

    report("enforce", 0, 1)
    return ask.change(directory, "POST", "/v1/cdn", body, store)


def update(directory: StateDirectory, name: str, accept: str | None, report: progress.Report) -> dict[str, Any]:
    """Fetches one again; the answer. Raises what shared_change.update does."""
    now = ask.open_store(directory)
    from clearway.store import shared_change
    from clearway.store.requests import parse
    from clearway.store.shared_requests import CdnUpdateRequest

    body: dict[str, Any] = {"accept": accept} if accept else {}
    parse(CdnUpdateRequest, body, "cdn update")
    source, vendor, format = shared_change.source_of(name)
    if _is_here(directory, source):
        new = shared_change.prepare(
            directory, source, vendor, format, now=now, name=name, accept=accept, progress=report
        )
        body["stored"] = shared_change.document(new)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        change = shared_change.update(directory, name, parse(CdnUpdateRequest, body), now, ask.actor(), report)
        return _enforced(directory, change, now, inside, report)

    report("enforce", 0, 1)
    return ask.change(directory, "POST", f"/v1/cdn/{name}/update", body, store)


def remove(directory: StateDirectory, name: str, note: str) -> dict[str, Any]:
    """One that counts no longer; the answer. Raises feeds.E050."""
    ask.open_store(directory)
    from clearway.store import shared_change
    from clearway.store.requests import parse
    from clearway.store.shared_requests import CdnRemoveRequest

    request = parse(CdnRemoveRequest, {"note": note}, "cdn remove")

    def store(now: datetime, inside: list[Prefix]) -> Change:
        change = shared_change.remove(name, request, now, ask.actor())
        return _enforced(directory, change, now, inside, lambda step, done, total: None)

    return ask.change(directory, "DELETE", f"/v1/cdn/{name}", {"note": note}, store)


def _is_here(directory: StateDirectory, source: str) -> bool:
    """Whether it is fetched by this process."""
    from clearway.feeds.fetch import is_url

    return not (is_url(source) and ask.gateway_runs(directory))


def _enforced(
    directory: StateDirectory, change: Change, now: datetime, inside: list[Prefix], report: progress.Report
) -> Change:
    from clearway.store import lists

    return lists.enforce(directory, change, now, inside, report)
