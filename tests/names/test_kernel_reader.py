"""The kernel's reader of names says what the inspector says, or "not here": on generated packets and on captures."""

from __future__ import annotations

import capture_files
import pytest
from hold_step import NO_ADDRESSES, packet

from clearway import _engine as engine

pytestmark = pytest.mark.kernel

GENERATED = 100_000
"""A million, and other seeds: `clearway bench reader`."""
ETHERNET = 1
FRAME_BYTES_MAX = 3400
"""What BPF_PROG_TEST_RUN takes."""
LISTED = b"listed.example\n"


@pytest.fixture(scope="module")
def loader() -> engine.Loader:
    made = engine.Loader(None)
    made.load(engine.Settings(inside_ifindex=1, outside_ifindex=1), engine.Capacity(1, 2, 1, 1 << 10), xdp=False)
    tables = engine.Tables(made.map_fds(), made.capacity())
    built, words = engine.NameSet.build([(0, engine.NameScope.SUBTREE, False, LISTED)], 0x1234567890ABCDEF, 0xFEDCBA98)
    tables.fill(NO_ADDRESSES, engine.NameFilter(engine.NameSet(built), words))
    tables.flip()
    tables.set_names_active(True)
    return made


def test_generated_packets_are_read_alike_or_not_at_all(loader: engine.Loader) -> None:
    answers, examples = loader.check_generated_names(18, GENERATED)
    assert answers["different"] == 0, "\n".join(examples)
    assert answers["clean"] > GENERATED / 6 and answers["none"] > GENERATED / 50
    assert answers["not-here"] > GENERATED / 5


def test_captures_are_read_alike_or_not_at_all(loader: engine.Loader) -> None:
    files = capture_files.shared_files()
    if not files:
        pytest.skip("the shared captures are not here")
    total: dict[str, int] = {}
    for name in files:
        frames = [frame.data for frame in capture_files.read(capture_files.SHARED / name) if frame.link == ETHERNET]
        answers, examples = loader.check_names([frame for frame in frames if 60 <= len(frame) <= FRAME_BYTES_MAX])
        assert answers["different"] == 0, f"{name}: " + "\n".join(examples)
        for answer, count in answers.items():
            total[answer] = total.get(answer, 0) + count
    assert total["clean"] > 250


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "clean"),
        (b"GET / HTTP/1.1\r\nHost: a.LISTED.example:8080\r\n\r\n", "listed"),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", "not-here"),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.1\r\nHost: b.example\r\n\r\n", "not-here"),
        (b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "not-here"),
        (b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "not-here"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "not-here"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not-here"),
        (b"GET / HTTP/1.1\r\nHost: a.exa", "not-here"),
        (b"GET / HTTP/1.0\r\n\r\n", "none"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "none"),
        (b"\x16", "not-here"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "not-here"),
    ],
)
def test_what_is_read_of_a_beginning(loader: engine.Loader, payload: bytes, answer: str) -> None:
    header = bytes.fromhex("9c4001bb000003e8000000005002ffff00000000")
    ((said, *_),) = loader.read_names(engine.Direction.OUTBOUND, [packet(header + payload, 6)])
    assert said == answer
