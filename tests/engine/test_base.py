"""The base in the kernel: what is filled is what the programs answer, compare sees every falsified word, fill mends."""

import struct

import pytest
from bases import ask, base, parts
from loaded_gateway import ROOM, Gateway, load
from raw_maps import index, memory, update

from clearway import _engine as engine
from clearway.errors import BadSnapshotPart, CapacityExceeded

pytestmark = pytest.mark.kernel

LISTED = engine.DropReason.LISTED_SOURCE
PASSED = engine.DropReason.FORWARDED
FRONT_LINES, FRONT_WORDS = engine.LIMITS["V4_FRONT_LINES"], engine.LIMITS["V4_FRONT_WORDS"]
LINE_BYTES = 64
FRONT_BYTES = LINE_BYTES * FRONT_LINES  # a copy
SEEN = ("192.0.2.0/24", "198.51.100.64/26", "10.0.0.0/15", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:2::5/128")


def publish(gateway: Gateway, made: engine.Base) -> None:
    gateway.tables.fill(made)
    gateway.tables.flip()


@pytest.mark.parametrize("hook", ["tcx", "xdp"])
def test_programs_answer_what_was_filled(gateway: Gateway, hook: str) -> None:
    publish(gateway, base(*SEEN, exceptions=["2001:db8:3::/48"]))
    for source, expected in {
        "192.0.2.0": LISTED,
        "192.0.2.255": LISTED,
        "192.0.3.0": PASSED,
        "198.51.100.63": PASSED,
        "198.51.100.64": LISTED,
        "198.51.100.127": LISTED,
        "198.51.100.128": PASSED,
        "10.1.255.255": LISTED,
        "10.2.0.0": PASSED,
        "2001:db8::1": LISTED,
        "2001:db8:1::9": LISTED,
        "2001:db8:3::9": PASSED,
        "2001:db9::1": PASSED,
    }.items():
        assert ask(gateway.loader, source, hook=hook) == expected, source


def test_a_prefix_shorter_than_16_is_found_under_every_16_of_it(gateway: Gateway) -> None:
    publish(gateway, base("2000::/3"))
    assert [ask(gateway.loader, source) for source in ("2000::1", "3fff::1", "4000::1")] == [LISTED, LISTED, PASSED]


def test_each_flip_publishes_the_copy_that_was_filled_last(gateway: Gateway) -> None:
    for turn in range(6):
        epoch = gateway.tables.epoch
        gateway.tables.fill(base("192.0.2.0/24") if turn % 2 else base("198.51.100.0/25"))
        assert gateway.tables.epoch == epoch
        assert gateway.tables.flip() == gateway.tables.epoch == epoch + 1
        assert ask(gateway.loader, "192.0.2.1") == (LISTED if turn % 2 else PASSED)
        assert ask(gateway.loader, "198.51.100.1") == (PASSED if turn % 2 else LISTED)


def test_an_empty_base_empties_the_copy(gateway: Gateway) -> None:
    for made in (base(*SEEN), base(), base()):
        publish(gateway, made)
        found = gateway.tables.compare_base(made)
        assert (found.missing, found.foreign, found.wrong) == (0, 0, 0)
    assert {ask(gateway.loader, source) for source in ("192.0.2.1", "10.0.0.1", "2001:db8::1")} == {PASSED}


def test_what_does_not_fit_is_refused_and_nothing_is_written(gateway: Gateway) -> None:
    first = base("192.0.2.0/24")
    publish(gateway, first)
    gateway.tables.fill(first)
    crowded = base(*(f"10.{n >> 8}.{n & 255}.1/32" for n in range(ROOM.bitmaps + 1)))
    assert crowded.needs().bitmaps == ROOM.bitmaps + 1
    with pytest.raises(CapacityExceeded, match="1025 bitmaps of /24s do not fit: there is room for 1024"):
        gateway.tables.fill(crowded)
    gateway.tables.flip()
    assert gateway.tables.compare_base(first).missing == 0


def test_a_capacity_that_no_map_can_have_is_refused() -> None:
    for wrong in ((0, 1, 1), (1, 3, 1), (1, 1, 1 << 27)):
        with pytest.raises(ValueError, match=r"capacity|power of two"):
            engine.Capacity(*wrong)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("v4_cell_numbers", struct.pack("<3I", 5, 4, 3)),
        ("v4_cells", struct.pack("<I", 1)),
        ("v4_cells", struct.pack("<3I", 1, 2, 999)),
        ("v4_bitmaps", bytes(31)),
        ("v6_buckets", struct.pack("<6I", 0, 1, 1, 1, 0, 0)),
        ("v6_buckets", struct.pack("<4I", 0, 3, 1, 0)),
        ("v6_slots", bytes(24) * 3),
        ("v6_lengths", bytes([32, 48])),
    ],
)
def test_a_part_with_a_wrong_shape_is_refused_by_name(part: str, value: bytes) -> None:
    good = parts(["192.0.2.0/24", "192.0.3.0/24", "192.0.4.1/32", "2001:db8::/32", "2001:db8:1::/48"])
    engine.Base(**good)
    with pytest.raises(BadSnapshotPart, match=r"^v[46]_\w+: "):
        engine.Base(**{**good, part: value})


