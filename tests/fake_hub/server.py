"""A Hub for tests on 127.0.0.1: what huggingface_hub, transformers and datasets ask of huggingface.co, and faults on demand."""

from __future__ import annotations

import re
import shutil
import tempfile
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from . import reading, writing
from .blobs import OwnBlobs, S3Blobs
from .faults import Fault, FaultTable
from .state import Hub, Limits, Token
from .store import GITATTRIBUTES, Commit, Repo
from .wire import Answer, Port, Refusal, Request
from .xet import XetStore

_NAMES = {
    "{kind}": r"(?P<kind>model|dataset|space)s",
    "{prefix}": r"(?:(?P<kind>dataset|space)s/)?",
    "{id}": r"(?P<id>[^/]+(?:/[^/]+)??)",
    "{rev}": r"(?P<rev>[^/]+)",
}


def _compiled(pattern: str) -> re.Pattern[str]:
    for name, meaning in _NAMES.items():
        pattern = pattern.replace(name, meaning)
    return re.compile(pattern)


_ROUTES = [
    (re.compile(method), _compiled(pattern), call) for method, pattern, call in (*writing.ROUTES, *reading.ROUTES)
]


class TestHub(Hub):
    """`with TestHub() as hub:` a Hub at `hub.url`, its blob store on another port; WRITE, READ and STRANGER are its tokens.

    faults: what goes wrong from the start; `fault()` adds more.
    xet: whether it speaks Xet (then a client with hf_xet uses that); a client with HF_HUB_DISABLE_XET=1 uses LFS anyway.
    blob_store: the address of an S3 server to keep LFS files in, in place of the own port.
    multipart_over: LFS files of more bytes are uploaded in parts of `part_size`.
    page_size: entries in one page of a tree.
    quota: bytes of LFS files that are kept; more are refused.
    """

    __test__ = False
    WRITE, READ, STRANGER = "hf_test_write", "hf_test_read", "hf_test_stranger"

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        *,
        xet: bool = True,
        blob_store: str | None = None,
        multipart_over: int = 1 << 40,
        part_size: int = 6_000_000,
        page_size: int = 1000,
        quota: int | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.errors: list[str] = []
        """Tracebacks of the Hub's own defects; leaving the `with` raises them."""
        self.faults = FaultTable(faults)
        self._port = Port("hub", self._answer, self.faults, self.requests)
        self.url = self._port.url
        self._folder = Path(tempfile.mkdtemp(prefix="hub_xet_"))
        own = OwnBlobs(self.faults, self.requests)
        super().__init__(
            Limits(multipart_over, part_size, page_size, quota),
            S3Blobs(blob_store) if blob_store else own,
            own,
            XetStore(self._folder) if xet else None,
        )
        self.tokens = {
            self.WRITE: Token("me", orgs=("team",)),
            self.READ: Token("me", "read"),
            self.STRANGER: Token("stranger"),
        }

    def __enter__(self) -> Self:
        for port in (self._port, self.own_blobs.port):
            port.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for port in (self._port, self.own_blobs.port):
            port.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self.errors and error is None:
            raise AssertionError("the test Hub itself failed:\n" + "\n".join(self.errors))

    def fault(self, method: str, path: str, kind: str, count: int | None = 1, **more: Any) -> Fault:
        """Add a fault to the table; see Fault."""
        return self.faults.add(Fault(method, path, kind, count, **more))

    def environment(self, home: Path, token: str | None = WRITE, xet: bool = False) -> dict[str, str]:
        """Variables for a process that is to talk to this Hub alone, its caches under `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": token or "",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": str(int(not xet)),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def repo(self, id: str, kind: str = "model") -> Repo:
        """A repository: visibility, branches, refs, commits; KeyError if there is none."""
        return self.repos[kind, id]

    def commits(self, id: str, revision: str = "main", kind: str = "model") -> list[Commit]:
        """The commits that were pushed, oldest first; without the one a repository begins with."""
        return self.repo(id, kind).history(revision)[-2::-1]

    def files(self, id: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """Path -> bytes of a revision, without the .gitattributes of the Hub's own making."""
        commit = self.repo(id, kind).commit(revision)
        if commit is None:
            raise KeyError(revision)
        found = {path: self.content(file) for path, file in commit.files.items()}
        return {path: data for path, data in found.items() if (path, data) != (".gitattributes", GITATTRIBUTES)}

    def blobs(self) -> dict[str, bytes]:
        """Every byte that was ever stored, by its hash, in a commit or not; and what commits say, by `commit <id>`."""
        large = {*self.blob_store.names(), *(self.xet.hashes() if self.xet else ())}
        found = self.regular | {name: self.large(name) or b"" for name in large}
        commits = [commit for repo in self.repos.values() for commit in repo.commits.values()]
        return found | {f"commit {c.id}": f"{c.title}\n{c.message}".encode() for c in commits}

    def calls(self, method: str = ".*", path: str = "") -> list[Request]:
        """The requests of the log that match, as a fault would."""
        return [r for r in self.requests if re.fullmatch(method, r.method) and re.search(path, unquote(r.path))]

    def _answer(self, request: Request) -> Answer:
        try:
            answer = self._route(request)
        except Refusal as refusal:
            answer = refusal.answer
        except Exception:
            self.errors.append(f"{request.method} {request.path}\n{traceback.format_exc()}")
            answer = Answer(500, b'{"error":"Internal Error"}')
        answer.headers.setdefault("X-Request-Id", f"test-{len(self.requests)}")
        return answer

    def _route(self, request: Request) -> Answer:
        self.user(request)  # a token nobody has is refused whatever is asked
        asked = "GET" if request.method == "HEAD" else request.method
        for method, pattern, call in _ROUTES:
            found = pattern.fullmatch(request.path.rstrip("/"))
            if found and method.fullmatch(asked):
                parts = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
                if "kind" in found.groupdict():
                    parts.setdefault("kind", "model")
                return call(self, request, **parts)
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")
