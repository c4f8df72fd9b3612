"""Overlay and grants: an entry acts from put to remove or its end, and touch bits stand exactly as long as needed."""

import random
import struct

import pytest
from bases import ask, base, frame, mapped
from loaded_gateway import Gateway
from raw_maps import delete, memory, update

from clearway import _engine as engine
from clearway.errors import CapacityExceeded

pytestmark = pytest.mark.kernel

BLOCKED = engine.DropReason.BLOCKED_SOURCE
PASSED = engine.DropReason.FORWARDED
EVER = (1 << 64) - 1
WIDE_BYTES = 8 << 10  # a bit a /16 in front of a bit a /24
TOUCH_V4_BYTES, TOUCH_V6_BYTES = WIDE_BYTES + (2 << 20), 8 * ((1 << 10) + (1 << 14))


def bits_set(gateway: Gateway) -> tuple[int, int]:
    fds = gateway.loader.map_fds()
    counts = []
    for name, length in (("touch_v4", TOUCH_V4_BYTES), ("touch_v6", TOUCH_V6_BYTES)):
        with memory(fds[name], length) as held:
            fine = held[WIDE_BYTES if name == "touch_v4" else 0 :]
            counts.append(int.from_bytes(fine, "little").bit_count())
            if name == "touch_v4":
                wide = int.from_bytes(held[:WIDE_BYTES], "little")
                assert wide.bit_count() == sum(any(fine[at : at + 32]) for at in range(0, len(fine), 32))
    return counts[0], counts[1]


def agree(gateway: Gateway) -> None:
    found = gateway.tables.compare_overlay()
    assert (found.missing, found.foreign, found.wrong) == (0, 0, 0), found.examples


@pytest.mark.parametrize(
    ("prefix", "inside", "outside", "bits"),
    [
        ("192.0.2.7/32", "192.0.2.7", "192.0.2.8", (1, 0)),
        ("192.0.2.128/25", "192.0.2.200", "192.0.2.1", (1, 0)),
        ("10.0.0.0/14", "10.3.255.255", "10.4.0.0", (1 << 10, 0)),
        ("0.0.0.0/0", "8.8.8.8", "2001:db8::1", (1 << 24, 0)),
        ("2001:db8::9/128", "2001:db8::9", "2001:db8::8", (0, 1)),
        ("2001:db8:5::/48", "2001:db8:5::1", "2001:db8:6::1", (0, 1)),
        ("2001:db8::/32", "2001:db8:5::1", "2001:db9::1", (0, 1)),
        ("2000::/3", "3fff::1", "4000::1", (0, 1 << 13)),
        ("::/0", "2001:db8::1", "192.0.2.1", (0, 1 << 16)),
    ],
)
@pytest.mark.parametrize("hook", ["tcx", "xdp"])
def test_an_entry_acts_on_its_prefix_alone(
    gateway: Gateway, hook: str, prefix: str, inside: str, outside: str, bits: tuple[int, int]
) -> None:
    gateway.tables.put_overlay(*mapped(prefix), EVER, 0)
    assert bits_set(gateway) == bits
    assert ask(gateway.loader, inside, hook=hook) == BLOCKED
    assert ask(gateway.loader, outside, hook=hook) == PASSED
    gateway.tables.remove_overlay(*mapped(prefix))
    assert bits_set(gateway) == (0, 0)
    assert ask(gateway.loader, inside, hook=hook) == PASSED
    agree(gateway)


def test_an_ipv6_prefix_around_the_mapped_range_says_nothing_of_ipv4(gateway: Gateway) -> None:
    gateway.tables.put_overlay(*mapped("::/0"), EVER, 0)
    gateway.tables.put_overlay(*mapped("192.0.2.0/24"), 0, 1)  # makes the programs look
    assert ask(gateway.loader, "192.0.2.1") == PASSED


def test_an_entry_ends_by_the_boot_clock_alone(gateway: Gateway) -> None:
    now = engine.boot_clock_ns()
    gateway.tables.put_overlay(*mapped("192.0.2.7/32"), now, 0)
    gateway.tables.put_overlay(*mapped("192.0.2.8/32"), now + 10**12, 0)
    assert [ask(gateway.loader, f"192.0.2.{n}") for n in (7, 8)] == [PASSED, BLOCKED]


def test_a_live_exception_beats_list_and_block(gateway: Gateway) -> None:
    gateway.tables.fill(base("192.0.2.0/24"))
    gateway.tables.flip()
    gateway.tables.put_overlay(*mapped("192.0.2.7/32"), EVER, EVER)
    assert ask(gateway.loader, "192.0.2.7") == PASSED
    gateway.tables.put_overlay(*mapped("192.0.2.7/32"), EVER, 1)
    assert ask(gateway.loader, "192.0.2.7") == BLOCKED


