"""Several lists at once: read beside each other, brought into force together, so that one compilation does for all.

`feed update` without names, and `feed load`. Each list is taken or refused by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import ask, feed_sources, feed_tables, progress, show
from clearway.cli.options import JsonOption, StateOption
from clearway.config import StateDirectory
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from clearway.feeds.feed_settings import FeedSettings
    from clearway.policy.model import Prefix
    from clearway.store.change import Change

READERS_MAX = 4
"""Processes that read lists, one a core at most."""
NICE = 12
"""The wire's own work goes first on a small machine."""
BATCH_LISTS = 50
"""Lists of one request, which a gateway takes up to its 1 MiB: each comes with what the guard said of it."""
WAITING_MAX = 128
"""Requests that a gateway is sent at once: all that wait share its next compilation."""
FILE_BYTES_MAX = 1 << 20

Answer = dict[str, Any]
"""Of the gateway or the database; with "error" in it, why there is none."""


@dataclass(frozen=True)
class Job:
    """One list to be read, and the request that it becomes."""

    name: str
    path: str
    body: dict[str, Any]
    source: str
    format: str | None
    settings: FeedSettings | None
    is_new: bool


def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A list a line, as typed behind `clearway feed add`.")],
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Take all lists in that a file names, a line each: NAME SOURCE --reason R, and what else `feed add` takes.

    Blank lines and those that begin with # say nothing. A list that is refused does not keep the others out; the exit
    code is then 1. Those that are there already are refused, and stay as they are.

    Example: clearway feed load /etc/clearway/lists
    """
    directory = ask.directory(state)
    bodies = list(lines_of(file))
    ask.open_store(directory)
    from clearway.store import subscribe
    from clearway.store.requests import FeedAddRequest, parse

    jobs: list[Job] = []
    refused: list[Answer] = []
    for body in bodies:
        try:
            request = parse(FeedAddRequest, body, "feed load")
            subscribe.check_new(request)
            if any(job.name == request.name for job in jobs):
                raise ClearwayError.of("store.E029", name=request.name, source=request.source)
        except ClearwayError as error:
            refused.append({"feed": body.get("name"), **error.as_json()})
        else:
            jobs.append(
                Job(request.name, "/v1/feeds", body, request.source, request.format, request.settings, is_new=True)
            )
    return _told([*refused, *together(directory, jobs, not json)], "added", directory, json)


def update(directory: StateDirectory, names: Sequence[str], json: bool) -> int:
    """`feed update` of several lists; the exit code."""
    from clearway.store import lists

    jobs: list[Job] = []
    refused: list[Answer] = []
    for name in dict.fromkeys(names):
        try:
            source, format, settings = lists.source_of(name)
        except ClearwayError as error:
            refused.append({"feed": name, **error.as_json()})
        else:
            jobs.append(Job(name, f"/v1/feeds/{name}/update", {}, source, format, settings, is_new=False))
    return _told([*refused, *together(directory, jobs, not json)], "updated", directory, json)


def together(directory: StateDirectory, jobs: Sequence[Job], with_progress: bool) -> list[Answer]:
    """Reads them all, then asks for all; an answer each, in their order."""
    read: list[Answer] = []
    with ExitStack() as stack:
        reading = _reading(directory, jobs, stack)
        report = stack.enter_context(progress.shown(with_progress))
        report("lists", 0, len(jobs))
        for done, each in enumerate(reading, 1):
            read.append(each.result() if isinstance(each, Future) else each)
            report("lists", done, len(jobs))
        report("enforce", 0, 1)
        ready = [(job, body) for job, body in zip(jobs, read, strict=True) if "error" not in body]
        found = _asked(directory, ready)
    _remember_trouble(directory, jobs, read)
    return [found.get(job.name) or {"feed": job.name, **body} for job, body in zip(jobs, read, strict=True)]


def _asked(directory: StateDirectory, ready: Sequence[tuple[Job, Answer]]) -> dict[str, Answer]:
    """By name: of a running gateway in few requests; else of the database, which is compiled once."""
    if not ask.gateway_runs(directory):
        stored: dict[str, Change] = {}
        found = {job.name: _ask(directory, job, body, stored) for job, body in ready}
        return found | _not_compiled(directory, stored)
    here = [(job, body) for job, body in ready if "stored" in body]
    batches = [here[first : first + BATCH_LISTS] for first in range(0, len(here), BATCH_LISTS)]
    with ThreadPoolExecutor(WAITING_MAX) as asking:
        told = [asking.submit(_ask_batch, directory, batch) for batch in batches]
        # a gateway fetches URLs itself
        alone = [asking.submit(_ask, directory, job, body) for job, body in ready if "stored" not in body]
        answers = [answer for each in told for answer in each.result()] + [each.result() for each in alone]
    return {answer["feed"]: answer for answer in answers}


def _ask_batch(directory: StateDirectory, batch: Sequence[tuple[Job, Answer]]) -> list[Answer]:
    from clearway.gateway.client import Gateway, NoGateway

    body = {
        "actor": ask.actor(),
        "add": [{**job.body, **read} for job, read in batch if job.is_new],
        "update": {job.name: read["stored"] for job, read in batch if not job.is_new},
    }
    try:
        answers: list[Answer] = Gateway(directory.path).request("POST", "/v1/feeds/batch", body)["lists"]
    except ClearwayError as error:
        if isinstance(error, NoGateway):
            if ask.unheard(error):
                return [_ask(directory, job, read) for job, read in batch]
            error = ClearwayError.of("cli.E005", path=directory.path)
        return [{"feed": job.name, **error.as_json()} for job, _ in batch]
    return answers


def _reading(directory: StateDirectory, jobs: Sequence[Job], stack: ExitStack) -> Iterable[Answer | Future[Answer]]:
    """What each job's request says more, once it is read: here where there is one, else in processes of their own."""
    readers = min(READERS_MAX, len(os.sched_getaffinity(0)), len(jobs))
    if readers < 2:
        return (_read(directory, job) for job in jobs)
    from django.db import connections

    import_module("clearway.store.lists")  # or each of them would
    connections.close_all()  # no two processes may use one
    pool = ProcessPoolExecutor(readers, multiprocessing.get_context("fork"), initializer=os.nice, initargs=(NICE,))
    stack.enter_context(pool)
    return [pool.submit(_read, directory, job) for job in jobs]


