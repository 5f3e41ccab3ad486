"""Xet storage in a directory: hf_xet writes there itself (a `local://` address); this reads back what it wrote."""

from __future__ import annotations

import struct
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from .wire import Answer, json_answer

_RECORD = 48
_BOOKEND = b"\xff" * 32
_VERIFICATION, _METADATA = 1 << 31, 1 << 30


class XetStore:
    """The files of a directory that hf_xet keeps."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"local://{directory}"
        self._lock = threading.Lock()

    def hashes(self) -> dict[str, tuple[str, int]]:
        """sha256 -> (Xet hash, size) of every file, from the shards."""
        shards = sorted(self.directory.glob("xet/xorbs/shards/*.mdb"))
        return {sha256: file for shard in shards for sha256, file in shard_files(shard.read_bytes()).items()}

    def read(self, sha256: str) -> bytes | None:
        """A file put together again, by hf_xet."""
        import hf_xet

        tools: Any = hf_xet  # compiled, without types
        # its log goes here, not to the user's cache
        settings = tools.XetConfig().with_config("log.dest", str(self.directory / "log"))
        with self._lock, tempfile.TemporaryDirectory() as folder:
            if not (known := self.hashes().get(sha256)):
                return None
            path = Path(folder) / "file"
            with tools.XetSession(settings).new_file_download_group(endpoint=self.url) as group:
                group.start_download_file(tools.XetFileInfo(*known), str(path))
            return path.read_bytes()

    def token(self) -> Answer:
        """What hf_xet needs: in the body for Rust, in the headers for Python."""
        until, word = int(time.time()) + 3600, "xet"
        answer = json_answer({"casUrl": self.url, "exp": until, "accessToken": word})
        answer.headers |= {"X-Xet-Cas-Url": self.url, "X-Xet-Access-Token": word, "X-Xet-Token-Expiration": str(until)}
        return answer


def shard_files(shard: bytes) -> dict[str, tuple[str, int]]:
    """sha256 -> (Xet hash, size) of the files of one shard: records of 48 bytes after a header of 48."""
    found, at = {}, _RECORD
    while (name := shard[at : at + 32]) != _BOOKEND and len(name) == 32:
        flags, entries = struct.unpack_from("<II", shard, at + 32)
        first, at = at + _RECORD, at + _RECORD * (1 + entries)
        # an entry: hash of a xorb (32 bytes), flags, bytes it holds of the file, first and last chunk
        size = sum(struct.unpack_from("<I", shard, first + _RECORD * i + 36)[0] for i in range(entries))
        at += _RECORD * entries if flags & _VERIFICATION else 0
        if flags & _METADATA:
            found[_hex(shard[at : at + 32])] = (_hex(name), size)
            at += _RECORD
    return found


def _hex(name: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", name))
