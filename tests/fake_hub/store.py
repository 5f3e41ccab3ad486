"""What the Hub keeps: repositories with branches, tags and pull requests, commits, and files named by their hash."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LARGE = "7z arrow bin ckpt gz h5 joblib model msgpack npy npz onnx parquet pb pickle pkl pt pth safetensors tar tflite zip zst"
GITATTRIBUTES = "".join(f"*.{end} filter=lfs diff=lfs merge=lfs -text\n" for end in _LARGE.split(" ")).encode()
"""What every repository begins with."""
LFS_THRESHOLD = 10_000_000


@dataclass(frozen=True)
class File:
    """One path of a commit; `sha256` for an LFS file, whose `oid` is then its pointer's."""

    size: int
    oid: str
    sha256: str | None = None
    xet: str | None = None

    @property
    def key(self) -> str:
        """What its bytes are kept under: sha256 for an LFS file, git's sha1 for another."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """A commit: everything it holds, by path."""

    id: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: Mapping[str, File]


@dataclass
class Repo:
    """A repository; `refs` maps `refs/heads/main`, `refs/tags/v1` and `refs/pr/1` to commit ids."""

    kind: str
    id: str
    visibility: str = "public"
    gated: bool = False
    disabled: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """The user or organisation before the slash."""
        return self.id.partition("/")[0]

    @property
    def branches(self) -> dict[str, str]:
        """Branch name -> commit id."""
        return self.named("refs/heads/")

    def named(self, prefix: str) -> dict[str, str]:
        """The refs of one kind, without their prefix."""
        return {ref.removeprefix(prefix): id for ref, id in self.refs.items() if ref.startswith(prefix)}

    def ref(self, revision: str) -> str | None:
        """The full name of a branch, tag or pull request."""
        names = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
        return next((name for name in names if name in self.refs), None)

    def commit(self, revision: str) -> Commit | None:
        """The commit of a branch, tag, pull request or (at least 7 letters of a) commit id."""
        if ref := self.ref(revision):
            return self.commits[self.refs[ref]]
        if not re.fullmatch(r"[0-9a-f]{7,40}", revision):
            return None
        return next((commit for id, commit in self.commits.items() if id.startswith(revision)), None)

    def history(self, revision: str) -> list[Commit]:
        """Newest first."""
        found, commit = [], self.commit(revision)
        while commit:
            found.append(commit)
            commit = self.commits.get(commit.parent or "")
        return found

    def add(self, ref: str, files: Mapping[str, File], title: str, message: str, author: str) -> Commit:
        """Put a commit on top of a ref."""
        parent, count = self.refs.get(ref), len(self.commits)
        date = f"2026-01-01T{count // 3600:02}:{count // 60 % 60:02}:{count % 60:02}.000Z"
        told = repr((self.kind, self.id, parent, title, message, author, date, sorted(files.items())))
        id = hashlib.sha1(told.encode()).hexdigest()
        commit = self.commits[id] = Commit(id, parent, title, message, author, date, dict(files))
        self.refs[ref] = id
        return commit

    def next_pull(self, start: Commit) -> str:
        """The ref of a new pull request, taken."""
        ref = f"refs/pr/{len(self.named('refs/pr/')) + 1}"
        self.refs[ref] = start.id
        return ref


def blob_sha1(data: bytes) -> str:
    """Git's name for a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """The file git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def is_lfs(path: str, size: int, attributes: bytes) -> bool:
    """Whether a new file of this name and size is kept in LFS, by .gitattributes."""
    rules = [line.split() for line in attributes.decode().splitlines() if line.strip()]
    patterns = [rule[0] for rule in rules if "filter=lfs" in rule]
    names = (path, path.rpartition("/")[2])
    return size > LFS_THRESHOLD or any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)