def test_a_grant_is_asked_for_the_inside_address(gateway: Gateway) -> None:
    gateway.tables.fill(base("198.51.100.0/24"))
    gateway.tables.flip()
    gateway.tables.put_green(*mapped("192.0.2.0/28"), EVER)
    granted = gateway.loader.probe("tcx", engine.Direction.OUTBOUND, frame("192.0.2.5", "198.51.100.1"))
    assert (granted.lane, granted.drop_reason) == (engine.Lane.GREEN, PASSED)
    assert ask(gateway.loader, "198.51.100.1", "192.0.2.5") == PASSED
    assert ask(gateway.loader, "198.51.100.1", "192.0.2.16") == engine.DropReason.LISTED_SOURCE
    gateway.tables.remove_green(*mapped("192.0.2.0/28"))
    assert ask(gateway.loader, "198.51.100.1", "192.0.2.5") == engine.DropReason.LISTED_SOURCE
    agree(gateway)


def test_what_is_no_entry_is_refused(gateway: Gateway) -> None:
    for address, length, until in ((bytes(4), 32, EVER), (bytes(16), 129, EVER), (b"\1" * 16, 64, EVER)):
        with pytest.raises(ValueError, match=r"16 bytes|0 to 128|are not 0"):
            gateway.tables.put_overlay(address, length, until, 0)
    with pytest.raises(ValueError, match="remove it"):
        gateway.tables.put_overlay(*mapped("192.0.2.1/32"), 0, 0)
    gateway.tables.remove_overlay(*mapped("192.0.2.1/32"))
    assert bits_set(gateway) == (0, 0)


def test_touch_bits_stand_as_long_as_any_entry_needs_them(gateway: Gateway) -> None:
    """Random puts and removals over few /24s; after each step the kernel is compared whole."""
    rng = random.Random(5)
    universe = [f"10.0.{n}.{m}/32" for n in range(3) for m in (1, 2)] + [
        "10.0.0.0/24", "10.0.0.0/22", "10.0.0.0/8", "2001:db8::/32", "2001:db8::1/128", "2001:db8::2/128", "2000::/15",
    ]  # fmt: skip
    held: set[tuple[str, str]] = set()
    for _ in range(150):
        prefix, kind = rng.choice(universe), rng.choice(["overlay", "green"])
        if (prefix, kind) in held:
            held.discard((prefix, kind))
            remove = gateway.tables.remove_overlay if kind == "overlay" else gateway.tables.remove_green
            remove(*mapped(prefix))
        else:
            held.add((prefix, kind))
            if kind == "overlay":
                gateway.tables.put_overlay(*mapped(prefix), EVER, 0)
            else:
                gateway.tables.put_green(*mapped(prefix), EVER)
        agree(gateway)
    assert gateway.tables.compare_overlay().wanted == len(held)


def test_reconcile_makes_it_exactly_so_and_is_refused_whole(gateway: Gateway) -> None:
    gateway.tables.put_overlay(*mapped("192.0.2.1/32"), EVER, 0)
    gateway.tables.put_overlay(*mapped("192.0.2.2/32"), EVER, 0)
    gateway.tables.put_green(*mapped("10.0.0.0/8"), EVER)
    overlay = [(*mapped("192.0.2.2/32"), 5, EVER), (*mapped("198.51.100.0/25"), EVER, 0)]
    gateway.tables.reconcile(overlay, [(*mapped("10.1.0.0/16"), EVER)])
    assert ask(gateway.loader, "192.0.2.1") == PASSED
    assert ask(gateway.loader, "198.51.100.1") == BLOCKED
    assert gateway.tables.compare_overlay().wanted == 3
    assert bits_set(gateway) == (2 + 256, 0)
    agree(gateway)
    crowd = [(bytes(12) + struct.pack("!I", n), 128, EVER, 0) for n in range(engine.LIMITS["OVERLAY_ENTRIES_MAX"] + 1)]
    with pytest.raises(CapacityExceeded, match="100001 overlay entries do not fit: there is room for 100000"):
        gateway.tables.reconcile(crowd, [])
    agree(gateway)
    assert gateway.tables.compare_overlay().wanted == 3


def test_a_full_overlay_is_whole_and_can_be_replaced_whole(gateway: Gateway) -> None:
    room = engine.LIMITS["OVERLAY_ENTRIES_MAX"]
    for first in (1 << 40, 2 << 40):
        crowd = [(struct.pack("!QQ", 0x2001 << 48 | first, n), 128, EVER, 0) for n in range(room)]
        gateway.tables.reconcile(crowd, [])
        agree(gateway)
        assert gateway.tables.compare_overlay().wanted == room
    with pytest.raises(CapacityExceeded, match="overlay entries"):
        gateway.tables.put_overlay(*mapped("192.0.2.1/32"), EVER, 0)
    agree(gateway)


