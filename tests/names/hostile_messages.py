"""First messages as an evader would send them: TLS hellos, QUIC Initials, HTTP/2 and DNS queries, built from nothing.

Pure bytes. Every field is right unless it is asked otherwise; what is wrong is written out by the test that wants it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCRYPTED_HELLO = 0xFE0D
PADDING = 21
INITIAL_BYTES = 1200


def _length(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!H", kind) + _length(body, 2)


def server_name(name: str) -> bytes:
    return extension(0, _length(b"\0" + _length(name.encode(), 2), 2))


def handshake(name: str | None, *extensions: bytes) -> bytes:
    """A ClientHello without a record around it; None: without server_name."""
    shown = server_name(name) if name is not None else b""
    versions = extension(43, b"\x02\x03\x04")
    body = b"\x03\x03" + bytes(range(32)) + _length(bytes(32), 1) + _length(b"\x13\x01\x13\x02", 2) + b"\x01\0"
    return b"\x01" + _length(body + _length(b"".join(extensions) + shown + versions, 2), 3)


def records(message: bytes, size: int = 1 << 14) -> bytes:
    """The message in TLS records of at most so many bytes each."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + _length(part, 2) for part in parts)


def hello(name: str | None, *extensions: bytes) -> bytes:
    return records(handshake(name, *extensions))


def request(host: str, target: str = "/", method: str = "GET", more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


def http2(authority: str, host: str = "", before: bytes = b"") -> bytes:
    """Preface, SETTINGS and one request with that authority, as a client with prior knowledge begins. `host`: a field
    beside it; `before`: what the header block begins with."""
    fields = before + b"\x82\x86\x84\x01" + _length(authority.encode(), 1)  # GET, http, /; :authority as a literal
    if host:
        fields += b"\0" + _length(b"host", 1) + _length(host.encode(), 1)
    settings = b"\0\0\0\x04\0\0\0\0\0"
    headers = len(fields).to_bytes(3, "big") + b"\x01\x05" + struct.pack("!I", 1) + fields
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers


def query(*names: str, identification: int = 77) -> bytes:
    """A query of one question for each name."""
    head = struct.pack("!HHHHHH", identification, 0x0100, len(names), 0, 0, 0)
    for name in names:
        head += b"".join(_length(label.encode(), 1) for label in name.split(".")) + b"\0" + b"\0\x01\0\x01"
    return head


# ---- QUIC: RFC 9001 section 5, RFC 9369 section 3.3 ----

SALTS = {
    1: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    0x6B3343CF: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
}
VERSION_1, VERSION_2 = SALTS
LABELS = {VERSION_1: "quic", VERSION_2: "quicv2"}
FIRST_BYTES = {VERSION_1: 0xC3, VERSION_2: 0xD3}


def _expanded(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1), one block of it."""
    info = struct.pack("!H", size) + _length(b"tls13 " + label.encode(), 1) + b"\0\x01"
    return hmac.digest(secret, info, hashlib.sha256)[:size]


def _varint(value: int) -> bytes:
    return struct.pack("!H", 0x4000 | value)


def crypto_frame(offset: int, data: bytes) -> bytes:
    return b"\x06" + _varint(offset) + _varint(len(data)) + data


def sealed_packet(word: str, connection: bytes = b"evasive!", version: int = VERSION_1, size: int = 30) -> bytes:
    """A packet of 0-RTT or Handshake with so many bytes that nobody can open."""
    kind = ("0-RTT", "Handshake").index(word) + (1 if version == VERSION_1 else 2)  # RFC 9369 section 3.2
    head = bytes([0xC3 | kind << 4]) + struct.pack("!I", version) + _length(connection, 1) + b"\0"
    return head + _varint(size) + b"\xaa" * size


def initial(
    frames: bytes,
    number: int,
    connection: bytes,
    version: int = VERSION_1,
    size: int = INITIAL_BYTES,
    fixed_bit: int = 0x40,
) -> bytes:
    """A datagram with one Initial packet of those frames, padded to that size."""
    head = bytes([FIRST_BYTES[version] & 0xBF | fixed_bit]) + struct.pack("!I", version)
    head += _length(connection, 1) + b"\0" + b"\0"
    room = size - len(head) - 2 - 4 - 16
    frames += bytes(room - len(frames))
    head += _varint(4 + len(frames) + 16)
    at = len(head)
    numbered = struct.pack("!I", number)
    secret = hmac.digest(SALTS[version], connection, hashlib.sha256)
    secret = _expanded(secret, "client in", 32)
    key, iv, mask_key = (
        _expanded(secret, f"{LABELS[version]} {word}", n) for word, n in (("key", 16), ("iv", 12), ("hp", 16))
    )
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, head + numbered)
    masking = Cipher(algorithms.AES(mask_key), modes.ECB()).encryptor()  # header protection, RFC 9001 section 5.4.3
    mask = masking.update(sealed[:16])
    first = head[0] ^ mask[0] & 0x0F
    hidden = bytes(byte ^ other for byte, other in zip(numbered, mask[1:], strict=False))
    return bytes([first]) + head[1:at] + hidden + sealed


def initials(name: str, count: int, version: int = VERSION_1, connection: bytes = b"evasive!") -> list[bytes]:
    """A hello spread evenly over so many datagrams."""
    message = handshake(name)
    size = -(-len(message) // count)
    cuts = range(0, len(message), size)
    return [
        initial(crypto_frame(at, message[at : at + size]), number, connection, version)
        for number, at in enumerate(cuts)
    ]