def _read(directory: StateDirectory, job: Job) -> Answer:
    name = None if job.is_new else job.name
    try:
        return feed_sources.prepared(
            directory, job.source, job.format, lambda step, done, total: None, settings=job.settings, name=name
        )
    except ClearwayError as error:
        return error.as_json()


def _ask(directory: StateDirectory, job: Job, read: Answer, stored: dict[str, Change] | None = None) -> Answer:
    """Where no gateway runs, what is in force is compiled now; or the change is put into `stored`, to be so later."""
    body = {**job.body, **read}
    if not job.is_new:
        body.pop("format", None)

    def store(now: datetime, inside: list[Prefix]) -> Change:
        from clearway.store import lists
        from clearway.store.requests import FeedAddRequest, FeedUpdateRequest, parse

        if job.is_new:
            change = lists.add(directory, parse(FeedAddRequest, body), now, ask.actor(), inside)
        else:
            change = lists.update(directory, job.name, parse(FeedUpdateRequest, body), now, ask.actor(), inside)
        if stored is None:
            return lists.enforce(directory, change, now, inside)
        stored[job.name] = change
        return change

    try:
        return ask.change(directory, "POST", job.path, body, store)
    except ClearwayError as error:
        return {"feed": job.name, **error.as_json()}


def _not_compiled(directory: StateDirectory, stored: dict[str, Change]) -> dict[str, Answer]:
    """Compiles what was stored here, whatever came of the other lists; an answer for each that is not in force."""
    from clearway.policy import snapshot
    from clearway.store import lists

    found: dict[str, Answer] = {}
    held: snapshot.Snapshot | None = None
    failure: ClearwayError | None = None
    try:
        with directory.writing():
            if stored and not ask.gateway_runs(directory):  # one that has come since has compiled it
                held = snapshot.load(lists.compile_wanted(directory, ask.open_store(directory), ask.inside(directory)))
    except ClearwayError as error:
        failure = error
    for name, change in stored.items():
        try:
            if failure is not None:
                raise lists.not_enforced(change, failure)
            lists.check_taken(change, held)
        except ClearwayError as error:
            found[name] = {"feed": name, **error.as_json()}
    return found


def _remember_trouble(directory: StateDirectory, jobs: Sequence[Job], read: Sequence[Answer]) -> None:
    """What could not be fetched here stands in `feed list` from now on."""
    from clearway.store import trouble

    now = ask.open_store(directory)
    for job, body in zip(jobs, read, strict=True):
        if "error" in body and not job.is_new:
            trouble.failed(job.name, ClearwayError.from_json(body), now, None)


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The fields of a FeedAddRequest that each line says. Raises cli.E001, which names the line."""
    from typer.main import get_command

    from clearway.cli import feed, feed_options

    command = get_command(feed.app).commands["add"]  # type: ignore[attr-defined]  # a Typer with commands is a group
    for number, line in enumerate(_text_of(path).splitlines(), 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        try:
            with command.make_context("add", shlex.split(said)) as context:
                found = dict(context.params)
        except (ValueError, typer.BadParameter.__mro__[1]) as error:  # type: ignore[misc]  # usage errors of any kind
            detail = error.format_message() if hasattr(error, "format_message") else str(error)
            raise _misuse(f"line {number} of {path}: {' '.join(detail.split()).removesuffix('.')}") from None
        del found["state"], found["json"]
        yield feed_options.add_body(**found)


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _misuse(f"{path} is larger than {FILE_BYTES_MAX >> 20} MiB")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _misuse(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _misuse(message: str) -> ClearwayError:
    return ClearwayError.of("cli.E001", message=message, command="clearway feed load")


def _told(answers: Sequence[Answer], verb: str, directory: StateDirectory, json: bool) -> int:
    errors = {id(each): ClearwayError.from_json(each) for each in answers if "error" in each}
    if json:
        show.document({"lists": list(answers)})
    for each in () if json else answers:
        if id(each) in errors:
            show.error(errors[id(each)], False)
        else:
            feed_tables.tell_version("unchanged" if each.get("unchanged") else verb, each, directory)
    return max((error.exit_code for error in errors.values()), default=0)
