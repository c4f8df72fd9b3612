"""Names to measure with: as long as those of published lists, of letters that are drawn. Deterministic for a seed.

A name is told from every other by its number, five letters of its second-level label: so a list of n names has exactly
n, and names of other numbers are on no list. No real name is in it, other than by chance.
"""

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]

ENDINGS = (b"com", b"net", b"org", b"info", b"xyz", b"top", b"de", b"site", b"online", b"co.uk")
ENDING_SHARES = (0.46, 0.08, 0.06, 0.05, 0.08, 0.08, 0.06, 0.05, 0.04, 0.04)
SUBDOMAIN_SHARE = 0.35
SUBDOMAIN_BYTES = (2, 12)
LABEL_BYTES = (1, 17)
"""Drawn letters of a second-level label, in front of the five that number it. Names are 20 bytes long on average."""
NUMBERS = 26**5
CHUNK = 1 << 19
"""Names made at a time: 25 MB."""

_ENDING_COLUMNS = max(len(ending) for ending in ENDINGS)
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789" * 7 + b"abcd", dtype=np.uint8)
"""256 of them: a drawn byte is an index. More letters than digits would be real; it makes no difference here."""


def lines(first: int, count: int, seed: int = 1) -> bytes:
    """Names number `first` and following, one a line, in no order."""
    if first + count > NUMBERS:
        raise ValueError(f"there are {NUMBERS} names")
    made = [
        _chunk(np.arange(start, min(start + CHUNK, first + count)), np.random.default_rng((seed, start)))
        for start in range(first, first + count, CHUNK)
    ]
    return b"".join(made)


def some(first: int, count: int, seed: int = 1) -> list[bytes]:
    """The same as a list."""
    return lines(first, count, seed).split()


def _chunk(numbers: npt.NDArray[np.int64], random: np.random.Generator) -> bytes:
    """Fixed columns padded with zero bytes, then the padding taken out: no loop over names."""
    count = numbers.size
    has_subdomain = random.random(count) < SUBDOMAIN_SHARE
    subdomain = _letters(random, count, SUBDOMAIN_BYTES)
    subdomain[~has_subdomain] = 0
    dot = np.where(has_subdomain, ord("."), 0).astype(np.uint8)[:, None]
    number = np.empty((count, 5), dtype=np.uint8)
    rest = numbers.copy()
    for column in range(5):
        rest, digit = np.divmod(rest, 26)
        number[:, column] = ord("a") + digit
    endings = np.zeros((len(ENDINGS), _ENDING_COLUMNS + 2), dtype=np.uint8)
    for row, ending_text in zip(endings, ENDINGS, strict=True):
        row[: len(ending_text) + 2] = list(b"." + ending_text + b"\n")
    ending = endings[random.choice(len(ENDINGS), count, p=ENDING_SHARES)]
    table = np.concatenate([subdomain, dot, _letters(random, count, LABEL_BYTES), number, ending], axis=1).reshape(-1)
    text: bytes = table[table != 0].tobytes()
    return text


def _letters(random: np.random.Generator, count: int, bounds: tuple[int, int]) -> Octets:
    """Rows of drawn letters, as many as a drawn length says, the rest zero."""
    least, most = bounds
    drawn = _LETTERS[random.integers(0, 256, (count, most), dtype=np.uint8)]
    length = random.integers(least, most + 1, count)
    drawn[np.arange(most)[None, :] >= length[:, None]] = 0
    return drawn
