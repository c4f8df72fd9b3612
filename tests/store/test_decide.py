"""block, unblock, grant, revoke, bypass: what is refused, what is stored, and what the kernel is told to look at."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from clearway._engine import LIMITS
from clearway.errors import ClearwayError
from clearway.policy.model import Prefix, Reason
from clearway.store import decide, subscribe, wanted
from clearway.store.change import Change, ListHit, NewVersion, OverlayWanted
from clearway.store.models import Decision, StandingRow
from clearway.store.requests import (
    BlockRequest,
    BypassRequest,
    FeedAddRequest,
    GrantRequest,
    RevokeRequest,
    UnblockRequest,
    parse,
)

pytestmark = pytest.mark.usefixtures("state")
HOUR = timedelta(hours=1)


def prefix(text: str) -> Prefix:
    return Prefix.parse(text)


def block(now: datetime, target: str, until: str = "1h", **more: Any) -> Change:
    inside: Sequence[Prefix] = more.pop("inside", ())
    request = BlockRequest(target=target, until=until, **{"reason": "malware", **more})
    return decide.block(request, now, "alice", inside=inside)


def unblock(now: datetime, target: str, until: str | None = None, hits: Sequence[ListHit] = ()) -> Change:
    return decide.unblock(UnblockRequest(target=target, until=until), now, "alice", holders=lambda _: hits)


def grant(now: datetime, text: str, until: str = "1h", organisation: str = "Example") -> Change:
    return decide.grant(GrantRequest(prefix=text, until=until, organisation=organisation), now, "alice")


def hit(now: datetime, text: str) -> ListHit:
    return ListHit("drop", "botnet-c2", prefix(text), now - HOUR, now + HOUR, "/lists/drop.txt")


def refused(id: str, call: Callable[[], object]) -> ClearwayError:
    before = Decision.objects.count()
    with pytest.raises(ClearwayError) as raised:
        call()
    assert raised.value.id == id
    assert Decision.objects.count() == before, "a refusal stores nothing"
    return raised.value


def test_a_block_is_one_row_and_one_key(now: datetime) -> None:
    change = block(now, "192.0.2.7", "2h", reason="brute-force", note="ssh")
    row = Decision.objects.get()
    assert (row.pk, row.kind, row.target, row.reason, row.note, row.actor, row.at, row.until) == (
        change.decision_id,
        "block",
        "192.0.2.7",
        "brute-force",
        "ssh",
        "alice",
        now,
        now + 2 * HOUR,
    )
    assert change.overlay == (prefix("192.0.2.7"),)
    assert (change.green, change.base_changed) == ((), False)
    assert wanted.overlay_at(prefix("192.0.2.7"), now) == OverlayWanted(prefix("192.0.2.7"), now + 2 * HOUR, None)


def test_a_mapped_address_is_the_ipv4_one(now: datetime) -> None:
    assert block(now, "::ffff:192.0.2.7").answer["target"] == "192.0.2.7"


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "8.0.0.0/7", "2000::/15"])
def test_what_is_too_wide_is_refused_for_blocks_exceptions_and_grants(now: datetime, text: str) -> None:
    refused("store.E021", lambda: block(now, text))
    refused("store.E021", lambda: unblock(now, text, "1h"))
    refused("store.E021", lambda: grant(now, text))


@pytest.mark.parametrize("text", ["8.0.0.0/8", "2001::/16"])
def test_the_widest_prefix_is_taken(now: datetime, text: str) -> None:
    assert block(now, text).overlay == (prefix(text),)


def test_a_block_that_covers_the_inside_is_refused_and_one_within_it_is_not(now: datetime) -> None:
    inside = [prefix("10.1.0.0/16"), prefix("2001:db8:1::/48")]
    error = refused("store.E022", lambda: block(now, "10.0.0.0/8", inside=inside))
    assert "10.1.0.0/16" in error.message
    refused("store.E022", lambda: block(now, "10.1.0.0/16", inside=inside))
    refused("store.E022", lambda: block(now, "2001:db8::/32", inside=inside))
    assert block(now, "10.1.2.3", inside=inside).overlay == (prefix("10.1.2.3"),)


def test_an_address_has_no_scope(now: datetime) -> None:
    refused("store.E020", lambda: block(now, "192.0.2.1", scope="exact"))
    asked = UnblockRequest(target="192.0.2.1", scope="exact")
    refused("store.E020", lambda: decide.unblock(asked, now, "alice", holders=lambda _: ()))


@pytest.mark.parametrize("reason", ["", "none", "politics", "vpn"])
def test_a_reason_outside_the_closed_list_is_refused(now: datetime, reason: str) -> None:
    def call() -> object:
        return decide.block(
            BlockRequest.model_construct(actor="", target="192.0.2.1", reason=reason, until="1h", note=""), now, "alice"
        )

    refused("policy.E006", call)


@pytest.mark.parametrize("until", ["2026-11-24T11:59:59Z", "2026-11-24T12:00:00Z"])
def test_an_end_that_has_passed_is_refused(now: datetime, until: str) -> None:
    refused("policy.E005", lambda: block(now, "192.0.2.1", until))


def test_a_second_block_of_a_prefix_takes_the_place_of_the_first(now: datetime) -> None:
    block(now, "192.0.2.0/24", "5h")
    block(now, "192.0.2.0/24", "1h")
    assert Decision.objects.count() == 2
    assert wanted.overlay(now) == [OverlayWanted(prefix("192.0.2.0/24"), now + HOUR, None)]


def test_unblock_lifts_a_block(now: datetime) -> None:
    block(now, "192.0.2.7")
    change = unblock(now, "192.0.2.7")
    assert (change.answer["kind"], change.overlay) == ("unblock", (prefix("192.0.2.7"),))
    assert wanted.overlay(now) == []


def test_unblock_of_what_nothing_blocks_is_answered_no(now: datetime) -> None:
    assert refused("store.E027", lambda: unblock(now, "192.0.2.7")).exit_code == 1
    refused("store.E027", lambda: unblock(now, "192.0.2.7", "1h"))
    block(now, "192.0.2.7", "1h")
    refused("store.E027", lambda: unblock(now + 2 * HOUR, "192.0.2.7"))


def test_where_a_list_holds_the_address_unblock_needs_an_end_and_writes_an_exception(now: datetime) -> None:
    hits = [hit(now, "192.0.2.0/24")]
    error = refused("store.E026", lambda: unblock(now, "192.0.2.7", hits=hits))
    assert "list drop (botnet-c2)" in error.message
    change = unblock(now, "192.0.2.7", "7d", hits)
    assert change.answer["kind"] == "exception"
    assert wanted.overlay(now) == [OverlayWanted(prefix("192.0.2.7"), None, now + timedelta(days=7))]


def test_unblock_of_an_address_both_blocked_and_listed_lifts_and_spares(now: datetime) -> None:
    block(now, "192.0.2.7")
    refused("store.E026", lambda: unblock(now, "192.0.2.7", hits=[hit(now, "192.0.2.7")]))
    assert wanted.overlay_at(prefix("192.0.2.7"), now) == OverlayWanted(prefix("192.0.2.7"), now + HOUR, None)
    unblock(now, "192.0.2.7", "1d", [hit(now, "192.0.2.7")])
    assert [row.kind for row in Decision.objects.order_by("id")] == ["block", "unblock", "exception"]
    assert wanted.overlay(now) == [OverlayWanted(prefix("192.0.2.7"), None, now + timedelta(days=1))]


def test_an_address_under_a_wider_block_is_spared_by_an_exception(now: datetime) -> None:
    block(now, "192.0.2.0/24")
    assert "the block of 192.0.2.0/24" in refused("store.E026", lambda: unblock(now, "192.0.2.7")).message
    unblock(now, "192.0.2.7", "30m")
    assert wanted.overlay(now) == [
        OverlayWanted(prefix("192.0.2.0/24"), now + HOUR, None),
        OverlayWanted(prefix("192.0.2.7"), None, now + HOUR / 2),
    ]


def test_a_wider_exception_already_spares_what_a_list_holds(now: datetime) -> None:
    unblock(now, "192.0.2.0/24", "1d", [hit(now, "192.0.2.7")])
    refused("store.E027", lambda: unblock(now, "192.0.2.7", hits=[hit(now, "192.0.2.7")]))


def test_an_exception_can_be_made_longer(now: datetime) -> None:
    hits = [hit(now, "192.0.2.7")]
    unblock(now, "192.0.2.7", "1h", hits)
    refused("store.E027", lambda: unblock(now, "192.0.2.7", hits=hits))
    unblock(now, "192.0.2.7", "2h", hits)
    assert wanted.overlay(now) == [OverlayWanted(prefix("192.0.2.7"), None, now + 2 * HOUR)]


def test_a_block_lifts_the_exception_that_stood_at_its_prefix(now: datetime) -> None:
    unblock(now, "192.0.2.7", "1d", [hit(now, "192.0.2.7")])
    block(now, "192.0.2.7")
    assert wanted.overlay(now) == [OverlayWanted(prefix("192.0.2.7"), now + HOUR, None)]


def test_answers_name_what_goes_on_within_the_prefix(now: datetime) -> None:
    unblock(now, "192.0.2.7", "1d", [hit(now, "192.0.2.7")])
    assert block(now, "192.0.2.0/24").answer["spared_within"] == ["192.0.2.7"]
    block(now, "192.0.2.9")
    assert unblock(now, "192.0.2.0/24").answer["blocked_within"] == ["192.0.2.9"]


def test_a_grant_stands_until_its_end(now: datetime) -> None:
    change = grant(now, "10.1.0.0/16", "7d")
    assert (change.green, change.overlay) == ((prefix("10.1.0.0/16"),), ())
    assert [(each.prefix, each.organisation) for each in wanted.grants(now)] == [(prefix("10.1.0.0/16"), "Example")]
    assert wanted.grants(now + timedelta(days=7)) == []


def test_a_grant_outside_every_inside_prefix_warns(now: datetime) -> None:
    request = GrantRequest(prefix="203.0.113.0/24", organisation="Example", until="1d")
    answer = decide.grant(request, now, "alice", inside=[prefix("10.0.0.0/8")]).answer
    assert "lies in no inside prefix" in answer["warning"]
    within = GrantRequest(prefix="10.2.0.0/24", organisation="Example", until="1d")
    assert "warning" not in decide.grant(within, now, "alice", inside=[prefix("10.0.0.0/8")]).answer


def test_revoke_takes_exactly_that_prefix(now: datetime) -> None:
    grant(now, "10.1.0.0/16")
    near = refused("store.E028", lambda: decide.revoke(RevokeRequest(prefix="10.1.2.0/24"), now, "bob"))
    assert "near it: 10.1.0.0/16" in near.message
    wrong = RevokeRequest(prefix="10.1.0.0/16", organisation="Other")
    refused("store.E031", lambda: decide.revoke(wrong, now, "bob"))
    change = decide.revoke(RevokeRequest(prefix="10.1.0.0/16"), now, "bob")
    assert (change.green, change.answer["organisation"]) == ((prefix("10.1.0.0/16"),), "Example")
    assert wanted.grants(now) == []


def test_the_overlay_is_bounded_and_expired_entries_make_room(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "OVERLAY_ENTRIES_MAX", 3)
    block(now, "192.0.2.1", "1h")
    block(now, "192.0.2.2", "5h")
    block(now, "192.0.2.3", "5h")
    assert refused("store.E024", lambda: block(now, "192.0.2.4")).exit_code == 1
    block(now, "192.0.2.2", "6h")
    block(now + 2 * HOUR, "192.0.2.4", "1h")
    assert StandingRow.objects.count() == 3


def test_grants_are_bounded(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "GREEN_ENTRIES_MAX", 1)
    grant(now, "10.1.0.0/16")
    refused("store.E025", lambda: grant(now, "10.2.0.0/16"))


def test_the_bounds_are_those_of_the_kernel() -> None:
    from clearway._engine import LIMITS

    assert LIMITS["OVERLAY_ENTRIES_MAX"] == decide.OVERLAY_ENTRIES_MAX
    assert LIMITS["GREEN_ENTRIES_MAX"] == decide.GREEN_ENTRIES_MAX


def test_a_bypass_ends_by_itself_or_when_somebody_says_so(now: datetime) -> None:
    on = decide.bypass(BypassRequest(on=True, duration="10m"), now, "alice")
    assert on.bypass_until == now + timedelta(minutes=10) == wanted.bypass_until(now)
    assert wanted.bypass_until(now + HOUR) is None
    assert decide.bypass(BypassRequest(on=False), now, "alice").bypass_until == now
    assert wanted.bypass_until(now) is None


def test_an_until_that_no_exception_needed_is_not_dropped_in_silence(now: datetime) -> None:
    block(now, "192.0.2.7")
    answer = unblock(now, "192.0.2.7", "2h").answer
    assert (answer["kind"], answer["lifted"]) == ("unblock", True)
    assert answer["warning"] == "nothing else holds 192.0.2.7: no exception was needed, and --until has no effect"
    block(now, "192.0.2.8")
    assert "warning" not in unblock(now, "192.0.2.8").answer


def test_nothing_is_refused_without_a_reason_or_an_end(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "until", lambda *_: None)
    with pytest.raises(ClearwayError) as raised:
        block(now, "192.0.2.7")
    assert raised.value.id == "policy.E007"
    monkeypatch.undo()
    monkeypatch.setattr(decide, "parse_word", lambda *_: Reason.NONE)
    with pytest.raises(ClearwayError) as raised:
        block(now, "192.0.2.7")
    assert raised.value.id == "policy.E006"
    assert Decision.objects.count() == 0


def test_a_list_is_stored_only_with_an_end_to_come(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribe, "times", lambda *_: (None, timedelta(0)))
    request = FeedAddRequest(name="drop", source="/x", reason="malware")
    with pytest.raises(ClearwayError) as raised:
        decide.feed_add(request, "ip-plain", NewVersion("ab" * 32, {}, "/x"), now, "alice")
    assert raised.value.id == "policy.E005"
    assert Decision.objects.count() == 0


@pytest.mark.parametrize("organisation", ["", "  ", "two\nlines", "bell\x07"])
def test_an_organisation_is_one_line_with_something_on_it(organisation: str) -> None:
    with pytest.raises(ClearwayError) as raised:
        parse(GrantRequest, {"prefix": "192.0.2.0/24", "organisation": organisation, "until": "1h"})
    assert raised.value.id == "store.E020" and raised.value.message.startswith("organisation: ")


def test_the_limits_are_those_of_the_kernel() -> None:
    assert decide.OVERLAY_ENTRIES_MAX == LIMITS["OVERLAY_ENTRIES_MAX"] > 0
    assert decide.GREEN_ENTRIES_MAX == LIMITS["GREEN_ENTRIES_MAX"] > 0
