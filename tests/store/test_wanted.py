"""What should be in force: the reading of all decisions, whatever their order."""

import random
from datetime import datetime, timedelta

import pytest

from clearway.policy.model import Prefix
from clearway.store import decide, standing, wanted
from clearway.store.models import Decision, StandingRow
from clearway.store.requests import BlockRequest, GrantRequest, RevokeRequest, UnblockRequest

from clearway.errors import ClearwayError  # isort: skip

pytestmark = pytest.mark.usefixtures("state")
LIFTS = {"unblock": "block", "revoke": "grant"}
REPLACES = {"block": "exception", "exception": "block"}


def replayed(now: datetime) -> set[tuple[str, str, datetime]]:
    """What stands after all decisions, told one after the other: slow and obvious."""
    stands: dict[tuple[str, str], datetime] = {}
    for row in Decision.objects.order_by("id"):
        if row.kind in LIFTS:
            stands.pop((LIFTS[row.kind], row.target), None)
        elif row.until is not None:
            stands[row.kind, row.target] = row.until
            stands.pop((REPLACES.get(row.kind, ""), row.target), None)
    return {(kind, target, until) for (kind, target), until in stands.items() if until > now}


def test_what_stands_is_what_replaying_every_decision_gives(now: datetime) -> None:
    chance = random.Random(7)
    prefixes = [f"192.0.2.{n}" for n in range(4)] + ["192.0.2.0/30", "2001:db8::/32", "2001:db8::1"]
    for step in range(300):
        at = now + timedelta(minutes=step)
        target, until = chance.choice(prefixes), f"{chance.randrange(1, 120)}m"
        try:
            match chance.randrange(4):
                case 0:
                    decide.block(BlockRequest(target=target, reason="scanner", until=until), at, "a")
                case 1:
                    decide.unblock(UnblockRequest(target=target, until=until), at, "a", holders=lambda _: [])
                case 2:
                    decide.grant(GrantRequest(prefix=target, organisation="o", until=until), at, "a")
                case 3:
                    decide.revoke(RevokeRequest(prefix=target), at, "a")
        except ClearwayError as error:
            assert error.id in ("store.E027", "store.E028")
        live = StandingRow.objects.filter(until__gt=at).values_list("kind", "target", "until")
        assert set(live) == replayed(at)
    assert {row.kind for row in Decision.objects.all()} == {"block", "unblock", "exception", "grant", "revoke"}


def test_entries_come_back_as_the_prefixes_they_were(now: datetime) -> None:
    texts = ["192.0.2.0/24", "192.0.2.7", "255.255.255.255", "2001:db8::/32", "::1", "ffff::/16"]
    for text in texts:
        decide.block(BlockRequest(target=text, reason="scanner", until="1h"), now, "a")
    assert {str(each.prefix) for each in wanted.overlay(now)} == {str(Prefix.parse(text)) for text in texts}


def test_blocks_that_cover_the_inside_are_held_back_and_named(now: datetime) -> None:
    decide.block(BlockRequest(target="10.0.0.0/8", reason="scanner", until="1h"), now, "a")
    decide.block(BlockRequest(target="192.0.2.0/24", reason="scanner", until="1h"), now, "a")
    inside = [Prefix.parse("10.1.0.0/16")]
    assert [str(each.prefix) for each in wanted.overlay(now, inside)] == ["192.0.2.0/24"]
    assert [str(each.prefix) for each in wanted.held_back(now, inside)] == ["10.0.0.0/8"]
    assert wanted.overlay_at(Prefix.parse("10.0.0.0/8"), now, inside) is None
    assert len(wanted.overlay(now)) == 2


def test_touching_shows_wider_ones_longest_first_then_those_within(now: datetime) -> None:
    for text in ("192.0.0.0/16", "192.0.2.0/24", "192.0.2.7", "192.0.2.128/25", "198.51.100.0/24"):
        decide.block(BlockRequest(target=text, reason="scanner", until="1h", note="n"), now, "a")
    decide.grant(GrantRequest(prefix="192.0.2.7", organisation="o", until="1h"), now, "b")
    found = wanted.touching(Prefix.parse("192.0.2.0/24"), now)
    assert [(each.kind, str(each.prefix)) for each in found] == [
        ("block", "192.0.2.0/24"),
        ("block", "192.0.0.0/16"),
        ("block", "192.0.2.7"),
        ("grant", "192.0.2.7"),
        ("block", "192.0.2.128/25"),
    ]
    assert (found[0].actor, found[0].reason, found[0].note, found[0].since) == ("a", "scanner", "n", now)
    assert wanted.touching(Prefix.parse("192.0.2.0/24"), now + timedelta(hours=1)) == []


def test_ipv4_and_ipv6_never_touch_each_other(now: datetime) -> None:
    decide.block(BlockRequest(target="192.0.2.0/24", reason="scanner", until="1h"), now, "a")
    assert wanted.touching(Prefix.parse("2001:db8::/32"), now) == []
    assert standing.covering(["block"], Prefix.parse("::/0"), now) == []


def test_reading_a_hundred_thousand_entries_takes_seconds_at_most(now: datetime) -> None:
    row = Decision(
        at=now, actor="a", kind="block", target="192.0.2.0", reason="scanner", until=now + timedelta(hours=1)
    )
    row.save()
    rows = []
    for n in range(100_000):
        address, length = Prefix(4, n << 4, 32).mapped()
        rows.append(
            StandingRow(kind="block", target=str(n), first=address.hex(), length=length, until=row.until, decision=row)
        )
    StandingRow.objects.bulk_create(rows, batch_size=10_000)
    entries = wanted.overlay(now)
    assert len(entries) == 100_000
    assert entries[1].prefix == Prefix(4, 16, 32)


def test_no_ipv4_entry_lies_within_an_ipv6_prefix(now: datetime) -> None:
    for target in ("192.0.2.7", "2001:db8::7", "::1:0:0:0"):
        decide.block(BlockRequest(target=target, reason="malware", until="1h"), now, "alice")
    within = standing.within([standing.BLOCK], Prefix.parse("::/16"), now, 1)
    assert [str(each.prefix) for each in within] == ["::1:0:0:0"]
    within = standing.within([standing.BLOCK], Prefix.parse("0.0.0.0/0"), now, 9)
    assert [str(each.prefix) for each in within] == ["192.0.2.7"]
