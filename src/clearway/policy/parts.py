"""A folder of binary parts under a manifest, as the entries of lists and compiled snapshots are kept.

    manifest.json   format, what else its kind needs, and for each part its size and SHA-256; sorted keys
    NAME.bin        little-endian arrays, no header

Written into a temporary folder beside its place, synced, then renamed: the folder is there whole or not at all, and
writing the same again gives the same bytes. What is read is checked against the manifest first, then mapped into
memory. A thief of such a folder learns which public lists are in force.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 1 << 20
BESIDE_BYTES_MIN = 16 << 20
"""Parts of more bytes together are hashed on two cores."""
UNFINISHED = ".new-"
"""Names of temporary folders begin so. One that is found later was left by a crash."""
Array = npt.NDArray[Any]


class Damaged(Exception):
    """A part, or the manifest, is not what it should be."""

    def __init__(self, part: str, detail: str) -> None:
        super().__init__(f"{part}: {detail}")
        self.part = part
        self.detail = detail


def write(
    directory: Path,
    name: Callable[[bytes], str],
    document: Mapping[str, Any],
    parts: Mapping[str, Array],
    *,
    taken: Mapping[str, Path] | None = None,
) -> Path:
    """Writes a folder below `directory`; `name` makes its name from the manifest's bytes. Lets OSError through.

    A folder of that name that is whole already stays as it is; a damaged one is replaced. `taken`: parts that stand
    the same in other folders, which were read and checked: they are linked, neither hashed nor written again. Raises
    Damaged where such a folder is none.
    """
    buffers = {part: np.ascontiguousarray(array).data.cast("B") if array.size else b"" for part, array in parts.items()}
    total = sum(map(len, buffers.values()))
    digests = _each_of(buffers, lambda part: hashlib.sha256(buffers[part]).hexdigest(), total)
    described = {part: {"bytes": len(buffer), "sha256": digests[part]} for part, buffer in buffers.items()}
    described |= {part: read_manifest(folder)[0]["parts"][part] for part, folder in (taken or {}).items()}
    manifest = (json.dumps({**document, "parts": described}, indent=1, sort_keys=True) + "\n").encode()
    path = directory / name(manifest)
    directory.mkdir(parents=True, exist_ok=True)
    with settling(directory):
        if _is_kept(path, manifest):
            return path
    unfinished = directory / f"{UNFINISHED}{secrets.token_hex(8)}-{path.name}"
    try:
        unfinished.mkdir()
        for part, buffer in buffers.items():
            _write_file(unfinished / f"{part}.bin", buffer)
        for part, folder in (taken or {}).items():
            (unfinished / f"{part}.bin").hardlink_to(folder / f"{part}.bin")
        _write_file(unfinished / MANIFEST, manifest)
        sync_directory(unfinished)
        with settling(directory):
            if _is_kept(path, manifest):  # another has written the same meanwhile
                shutil.rmtree(unfinished)
                return path
            if path.exists():
                shutil.rmtree(path)
            unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync_directory(directory)
    return path


@contextlib.contextmanager
def settling(directory: Path) -> Iterator[None]:
    """Held while a folder below `directory` is found whole, put in its place or taken away: several processes keep the
    same lists at once, and one removes what nobody needs. Never while something is written. Lets OSError through."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_kept(path: Path, manifest: bytes) -> bool:
    """Whether it stands there whole. It is kept fresh then: what is old and unused is removed."""
    if not path.exists():
        return False
    try:
        if read_manifest(path)[1] != manifest:
            return False
        read(path)
    except Damaged:
        return False
    keep_fresh(path)
    return True


def keep_fresh(path: Path) -> None:
    """Makes it as new as one written now. Lets OSError through, but that another user wrote it, who has just done so
    and is about to give it away."""
    with contextlib.suppress(PermissionError):
        os.utime(path)


def read_manifest(path: Path) -> tuple[dict[str, Any], bytes]:
    """The manifest, read and as it stands. Raises Damaged."""
    try:
        with (path / MANIFEST).open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
        document = json.loads(raw)
    except OSError as error:
        raise Damaged(MANIFEST, error.strerror or str(error)) from None
    except ValueError:
        raise Damaged(MANIFEST, "is no JSON") from None
    if len(raw) > MANIFEST_BYTES_MAX or not isinstance(document, dict) or not isinstance(document.get("parts"), dict):
        raise Damaged(MANIFEST, "is not in the form of a manifest")
    return document, raw


def read(path: Path, *, verify: bool = True) -> tuple[dict[str, Any], dict[str, Array]]:
    """The manifest, and each part as bytes in mapped memory, read-only. Raises Damaged, which names the part.

    verify=False leaves the checksums unasked: for folders whose name or caller vouches for them.
    """
    document, _ = read_manifest(path)
    arrays: dict[str, Array] = {}
    for part, described in document["parts"].items():
        if not isinstance(part, str) or not part.isidentifier() or not isinstance(described, dict):
            raise Damaged(MANIFEST, "is not in the form of a manifest")
        array = _map_file(path / f"{part}.bin", part)
        if len(array) != described.get("bytes"):
            raise Damaged(part, f"{len(array)} bytes in place of {described.get('bytes')}")
        arrays[part] = array
    total = sum(map(len, arrays.values()))
    digests = _each_of(arrays, lambda part: _digest_of_file(path / f"{part}.bin", part), total) if verify else {}
    for part, digest in digests.items():
        if digest != document["parts"][part].get("sha256"):
            raise Damaged(part, "its SHA-256 is another than the manifest's")
    return document, arrays


def _digest_of_file(path: Path, part: str) -> str:
    """Read, not looked at where it is mapped: most of it is never asked for, and would only fill memory."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Damaged(part, error.strerror or str(error)) from None


def _each_of(parts: Iterable[str], digest: Callable[[str], str], total: int) -> dict[str, str]:
    """By part its digest; of large ones (bytes in `total`) beside each other, which Python lets them be."""
    if total < BESIDE_BYTES_MIN:
        return {part: digest(part) for part in parts}
    with ThreadPoolExecutor(2) as threads:
        return dict(zip(parts, threads.map(digest, parts), strict=True))


def shaped(arrays: Mapping[str, Array], part: str, dtype: npt.DTypeLike, columns: int | None = None) -> Array:
    """A part as an array of `dtype`, in rows of `columns`. Raises Damaged when it is missing or of another size."""
    if part not in arrays:
        raise Damaged(part, "is missing")
    row = np.dtype(dtype).itemsize * (columns or 1)
    if len(arrays[part]) % row:
        raise Damaged(part, f"{len(arrays[part])} bytes are no multiple of {row}")
    array = arrays[part].view(dtype)
    return array if columns is None else array.reshape(-1, columns)


def remove_unfinished(directory: Path) -> None:
    """Removes what a crash left. Only for the one writer of the directory."""
    for path in directory.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def sync_directory(path: Path) -> None:
    """Makes renames within it durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_file(path: Path, content: bytes | memoryview) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _map_file(path: Path, part: str) -> Array:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return np.empty(0, dtype=np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    except OSError as error:
        raise Damaged(part, error.strerror or str(error)) from None
