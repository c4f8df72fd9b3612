"""Real clients, recorded on a wire by the tests themselves: `clearway inspect` finds each one's name in its frame.

Each way of the wire is recorded once, with every client that is installed; a client's own test then looks at its part.
The frame that is expected is counted from the recorded bytes (recording.py), not from what any tool says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from capture_files import Frame
from clients import CLIENTS, Client
from host_pair import FAMILIES, MTU_DEFAULT, Finished, Pair, host_name, host_pair, serving, set_port
from patience import HUNG_S
from recording import Packet, completing_frame, packets, recorder, saved, tagged

pytestmark = [pytest.mark.namespaces, pytest.mark.slow, pytest.mark.timeout(900)]

FLUSH_NS = 5_000_000
ETHERNET_BYTES = 14


@dataclass(frozen=True)
class Way:
    """How frames look on the wire: what the hosts leave to their cards, and how long a frame may be."""

    word: str
    mtu: int = MTU_DEFAULT
    sender_cuts: bool = False  # False: TSO, super-packets as they leave the host
    receiver_merges: bool = False

    def prepare(self, pair: Pair) -> None:
        for end in (pair.client, pair.server):
            end.offload(gro=self.receiver_merges)
            if self.sender_cuts:
                end.offload(tso=False, gso=False, tx=False)
        if self.receiver_merges:
            set_port(pair.server, "gro_flush_timeout", FLUSH_NS)  # or every frame is handed on before the next comes


WAYS = (
    Way("segments", sender_cuts=True),
    Way("merged", sender_cuts=True, receiver_merges=True),
    Way("super-packets"),
    Way("mtu-1280", mtu=1280, sender_cuts=True),
)
TAGS = {"": [], "vlan": [(0x8100, 0x2005)], "qinq": [(0x8100, 5), (0x88A8, 7)]}


@dataclass
class Recorded:
    """Every client's conversations over one way, in one capture."""

    way: Way
    frames: list[Frame]
    packets: list[Packet]
    finished: dict[tuple[str, str], Finished]
    folder: Path

    def inspected(self, tags: str = "") -> list[dict[str, Any]]:
        """What the command says of it, once for each kind of tags."""
        answer = self.folder / f"{self.way.word}-{tags}.jsonl"
        if not answer.exists():
            capture = saved(answer.with_suffix(".pcap"), tagged(self.frames, *TAGS[tags]))
            command = [sys.executable, "-m", "clearway.cli.app", "inspect", str(capture), "--json"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            answer.write_text(done.stdout)
        return [json.loads(line) for line in answer.read_text().splitlines()]


ASKED = WAYS if os.environ.get("CLEARWAY_TESTS") == "all" else (WAYS[0], WAYS[2])


@pytest.fixture(scope="module", params=ASKED, ids=lambda way: way.word)
def recorded(request: pytest.FixtureRequest, visiting: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    way: Way = request.param
    finished = {}
    with host_pair(visiting, mtu=way.mtu) as pair:
        way.prepare(pair)
        with serving(pair), recorder(pair.server) as recording:
            for client in CLIENTS:
                for family in FAMILIES if not client.why_absent() else ():
                    finished[client.label, family] = client.visit(pair, family)
            frames = recording.frames()
    return Recorded(way, frames, packets(frames), finished, tmp_path_factory.mktemp(way.word))


def flow_of(recorded: Recorded, line: dict[str, Any]) -> list[Packet]:
    """The client's packets with payload of the flow that a line tells of."""
    ends = (line["src"], line["sport"], line["dst"], line["dport"])
    return [
        packet
        for packet in recorded.packets
        if (packet.source, packet.source_port, packet.destination, packet.destination_port) == ends and packet.payload
    ]


families = pytest.mark.parametrize("family", FAMILIES)
clients = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.label)


@clients
@families
@pytest.mark.parametrize("tags", TAGS, ids=lambda tags: tags or "untagged")
def test_a_clients_name_is_found_in_the_frame_that_completes_it(
    recorded: Recorded, client: Client, family: str, tags: str
) -> None:
    client.require()
    name = host_name(client.label, family)
    finished = recorded.finished[client.label, family]
    assert client.succeeded(finished, name), finished.said
    lines = [line for line in recorded.inspected(tags) if line.get("name") == name and line["proto"] == client.proto]
    assert lines, f"{name} is not found"
    for line in lines:
        flow = flow_of(recorded, line)
        assert line["dport"] == client.port
        assert "ambiguous" not in line
        if client.proto == "quic":
            first = [packet.number for packet in flow][:4]
            assert line["frame"] in first, "the hello of a browser takes up to four datagrams"
        else:
            assert line["frame"] == completing_frame(flow, client.proto)
        if client.proto in ("tls", "quic"):
            assert line.get("ech", False) is client.ech
        if client.alpn is not None:
            assert tuple(line["alpn"]) == client.alpn


def test_no_name_is_found_that_no_client_asked_for(recorded: Recorded) -> None:
    asked = {host_name(*key) for key in recorded.finished}
    assert {line["name"] for line in recorded.inspected() if "name" in line} <= asked


def test_every_flow_that_carried_a_clients_words_has_a_line(recorded: Recorded) -> None:
    """A name or a reason for none, of each flow to a port of the server."""
    told = {(line["src"], line["sport"], line["dport"]) for line in recorded.inspected()}
    opened = {
        (packet.source, packet.source_port, packet.destination_port)
        for packet in recorded.packets
        if packet.payload and packet.destination_port in {client.port for client in CLIENTS}
    }
    assert opened <= told


def hello_frames(recorded: Recorded, label: str) -> list[int]:
    """How many frames each hello of that client takes."""
    counts = []
    for line in recorded.inspected():
        if line.get("name") in {host_name(label, family) for family in FAMILIES} and line["proto"] == "tls":
            numbers = [packet.number for packet in flow_of(recorded, line)]
            counts.append(numbers.index(line["frame"]) + 1)
    return counts


def test_a_browsers_post_quantum_hello_is_as_many_frames_as_the_wire_makes_of_it(recorded: Recorded) -> None:
    """Two segments, or one buffer where a card merges or cuts: else this way of the wire proves nothing."""
    next(client for client in CLIENTS if client.label == "chromium-tls").require()
    counts = hello_frames(recorded, "chromium-tls")
    if recorded.way.sender_cuts and not recorded.way.receiver_merges:
        assert set(counts) == {2}
    else:
        assert 1 in counts, "nothing was merged"


def test_tshark_finds_the_names_of_quic_in_the_same_frames(recorded: Recorded) -> None:
    """A reader that shares nothing with ours; it decrypts Initials as well."""
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed (tshark)")
    next(client for client in CLIENTS if client.proto == "quic").require()
    ours = {
        (line["frame"], line["name"]) for line in recorded.inspected() if line["proto"] == "quic" and "name" in line
    }
    capture = recorded.folder / f"{recorded.way.word}-.pcap"
    fields = ["-T", "fields", "-e", "frame.number", "-e", "tls.handshake.extensions_server_name"]
    command = ["tshark", "-r", str(capture), "-Y", "quic && tls.handshake.type == 1", *fields]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, check=True)
    theirs = {tuple(line.split("\t")) for line in done.stdout.splitlines()}
    assert ours == {(int(number), name) for number, name in theirs}
