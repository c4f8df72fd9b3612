"""Which of millions of names may be one of some thousands, or end with one: all lines of a blob at once. Pure numpy.

A line is told by its last eight bytes and its length, through a table of bits; whoever asks looks at what is found, of
which some is there by mistake. Nothing that should be found is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_BITS = 20
_SCATTER = np.uint64(0x9E3779B97F4A7C15)
_LENGTH = np.uint64(0xC2B2AE3D27D4EB4F)
TAIL_BYTES = 8
CHUNK_BYTES = 8 << 20
"""Of names that are looked at together."""

_Lines = npt.NDArray[np.uint64]
_Blob = npt.NDArray[np.uint8]


def chunks_of(blob: _Blob) -> Iterator[bytes]:
    """A blob in pieces of whole lines."""
    start = 0
    while start < len(blob):
        chunk = blob[start : start + CHUNK_BYTES].tobytes()
        if start + len(chunk) < len(blob):
            chunk = chunk[: chunk.rindex(b"\n") + 1]  # no line is nearly so long
        start += len(chunk)
        yield chunk


def without(blob: _Blob, refused: Iterable[bytes]) -> _Blob:
    """A blob with some of its lines left out."""
    out = set(refused)
    kept = [b"\n".join(line for line in chunk.split(b"\n") if line not in out) for chunk in chunks_of(blob)]
    return np.frombuffer(b"".join(kept), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What to look for, made once. Made by `of`."""

    lines: npt.NDArray[np.bool_]
    endings: dict[int, npt.NDArray[np.bool_]]
    """By how many of their last bytes are looked at."""

    @classmethod
    def of(cls, lines: Iterable[bytes], endings: Iterable[bytes]) -> Wanted:
        """Whole lines, and what lines may end with."""
        names = list(lines)
        tails = np.array([_number(name) for name in names], dtype=np.uint64)
        lengths = np.array([len(name) for name in names], dtype=np.uint64)
        by_size: dict[int, list[bytes]] = {}
        for ending in endings:
            by_size.setdefault(min(len(ending), TAIL_BYTES), []).append(ending)
        made = {
            size: _table(_places(np.array([_number(each) for each in group], dtype=np.uint64)))
            for size, group in by_size.items()
        }
        return cls(_table(_places(tails ^ lengths * _LENGTH)), made)

    def found_in(self, chunk: bytes) -> Iterator[bytes]:
        """Lines that may be wanted, and all of a single label. `chunk`: whole lines, each ended by a newline."""
        data = np.frombuffer(chunk, dtype=np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        if not len(ends):
            return
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = (ends - starts).astype(np.uint64)
        padded = np.concatenate([np.zeros(TAIL_BYTES, dtype=np.uint8), data])
        windows = np.lib.stride_tricks.sliding_window_view(padded, TAIL_BYTES)
        tails = windows[ends].view("<u8").reshape(-1).astype(np.uint64)  # a newline's place, padded: eight before it
        short = np.uint64(8) * (np.uint64(TAIL_BYTES) - np.minimum(lengths, np.uint64(TAIL_BYTES)))
        tails = np.where(lengths > 0, tails >> np.minimum(short, np.uint64(63)), np.uint64(0))
        found = self.lines[_places(tails ^ lengths * _LENGTH)]
        for size, table in self.endings.items():
            whole = lengths >= size
            shift = np.uint64(8) * (np.minimum(lengths, np.uint64(TAIL_BYTES)) - np.uint64(size))
            found |= whole & table[_places(tails >> np.where(whole, shift, np.uint64(0)))]
        dots = np.add.reduceat((data == ord(".")).view(np.uint8), starts)
        found |= dots == 0
        for at in np.flatnonzero(found).tolist():
            yield chunk[starts[at] : ends[at]]


def _number(name: bytes) -> int:
    return int.from_bytes(name[-TAIL_BYTES:], "little")


def _places(keys: _Lines) -> _Lines:
    return (keys * _SCATTER) >> np.uint64(64 - _BITS)


def _table(places: _Lines) -> npt.NDArray[np.bool_]:
    table = np.zeros(1 << _BITS, dtype=bool)
    table[places] = True
    return table
