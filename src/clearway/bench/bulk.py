"""Bulk TCP from host to host by iperf3, with the congestion control named: the hosts' default may be BBR, which paces.

Client and server have a core each. The gateway's work falls to the sender's core, as on any veth: so the figure is what
a stream and its gateway can do together.
"""

import json
import subprocess
import time
from contextlib import suppress
from typing import Any

from clearway.bench.machine import Cpus
from clearway.bench.measurement import Measurement
from clearway.bench.peers import Peer
from clearway.errors import ClearwayError

CONGESTION_CONTROL = "cubic"
PORT = 5201
START_S_MAX = 60.0
ANSWER_S_MORE = 60.0


def bulk(peer: Peer, cpus: Cpus, source: str, destination: str, seconds: float, streams: int = 1) -> Measurement:
    """Gbit/s that the right host received; CPU seconds a Gbit of both iperf3 processes beside it."""
    server = _server(peer, cpus, destination)
    try:
        answer = _client(peer, cpus, source, destination, seconds, streams)
    finally:
        server.kill()
        server.wait()
    end = answer["end"]
    received = end["sum_received"]
    gbit = received["bits_per_second"] / 1e9
    cpu = end["cpu_utilization_percent"]
    busy = (cpu["host_total"] + cpu["remote_total"]) / 100
    return Measurement(
        gbit,
        {
            "cpu_s_per_gbit": busy / gbit if gbit else float("nan"),
            "retransmits": float(end["sum_sent"].get("retransmits", 0)),
        },
    )


def _server(peer: Peer, cpus: Cpus, address: str) -> subprocess.Popen[bytes]:
    """One that listens already."""
    command = ["iperf3", "--server", "--one-off", "--bind", address, "--port", str(PORT), "--affinity"]
    server = subprocess.Popen(
        peer.wire.right.namespace.command([*command, str(cpus.gateway)]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_S_MAX
    while not _listens(peer):
        if time.monotonic() > deadline or server.poll() is not None:
            server.kill()
            raise ClearwayError.of("bench.E004", command="iperf3 --server", detail="it does not listen")
        time.sleep(0.02)
    return server


def _listens(peer: Peer) -> bool:
    """Asked of the socket table, since a trial connection would use up the server."""
    command = peer.wire.right.namespace.command(["ss", "--no-header", "--listening", "--tcp", f"sport = :{PORT}"])
    return bool(subprocess.run(command, capture_output=True, timeout=START_S_MAX, check=False).stdout.strip())


def _client(peer: Peer, cpus: Cpus, source: str, destination: str, seconds: float, streams: int) -> dict[str, Any]:
    # iperf3 knows whole seconds only
    command = ["iperf3", "--client", destination, "--bind", source, "--port", str(PORT), "--json"]
    command += ["--time", str(max(1, round(seconds))), "--omit", "0" if seconds < 1 else "1"]
    command += ["--congestion", CONGESTION_CONTROL, "--parallel", str(streams), "--affinity", str(cpus.generator)]
    done = subprocess.run(
        peer.wire.left.namespace.command(command),
        capture_output=True,
        text=True,
        timeout=seconds + ANSWER_S_MORE,
        check=False,
    )
    answer: dict[str, Any] = {}
    with suppress(ValueError):
        answer = json.loads(done.stdout)
    if "error" in answer or "end" not in answer:
        detail = answer.get("error") or done.stderr.strip() or "no answer"
        raise ClearwayError.of("bench.E004", command="iperf3 --client", detail=detail)
    return answer
