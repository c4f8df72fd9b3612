"""Compressed lists: gzip, zip, zstd, told by how they begin, and unpacked within bounds.

A list that unpacks to more than BYTES_MAX, or (past RATIO_FREE_BYTES) to more than RATIO_MAX times its size, is a bomb
and is given up there: no more than that is ever made.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from typing import Protocol

from clearway.errors import ClearwayError

BYTES_MAX = 256 << 20
"""Of a list as fetched, and unpacked."""
RATIO_FREE_BYTES = 16 << 20
RATIO_MAX = 50
"""Unpacked to packed, past RATIO_FREE_BYTES: honest lists reach 21."""
ZSTD_WINDOW_BYTES_MAX = 1 << 27
"""What a frame may make its reader set aside."""
PIECE_BYTES = 1 << 10
"""Unpacked at a time: a block of zstd of 4 bytes may make 128 KiB, so that one piece makes 32 MiB at most."""
MEMBERS_MAX = 1 << 14
"""Parts of one file that were packed each by itself. Tools that pack in parallel make one of 64 KiB or more."""
FILES_MAX = 1000
"""Of an archive, past which they are not even counted; one is wanted."""


def unpacked(data: bytes, origin: str, ratio_max: float = RATIO_MAX) -> bytes:
    """The list. Raises feeds.E007 (too large), E008 (damaged, a bomb, packed twice)."""
    if len(data) > BYTES_MAX:
        raise ClearwayError.of("feeds.E007", origin=origin, limit_mib=BYTES_MAX >> 20)
    unpack = _unpacker(data)
    if unpack is None:
        return data
    limit = min(BYTES_MAX, max(RATIO_FREE_BYTES, int(ratio_max * len(data))))
    try:
        made = unpack(data, limit)
    except _Unusable as error:
        raise ClearwayError.of("feeds.E008", origin=origin, detail=error) from None
    if len(made) > limit:
        raise ClearwayError.of("feeds.E008", origin=origin, detail=f"it unpacks to more than {limit >> 20} MiB")
    if _unpacker(made):
        raise ClearwayError.of("feeds.E008", origin=origin, detail="it is compressed twice")
    return made


class _Unusable(Exception):
    """Says why in a few words."""


_SKIPPABLE = frozenset(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))


def _unpacker(data: bytes) -> Callable[[bytes, int], bytes] | None:
    if data.startswith(b"\x1f\x8b"):
        return _gzip
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip
    # RFC 8878; pzstd begins with a frame that is to be skipped
    return _zstd if data.startswith(b"\x28\xb5\x2f\xfd") or data[:4] in _SKIPPABLE else None


def _zip(data: bytes, limit: int) -> bytes:
    if data.count(b"PK\x01\x02") > FILES_MAX:  # the library reads of all of them before it tells how many there are
        raise _Unusable(f"it is an archive of more than {FILES_MAX} files, and one is wanted")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(files) != 1:
                raise _Unusable(f"it is an archive of {len(files)} files, and one is wanted")
            if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Its readers of other ways unpack all of a block before they give any of it
                raise _Unusable("it is packed by another way than deflate")
            with archive.open(files[0]) as file:
                return file.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, OSError, EOFError, MemoryError) as error:
        raise _Unusable(str(error)[:200] or type(error).__name__) from None


def _gzip(data: bytes, limit: int) -> bytes:
    return _members(data, limit, lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), zlib.error)


def _zstd(data: bytes, limit: int) -> bytes:
    import zstandard  # of use for few lists

    def unpacker() -> Unpacker:
        return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).decompressobj()

    return _members(data, limit, unpacker, zstandard.ZstdError)


class Unpacker(Protocol):
    """Of one member."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, /) -> bytes: ...


def _members(data: bytes, limit: int, unpacker: Callable[[], Unpacker], failure: type[Exception]) -> bytes:
    """What the members of a file make, one behind another. What is left of a piece behind a member is copied, so pieces
    are small; setting up for a member takes as long as thousands of bytes do, so the number of those is bounded."""
    out, rest, count = bytearray(), memoryview(data), 0
    try:
        while len(rest):
            if count and not _unpacker(bytes(rest[:4])):
                if bytes(rest).strip(b"\0"):
                    raise _Unusable("something else follows the compressed data")
                break
            count += 1
            if count > MEMBERS_MAX:
                raise _Unusable(f"it has more than {MEMBERS_MAX:,} parts")
            member = unpacker()
            while len(rest) and not member.eof:
                piece = rest[:PIECE_BYTES]
                out += member.decompress(piece)
                rest = rest[len(piece) - len(member.unused_data) :]
                if len(out) > limit:
                    return bytes(out)
            if not member.eof:
                raise _Unusable("it is cut off")
    except failure as error:
        raise _Unusable(str(error)[:200]) from None
    return bytes(out)
