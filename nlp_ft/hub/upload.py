"""One push to the Hub.

It compares with the branch head, uploads the differences, commits, and verifies the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import DatasetInfo, KernelInfo, ModelInfo, RepoFile, SpaceInfo

from nlp_ft.hub.allow_list import is_allowed
from nlp_ft.hub.digests import Digest, digest
from nlp_ft.hub.push_request import PushRequest, PushResult
from nlp_ft.hub.retries import MAX_ATTEMPTS, Retries, root_cause

_MAX_COMMITS = 2  # the second one is on top of another client's commit
_PUBLIC = (
    "{repo} is public on the Hub, and this push is private by default: set --hub_private_repo false to push "
    "to a public one, or make the repository private in its settings"
)


class PushRefused(Exception):
    """A push that must not continue; the message gives the reason."""


class Commit(NamedTuple):
    """A commit or pull request on the Hub."""

    oid: str
    url: str


@dataclass
class Push:
    """One push. `names`: the accounts of the token; `notes`: lines for the user."""

    request: PushRequest
    on_step: Callable[[str], None] = lambda step: None
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = HfApi()
        self.retries = Retries(self.request.deadline, self.request.backoff, self.on_step)
        self.digests: dict[str, Digest] = {}

    def run(self) -> PushResult:
        """Push, and return the commit.

        `sent` and `removed` are empty if the head has the same files.

        Raises: PushRefused.
        """
        request = self.request
        self._check_token()
        self._create_repository()
        self.digests = {name: digest(Path(request.folder) / name) for name in request.files}
        known: set[str] = self._pull_requests()
        made: Commit | None = None
        sent: list[str] = []
        removed: list[str] = []
        for attempt in range(_MAX_COMMITS + 1):
            head = self._head()
            changed, stale = self._differences(head)
            if not changed and not stale:
                return self._result(head, sent, removed)
            if made is not None and (lost := sorted({*changed, *stale} & {*sent, *removed})):
                raise PushRefused(f"the commit left out {lost[0]}; is it in the .gitignore of {request.repo}?")
            if attempt == _MAX_COMMITS:
                break
            sent, removed = changed, stale
            additions = [CommitOperationAdd(name, Path(request.folder) / name) for name in changed]
            self.retries("upload", lambda additions=additions: self._upload(additions))
            made = self._commit(head, additions, stale, known)
            if made is not None and not any(self._differences(made.oid)):
                return self._result(made.oid, sent, removed, made.url)
        raise PushRefused(
            f"another client keeps changing {request.branch} of {request.repo} (412); push again when it is done"
        )

    def _check_token(self) -> None:
        """Read the accounts of the token.

        Raises: PushRefused for a token with read access only.
        """
        account = self.retries("whoami", self.api.whoami)
        self.names = [account["name"], *(organisation["name"] for organisation in account.get("orgs", ()))]
        if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise PushRefused("this token only reads; create one with write access and set HF_TOKEN")

    def _create_repository(self) -> None:
        """Create the repository and the branch if missing.

        Raises: PushRefused for an unexpected public one.
        """
        request, info = self.request, self._info()
        if info is None:
            private = request.private is not False
            self.retries("create", lambda: self.api.create_repo(request.repo, private=private, exist_ok=True))
            info = self.retries("look at the repository", lambda: self.api.repo_info(request.repo))
        if not info.private and request.private is not False:
            raise PushRefused(_PUBLIC.format(repo=request.repo))
        if info.private and request.private is False:
            self.notes.append(f"{request.repo} stays private; its settings on the Hub make it public")
        if request.revision is None or request.revision.startswith("refs/"):
            return
        try:
            self.retries("look at the branch", self._read_head)
        except RevisionNotFoundError:
            self.retries(
                "create the branch", lambda: self.api.create_branch(request.repo, branch=request.branch, exist_ok=True)
            )

    def _info(self) -> ModelInfo | DatasetInfo | SpaceInfo | KernelInfo | None:
        try:
            return self.retries("look at the repository", lambda: self.api.repo_info(self.request.repo))
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None

    def _read_head(self) -> str:
        return str(self.api.repo_info(self.request.repo, revision=self.request.branch).sha)

    def _head(self) -> str:
        return self.retries("look at the branch", self._read_head)

    def _differences(self, revision: str) -> tuple[list[str], list[str]]:
        """Return the files that differ from a revision, and those to remove from it.

        The latter are files of an earlier model.
        """
        remote = self.retries("look at the files", lambda: self._tree(revision))
        changed = [
            name for name, local in self.digests.items() if name not in remote or not local.matches(remote[name])
        ]
        stale = [name for name in remote if is_allowed(name) and name not in self.digests]
        return changed, stale

    def _tree(self, revision: str) -> dict[str, RepoFile]:
        try:
            entries = list(self.api.list_repo_tree(self.request.repo, recursive=True, revision=revision))
        except EntryNotFoundError:  # an empty repository
            return {}
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def _upload(self, additions: list[CommitOperationAdd]) -> None:
        request = self.request
        self.api.preupload_lfs_files(request.repo, additions, revision=request.branch, create_pr=request.create_pr)

    def _commit(
        self, head: str, additions: list[CommitOperationAdd], stale: list[str], known: set[str]
    ) -> Commit | None:
        """Make one commit on top of head.

        Returns: None if the branch has moved, by a commit whose response was lost or by another client.
        """
        request = self.request
        operations = [*additions, *(CommitOperationDelete(name, is_folder=False) for name in stale)]
        self.retries.begin("commit")
        for attempt in range(MAX_ATTEMPTS):
            try:
                info = self.api.create_commit(
                    request.repo,
                    operations,
                    commit_message="Model by nlp_ft",
                    revision=request.branch,
                    create_pr=request.create_pr,
                    parent_commit=head,
                    num_threads=4,
                )
                return Commit(info.oid, info.pr_url or info.commit_url)
            except Exception as error:
                root = root_cause(error)
                if isinstance(root, HfHubHTTPError) and root.response.status_code in (409, 412):
                    return None
                self.retries.wait(error, attempt)
                if pull_request := self._new_pull_request(known):
                    return pull_request
                if self._head() != head:
                    return None
                self.retries.begin("commit")
        return None

    def _pull_requests(self) -> set[str]:
        """Return the refs of the pull requests, if this push is to open one."""
        if not self.request.create_pr:
            return set()
        refs = self.retries(
            "look at the pull requests", lambda: self.api.list_repo_refs(self.request.repo, include_pull_requests=True)
        )
        return {pull_request.ref for pull_request in refs.pull_requests or ()}

    def _new_pull_request(self, known: set[str]) -> Commit | None:
        """Return the pull request of this push whose response was lost, if any."""
        for ref in sorted(self._pull_requests() - known):
            if not any(self._differences(ref)):
                number = ref.rpartition("/")[2]
                url = f"{self.api.endpoint}/{self.request.repo}/discussions/{number}"
                return Commit(str(self.api.repo_info(self.request.repo, revision=ref).sha), url)
        return None

    def _result(self, commit: str, sent: list[str], removed: list[str], url: str | None = None) -> PushResult:
        url = url or f"{self.api.endpoint}/{self.request.repo}/commit/{commit}"
        return {"commit": commit, "url": url, "sent": sent, "removed": removed, "notes": self.notes}
