"""Whatever a server does, the list that it gave before stays in force, and the next one is fetched all the same."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from knot_server import Knot
from patience import HUNG_S
from scripted_server import ScriptedServer, head_of
from taxii_server import Medallion, of_name
from web_answers import ACTING, FIXED, answer

from clearway import store
from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.feeds import fetch

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
GOOD = b"45.95.147.1\n45.95.147.2\n"
ALL = sorted({*FIXED, *ACTING} - {"/list", "/gzip", "/chunked", "/no-length"})
SOME = [
    "/drip",
    "/reset",
    "/short",
    "/long",
    "/endless",
    "/bomb",
    "/page-as-text",
    "/empty",
    "/busy",
    "/loop",
    "/brotli",
]
HOSTILE = ALL if os.environ.get("CLEARWAY_TESTS") == "all" else SOME
SECRET = "s3cr3t"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    monkeypatch.delenv("CLEARWAY_DATABASE", raising=False)
    directory = StateDirectory(tmp_path / "state")
    directory.create()
    store.setup(directory.path)
    return directory


class Site:
    """A server whose answers change: `acts` is a path of web_answers, or None for the good list and an `extra` one."""

    def __init__(self) -> None:
        self.acts: str | None = None
        self.body = GOOD

    def script(self, connection: Any) -> None:
        path = head_of(connection).decode().split(" ")[1].partition("?")[0]
        if path == "/next" or self.acts is None:
            connection.sendall(answer(self.body))
        elif self.acts in ACTING:
            ACTING[self.acts](connection)
        else:
            connection.sendall(FIXED[self.acts])


@pytest.fixture
def site(authority: Authority, trusted: Authority) -> Iterator[tuple[Site, str]]:
    made = Site()
    with ScriptedServer(made.script, authority.server()) as server:
        yield made, f"https://127.0.0.1:{server.port}"


def add(state: StateDirectory, name: str, source: str, **more: Any) -> None:
    from clearway.store import lists
    from clearway.store.requests import FeedAddRequest

    lists.add(state, FeedAddRequest(name=name, source=source, reason="malware", **more), NOW, "tests")


def update(state: StateDirectory, name: str, minutes: int) -> str:
    """ "" or the id of what it failed with."""
    from clearway.store import lists
    from clearway.store.requests import FeedUpdateRequest

    try:
        lists.update(state, name, FeedUpdateRequest(), NOW + timedelta(minutes=minutes), "tests")
    except ClearwayError as error:
        assert SECRET not in str(error.as_json())
        return error.id
    return ""


def contents(minutes: int) -> dict[str, str]:
    from clearway.store import wanted

    return {each.feed: each.content for each in wanted.lists(NOW + timedelta(minutes=minutes))}


def test_the_last_good_list_stands_and_the_next_is_fetched(
    state: StateDirectory, site: tuple[Site, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearway.policy import snapshot
    from clearway.store import lists

    server, base = site
    add(state, "hostile", f"{base}/hostile?key={SECRET}")
    add(state, "next", f"{base}/next")
    good = contents(0)
    assert len(good) == 2
    for minutes, path in enumerate(HOSTILE, 1):
        server.acts, server.body = path, GOOD + f"45.95.148.{minutes}\n".encode()
        began = time.monotonic()
        with monkeypatch.context() as shorter:
            shorter.setattr(fetch, "FETCH_SECONDS_MAX", 0.5)
            assert update(state, "hostile", minutes), path
        assert update(state, "next", minutes) == "", path
        assert time.monotonic() - began < HUNG_S, path
        now = contents(minutes)
        assert now["hostile"] == good["hostile"] and now["next"] != good["next"], path
        good = now
    compiled = snapshot.load(lists.compile_wanted(state, NOW + timedelta(minutes=len(HOSTILE))))
    assert {each.name: each.content for each in compiled.lists} == good
    for file in state.path.rglob("*"):
        if file.is_file() and not file.name.startswith("clearway.db"):
            assert SECRET.encode() not in file.read_bytes(), file


def test_zones_and_collections_are_lists_like_others(
    state: StateDirectory, knot: Knot, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from clearway.feeds.feed_settings import FeedSettings
    from clearway.store.models import FeedVersion

    knot.serve("rpz.example", 1, ["bad.example.net CNAME .", "*.bad.example.net CNAME ."])
    with Medallion(tmp_path_factory.mktemp("medallion")) as medallion:
        medallion.add({**of_name(1), "pattern": "[domain-name:value = 'bad.example.org']"})
        add(state, "zone", knot.url("rpz.example"), settings=FeedSettings(key_file=str(knot.key())))
        add(state, "collection", medallion.source, settings=FeedSettings(key_file=str(medallion.key())))
        first = contents(0)
        assert set(first) == {"zone", "collection"}
        assert len(list(state.sources.iterdir())) == 2
        assert [update(state, name, 1) for name in first] == ["", ""] and contents(1) == first
        knot.serve("rpz.example", 2, ["bad.example.net CNAME .", "worse.example.net CNAME ."])
        medallion.add({**of_name(2), "pattern": "[domain-name:value = 'worse.example.org']"})
        assert [update(state, name, 2) for name in first] == ["", ""]
        second = contents(2)
        assert second["zone"] != first["zone"] and second["collection"] != first["collection"]
    etags = {row.feed.name: row.etag for row in FeedVersion.objects.select_related("feed").order_by("id")}
    assert etags["zone"] == "serial:2" and etags["collection"].startswith("sha256:")
    assert update(state, "collection", 3) == "feeds.E010" and contents(3) == second, "it is gone"
