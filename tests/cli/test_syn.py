"""The frame that `explain --live` asks about is one that a host could have sent."""

import struct

import pytest

from clearway.cli.syn import checksum, syn
from clearway.policy.model import Prefix


@pytest.mark.parametrize("addresses", [("10.0.0.1", "192.0.2.7"), ("fd00::1", "2001:db8::7")])
def test_lengths_and_checksums_are_right(addresses: tuple[str, str]) -> None:
    source, destination = map(Prefix.parse, addresses)
    frame = syn(source, destination)
    packet, size = frame[14:], 4 if source.version == 4 else 16
    if source.version == 4:
        header, segment = packet[:20], packet[20:]
        assert frame[12:14] == b"\x08\x00"
        assert struct.unpack("!H", header[2:4])[0] == len(packet)
        assert checksum(header) == 0
    else:
        header, segment = packet[:40], packet[40:]
        assert frame[12:14] == b"\x86\xdd"
        assert struct.unpack("!H", header[4:6])[0] == len(segment)
    pseudo = header[-2 * size :] + struct.pack("!II", len(segment), 6)
    assert checksum(pseudo + segment) == 0


def test_the_reference_reads_it_as_what_it_is() -> None:
    from clearway.policy.evaluate import Policy, evaluate
    from clearway.policy.model import Direction, Verdict

    frame = syn(Prefix.parse("10.0.0.1"), Prefix.parse("192.0.2.7"))
    outcome = evaluate(Policy(), frame, Direction.OUTBOUND, 1)
    assert (outcome.verdict, outcome.facts) == (Verdict.FORWARD, frozenset())
    assert outcome.packet.destination == (4, Prefix.parse("192.0.2.7").address)
