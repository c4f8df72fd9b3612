"""The events of a MISP feed: the manifest's, the changed ones alone, bounded, and as much as was reached kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from scripted_server import ScriptedServer, head_of

from clearway.errors import ClearwayError
from clearway.feeds import misp_feed
from clearway.feeds.fetch import Fetched, fetch
from clearway.feeds.readers import table


def id_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def event(number: int, *names: str, **more: Any) -> dict[str, Any]:
    attributes = [{"type": "domain", "category": "Network activity", "value": name, "to_ids": True} for name in names]
    sample = {"type": "malware-sample", "value": "x|0", "data": "bWFsd2FyZQ==" * 1000, "to_ids": True}
    tags = [{"name": "tlp:clear", "colour": "#fff"}]
    inner = {"uuid": id_of(number), "info": "tests", "Attribute": [*attributes, sample], "Tag": tags, **more}
    return {"Event": inner}


class Feed:
    """Files of a feed, and which of them were asked for."""

    def __init__(self) -> None:
        self.files: dict[str, Any] = {}
        self.asked: list[str] = []
        self.stamps: dict[str, str] = {}

    def publish(self, number: int, stamp: int, *names: str, **more: Any) -> None:
        self.stamps[id_of(number)] = str(stamp)
        self.files[f"{id_of(number)}.json"] = event(number, *names, **more)
        self.files["manifest.json"] = {id: {"info": "tests", "timestamp": at} for id, at in self.stamps.items()}

    def script(self, connection: Any) -> None:
        while head := head_of(connection).decode():
            path = head.split(" ")[1]
            assert path.startswith("/feed/") and path.endswith("?key=secret")
            name = path.removeprefix("/feed/").partition("?")[0]
            self.asked.append(name)
            body = json.dumps(self.files.get(name, {})).encode()
            status = "200 OK" if name in self.files else "404 Not Found"
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def fetched(self, *, source: str = "misp+http://127.0.0.1:{port}/feed/?key=secret", **options: Any) -> Fetched:
        self.asked.clear()
        with ScriptedServer(self.script) as server:
            return fetch(source.format(port=server.port), **options)


@pytest.fixture
def feed() -> Feed:
    made = Feed()
    made.publish(1, 100, "one.example", "two.example")
    made.publish(2, 200, "three.example")
    return made


def names_of(fetched: Fetched) -> set[str]:
    blobs = table.read(fetched.data, fetched.format).content.blocked.names.blobs()
    return {name for blob in blobs.values() for name in blob.tobytes().decode().split()}


@pytest.mark.parametrize(
    "source",
    [
        "misp+http://127.0.0.1:{port}/feed/?key=secret",
        "misp+http://127.0.0.1:{port}/feed?key=secret",
        "misp+http://127.0.0.1:{port}/feed/manifest.json?key=secret",
        "http://127.0.0.1:{port}/feed/manifest.json?key=secret",
    ],
)
def test_the_events_of_a_manifest_are_one_list(feed: Feed, source: str) -> None:
    fetched = feed.fetched(source=source)
    assert names_of(fetched) == {"one.example", "two.example", "three.example"}
    assert feed.asked == ["manifest.json", f"{id_of(2)}.json", f"{id_of(1)}.json"], "the newest first"
    assert (fetched.format, fetched.etag) == ("misp-event", f"sha256:{fetched.sha256}")
    assert b"secret" not in fetched.data and "secret" not in fetched.origin
    assert b"bWFsd2FyZQ" not in fetched.data, "no samples are kept"
    assert b'"tlp:clear"' in fetched.data and b'"Network activity"' in fetched.data, "what gives a reason is"


def test_only_changed_events_are_fetched_again(feed: Feed, kept: Path) -> None:
    with ScriptedServer(feed.script) as server:
        source = f"misp+http://127.0.0.1:{server.port}/feed/?key=secret"
        first = fetch(source, kept=kept)
        feed.asked.clear()
        assert fetch(source, kept=kept, etag=first.etag).unchanged and feed.asked == ["manifest.json"]
        feed.publish(1, 300, "one.example")
        feed.publish(3, 50, "four.example")
        del feed.files["manifest.json"][id_of(2)]
        feed.asked.clear()
        second = fetch(source, kept=kept, etag=first.etag)
        assert feed.asked == ["manifest.json", f"{id_of(1)}.json", f"{id_of(3)}.json"]
        assert names_of(second) == {"one.example", "four.example"}
        assert second.data == fetch(source).data, "what changed comes to the same as all of it"


def test_what_was_reached_is_not_fetched_again(feed: Feed, kept: Path) -> None:
    with ScriptedServer(feed.script) as server:
        source = f"misp+http://127.0.0.1:{server.port}/feed/?key=secret"
        missing = feed.files.pop(f"{id_of(1)}.json")
        with pytest.raises(ClearwayError) as error:
            fetch(source, kept=kept)
        assert error.value.id == "feeds.E011" and "secret" not in str(error.value.as_json())
        feed.files[f"{id_of(1)}.json"] = missing
        feed.asked.clear()
        assert len(names_of(fetch(source, kept=kept))) == 3
        assert feed.asked == ["manifest.json", f"{id_of(1)}.json"]


@pytest.mark.parametrize(
    ("name", "document", "id", "detail"),
    [
        ("manifest.json", [], "feeds.E041", "no object"),
        ("manifest.json", {"../../admin": {"timestamp": "1"}}, "feeds.E041", "no UUID"),
        ("manifest.json", {id_of(1): 5}, "feeds.E041", "no UUID"),
        ("manifest.json", {id_of(number): {} for number in range(200)}, "feeds.E039", "events"),
        (f"{id_of(1)}.json", {"Event": []}, "feeds.E041", "holds no event"),
        (
            f"{id_of(1)}.json",
            event(1, *[f"{'x' * 60}{number}.example" for number in range(20_000)]),
            "feeds.E007",
            "1 MiB",
        ),
    ],
)
def test_what_is_no_feed_is_refused(
    feed: Feed, name: str, document: Any, id: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(misp_feed, "EVENTS_MAX", 100)
    feed.files[name] = document
    with pytest.raises(ClearwayError) as error:
        feed.fetched(bytes_max=1 << 20)
    assert error.value.id == id and detail in error.value.message and "secret" not in str(error.value)


def test_an_event_of_any_text_is_kept_as_it_is(feed: Feed) -> None:
    feed.publish(1, 100, "bücher.example", "a\u2028b\ud800.example", info=["no text"])
    assert "xn--bcher-kva.example" in names_of(feed.fetched())
