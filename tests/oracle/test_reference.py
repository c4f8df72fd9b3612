"""The reference where no program can be asked: super-packets, bypass, and what it tells a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from frames import IPV6, ethernet, ipv4, ipv6, pppoe, tcp, udp

from clearway._engine import LIMITS
from clearway.feeds import files
from clearway.feeds.readers import table
from clearway.policy import packet
from clearway.policy.evaluate import (
    GrantRule,
    ListRules,
    OverlayRule,
    Policy,
    base_rule,
    evaluate,
    overlay_rule,
)
from clearway.policy.model import Direction, DropReason, Entry, Fact, Lane, Prefix, Reason, Verdict
from clearway.policy.packet import Malformed
from clearway.policy.prefix_table import PrefixSet, PrefixTable

IN = Direction.INBOUND
NOW = datetime(2030, 1, 31, tzinfo=UTC)
BLOCK = Entry(Prefix.parse("192.0.2.0/24"), Reason.MALWARE, "someone", NOW, NOW + timedelta(days=1))
PLAIN = ethernet(ipv4(udp()))


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(ipv4(tcp(b"x" * 3000), 6, total=0)),
        ethernet(ipv6(tcp(b"x" * 3000), 6, length=0), IPV6),
        ethernet(ipv6(udp(b"x" * 3000, length=0), length=0), IPV6),
        pppoe(ipv4(tcp(b"x" * 3000), 6), length=1452),
        pppoe(ipv4(tcp(b"x" * 3000), 6), length=9000),
    ],
    ids=["IPv4", "IPv6", "UDP without a length", "PPPoE of a segment", "PPPoE of more"],
)
def test_a_super_packet_may_have_no_outer_length_and_a_plain_one_may_not(frame: bytes) -> None:
    facts = packet.read(frame, super_packet=True).facts
    assert facts == {Fact.SUPER_PACKET}
    with pytest.raises(Malformed):
        packet.read(frame)


def test_a_super_packet_whose_lengths_lie_is_malformed() -> None:
    for frame in (ethernet(ipv4(udp(), total=99)), pppoe(ipv4(udp()), length=1), ethernet(ipv4(udp(length=0)))):
        with pytest.raises(Malformed):
            packet.read(frame, super_packet=True)


def test_a_frame_of_less_than_an_ethernet_header_is_malformed() -> None:
    assert evaluate(Policy(), b"\x02" * 13, IN, 1).drop_reason == DropReason.MALFORMED_ETHERNET


def test_during_a_bypass_everything_crosses_and_nothing_is_looked_at() -> None:
    policy = Policy(overlay=[OverlayRule(BLOCK.target, 10, entry=BLOCK)], bypass_until_ns=5)  # type: ignore[arg-type]
    assert evaluate(policy, b"", IN, 4).facts == {Fact.BYPASSED}
    assert evaluate(policy, PLAIN, IN, 4).verdict == Verdict.FORWARD
    assert evaluate(policy, PLAIN, IN, 5).drop_reason == DropReason.BLOCKED_SOURCE


def test_the_outcome_says_why_in_one_line() -> None:
    prefix = Prefix.parse("192.0.2.0/24")
    listed = ListRules("evil", Reason.BOTNET_C2, PrefixSet([prefix]))
    grant = GrantRule(Prefix.parse("198.51.100.0/24"), 9, "A Business")
    for policy, why in (
        (Policy(), "forwarded"),
        (Policy(overlay=[OverlayRule(prefix, 9, entry=BLOCK)]), "blocked-source: 192.0.2.0/24 (malware, by someone)"),
        (Policy(overlay=[OverlayRule(prefix, 9)]), "blocked-source: 192.0.2.0/24"),
        (Policy(lists=[listed]), "listed-source: 192.0.2.0/24 in list evil (botnet-c2)"),
        (Policy(lists=[listed], grants=[grant]), "granted: 198.51.100.0/24 (A Business)"),
    ):
        assert evaluate(policy, PLAIN, IN, 1).why == why


def test_without_a_memory_of_fragments_each_later_one_is_without_its_first() -> None:
    outcome = evaluate(Policy(), ethernet(ipv4(b"x" * 8, offset=80)), IN, 1)
    assert outcome.facts == {Fact.FRAGMENT, Fact.FRAGMENT_WITHOUT_FIRST}


def test_ports_are_known_where_they_were_read() -> None:
    read = packet.read(ethernet(ipv4(udp(port=443))))
    assert (read.protocol, read.source_port, read.destination_port) == (17, 0xC000, 443)


def test_entries_in_files_answer_as_those_in_memory(tmp_path: Path) -> None:
    text = b"192.0.2.0/24\n192.0.2.1\n2001:db8::/32\n"
    stored = files.store(tmp_path, table.read(text).content.blocked)
    in_memory = PrefixSet(Prefix.parse(line) for line in text.decode().split())
    for asked in ("192.0.2.1", "192.0.2.2", "203.0.113.1", "2001:db8::1"):
        in_files, known = (
            base_rule(Policy(lists=[ListRules("x", Reason.MALWARE, entries)]), Prefix.parse(asked))
            for entries in (stored, in_memory)
        )
        assert (in_files and in_files[1]) == (known and known[1])


def test_of_two_lists_the_longer_prefix_decides_and_an_exception_at_the_same() -> None:
    def of(name: str, text: str, exception: bool = False) -> ListRules:
        return ListRules(name, Reason.MALWARE, PrefixSet([Prefix.parse(text)]), exception)

    asked = Prefix.parse("192.0.2.1")
    for lists, name in (
        ([of("a", "192.0.2.0/24"), of("b", "192.0.2.0/25")], "b"),
        ([of("a", "192.0.2.0/24", True), of("b", "192.0.2.0/24")], "a"),
        ([of("b", "192.0.2.0/24"), of("a", "192.0.2.0/24", True)], "a"),
        ([of("a", "192.0.2.1/32"), of("b", "192.0.2.0/24", True)], "a"),
    ):
        found = base_rule(Policy(lists=lists), asked)
        assert found is not None and found[0].name == name


def test_an_exception_beats_a_block_at_one_prefix_in_either_order() -> None:
    prefix = Prefix.parse("192.0.2.0/24")
    rules = [OverlayRule(prefix, 9), OverlayRule(prefix, 9, exception=True)]
    for overlay in (rules, rules[::-1]):
        found = overlay_rule(Policy(overlay=overlay), Prefix.parse("192.0.2.1"), 1)
        assert found is not None and found.exception


def test_a_table_answers_longest_first_and_lists_what_lies_within_in_order() -> None:
    texts = ["192.0.2.0/24", "192.0.2.128/25", "192.0.2.1", "0.0.0.0/0", "::/0"]
    table = PrefixTable((Prefix.parse(text), text) for text in [*texts, "192.0.2.1"])
    assert [v for _, v in table.covering(Prefix.parse("192.0.2.1"))] == [
        ["192.0.2.1"] * 2,
        ["192.0.2.0/24"],
        ["0.0.0.0/0"],
    ]
    assert [str(p) for p, _ in table.covering(Prefix.parse("192.0.2.0/24"))] == ["192.0.2.0/24", "0.0.0.0/0"]
    assert [str(p) for p, _ in table.within(Prefix.parse("192.0.0.0/16"))] == [
        "192.0.2.0/24",
        "192.0.2.1",
        "192.0.2.128/25",
    ]


def test_lanes_and_limits_are_those_of_the_kernel() -> None:
    assert LIMITS["VLAN_TAGS_MAX"] == 3 and LIMITS["MPLS_LABELS_MAX"] == 8 and LIMITS["EXTENSION_HEADERS_MAX"] == 8
    assert evaluate(Policy(), PLAIN, IN, 1).lane == Lane.INSPECTED
