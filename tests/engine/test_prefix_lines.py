"""Lines of a list to prefixes, as Python sees it. What a line may hold is tested beside the reader, in Rust."""

import struct
import threading

import pytest

from clearway import _engine as engine


def v4(address: str, length: int) -> int:
    return int.from_bytes(bytes(int(part) for part in address.split(".")), "big") << 8 | length


def test_answers_sorted_distinct_prefixes_and_counts_every_line() -> None:
    data = b"198.51.100.1\n# comment\n\nnonsense here\n192.0.2.0/24 note\n198.51.100.1/32\n2001:db8::1-2001:db8::2\n"
    found = engine.parse_prefixes(data, "")
    assert struct.unpack("<2Q", found.v4) == (v4("192.0.2.0", 24), v4("198.51.100.1", 32))
    high = 0x20010DB8 << 32
    assert struct.unpack("<6Q", found.v6) == (high, 1, 128, high, 2, 128)
    assert (found.entries, found.blank, found.malformed) == (4, 2, 1)
    assert found.rejected == [(4, "nonsense here")]


def test_a_separator_ends_the_first_column() -> None:
    assert engine.parse_prefixes(b"192.0.2.0/24 ; SBL1", ";").entries == 1
    assert engine.parse_prefixes(b"192.0.2.1,malware", ",").entries == 1
    assert engine.parse_prefixes(b"192.0.2.1,malware", "").malformed == 1
    with pytest.raises(ValueError, match="ASCII"):
        engine.parse_prefixes(b"", "…")


def test_keeps_the_first_100_rejected_lines_short() -> None:
    found = engine.parse_prefixes(b"x" * 1000 + b"\n" + b"y\n" * 200, "")
    assert found.malformed == 201
    assert len(found.rejected) == 100
    assert found.rejected[0] == (1, "x" * 200)


def test_takes_any_contiguous_buffer() -> None:
    for data in (bytearray(b"192.0.2.1"), memoryview(b"192.0.2.1")):
        assert engine.parse_prefixes(data, "").entries == 1
    with pytest.raises((ValueError, BufferError)):
        engine.parse_prefixes(memoryview(b"1x9x2.0.2.1")[::2], "")


TRIES = 50


def test_other_threads_run_meanwhile() -> None:
    data = b"\n".join(b"%d.%d.%d.%d" % (n & 255, n >> 8 & 255, n >> 16 & 255, 1) for n in range(300_000)) * 4
    turns, ended = [0], threading.Event()

    def turn() -> None:
        while not ended.is_set():
            turns[0] += 1

    thread = threading.Thread(target=turn)
    thread.start()
    for _ in range(TRIES):
        before = turns[0]
        engine.parse_prefixes(data, "")
        ran = turns[0] - before
        if ran > 1000:  # else a busy machine: it had no core meanwhile
            break
    ended.set()
    thread.join()
    assert ran > 1000
