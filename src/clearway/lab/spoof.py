"""A packet with a false source, as an attacker sends it: and whether it arrived."""

import time

from clearway.lab import frames
from clearway.lab.packets import Receiver, Sender
from clearway.lab.topology import Host, Lab

ATTEMPTS = 5
WAIT_S = 0.3
MARK = b"clearway demo: a false source"


def send_spoofed(lab: Lab, attacker: Host, target: Host, claimed: str) -> tuple[bool, float]:
    """UDP to `target`, claiming to come from an inside address. Whether it arrived, and after how many ms."""
    datagram = frames.udp(claimed, target.v4, 4000, 9, MARK)
    packet = frames.ipv4(claimed, target.v4, frames.PROTOCOL_UDP, datagram)
    frame = frames.ethernet(frames.mac(target.mac), frames.mac(attacker.mac), frames.ETHER_IPV4, packet)
    sender, receiver = Sender(lab.end(attacker.name), len(frame)), Receiver(lab.end(target.name), 256)
    try:
        for row in range(ATTEMPTS):
            sender.data[row] = memoryview(frame)
        began = time.monotonic()
        sender.send(ATTEMPTS)
        while time.monotonic() - began < WAIT_S:
            got, _ = receiver.receive()
            if any(MARK in row.tobytes() for row in receiver.data[:got]):
                return True, (time.monotonic() - began) * 1000
            time.sleep(0.002)
        return False, WAIT_S * 1000
    finally:
        sender.close()
        receiver.close()
