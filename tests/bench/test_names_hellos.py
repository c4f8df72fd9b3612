"""What is sent for measuring is what it says: the project's own reader of captures finds each name in it."""

from pathlib import Path
from random import Random

import pytest

from clearway import _engine as engine
from clearway.bench import names_hellos as first_bytes
from clearway.bench import names_lists
from clearway.bench.names_hellos import HELLO_BYTES, LARGE_HELLO_BYTES


def names_in(folder: Path, frames: list[bytes]) -> list[str | None]:
    path = folder / "frames.pcap"
    path.write_bytes(first_bytes.capture(frames))
    inspection = engine.Inspection(path)
    found: list[str | None] = []
    while (more := inspection.findings()) is not None:
        found += [each.name for each in more]
    assert inspection.trouble is None
    return found


@pytest.mark.parametrize("size", [HELLO_BYTES, LARGE_HELLO_BYTES])
@pytest.mark.parametrize("name_last", [False, True])
def test_a_hello_has_its_size_and_names_its_server(tmp_path: Path, size: int, name_last: bool) -> None:
    names = names_lists.some(0, 20)
    random = Random(1)
    hellos = [first_bytes.hello(name, size, random, name_last=name_last) for name in names]
    assert {len(hello) for hello in hellos} == {size}
    frames = [first_bytes.tcp_frame(hello, 2000 + number) for number, hello in enumerate(hellos)]
    assert names_in(tmp_path, frames) == [name.decode() for name in names]


def test_a_query_and_an_initial_name_theirs(tmp_path: Path) -> None:
    names = names_lists.some(0, 20)
    queries = [first_bytes.udp_frame(query, 2000, 53) for query in first_bytes.queries(names)]
    initials = [
        first_bytes.udp_frame(datagram, 3000 + number, 443)
        for number, datagram in enumerate(first_bytes.initials(names))
    ]
    assert {len(initial) for initial in first_bytes.initials(names)} == {1200}
    assert names_in(tmp_path, queries + initials) == 2 * [name.decode() for name in names]


def test_a_name_that_does_not_fit_its_hello_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        first_bytes.hello(b"a" * 250, HELLO_BYTES, Random(1))


def test_a_checksum_makes_the_sum_of_all_words_none() -> None:
    data = bytes(range(1, 32))
    total = first_bytes.checksum(data).to_bytes(2, "big")
    assert first_bytes.checksum(data + b"\x00" + total) == 0
