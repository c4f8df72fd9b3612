"""Entries of one version of a list, in a folder named by its content; feeds/files.py writes it.

    HASH/manifest.json, v4.bin, v6.bin      arrays as in policy/arrays.py, folders as in policy/parts.py
         names_exact.bin, names_below.bin, names_subtree.bin     of a list with names: blobs as in policy/names.py
         names_excepted_exact.bin, …                             of one that spares some below its own

HASH is the SHA-256 of the manifest, which holds those of the parts: the same entries give the same hash, whichever text
they came from, and whoever changes a byte is found out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clearway.errors import ClearwayError
from clearway.policy import arrays, parts
from clearway.policy.arrays import U64
from clearway.policy.compile import ListEntries
from clearway.policy.model import Prefix, Reason
from clearway.policy.names import NO_BLOB, Blob, ListNames, StoredNames

FORMAT = 1
EXCEPTED = "names_excepted"
"""What the parts begin with that a list spares."""


@dataclass(frozen=True, slots=True)
class StoredEntries:
    """The entries of one version of a list, mapped into memory."""

    hash: str
    path: Path
    v4: U64
    v6: U64
    lengths: dict[int, list[int]]
    """Prefix lengths that occur, by IP version."""
    names: StoredNames = field(default_factory=StoredNames)
    excepted: StoredNames = field(default_factory=StoredNames)
    """Names that the list spares of wider ones of its own."""

    def list_names(self, name: str, reason: Reason, **flags: bool) -> ListNames:
        """As policy.names takes them, with what else is said of the list there."""
        return ListNames(name, reason, self.names, excepted=self.excepted, **flags)

    def entries(self, name: str, reason: Reason, **flags: bool) -> ListEntries:
        """As policy.compile takes them, with what else is said of the list there."""
        return ListEntries(name, reason, self.v4, self.v6, **flags)

    def covering(self, prefix: Prefix) -> list[Prefix]:
        """Entries that cover it, itself included, longest first."""
        lengths = self.lengths[prefix.version]
        return arrays.covering(self.v4, self.v6, prefix, lengths) if lengths else []

    def within(self, prefix: Prefix, limit: int) -> list[Prefix]:
        """At most `limit` longer entries that lie within it, in order. Raises feeds.E014 at what is no prefix."""
        try:
            return arrays.within(self.v4, self.v6, prefix, limit)
        except ValueError as error:  # their checksum was not asked
            raise ClearwayError.of("feeds.E014", path=self.path, detail=error) from None


def document_of(v4: U64, v6: U64, names: StoredNames | None = None) -> dict[str, Any]:
    """What the manifest says beside its parts. A list without names has the hash that it had before there were any."""
    lengths = {str(version): found for version, found in arrays.lengths_of(v4, v6).items()}
    document = {"format": FORMAT, "kind": "entries", "v4": len(v4), "v6": len(v6), "lengths": lengths}
    return {**document, "names": names.counts()} if names else document


def name_parts(names: StoredNames, prefix: str = "names") -> dict[str, Blob]:
    """The parts that names are kept in; those that would be empty are left out."""
    return {f"{prefix}_{scope.name.lower()}": blob for scope, blob in names.blobs().items() if len(blob)}


def hash_of(manifest: bytes) -> str:
    """The folder's name."""
    return hashlib.sha256(manifest).hexdigest()


def open_entries(path: Path, *, verify: bool = True) -> StoredEntries:
    """The entries in that folder. Raises feeds.E014 when they are missing or not what its name says.

    verify=False leaves the parts' checksums unasked (the manifest's is always): for single questions.
    """
    try:
        if not re.fullmatch(r"[0-9a-f]{64}", path.name):
            raise parts.Damaged("name", "is no SHA-256")
        if hash_of(parts.read_manifest(path)[1]) != path.name:
            raise parts.Damaged(parts.MANIFEST, "its SHA-256 is not the folder's name")
        document, found = parts.read(path, verify=verify)
        if document.get("format") != FORMAT or document.get("kind") != "entries":
            raise parts.Damaged(parts.MANIFEST, f"is of format {document.get('format')}, not {FORMAT}")
        v4, v6 = parts.shaped(found, "v4", np.uint64), parts.shaped(found, "v6", np.uint64, 3)
        lengths = {int(version): lengths for version, lengths in document["lengths"].items()}
        names, excepted = (
            StoredNames(*(found.get(f"{prefix}_{scope}", NO_BLOB) for scope in ("exact", "below", "subtree")))
            for prefix in ("names", EXCEPTED)
        )
    except parts.Damaged as damage:
        raise ClearwayError.of("feeds.E014", path=path, detail=damage) from None
    return StoredEntries(path.name, path, v4, v6, lengths, names, excepted)
