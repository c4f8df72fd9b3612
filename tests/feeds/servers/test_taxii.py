"""Collections of a real TAXII 2.1 server, by pages and by what was added; and of servers with habits of their own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from scripted_server import ScriptedServer, head_of
from taxii_server import MEDIA_TYPE, Medallion, indicator, of_name

from clearway.errors import ClearwayError
from clearway.feeds import taxii
from clearway.feeds.fetch import Fetched, fetch
from clearway.feeds.readers import table


@pytest.fixture
def medallion(tmp_path: Path) -> Iterator[Medallion]:
    with Medallion(tmp_path) as server:
        yield server


def names_of(fetched: Fetched) -> set[str]:
    blobs = table.read(fetched.data, fetched.format).content.blocked.names.blobs()
    return {name for blob in blobs.values() for name in blob.tobytes().decode().split()}


def bad(*numbers: int) -> set[str]:
    return {f"bad{number}.example" for number in numbers}


def test_a_collection_is_read_to_its_last_page_and_then_by_what_was_added(
    medallion: Medallion, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(etag: str = "", kept: Path | None = kept) -> Fetched:
        return fetch(medallion.source, key_file=medallion.key(), kept=kept, etag=etag)

    malware = {"type": "malware", "spec_version": "2.1", "id": f"malware--{'0' * 8}-0000-4000-8000-{'0' * 12}"}
    medallion.add(
        *[of_name(number) for number in range(30)],
        indicator(90, "[ipv4-addr:value = '192.0.2.9']"),
        {
            **malware,
            "created": "2030-01-01T00:00:00Z",
            "modified": "2030-01-01T00:00:00Z",
            "name": "x",
            "is_family": False,
        },
    )
    first = fetched()
    assert names_of(first) == bad(*range(30)) and len(table.read(first.data, "stix21").content.blocked.v4) == 1
    assert (first.format, first.etag) == ("stix21", f"sha256:{first.sha256}")
    assert fetched(first.etag).unchanged

    medallion.add(
        of_name(31),
        indicator(3, "[domain-name:value = 'moved.example']", "2030-01-02T00:00:00.000Z"),
        indicator(4, "[domain-name:value = 'bad4.example']", "2030-01-02T00:00:00.000Z", revoked=True),
    )
    monkeypatch.setattr(taxii, "OVERLAP", taxii.TICK)
    second = fetched(first.etag)
    assert names_of(second) == bad(*range(30), 31) - bad(3, 4) | {"moved.example"}
    assert second.data == fetched(kept=None).data, "what was added comes to the same as all of it"

    medallion.remove(5)
    assert fetched(second.etag).unchanged, "nothing tells of it"
    monkeypatch.setattr(taxii, "FULL_EVERY_S", 0)
    assert names_of(fetched(second.etag)) == names_of(second) - bad(5)


def test_a_server_wants_its_key(medallion: Medallion, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("lists:another password")
    wrong.chmod(0o600)
    for key_file in (wrong, None):
        with pytest.raises(ClearwayError) as error:
            fetch(medallion.source, key_file=key_file)
        assert error.value.id == "feeds.E011" and "401" in error.value.message
        assert "password" not in str(error.value.as_json())
    with pytest.raises(ClearwayError) as error:
        fetch(medallion.source.replace("collections/9", "collections/8"), key_file=medallion.key())
    assert error.value.id == "feeds.E011" and "404" in error.value.message


Page = tuple[dict[str, Any], dict[str, str]]


class Asked(list[dict[str, str]]):
    """Queries that a server was sent."""


def fetched_from(pages: Any, asked: Asked | None = None, **options: Any) -> Fetched:
    """`pages`: what is answered to a query, as document and headers."""

    def script(connection: Any) -> None:
        while head := head_of(connection).decode():
            found = re.match(r"GET \S+/objects/\?(\S+) ", head)
            assert found and f"accept: {MEDIA_TYPE}" in head.lower()
            query = {key: values[0] for key, values in parse_qs(found[1]).items()}
            if asked is not None:
                asked.append(query)
            document, headers = pages(query)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            said = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
            connection.sendall(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body)

    with ScriptedServer(script) as server:
        return fetch(f"taxii+http://127.0.0.1:{server.port}/api/collections/1/", **options)


def refused(id: str, pages: Any, **options: Any) -> str:
    with pytest.raises(ClearwayError) as error:
        fetched_from(pages, **options)
    assert error.value.id == id, error.value
    return error.value.message


def test_without_next_it_goes_on_from_when_the_last_object_was_added() -> None:
    """Three objects were added at one time, on two pages."""
    times = ["2030-01-01T00:00:00.000001Z", *["2030-01-02T00:00:00.000000Z"] * 3, "2030-01-03T00:00:00.000000Z"]

    def pages(query: dict[str, str]) -> Page:
        rows = [(at, of_name(number)) for number, at in enumerate(times) if at > query.get("added_after", "")]
        shown = rows[:3]
        return {"more": len(rows) > 3, "objects": [each for _, each in shown]}, {
            "X-TAXII-Date-Added-Last": shown[-1][0]
        }

    asked = Asked()
    assert names_of(fetched_from(pages, asked)) == bad(*range(5))
    assert asked[0] == {"limit": "1000", "match[type]": "indicator"} and asked[1]["added_after"] < times[1]


def test_the_newest_version_wins_in_whichever_order_they_come() -> None:
    new = indicator(1, "[domain-name:value = 'new.example']", "2030-01-02T00:00:00Z")
    old = indicator(1, "[domain-name:value = 'old.example']", "2030-01-01T23:59:59.999Z")
    for objects in ([new, old], [old, new]):
        assert names_of(fetched_from(lambda query, objects=objects: ({"objects": objects}, {}))) == {"new.example"}


def test_a_server_that_does_not_say_when_is_asked_for_all(kept: Path) -> None:
    asked = Asked()
    for _ in range(2):
        fetched_from(lambda query: ({"objects": [of_name(1)]}, {}), asked, kept=kept)
    assert not any("added_after" in query for query in asked)


def test_an_empty_collection_is_an_empty_bundle() -> None:
    assert json.loads(fetched_from(lambda query: ({}, {})).data)["objects"] == []


@pytest.mark.parametrize(
    ("pages", "id", "detail"),
    [
        (lambda query: ({"more": True, "objects": [of_name(1)]}, {}), "feeds.E040", "not where"),
        (
            lambda query: ({"more": True}, {"X-TAXII-Date-Added-Last": "2030-01-01T00:00:00Z"}),
            "feeds.E040",
            "do not go on",
        ),
        (lambda query: ([], {}), "feeds.E040", "something else"),
        (lambda query: ({"objects": {}}, {}), "feeds.E040", "something else"),
        (lambda query: (b"{", {}), "feeds.E021", "JSON"),
        (lambda query: (b"[" * 1000 + b"]" * 1000, {}), "feeds.E039", "64 levels"),
        (lambda query: (b"please log in", {"Content-Type": "text/html"}), "feeds.E003", "page"),
        (lambda query: ({"more": True, "next": "again"}, {}), "feeds.E039", "pages"),
        (lambda query: ({"objects": [of_name(number) for number in range(300)]}, {}), "feeds.E039", "200 indicators"),
        (lambda query: ({"more": True, "next": "1", "objects": ["x" * 300_000]}, {}), "feeds.E007", "1 MiB"),
    ],
)
def test_what_is_no_collection_is_refused(pages: Any, id: str, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taxii, "PAGES_MAX", 50)
    monkeypatch.setattr(taxii, "OBJECTS_MAX", 200)
    assert detail in refused(id, pages, bytes_max=1 << 20)


@pytest.mark.parametrize("path", ["", "root/", "collections/", "root/collections/1/x/", "root/objects/"])
def test_what_names_no_collection_is_no_source(path: str) -> None:
    with pytest.raises(ClearwayError) as error:
        fetch(f"taxii+https://user:secret@127.0.0.1/{path}")
    assert error.value.id == "feeds.E012" and "secret" not in str(error.value)