def test_a_falsified_map_is_noticed_and_mended(gateway: Gateway) -> None:
    gateway.tables.put_overlay(*mapped("192.0.2.7/32"), EVER, 0)
    gateway.tables.put_overlay(*mapped("198.51.100.0/25"), EVER, 0)
    gateway.tables.put_green(*mapped("10.0.0.0/8"), EVER)
    fds = gateway.loader.map_fds()
    delete(fds["overlay_hosts"], mapped("192.0.2.7/32")[0])
    wrong_key = struct.pack("=I", 96 + 25) + mapped("198.51.100.0/25")[0]
    update(fds["overlay_prefixes"], wrong_key, struct.pack("=QQII", 1, 0, 96 + 25, 0))
    foreign_key = struct.pack("=I", 96 + 8) + mapped("11.0.0.0/8")[0]
    update(fds["green"], foreign_key, struct.pack("=QII", EVER, 96 + 8, 0))
    with memory(fds["touch_v4"], TOUCH_V4_BYTES) as held:
        held[WIDE_BYTES + 0xC00002 // 8] ^= 1 << (0xC00002 % 8)
        held[WIDE_BYTES + 0x080808 // 8] ^= 1 << (0x080808 % 8)
    found = gateway.tables.compare_overlay()
    assert (found.missing, found.foreign, found.wrong) == (2, 2, 1)
    assert "192.0.2.7/32 in overlay: missing" in found.examples
    assert "11.0.0.0/8 in green: foreign" in found.examples
    gateway.tables.mend_overlay()
    agree(gateway)
    assert [ask(gateway.loader, source) for source in ("192.0.2.7", "198.51.100.1")] == [BLOCKED, BLOCKED]


def test_other_tables_on_the_same_maps_remember_what_they_find(gateway: Gateway) -> None:
    gateway.tables.put_overlay(*mapped("192.0.2.7/32"), EVER, 0)
    gateway.tables.put_green(*mapped("192.0.2.0/24"), EVER)
    other = engine.Tables(gateway.loader.map_fds(), gateway.loader.capacity())
    assert other.compare_overlay().wanted == 2
    other.remove_green(*mapped("192.0.2.0/24"))
    assert bits_set(gateway) == (1, 0)


GREEN = engine.Lane.GREEN
LINE_BYTES, LINES = 64, 1 << 14


def lane(gateway: Gateway, source: str) -> engine.Lane:
    return gateway.loader.probe("tcx", engine.Direction.OUTBOUND, frame(source, "203.0.113.250")).lane


def test_a_grant_stands_in_the_line_of_each_of_its_24s_and_leaves_with_it(gateway: Gateway) -> None:
    with memory(gateway.loader.map_fds()["green_lines"], LINES * LINE_BYTES) as lines:
        gateway.tables.put_green(*mapped("10.1.2.128/25"), EVER)
        gateway.tables.put_green(*mapped("10.1.4.0/23"), EVER)
        assert sum(lines[at : at + LINE_BYTES] != bytes(LINE_BYTES) for at in range(0, len(lines), LINE_BYTES)) == 3
        agree(gateway)
        gateway.tables.remove_green(*mapped("10.1.2.128/25"))
        gateway.tables.remove_green(*mapped("10.1.4.0/23"))
        assert lines[:] == bytes(len(lines))


def test_a_line_alone_is_enough_and_the_trie_answers_where_two_24s_share_a_place(gateway: Gateway) -> None:
    gateway.tables.put_green(*mapped("10.1.2.0/24"), EVER)
    gateway.tables.put_green(*mapped("10.65.2.0/24"), EVER)  # 64 << 8 /24s further: the same place
    delete(gateway.loader.map_fds()["green"], struct.pack("=I", 96 + 24) + mapped("10.1.2.0/24")[0])
    assert (lane(gateway, "10.1.2.3"), lane(gateway, "10.65.2.3")) == (GREEN, GREEN)
    assert lane(gateway, "10.1.3.3") != GREEN


def test_a_falsified_line_is_noticed_and_mended(gateway: Gateway) -> None:
    gateway.tables.put_green(*mapped("10.1.2.0/25"), EVER)
    with memory(gateway.loader.map_fds()["green_lines"], LINES * LINE_BYTES) as lines:
        at = (0x0A0102 & (LINES - 1)) * LINE_BYTES
        struct.pack_into("=4Q", lines, at + 8, *[EVER] * 4)
    assert lane(gateway, "10.1.2.200") != engine.Lane.INSPECTED
    assert gateway.tables.compare_overlay().wrong == 1
    gateway.tables.mend_overlay()
    agree(gateway)
    assert lane(gateway, "10.1.2.200") == engine.Lane.INSPECTED


def test_a_line_ends_with_the_first_of_its_grants_and_the_trie_with_the_last(gateway: Gateway) -> None:
    past = engine.boot_clock_ns() - 1
    gateway.tables.put_green(*mapped("10.1.2.0/24"), EVER)
    gateway.tables.put_green(*mapped("10.1.2.0/25"), past)
    assert (lane(gateway, "10.1.2.3"), lane(gateway, "10.1.2.200")) == (GREEN, GREEN)
    gateway.tables.remove_green(*mapped("10.1.2.0/24"))
    assert lane(gateway, "10.1.2.3") == engine.Lane.INSPECTED
