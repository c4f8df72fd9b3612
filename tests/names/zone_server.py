"""A name server of signed and unsigned zones, for resolvers that are tried behind a gateway.

Run as `python zone_server.py FOLDER ADDRESS`, with zone files in FOLDER/zones; says "ready", then answers over UDP and
TCP. It answers what stands there, with its signatures where they are asked for, and SERVFAIL for what does not: nobody
asks for that here, and a denial would have to be signed.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from dns.dnssectypes import Algorithm

PORT = 53
ADDRESS = "203.0.113.7"
"""Of every name."""


def write_zones(folder: Path, labels: list[str], signed: str, unsigned: str) -> str:
    """One zone of each kind with an address for each label. The trust anchor of the signed one, as unbound takes it."""
    (folder / "zones").mkdir()
    anchor = ""
    for origin in (signed, unsigned):
        head = f"@ 300 IN SOA ns.{origin}. hostmaster.{origin}. 1 3600 600 86400 300\n@ 300 IN NS ns.{origin}.\n"
        rows = "".join(f"{label} 300 IN A {ADDRESS}\n" for label in ["ns", *labels])
        zone = dns.zone.from_text(head + rows, origin=f"{origin}.", relativize=False)
        if origin == signed:
            private = generate_private_key(SECP256R1())
            key = dns.dnssec.make_dnskey(private.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
            dns.dnssec.sign_zone(zone, keys=[(private, key)], lifetime=7 * 86400)
            anchor = f"{origin}. 300 IN DNSKEY {key.to_text()}"
        zone.to_file(str(folder / "zones" / origin), relativize=False)
    return anchor


def answer_to(zones: list[dns.zone.Zone], data: bytes) -> bytes:
    asked = dns.message.from_wire(data)
    answer = dns.message.make_response(asked, our_payload=1232)
    answer.flags |= dns.flags.AA
    question = asked.question[0]
    zone = next((each for each in zones if each.origin is not None and question.name.is_subdomain(each.origin)), None)
    node = zone.get_node(question.name) if zone is not None else None
    found = node.get_rdataset(zone.rdclass, question.rdtype) if zone is not None and node is not None else None
    if zone is None or node is None or found is None:
        answer.set_rcode(dns.rcode.SERVFAIL)
        return bytes(answer.to_wire())
    kinds = [(question.rdtype, dns.rdatatype.NONE)]
    if asked.ednsflags & dns.flags.DO:
        kinds.append((dns.rdatatype.RRSIG, question.rdtype))
    for kind, covers in kinds:
        rows = node.get_rdataset(zone.rdclass, kind, covers)
        if rows is not None:
            section = answer.find_rrset(answer.answer, question.name, zone.rdclass, kind, covers, create=True)
            for row in rows:
                section.add(row, rows.ttl)
    return bytes(answer.to_wire())


def serve(folder: Path, address: str) -> None:
    zones = [
        dns.zone.from_file(str(path), origin=f"{path.name}.", relativize=False) for path in (folder / "zones").iterdir()
    ]
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, PORT))
    listener = socket.create_server((address, PORT))

    def streams() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                (length,) = struct.unpack("!H", connection.recv(2))
                told = answer_to(zones, connection.recv(length, socket.MSG_WAITALL))
                connection.sendall(struct.pack("!H", len(told)) + told)

    threading.Thread(target=streams, daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        data, peer = datagrams.recvfrom(4096)
        datagrams.sendto(answer_to(zones, data), peer)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
