"""`clearway inspect`: a line a name or a flow without one, every form of capture, and what is said of a bad file.

The captures are made here, so these tests need nothing beside the checkout.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest
from capture_files import Frame, block, enhanced, interface, lines, section, write_pcap
from patience import HUNG_S

from clearway._engine import ABSENCES, Inspection

REQUEST = b"GET / HTTP/1.1\r\nHost: WWW.Example.com:8080\r\n\r\n"


def ipv4(protocol: int, body: bytes, source: int = 1, destination: int = 2) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
    return header + bytes([192, 0, 2, source, 198, 51, 100, destination]) + body


def tcp(payload: bytes, *, sequence: int = 1, flags: int = 0x18, sport: int = 40000, dport: int = 80) -> bytes:
    return ipv4(6, struct.pack("!HHIIBBHHH", sport, dport, sequence, 0, 0x50, flags, 65535, 0, 0) + payload)


def query(name: str, *, sport: int = 40000) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    message = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\x01\0\x01"
    return ipv4(17, struct.pack("!HHHH", sport, 53, 8 + len(message), 0) + message)


def raw(*packets: bytes) -> list[Frame]:
    return [Frame(101, 1_700_000_000_000_000_000 + number, packet) for number, packet in enumerate(packets)]


def inspect(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clearway.cli.app", "inspect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    syn = tcp(b"", sequence=0, flags=2)
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    return write_pcap(tmp_path / "a.pcap", raw(syn, tcp(REQUEST), tcp(answer, sport=80, dport=41000)))


def test_a_line_has_protocol_ends_name_and_frame(capture: Path) -> None:
    done = inspect(capture, "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    expected = {"proto": "http", "src": "192.0.2.1", "sport": 40000, "dst": "198.51.100.2", "dport": 80}
    assert told[0] == {**expected, "name": "www.example.com", "frame": 2}
    assert done.returncode == 0
    assert done.stderr == ""


def test_in_a_pipe_a_line_is_fields_between_tabs(capture: Path) -> None:
    first = inspect(capture).stdout.splitlines()[0]
    assert first == "2\thttp\t192.0.2.1\t40000\t198.51.100.2\t80\twww.example.com"


def test_a_flow_without_a_name_says_why_and_has_no_name(tmp_path: Path) -> None:
    ssh = tcp(b"SSH-2.0-x\r\n", dport=22)
    opened = tcp(b"", sequence=0, flags=2, dport=22)
    scan = tcp(b"", sequence=0, flags=2, dport=23)
    literal = tcp(b"GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n", dport=81)
    half = tcp(REQUEST[:20], sequence=1, dport=82)
    path = write_pcap(tmp_path / "a.pcap", raw(opened, ssh, scan, literal, half))
    told = {line["dport"]: line for line in lines(path)}
    assert {port: line["none"] for port, line in told.items()} == {
        22: "other-protocol",
        23: "empty",
        81: "literal",
        82: "incomplete",
    }
    assert not any("name" in line for line in told.values())
    assert {line["none"] for line in told.values()} <= set(ABSENCES)
    assert told[81]["odd"] == "192.0.2.7"


def test_a_name_is_told_once_a_flow(tmp_path: Path) -> None:
    names = ["a.example", "b.example", "a.example", "A.example"]
    path = write_pcap(tmp_path / "a.pcap", raw(*map(query, names), query("a.example", sport=40001)))
    assert [(line["name"], line["sport"], line["frame"]) for line in lines(path)] == [
        ("a.example", 40000, 1),
        ("b.example", 40000, 2),
        ("a.example", 40001, 5),
    ]


def test_bytes_that_two_copies_disagree_about_are_counted_and_the_first_is_believed(tmp_path: Path) -> None:
    other = REQUEST.replace(b"Example", b"Another")
    frames = raw(tcp(b"", sequence=0, flags=2), tcp(REQUEST[20:], sequence=21), tcp(other), tcp(REQUEST[:20]))
    (told,) = lines(write_pcap(tmp_path / "a.pcap", frames))
    assert (told["name"], told["ambiguous"]) == ("www.example.com", 7)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap_of_both_byte_orders_and_clocks_says_the_same(
    order: str, nanoseconds: bool, capture: Path, tmp_path: Path
) -> None:
    path = write_pcap(tmp_path / "b.pcap", raw(query("a.example")), order=order, nanoseconds=nanoseconds)
    assert [line["name"] for line in lines(path)] == ["a.example"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_sections_interfaces_and_every_packet_block_is_read(order: str, tmp_path: Path) -> None:
    ethernet = bytes(12) + b"\x08\x00"
    old = query("old.example", sport=3)
    parts = [
        section(order),
        block(5, b"statistics", order),
        interface(101, order, options=struct.pack(order + "HHBxxxHH", 9, 1, 9, 0, 0)),
        interface(1, order),
        enhanced(0, query("raw.example", sport=1), order),
        enhanced(1, ethernet + query("ethernet.example", sport=2), order),
        block(2, struct.pack(order + "HHIIII", 0, 0, 0, 0, len(old), len(old)) + old, order),
        block(0x40000BAD, b"custom", order),
        enhanced(7, query("unknown-interface.example", sport=9), order),
        section(">" if order == "<" else "<"),
    ]
    other = ">" if order == "<" else "<"
    simple = query("simple.example", sport=4)
    parts += [interface(101, other), block(3, struct.pack(other + "I", len(simple)) + simple, other)]
    path = tmp_path / "a.pcapng"
    path.write_bytes(b"".join(parts))
    assert [(line["name"], line["frame"]) for line in lines(path)] == [
        ("raw.example", 1),
        ("ethernet.example", 2),
        ("old.example", 3),
        ("simple.example", 5),
    ]


def test_a_truncated_file_gives_what_it_holds_and_ends_with_one(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", raw(query("a.example"), query("b.example")))
    path.write_bytes(path.read_bytes()[:-3])
    done = inspect(path, "--json")
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["a.example"]
    assert done.returncode == 1
    assert "inspect.E004" in done.stderr


def test_a_damaged_file_gives_what_precedes_the_damage(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", raw(query("a.example")))
    with path.open("ab") as file:
        file.write(struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 0) + bytes(2_000_000))
    done = inspect(path, "--json")
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["a.example"]
    assert (done.returncode, "inspect.E005" in done.stderr) == (1, True)


@pytest.mark.parametrize("content", [b"", b"\xd4\xc3", b"# Clearway\n", b"\x1f\x8b\x08\x00" * 10])
def test_what_is_no_capture_is_refused_as_such(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    done = inspect(path, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["id"] == "inspect.E001"


def test_a_link_layer_that_is_not_read_is_named(tmp_path: Path) -> None:
    done = inspect(write_pcap(tmp_path / "a.pcap", [Frame(105, 0, b"802.11")]))
    assert done.returncode == 2
    assert "number 105" in done.stderr


def test_a_pcapng_of_nothing_but_such_frames_is_refused_alike_and_one_with_some_says_how_many(tmp_path: Path) -> None:
    radio = enhanced(0, b"802.11")
    path = tmp_path / "a.pcapng"
    path.write_bytes(section() + interface(127) + radio)
    done = inspect(path)
    assert (done.returncode, "number 127" in done.stderr) == (2, True)
    path.write_bytes(section() + interface(127) + interface(101) + radio + enhanced(1, query("a.example")) + radio)
    done = inspect(path, "--json")
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["a.example"]
    assert (done.returncode, "2 of 3 frames" in done.stderr, "number 127" in done.stderr) == (0, True, True)


def test_a_question_for_an_address_is_told_as_one_beside_the_names(tmp_path: Path) -> None:
    """Hosts ask so by mistake. No rule matches it, and yet it is what was asked."""
    asked = ["192.0.2.7", "a.example", "10", "192.0.2.7"]
    told = lines(write_pcap(tmp_path / "a.pcap", raw(*map(query, asked))))
    assert [(line["name"], line.get("literal", False)) for line in told] == [
        ("192.0.2.7", True),
        ("a.example", False),
        ("10", True),
    ]


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    done = inspect(tmp_path / "none.pcap")
    assert done.returncode == 2
    assert "inspect.E003" in done.stderr
    assert "No such file or directory" in done.stderr
    assert "os error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipe_is_read_like_a_file(capture: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = subprocess.Popen(["cp", str(capture), str(fifo)])
    done = inspect(fifo, "--json")
    writer.wait(HUNG_S)
    assert json.loads(done.stdout.splitlines()[0])["name"] == "www.example.com"


def test_a_hyphen_is_standard_input(capture: Path) -> None:
    command = [sys.executable, "-m", "clearway.cli.app", "inspect", "-", "--json"]
    with capture.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=HUNG_S)
    assert json.loads(done.stdout.splitlines()[0])["name"] == "www.example.com"
    assert done.returncode == 0


def test_a_file_cut_anywhere_gives_what_is_whole_and_says_that_it_was_cut(tmp_path: Path) -> None:
    parts = [section(), interface(101), enhanced(0, query("a.example")), enhanced(0, query("b.example"))]
    whole, bounds = b"".join(parts), list(accumulate(map(len, parts)))
    path = tmp_path / "a.pcapng"
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        inspection = Inspection(path)
        text = b""
        while (part := inspection.json()) is not None:
            text += part
        held = sum(bound - 4 <= end for bound in bounds[2:])  # a block's last four bytes say its length once more
        assert [json.loads(line)["name"] for line in text.splitlines()] == ["a.example", "b.example"][:held]
        expected = "not-a-capture" if end < 4 else None if end in bounds else "truncated"
        assert inspection.trouble == expected, end


def test_memory_stays_bounded_over_a_million_half_open_flows(tmp_path: Path) -> None:
    """Each sends the first bytes of a hello and never the rest: the slow drip of a million clients."""
    begin = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
    path = tmp_path / "a.pcap"
    packet = bytearray(tcp(begin, dport=443))
    header = struct.pack("<IIII", 0, 0, len(packet), len(packet))
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 101))
        for number in range(1_000_000):
            packet[12:16] = struct.pack("!I", 0x0A000000 + number)
            file.write(header + packet)
    command = [
        sys.executable,
        "-c",
        "import sys; from clearway._engine import Inspection; i = Inspection(sys.argv[1]); n = 0\n"
        'while (part := i.json()) is not None: n += part.count(b\'"none": "incomplete"\')\n'
        # of this program alone: what getrusage tells goes on from the process that started it
        "print(n, next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=4 * HUNG_S)
    flows, kilobytes = map(int, done.stdout.split())
    assert flows == 1_000_000
    assert kilobytes < 400_000
