"""Digests of a file as the Hub computes them.

They tell whether the Hub has a file already, without sending it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_CHUNK_BYTES = 2**20


class Digest(NamedTuple):
    """Digests of a file.

    `sha256` of the content identifies an LFS file; `blob`, git's SHA-1, a small one.
    """

    sha256: str
    blob: str

    def matches(self, entry: RepoFile) -> bool:
        """Return whether the Hub's entry has this content."""
        return entry.lfs.sha256 == self.sha256 if entry.lfs is not None else entry.blob_id == self.blob


def digest(path: Path) -> Digest:
    """Compute both digests in one pass over a file."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
            blob.update(chunk)
    return Digest(sha256.hexdigest(), blob.hexdigest())
