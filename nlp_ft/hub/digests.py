"""Digests of a file as the Hub has them: whether it is there already is told without sending it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_PIECE = 2**20


class Digest(NamedTuple):
    """`sha256` of the content, which names a large file; `blob`: git's own, which names a small one."""

    sha256: str
    blob: str

    def is_that_of(self, entry: RepoFile) -> bool:
        """Whether the Hub's entry is this very content."""
        return entry.lfs.sha256 == self.sha256 if entry.lfs is not None else entry.blob_id == self.blob


def digest(path: Path) -> Digest:
    """Read a file once."""
    whole = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            whole.update(piece)
            blob.update(piece)
    return Digest(whole.hexdigest(), blob.hexdigest())
