"""`clearway run` between a client and a server, told to refuse a name; and a wire that tags every frame for it.

The gateway is spoken to as anybody does, by its commands. Taken off and ended whatever happens.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from host_pair import MTU_DEFAULT, PREFIX, REFUSED_DOMAIN, Pair, address_hosts, fresh_namespaces

from clearway.errors import ClearwayError
from clearway.lab.gateway import GatewayProcess
from clearway.lab.namespace import End, Namespace, wire
from clearway.lab.packets import ETH_P_ALL, PACKET_IGNORE_OUTGOING, SOL_PACKET

REASON = "phishing"
TAG = struct.pack("!HH", 0x8100, 0x2064)
FRAME_BYTES_MAX = 1 << 17
_numbers = itertools.count()


@dataclass
class Between:
    """Both hosts, and the gateway's ports and process."""

    pair: Pair
    inside: End
    outside: End
    gateway: GatewayProcess

    def refuse(self, name: str = REFUSED_DOMAIN, scope: str = "subtree") -> dict[str, Any]:
        """Blocks the name; enforced when this returns."""
        return self.gateway.command("block", name, "--reason", REASON, "--until", "1h", "--scope", scope)

    def status(self) -> dict[str, Any]:
        """As the command shows it, without a process for it."""
        return self.gateway.ask("GET", "/v1/status")

    def names(self) -> dict[str, Any]:
        """What `status` says about names."""
        told: dict[str, Any] = self.status()["names"]
        return told


@contextlib.contextmanager
def gateway_between(
    folder: Path, state: Path, *options: str, mtu: int = MTU_DEFAULT, gro: bool = True, vlan: bool = False
) -> Iterator[Between]:
    """Running, with REFUSED_DOMAIN refused. `gro`: left on at the gateway's ports. `vlan`: all that reaches it is
    tagged."""
    places = ("client", "server", "gateway", *(("tagger",) if vlan else ()))
    with contextlib.ExitStack() as stack:
        client, server, gateway, *tagging = stack.enter_context(fresh_namespaces(*places))
        pair = Pair(End(client, "eth0"), End(server, "eth0"), folder)
        inside, outside = End(gateway, "inside"), End(gateway, "outside")
        if vlan:
            stack.enter_context(_tagging(tagging[0], pair, inside, outside))
        else:
            wire(inside, pair.client, mtu=mtu)
            wire(outside, pair.server, mtu=mtu)
        address_hosts(pair)
        for end in (pair.client, pair.server):
            # segments as a card would send them: or a veth hands over super-packets, and no hello is ever split
            end.offload(tso=False, gso=False, tx=False)
        process = GatewayProcess(gateway, state, f"{PREFIX}-{os.getpid()}-{next(_numbers)}", options)
        try:
            process.start()
            for port in (inside, outside):
                port.offload(gro=gro)
            between = Between(pair, inside, outside, process)
            between.refuse()
            yield between
        finally:
            process.kill()
            with contextlib.suppress(ClearwayError):
                process.detach()


@contextlib.contextmanager
def _tagging(namespace: Namespace, pair: Pair, inside: End, outside: End) -> Iterator[None]:
    """Between each host and the gateway's port: a tag is put on towards the gateway, and taken off behind it."""
    namespace.sysctl({"ipv6/conf/default/disable_ipv6": "1", "ipv6/conf/all/disable_ipv6": "1"})
    ends = [End(namespace, name) for name in ("client", "inside", "outside", "server")]
    for end, far in zip(ends, (pair.client, inside, outside, pair.server), strict=True):
        wire(far, end)
        end.offload(gro=False, tso=False, gso=False)
    sockets = [end.namespace.call(partial(_packet_socket, end.interface)) for end in ends]
    to_client, to_inside, to_outside, to_server = sockets
    towards = {to_client: (to_inside, True), to_server: (to_outside, True)}
    # the kernel takes the tag out of what arrives, so handing it on is taking it off
    back = {to_inside: (to_client, False), to_outside: (to_server, False)}
    ended = threading.Event()

    def carry() -> None:
        while not ended.is_set():
            for source in select.select(sockets, [], [], 0.05)[0]:
                target, is_tagged = {**towards, **back}[source]
                with contextlib.suppress(OSError):  # none there, or no room on the wire (ENOBUFS): that frame is lost
                    frame = source.recv(FRAME_BYTES_MAX, socket.MSG_DONTWAIT)
                    target.send(frame[:12] + TAG + frame[12:] if is_tagged else frame)

    thread = threading.Thread(target=carry, name="tagger")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for each in sockets:
            each.close()


def _packet_socket(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    made.bind((interface, ETH_P_ALL))
    return made
