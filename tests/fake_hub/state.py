"""What a Hub knows and whom it lets do what; the calls of `reading` and `writing` work on this."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .blobs import BlobStore, OwnBlobs
from .store import GITATTRIBUTES, Commit, File, Repo, blob_sha1
from .wire import Refusal, Request
from .xet import XetStore


@dataclass(frozen=True)
class Token:
    """Whose token it is, what it may (`read` or `write`), and the organisations its owner writes to."""

    user: str
    role: str = "write"
    orgs: tuple[str, ...] = ()


@dataclass
class Limits:
    """Sizes at which a Hub behaves otherwise, in bytes, and entries in one page of a tree."""

    multipart_over: int
    part_size: int
    page_size: int
    quota: int | None


class Hub:
    """Tokens, repositories and files."""

    url: str

    def __init__(self, limits: Limits, blob_store: BlobStore, own_blobs: OwnBlobs, xet: XetStore | None) -> None:
        self.limits, self.blob_store, self.own_blobs, self.xet = limits, blob_store, own_blobs, xet
        self.tokens: dict[str, Token] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        """By kind and id."""
        self.regular: dict[str, bytes] = {}
        """Bytes of regular files, by git's sha1."""
        self.lock = threading.RLock()

    def new_repo(self, id: str, kind: str = "model", visibility: str = "public") -> Repo:
        """Make a repository; it begins with a commit of the Hub's own .gitattributes."""
        repo = self.repos[kind, id] = Repo(kind, id, visibility)
        oid = blob_sha1(GITATTRIBUTES)
        self.regular[oid] = GITATTRIBUTES
        repo.add("refs/heads/main", {".gitattributes": File(len(GITATTRIBUTES), oid)}, "initial commit", "", repo.owner)
        return repo

    def user(self, request: Request) -> Token | None:
        """Who asks; refuses a token nobody has."""
        word = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if word and word not in self.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.tokens.get(word)

    def known_user(self, request: Request) -> Token:
        """Who asks; refuses nobody."""
        if who := self.user(request):
            return who
        raise Refusal(401, "Invalid username or password.")

    def owns(self, request: Request, repo: Repo) -> bool:
        """Whether the repository belongs to the one who asks."""
        who = self.user(request)
        return who is not None and repo.owner in (who.user, *who.orgs)

    def find(self, request: Request, kind: str, id: str, write: bool = False, owned: bool = True) -> Repo:
        """A repository as the one who asks may see it; `write`: may change it, `owned`: because it is their own."""
        who, repo = self.user(request), self.repos.get((kind, id))
        if repo is None or (repo.visibility == "private" and not self.owns(request, repo)):
            raise Refusal(404 if who else 401, "Repository not found", "RepoNotFound")
        if repo.disabled:
            raise Refusal(403, "Access to this resource is disabled.")
        if write and self.known_user(request).role != "write":
            raise Refusal(403, "Forbidden: this token has the role read, write is needed.")
        if write and owned and not self.owns(request, repo):
            raise Refusal(403, f"Forbidden: you don't have the right to write to {id}.")
        return repo

    def commit_of(self, repo: Repo, revision: str) -> Commit:
        """A revision's commit, or 404 RevisionNotFound."""
        commit = repo.commit(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def content(self, file: File) -> bytes:
        """The bytes of a file."""
        data = self.large(file.sha256) if file.sha256 else self.regular[file.oid]
        if data is None:
            raise KeyError(file.sha256)
        return data

    def bytes_at(self, commit: Commit, path: str) -> bytes:
        """The bytes at a path of a commit; none if there is no such path, or a large file is there."""
        file = commit.files.get(path)
        return self.regular[file.oid] if file and not file.sha256 else b""

    def large(self, sha256: str) -> bytes | None:
        """A large file, from the blob store or Xet."""
        data = self.blob_store.read(sha256)
        return data if data is not None or self.xet is None else self.xet.read(sha256)

    def size_of(self, sha256: str) -> int | None:
        """Its size; None if it was never uploaded."""
        data = self.blob_store.read(sha256)
        known = self.xet.hashes().get(sha256) if self.xet and data is None else None
        return known[1] if known else None if data is None else len(data)

    def xet_hash(self, sha256: str) -> str | None:
        """Its Xet hash; None if it was not uploaded so."""
        known = self.xet.hashes().get(sha256) if self.xet else None
        return known[0] if known else None

    def download_url(self, file: File) -> str:
        """Where plain HTTP finds a large file; one that lies in Xet alone is put together on the own port."""
        assert file.sha256
        if self.blob_store.read(file.sha256) is not None:
            return self.blob_store.download_url(file.sha256)
        if self.own_blobs.read(file.sha256) is None:
            self.own_blobs.keep(file.sha256, self.content(file))
        return self.own_blobs.download_url(file.sha256)

    def used(self) -> int:
        """Bytes of all large files."""
        sizes = {name: size for name, (_, size) in (self.xet.hashes() if self.xet else {}).items()}
        return sum(
            (sizes | {name: len(self.blob_store.read(name) or b"") for name in self.blob_store.names()}).values()
        )
