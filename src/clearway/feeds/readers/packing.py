"""Compressed lists: gzip, zip, zstd, told by how they begin, and unpacked within bounds.

A list that unpacks to more than BYTES_MAX, or (past RATIO_FREE_BYTES) to more than RATIO_MAX times its size, is a bomb
and is given up there: no more than that is ever made.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable

from clearway.errors import ClearwayError

BYTES_MAX = 256 << 20
"""Of a list as fetched, and unpacked."""
RATIO_FREE_BYTES = 16 << 20
RATIO_MAX = 50
"""Unpacked to packed, past RATIO_FREE_BYTES: honest lists reach 21."""
ZSTD_WINDOW_BYTES_MAX = 1 << 27
"""What a frame may make its reader set aside."""


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


def _unpacker(data: bytes) -> Callable[[bytes, int], bytes] | None:
    if data.startswith(b"\x1f\x8b"):
        return _gzip
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip
    return _zstd if data.startswith(b"\x28\xb5\x2f\xfd") else None


def _gzip(data: bytes, limit: int) -> bytes:
    out, rest = bytearray(), data
    while rest.startswith(b"\x1f\x8b"):  # a file may have several members
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            out += unpacker.decompress(rest, limit + 1 - len(out))
        except zlib.error as error:
            raise _Unusable(str(error)) from None
        if len(out) > limit:
            return bytes(out)
        if not unpacker.eof:
            raise _Unusable("it is cut off")
        rest = unpacker.unused_data
    if rest.strip(b"\0"):
        raise _Unusable("something else follows the compressed data")
    return bytes(out)


def _zip(data: bytes, limit: int) -> bytes:
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


PIECE_BYTES = 1 << 10
"""Given to zstd at a time: a block of 4 bytes may unpack to 128 KiB, so that one piece makes 32 MiB at most."""


def _zstd(data: bytes, limit: int) -> bytes:
    import zstandard  # of use for few lists

    out, rest = bytearray(), memoryview(data)
    try:
        while len(rest):
            unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).decompressobj()
            while len(rest) and not unpacker.eof:
                out += unpacker.decompress(rest[:PIECE_BYTES])
                rest = rest[len(rest[:PIECE_BYTES]) - len(unpacker.unused_data) :]
                if len(out) > limit:
                    return bytes(out)
            if not unpacker.eof:
                raise _Unusable("it is cut off")
    except zstandard.ZstdError as error:
        raise _Unusable(str(error)[:200]) from None
    return bytes(out)