def test_compare_counts_what_is_missing_foreign_and_wrong_and_a_fill_mends(gateway: Gateway) -> None:
    wanted = base("192.0.2.0/24", "198.51.100.0/24", "203.0.113.7/32", "2001:db8::/32")
    publish(gateway, wanted)
    copy = gateway.tables.epoch & 1
    fds = gateway.loader.map_fds()
    with memory(fds["base_front"], 2 * FRONT_BYTES) as front:

        def falsify(address: tuple[int, int, int], rank: int) -> None:
            number = address[0] << 16 | address[1] << 8 | address[2]
            line, word = divmod(number // 64, FRONT_WORDS)
            line = copy * FRONT_BYTES + line * LINE_BYTES
            (present,) = struct.unpack_from("=Q", front, line + 8 * word)
            struct.pack_into("=Q", front, line + 8 * word, present ^ 1 << number % 64)
            struct.pack_into("=I", front, line + 8 * FRONT_WORDS, rank)

        falsify((192, 0, 2), 0)  # the first of three
        falsify((198, 51, 100), 77)
        falsify((8, 8, 8), 0)
    update(fds["base_bitmaps"], index(copy * ROOM.bitmaps), bytes(32))
    found = gateway.tables.compare_base(wanted)
    assert (found.missing, found.foreign, found.wrong) == (2, 1, 2)  # wrong: a rank and a bitmap
    assert any(example.startswith("bitmap of 192.0.2.0/24") for example in found.examples), found.examples
    assert ask(gateway.loader, "192.0.2.1") == PASSED
    for _ in range(2):
        publish(gateway, wanted)
        found = gateway.tables.compare_base(wanted)
        assert (found.missing, found.foreign, found.wrong) == (0, 0, 0)
    assert ask(gateway.loader, "192.0.2.1") == LISTED


@pytest.mark.parametrize(
    ("name", "words"), [("base_front", FRONT_BYTES // 4), ("base_v6_filter", 2 * ((1 << 10) + (1 << 17)))]
)
def test_compare_sees_a_filter_that_lost_its_bits(gateway: Gateway, name: str, words: int) -> None:
    wanted = base("192.0.2.0/24", "2001:db8::/32", "2001:db8:1::/48")
    publish(gateway, wanted)
    with memory(gateway.loader.map_fds()[name], words * 8) as held:
        held[:] = bytes(len(held))
    assert gateway.tables.compare_base(wanted).missing == (1 if name == "base_front" else 2)


def test_tables_that_are_not_what_they_should_be_are_refused(gateway: Gateway) -> None:
    fds = gateway.loader.map_fds()
    with pytest.raises(ValueError, match="base_front is not what it should be"):
        engine.Tables({**fds, "base_front": fds["base_bitmaps"]}, ROOM)
    with pytest.raises(ValueError, match="not among the descriptors"):
        engine.Tables({name: fd for name, fd in fds.items() if name != "green"}, ROOM)
    with pytest.raises(ValueError, match="base_bitmaps is not what it should be"):
        engine.Tables(fds, engine.Capacity(ROOM.bitmaps * 2, ROOM.v6_buckets, ROOM.v6_slots))


def test_tables_need_their_loader_no_longer() -> None:
    loader = engine.Loader(None)
    tables = load(loader).tables
    del loader
    tables.fill(base("192.0.2.0/24"))
    assert tables.flip() == 1
    assert sum(tables.memory_bytes().values()) > 8 << 20
