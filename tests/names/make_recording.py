"""Writes src/clearway/lab/recorded.pcap: what `clearway demo` replays where it may not build its lab.

    sudo .venv/bin/python tests/names/make_recording.py

Real clients on a wire one veth long, as in the tests beside this file: dig, curl, Chromium with its post-quantum hello
in two segments and over QUIC, an ordinary host and one at a registered business's address. Of each conversation only
the first frames of its first flow are kept, which is all that a name takes. Every name and address is one that is
reserved for documentation; a test reads the file by what `clearway.lab.recorded` promises.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capture_files import Frame, write_pcap
from certificates import make_certificates
from clients import CHROMIUM, Visit, chromium
from host_pair import SERVER, Pair, host_pair, serving
from recording import Packet, packets, recorder

from clearway.lab import recorded

FRAMES_MAX = {"tcp": 5, "udp": 4}
"""Of one flow: the handshake and a hello in two segments; a hello in up to three datagrams. Of the server the first."""
QUIET_S = 1.0


@dataclass(frozen=True)
class Conversation:
    """A command, and the port and transport of the flow that is kept of it."""

    command: Sequence[str]
    port: int
    transport: str = "tcp"


def conversations(folder: Path) -> list[Conversation]:
    clean, refused, blocked = (Visit(name, "v4", folder) for name in recorded.NAMES)
    curl = ["curl", "--silent", "--insecure", "--noproxy", "*", "--max-time", "10"]
    unnamed = ["openssl", "s_client", "-connect", f"{SERVER.v4}:443", "-noservername"]
    over_quic = [
        Conversation(chromium(visit, f"--origin-to-force-quic-on={visit.name}:443"), 443, "udp")
        for visit in (clean, refused)
    ]
    return [
        *(Conversation(["dig", f"@{SERVER.v4}", name, "+tries=1"], 53, "udp") for name in recorded.NAMES[:2]),
        *(Conversation([*curl, f"http://{name}/"], 80) for name in recorded.NAMES),
        *(Conversation(chromium(visit), 443) for visit in (clean, refused, blocked)),
        *over_quic,
        Conversation([*curl, "--interface", recorded.BUSINESS, f"https://{refused.name}/"], 443),
        Conversation(unnamed, 443),
    ]


def first_frames(frames: list[Frame], wanted: Conversation) -> list[Frame]:
    """Of the first flow to that port."""
    seen = [packet for packet in packets(frames) if packet.protocol == wanted.transport]
    first = next(packet for packet in seen if packet.destination_port == wanted.port)
    flow = [packet for packet in seen if _ends(packet) == _ends(first)]
    answers = [packet for packet in flow if packet.source_port == wanted.port][:1]
    kept = [packet for packet in flow if packet.source_port != wanted.port or packet in answers]
    return [frames[packet.number - 1] for packet in kept[: FRAMES_MAX[wanted.transport]]]


def _ends(packet: Packet) -> frozenset[tuple[str, int]]:
    return frozenset(((packet.source, packet.source_port), (packet.destination, packet.destination_port)))


def record(pair: Pair, folder: Path) -> list[Frame]:
    """All conversations one after the other."""
    for end in (pair.client, pair.server):
        end.offload(gro=False, tso=False, gso=False, tx=False)  # frames as a wire has them
    with pair.client.namespace.links() as links:
        index = links.link_lookup(ifname=pair.client.interface)[0]
        links.addr("add", index=index, address=recorded.BUSINESS, prefixlen=24)
    kept = []
    with serving(pair):
        for conversation in conversations(folder):
            with recorder(pair.server) as recording:
                pair.run(conversation.command)
                kept += first_frames(recording.frames(QUIET_S), conversation)
    return kept


def main() -> None:
    if not CHROMIUM:
        sys.exit("chromium is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_certificates(folder)
        (folder / "hosts").write_text("".join(f"{SERVER.v4} {name}\n" for name in recorded.NAMES))
        with host_pair(folder) as pair:
            frames = record(pair, folder)
    write_pcap(recorded.CAPTURE, frames, nanoseconds=True)
    print(f"{recorded.CAPTURE}: {len(frames)} frames, {recorded.CAPTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
