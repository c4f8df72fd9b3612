"""Keys that sources want, from files: TSIG for zones, a header for HTTP. What a key says is never part of an error."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from clearway.errors import ClearwayError

KEY_FILE_BYTES_MAX = 64 << 10
TSIG_ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")

_PARTS = re.compile(
    r'"(?P<quoted>[^"\n]*)"|(?P<note>//[^\n]*|#[^\n]*|/\*.*?\*/)|(?P<mark>[{};])|(?P<word>[^\s"{};]+)', re.S
)
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]+(\S.*)")
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class TsigKey:
    """What two servers of a zone share (RFC 8945)."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeaderKey:
    """What goes with each request to the server that the list is fetched from, and to no other."""

    name: str
    value: str = field(repr=False)


def header_key(path: Path) -> HeaderKey:
    """`user:password`, `Header-Name: value`, or a bare token, which is a bearer's (RFC 6750). Raises feeds.E035."""
    lines = [line.strip() for line in _read(path).splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 or not _VISIBLE.fullmatch(lines[0]):
        raise ClearwayError.of("feeds.E035", path=path, detail="it is not one line of visible ASCII")
    key = lines[0]
    if header := _HEADER.fullmatch(key):
        return HeaderKey(header[1], header[2])
    if ":" in key:
        return HeaderKey("Authorization", f"Basic {base64.b64encode(key.encode()).decode()}")
    return HeaderKey("Authorization", f"Bearer {key}")


def tsig_key(path: Path) -> TsigKey:
    """The key of a file as tsig-keygen writes it for BIND; keymgr -t of Knot has it in a comment. Raises feeds.E035."""
    parts = [
        (found.lastgroup, found["quoted"] if found.lastgroup == "quoted" else found[0])
        for found in _PARTS.finditer(_read(path))
        if found.lastgroup != "note"
    ]
    words = [text for kind, text in parts if kind != "mark"]
    marks = "".join(text for kind, text in parts if kind == "mark")
    if (
        len(words) != 6
        or words[0] != "key"
        or marks not in ("{;;};", "{;;}")
        or {*words[2::2]} != {"algorithm", "secret"}
    ):
        raise ClearwayError.of("feeds.E035", path=path, detail="it is not one key as BIND writes it")
    said = {words[2]: words[3], words[4]: words[5]}
    algorithm = said["algorithm"].lower().rstrip(".")
    if algorithm not in TSIG_ALGORITHMS:
        raise ClearwayError.of("feeds.E035", path=path, detail=f"its algorithm is none of {', '.join(TSIG_ALGORITHMS)}")
    try:
        secret = base64.b64decode(said["secret"], validate=True)
    except binascii.Error:
        secret = b""
    if not secret:
        raise ClearwayError.of("feeds.E035", path=path, detail="its secret is not base64")
    return TsigKey(words[1].lower().rstrip(".") + ".", algorithm, secret)


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise ClearwayError.of("feeds.E035", path=path, detail="it is no plain file")
            if about.st_mode & stat.S_IRWXO:
                raise ClearwayError.of(
                    "feeds.E035", path=path, detail="everybody on this machine may read it (chmod o=)"
                )
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ClearwayError.of("feeds.E035", path=path, detail=error.strerror or error) from None
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.strip() or len(data) > KEY_FILE_BYTES_MAX:
        raise ClearwayError.of("feeds.E035", path=path, detail="it is empty, too long or no text")
    return text
