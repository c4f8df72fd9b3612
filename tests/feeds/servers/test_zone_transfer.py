"""Policy zones from a real server: whole, what changed, signed or not at all. dnspython's own transfer is the judge."""

from pathlib import Path

import dns.query
import dns.zone
import pytest
from knot_server import SECRET, Knot

from clearway.errors import ClearwayError
from clearway.feeds.fetch import Fetched, fetch
from clearway.feeds.readers import table

NAMES = [f"bad{number}.example" for number in range(2000)]
BLOCKED = [line for name in NAMES for line in (f"{name} CNAME .", f"*.{name} CNAME .")]
OTHERS = [
    "24.0.2.0.192.rpz-ip CNAME .",
    "good.example CNAME rpz-passthru.",
    "silent.example CNAME rpz-drop.",
    "walled.example A 192.0.2.80",
    r'text.example TXT "semi;colon and \"quotes\""',
    r"odd\032name.example CNAME .",
    "UPPER.Example CNAME .",
]


def lines_of(fetched: Fetched) -> list[str]:
    return sorted(fetched.data.decode().splitlines())


def by_dnspython(knot: Knot, zone: str) -> set[tuple[str, str]]:
    """Owner and kind of each record but those about the zone itself."""
    whole = dns.zone.Zone(zone)
    dns.query.inbound_xfr("127.0.0.1", whole, port=knot.port)
    rows = [(name, data) for name, _, data in whole.iterate_rdatas()]
    return {
        (str(name).lower(), f"{data.rdtype.name} {data.to_text()}")
        for name, data in rows
        if data.rdtype.name not in ("SOA", "NS")
    }


def refused(id: str, source: str, key: Path | None) -> ClearwayError:
    with pytest.raises(ClearwayError) as error:
        fetch(source, key_file=key)
    assert error.value.id == id, error.value
    assert SECRET not in str(error.value.as_json())
    return error.value


def test_a_zone_is_transferred_whole_with_its_key(knot: Knot, kept: Path) -> None:
    knot.serve("signed.example", 7, [*BLOCKED, *OTHERS])
    told: list[int] = []
    fetched = fetch(
        knot.url("signed.example"), key_file=knot.key(), kept=kept, progress=lambda done, total: told.append(done)
    )
    assert (fetched.etag, fetched.format, fetched.origin) == ("serial:7", "rpz", knot.url("signed.example"))
    assert told and told == sorted(told) and told[-1] > 20_000
    content = table.read(fetched.data, fetched.format).content
    names = content.blocked.names.counts()
    assert sum(names.values()) == len(NAMES) + 2, "each name with what is below it, and the two others"
    assert (len(content.blocked.v4), sum(content.excepted.names.counts().values())) == (1, 1)
    held = b"".join(path.read_bytes() for path in kept.iterdir())
    assert SECRET.encode() not in held + fetched.data and b"signed" not in b"".join(bytes(p) for p in kept.iterdir())


def test_it_says_what_another_client_gets(knot: Knot) -> None:
    knot.serve("open.example", 1, [*BLOCKED[:500], *OTHERS], acl="anybody")
    mine = lines_of(fetch(knot.url("open.example")))
    rows = {(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in mine if not line.startswith(("$", "@"))}
    assert rows == by_dnspython(knot, "open.example")


def test_a_wrong_key_gets_nothing(knot: Knot) -> None:
    knot.serve("keyed.example", 1, BLOCKED[:4])
    source = knot.url("keyed.example")
    assert (
        "another secret" in refused("feeds.E037", source, knot.key(secret="d3JvbmcgYnkgYSBsb3QgYW5kIGxvbmc=")).message
    )
    assert "does not know the key" in refused("feeds.E037", source, knot.key("stranger")).message
    refused("feeds.E037", source, None)
    refused("feeds.E037", knot.url("unknown.example"), knot.key())
    assert fetch(source, key_file=knot.key()).data


def test_after_a_change_only_the_change_is_sent(knot: Knot, kept: Path) -> None:
    def transferred(source: str, etag: str = "") -> tuple[Fetched, int]:
        told = [0]
        fetched = fetch(
            source, key_file=knot.key(), kept=kept, progress=lambda done, total: told.append(done), etag=etag
        )
        return fetched, told[-1]

    zone = "changing.example"
    knot.serve(zone, 1, BLOCKED)
    _, whole_bytes = transferred(knot.url(zone))
    knot.serve(zone, 2, [*BLOCKED[10:], "new.example CNAME ."])
    knot.serve(zone, 3, [*BLOCKED[5:], "new.example CNAME rpz-passthru."])
    changed, bytes = transferred(knot.url(zone), etag="serial:1")
    assert (changed.etag, changed.unchanged) == ("serial:3", False)
    assert bytes < whole_bytes / 10
    assert lines_of(changed) == lines_of(fetch(knot.url(zone), key_file=knot.key()))
    same, bytes = transferred(knot.url(zone), etag="serial:3")
    assert same.unchanged and not same.data and bytes < 300
    again, bytes = transferred(knot.url(zone), etag="serial:1")
    assert (again.data, again.unchanged) == (changed.data, False) and bytes < 300, "who has an older one gets this one"


def test_without_what_was_kept_all_is_sent_unless_the_serial_is_known(knot: Knot, kept: Path) -> None:
    zone = "forgotten.example"
    knot.serve(zone, 4, BLOCKED[:100])
    first = fetch(knot.url(zone), key_file=knot.key(), kept=kept)
    assert first.kept is not None
    first.kept.write_bytes(first.kept.read_bytes()[:-7])
    assert fetch(knot.url(zone), key_file=knot.key(), kept=kept, etag="serial:4").unchanged
    assert lines_of(fetch(knot.url(zone), key_file=knot.key(), kept=kept)) == lines_of(first)
    first.kept.unlink()
    knot.serve(zone, 5, BLOCKED[:50])
    assert len(lines_of(fetch(knot.url(zone), key_file=knot.key(), kept=kept, etag="serial:4"))) == 52


def test_a_server_that_knows_no_changes_sends_all(knot: Knot, kept: Path) -> None:
    zone = "forgetful.example"
    knot.serve(zone, 1, BLOCKED[:40], journal=False)
    fetch(knot.url(zone), key_file=knot.key(), kept=kept)
    knot.serve(zone, 2, BLOCKED[:20], journal=False)
    assert len(lines_of(fetch(knot.url(zone), key_file=knot.key(), kept=kept))) == 22


def test_a_zone_begun_anew_is_sent_whole(knot: Knot, kept: Path) -> None:
    zone = "anew.example"
    knot.serve(zone, 100, BLOCKED[:40], journal=False)
    fetch(knot.url(zone), key_file=knot.key(), kept=kept)
    knot.serve(zone, 1, BLOCKED[:20], journal=False)
    fetched = fetch(knot.url(zone), key_file=knot.key(), kept=kept, etag="serial:100")
    assert (fetched.etag, len(lines_of(fetched))) == ("serial:1", 22)
