"""A process of its own for the heavy half of lists: fetch, read, compile. The daemon's threads stay free for grants.

Run as `python -m clearway.gateway.base_worker STATE`: one JSON request a line on standard input, one answer a line on
standard output. It holds no map and no capability, and ends with the daemon.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.gateway import libc
from clearway.policy.model import Prefix

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
NICE = 12
"""The wire's own work goes first on a small machine: of a core that both want, a worker gets a sixteenth."""


def prepare(
    state: StateDirectory,
    source: str,
    format: str | None,
    inside: Sequence[str],
    now: str,
    settings: dict[str, Any],
    name: str | None,
) -> dict[str, Any]:
    """Fetches and judges a list, keeps its entries in feeds/: {"version": NewVersion's fields, "format": …}."""
    from clearway.feeds.feed_settings import FeedSettings
    from clearway.store.prepare import prepare as prepared

    version, found = prepared(
        state,
        source,
        format,
        [Prefix.parse(text) for text in inside],
        now=datetime.fromisoformat(now),
        settings=FeedSettings.model_validate(settings),
        name=name,
    )
    return {"version": asdict(version), "format": found}


def prepare_shared(
    state: StateDirectory,
    source: str,
    vendor: str,
    format: str | None,
    now: str,
    name: str | None,
    accept: str | None,
) -> dict[str, Any]:
    """Fetches and judges a vendor's ranges, keeps them in feeds/: shared_requests.StoredRanges."""
    from clearway.store import shared_change

    made = shared_change.prepare(
        state, source, vendor, format, now=datetime.fromisoformat(now), name=name, accept=accept
    )
    return shared_change.document(made)


def compile(state: StateDirectory, now: str, inside: Sequence[str]) -> dict[str, Any]:
    """Compiles the lists in force at `now`: {"path": snapshot folder}."""
    from clearway.store import lists

    path = lists.compile_wanted(state, datetime.fromisoformat(now), [Prefix.parse(text) for text in inside])
    return {"path": str(path)}


def warm(state: StateDirectory) -> dict[str, Any]:
    """Imports what the others need, and reads what the guard knows, so that the first list waits for nothing."""
    from clearway.policy import snapshot
    from clearway.store import judge, lists, shared_ranges

    judge.warm(state, datetime.now(UTC))
    ranges = shared_ranges.in_force(state)
    ranges.shared.guarded.prefixes()
    shared_ranges.record(state, ranges)
    return {"modules": [snapshot.__name__, lists.__name__]}


REQUESTS: dict[str, Callable[..., dict[str, Any]]] = {
    "prepare": prepare,
    "prepare_shared": prepare_shared,
    "compile": compile,
    "warm": warm,
}


def answer(state: StateDirectory, line: str) -> dict[str, Any]:
    """One request to its answer; errors in the shape that they leave the API in."""
    try:
        request = json.loads(line)
        return REQUESTS[request.pop("ask")](state, **request)
    except ClearwayError as error:
        return error.as_json()
    except MemoryError:
        return ClearwayError.of("gateway.E017", why="out of memory").as_json()
    except Exception as error:  # a defect in one list must not end the process
        return ClearwayError.of("gateway.E023", what=f"{type(error).__name__}: {error}").as_json()


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with the daemon, not beside it
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICE)
    state = Path(sys.argv[1])
    from clearway import store

    store.setup(state)
    directory = StateDirectory(state)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(directory, line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
