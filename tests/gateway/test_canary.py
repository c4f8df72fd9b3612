"""Canary frames are whole packets, and are made of what is certainly listed or certainly not."""

import random
import struct

import numpy as np
import pytest

from clearway.gateway import canary, canary_choice
from clearway.policy.arrays import v4_array, v6_array
from clearway.policy.compile import ListEntries, compile_base
from clearway.policy.model import Prefix, Reason

V4_SOURCE, V4_DESTINATION = (Prefix.parse(text).mapped()[0] for text in ("198.51.100.1", "203.0.113.1"))
V6_SOURCE, V6_DESTINATION = (Prefix.parse(text).mapped()[0] for text in ("2001:db8::1", "2001:db8::2"))


def test_an_ipv4_canary_has_every_length_and_its_checksum_right() -> None:
    frame = canary.frame(V4_SOURCE, V4_DESTINATION)
    header = frame[14:34]
    assert frame[12:14] == b"\x08\x00" and header[0] == 0x45
    assert struct.unpack(">H", header[2:4])[0] == len(frame) - 14
    total = sum(struct.unpack(">10H", header))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert struct.unpack(">H", frame[38:40])[0] == len(frame) - 34
    assert header[12:] == V4_SOURCE[12:] + V4_DESTINATION[12:]


def test_an_ipv6_canary_has_its_lengths_right() -> None:
    frame = canary.frame(V6_SOURCE, V6_DESTINATION)
    assert frame[12:14] == b"\x86\xdd" and frame[14] >> 4 == 6
    assert struct.unpack(">H", frame[18:20])[0] == len(frame) - 54
    assert frame[22:54] == V6_SOURCE + V6_DESTINATION


@pytest.mark.parametrize("version", [4, 6])
def test_a_chosen_address_is_always_listed(version: int) -> None:
    chance = random.Random(3)
    v4 = [(0xCB007100, 24), (0xC6336401, 32), (0xC6336480, 25)]
    v6 = [(0x20010DB8 << 96, 32), ((0x20010DB8 << 96) + 5, 128)]
    lists = [
        ListEntries("block", Reason.SCANNER, v4_array(v4), v6_array(v6)),
        ListEntries("spare", Reason.SCANNER, v4_array([(0xC6336481, 32)]), v6_array([]), exception=True),
    ]
    compiled = compile_base(lists)
    wanted = [Prefix(4, address, length) for address, length in v4] if version == 4 else [Prefix(6, v6[1][0], 128)]
    for _ in range(200):
        address = canary_choice.listed_address(compiled, version, chance)
        if address is None:
            continue
        host = Prefix.from_mapped(address)
        assert any(prefix.covers(host) for prefix in wanted)
        assert str(host) != "198.51.100.129", "an exception is not listed"


def test_nothing_listed_gives_no_address() -> None:
    empty = compile_base([ListEntries("none", Reason.SCANNER, v4_array([]), v6_array([]))])
    assert canary_choice.listed_address(empty, 4, random.Random(1)) is None
    assert canary_choice.listed_address(empty, 6, random.Random(1)) is None
    assert np.array_equal(empty.v4_cells, np.array([], dtype=np.uint32))


def test_an_unlisted_address_is_one_that_nobody_speaks_of() -> None:
    chance = random.Random(1)
    assert canary.unlisted(4, lambda _: False, chance) is None
    found = canary.unlisted(6, lambda address: address[1] > 100, chance)
    assert found is not None and found[1] > 100
