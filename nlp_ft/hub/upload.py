"""The push itself: read the head, send what differs from it, make one commit on top of that head, look at what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from nlp_ft.hub.allow_list import is_allowed
from nlp_ft.hub.digests import Digest, digest
from nlp_ft.hub.push_request import Job
from nlp_ft.hub.retries import TRIES, Retries, cause

_ROUNDS = 2  # commits that are tried: one, and one more on top of what somebody else did meanwhile
_PUBLIC = (
    "{repo} is public on the Hub, and this push is private by default: --hub_private_repo false says that all may see the "
    "model; or make the repository private in its settings"
)


class Refused(Exception):
    """A push that must not go on, in words."""


@dataclass
class Push:
    """One push. `names`: who the token belongs to; `notes`: what its user should know."""

    job: Job
    tell: Callable[[str], None] = lambda step: None
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = HfApi()
        self.tries = Retries(self.job.ends, self.job.pause, self.tell)
        self.digests: dict[str, Digest] = {}

    def run(self) -> dict[str, Any]:
        """Returns: {"commit", "url", "sent", "removed"}; sent is empty where the head held everything already."""
        job = self.job
        self._who()
        self._repository()
        self.digests = {name: digest(Path(job.folder) / name) for name in job.files}
        known, found = self._pulls(), None
        sent: list[str] = []
        removed: list[str] = []
        for round_ in range(_ROUNDS + 1):
            head = self._head()
            changed, stale = self._differences(head)
            if not changed and not stale:
                return self._done(head, sent, removed)
            if found is not None and (lost := sorted({*changed, *stale} & {*sent, *removed})):
                raise Refused(f"the commit left out {lost[0]}; is it in the .gitignore of {job.repo}?")
            if round_ == _ROUNDS:
                break
            sent, removed = changed, stale
            additions = [CommitOperationAdd(name, Path(job.folder) / name) for name in changed]
            self.tries("upload", lambda additions=additions: self._upload(additions))
            found = self._commit(head, additions, stale, known)
            if found is not None and not any(self._differences(found["commit"])):
                return self._done(found["commit"], sent, removed, found["url"])
        raise Refused(f"somebody else keeps changing {job.branch} of {job.repo} (412); push again when they are done")

    def _who(self) -> None:
        """Raises: Refused for a token that only reads."""
        me = self.tries("whoami", self.api.whoami)
        self.names = [me["name"], *(one["name"] for one in me.get("orgs", ()))]
        if me.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise Refused("this token only reads; make one that may write, and set HF_TOKEN")

    def _repository(self) -> None:
        """Make it and the branch where they are missing. Raises: Refused for a public one nobody asked for."""
        job, info = self.job, self._info()
        if info is None:
            private = job.private is not False
            self.tries("create", lambda: self.api.create_repo(job.repo, private=private, exist_ok=True))
            info = self.tries("look at the repository", lambda: self.api.repo_info(job.repo))
        if not info.private and job.private is not False:
            raise Refused(_PUBLIC.format(repo=job.repo))
        if info.private and job.private is False:
            self.notes.append(f"{job.repo} stays private; its settings on the Hub make it public")
        if job.revision is None or job.revision.startswith("refs/"):
            return
        try:
            self.tries("look at the branch", self._read_head)
        except RevisionNotFoundError:
            self.tries("create the branch", lambda: self.api.create_branch(job.repo, branch=job.branch, exist_ok=True))

    def _info(self) -> Any:
        try:
            return self.tries("look at the repository", lambda: self.api.repo_info(self.job.repo))
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None

    def _read_head(self) -> str:
        return str(self.api.repo_info(self.job.repo, revision=self.job.branch).sha)

    def _head(self) -> str:
        return self.tries("look at the branch", self._read_head)

    def _differences(self, revision: str) -> tuple[list[str], list[str]]:
        """Our files that a revision does not hold as they are, and files of an earlier model that would be left beside them."""
        held = self.tries("look at the files", lambda: self._tree(revision))
        changed = [name for name, mine in self.digests.items() if name not in held or not mine.is_that_of(held[name])]
        stale = [name for name in held if is_allowed(name) and name not in self.digests]
        return changed, stale

    def _tree(self, revision: str) -> dict[str, RepoFile]:
        try:
            found = list(self.api.list_repo_tree(self.job.repo, recursive=True, revision=revision))
        except EntryNotFoundError:  # an empty repository
            return {}
        return {entry.path: entry for entry in found if isinstance(entry, RepoFile)}

    def _upload(self, additions: list[CommitOperationAdd]) -> None:
        job = self.job
        self.api.preupload_lfs_files(job.repo, additions, revision=job.branch, create_pr=job.create_pr)

    def _commit(
        self, head: str, additions: list[CommitOperationAdd], stale: list[str], known: set[str]
    ) -> dict[str, Any] | None:
        """One commit on top of head; None if head is not the branch's any more, by an answer that was lost or by others."""
        job = self.job
        operations = [*additions, *(CommitOperationDelete(name, is_folder=False) for name in stale)]
        self.tries.begin("commit")
        for attempt in range(TRIES):
            try:
                made = self.api.create_commit(
                    job.repo,
                    operations,
                    commit_message="Model by nlp_ft",
                    revision=job.branch,
                    create_pr=job.create_pr,
                    parent_commit=head,
                    num_threads=4,
                )
                return {"commit": made.oid, "url": made.pr_url or made.commit_url}
            except Exception as error:
                found = cause(error)
                if isinstance(found, HfHubHTTPError) and found.response.status_code in (409, 412):
                    return None
                self.tries.wait(error, attempt)
                if pull := self._new_pull(known):
                    return pull
                if self._head() != head:
                    return None
                self.tries.begin("commit")
        return None

    def _pulls(self) -> set[str]:
        """The pull requests there are, where one is to be made."""
        if not self.job.create_pr:
            return set()
        refs = self.tries(
            "look at the pull requests", lambda: self.api.list_repo_refs(self.job.repo, include_pull_requests=True)
        )
        return {one.ref for one in refs.pull_requests or ()}

    def _new_pull(self, known: set[str]) -> dict[str, Any] | None:
        """The pull request whose answer was lost."""
        for ref in sorted(self._pulls() - known):
            if not any(self._differences(ref)):
                number = ref.rpartition("/")[2]
                url = f"{self.api.endpoint}/{self.job.repo}/discussions/{number}"
                return {"commit": str(self.api.repo_info(self.job.repo, revision=ref).sha), "url": url}
        return None

    def _done(self, commit: str, sent: list[str], removed: list[str], url: str | None = None) -> dict[str, Any]:
        url = url or f"{self.api.endpoint}/{self.job.repo}/commit/{commit}"
        return {"commit": commit, "url": url, "sent": sent, "removed": removed, "notes": self.notes}
