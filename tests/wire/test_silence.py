"""The gateway's own machine says nothing on the wire and answers nothing, from before it is ready until it is detached.

The ports get hardware addresses and a link, so an ordinary Linux would configure IPv6 on them by itself, ask for
routers and tell multicast listeners; and it would answer neighbours that ask for it.
"""

import socket
import struct
from pathlib import Path

import pytest
from capture import capture, injector
from running_gateway import running_gateway
from shortwire import LEFT, ShortWire

from clearway.lab import frames
from clearway.lab.namespace import End

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces]

HERE = frames.mac(LEFT.mac)
LISTEN_S = 2.5  # router solicitations come within a second, and are repeated


def addresses(port: End) -> list[str]:
    with port.namespace.links() as links:
        index = links.link_lookup(ifname=port.interface)[0]
        return [str(address.get_attr("IFA_ADDRESS")) for address in links.get_addr(index=index)]


def link_local(mac: bytes) -> str:
    """The address that IPv6 autoconfiguration would choose (RFC 4291, appendix A)."""
    identifier = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("fe80000000000000") + identifier)


def questions_for(port: End) -> list[bytes]:
    """ARP, ping and neighbour discovery for addresses that the port would have, straight to its hardware address."""
    mac = port.mac()
    own = link_local(mac)
    arp = bytes.fromhex("0001080006040001") + HERE + bytes([192, 0, 2, 1]) + bytes(6) + bytes([192, 0, 2, 254])
    ping = frames.ipv4(LEFT.v4, "192.0.2.254", 1, bytes.fromhex("0800f7ff00000000"))
    body = bytes.fromhex("87000000 00000000") + socket.inet_pton(socket.AF_INET6, own) + b"\1\1" + HERE
    pseudo = frames.pseudo_header("fe80::1", own, 58, len(body))
    body = body[:2] + struct.pack("!H", frames.checksum(pseudo + body)) + body[4:]
    solicitation = frames.ipv6("fe80::1", own, 58, body, hop_limit=255)
    return [
        frames.ethernet(b"\xff" * 6, HERE, 0x0806, arp),
        frames.ethernet(mac, HERE, frames.ETHER_IPV4, ping),
        frames.ethernet(mac, HERE, frames.ETHER_IPV6, solicitation),
    ]


def test_the_ports_say_nothing_of_their_own(wire: ShortWire, tmp_path: Path) -> None:
    """From the moment that it is ready, both hosts hear nothing for longer than autoconfiguration waits."""
    with running_gateway(wire, tmp_path), capture(wire.left) as left, capture(wire.right) as right:
        assert left.frames(quiet_s=LISTEN_S) == []
        assert right.frames(quiet_s=0.01) == []


def test_the_ports_have_no_address_while_the_gateway_runs_and_after_it_has_died(
    wire: ShortWire, tmp_path: Path
) -> None:
    with running_gateway(wire, tmp_path) as gateway:
        assert addresses(wire.inside) == addresses(wire.outside) == []
        gateway.kill()
        assert addresses(wire.inside) == addresses(wire.outside) == []


def test_questions_to_the_gateways_own_address_cross_and_are_not_answered(wire: ShortWire, tmp_path: Path) -> None:
    with running_gateway(wire, tmp_path):
        for source, target, port in ((wire.left, wire.right, wire.inside), (wire.right, wire.left, wire.outside)):
            sent = questions_for(port)
            with capture(source) as answers, capture(target) as listening, injector(source) as sending:
                sending.send(*sent)
                assert listening.frames(len(sent)) == sent
                assert answers.frames() == []


def test_detaching_gives_the_ports_back_as_they_were(wire: ShortWire, tmp_path: Path) -> None:
    before = wire.inside.offloads(), wire.outside.offloads()
    with running_gateway(wire, tmp_path) as gateway:
        assert wire.inside.offloads()["gro"]
        assert wire.outside.offloads()["gro"]
        assert wire.inside.offloads()["tso"], "offloads are left on"
        gateway.detach()
        assert (wire.inside.offloads(), wire.outside.offloads()) == before
        with capture(wire.right) as listening, injector(wire.left) as sending:
            sending.send(*questions_for(wire.inside))
            assert [frame for frame in listening.frames() if frame[6:12] == HERE] == []
