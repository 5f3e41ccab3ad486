"""What went wrong between here and the Hub, in one line that says what to do."""

from __future__ import annotations

import re

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from nlp_ft.hub.push_request import Job
from nlp_ft.hub.retries import TRIES, OutOfTime, TemporaryError, cause, words_of

_LONGEST = 400
_FULL = re.compile("quota|storage limit|storage space", re.IGNORECASE)


def explain(error: BaseException, step: str, job: Job, names: list[str]) -> str:
    """step: the call under way; names: the user's and their organisations', where whoami told them."""
    found = cause(error)
    if isinstance(found, OutOfTime):
        return (
            f"no time left ({step}): the next try was to come in {found.wait:.0f} s, after the deadline (--hub_timeout); "
            f"before it: {explain(found.__cause__, step, job, names) if found.__cause__ else 'nothing'}"
        )
    if isinstance(found, TemporaryError):
        return _for_now(found, step)
    if isinstance(found, HfHubHTTPError):
        return _answered(found, step, job, names)
    if isinstance(found, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and a push needs the network; unset it"
    if isinstance(found, httpx2.TimeoutException):
        return f"the Hub did not answer in time ({step}), {TRIES} times"
    if isinstance(found, httpx2.TransportError | ConnectionError):
        reason = " ".join(str(found).split())[:_LONGEST] or type(found).__name__
        return f"the connection to the Hub broke ({step}: {reason}); look to the network, a proxy or HF_ENDPOINT"
    text = " ".join(str(found).split()) or type(found).__name__
    if _FULL.search(text):  # of the files sent, one by one
        return _no_room(job, text.rpartition(": ")[2].strip("`"))
    return f"{step}: {text[:_LONGEST]}"


def _no_room(job: Job, said: str) -> str:
    return f"the Hub takes no more files from {job.repo.partition('/')[0]} ({said[:_LONGEST]}): make room there"


def _for_now(found: TemporaryError, step: str) -> str:
    if found.status == 429:
        asked = f"; it asks for {found.wait:.0f} s" if found.wait is not None else ""
        return f"the Hub's rate limit is used up (429, {step}{asked}): wait, and push again"
    if found.status == 409:
        return f"the Hub is busy with another change to this repository (409, {step}): wait a minute"
    return f"the Hub fails at the moment ({found.status}, {step}: {found.text}); wait, and look at its status page"


def _answered(found: HfHubHTTPError, step: str, job: Job, names: list[str]) -> str:
    """A plain no."""
    status, owner = found.response.status_code, job.repo.partition("/")[0]
    said = words_of(found.response)
    if isinstance(found, GatedRepoError):
        return f"{job.repo} is gated ({status}): ask its owner for access on its page, then push again"
    if isinstance(found, DisabledRepoError):
        return f"{job.repo} is disabled on the Hub ({status}); its owner must settle that there"
    if isinstance(found, RevisionNotFoundError):
        return f"{job.repo} has no revision {job.branch} ({status}, {step}); --hub_revision takes a branch"
    if status == 401 and not isinstance(found, RepositoryNotFoundError):
        return "the Hub does not know this token (401): it has run out or is mistyped; make another and set HF_TOKEN"
    if isinstance(found, RepositoryNotFoundError) or status == 404:
        return f"the Hub has no {job.repo} that this token may see ({status}, {step}); is the name right?{_yours(owner, names)}"
    if (status == 403 and _FULL.search(said)) or status in (402, 413):
        return _no_room(job, f"{status}: {said}")
    if status == 403:
        return f"this token may not write to {job.repo} (403: {said}); use one with write access.{_yours(owner, names)}"
    if status in (409, 412):
        return f"somebody else keeps changing {job.branch} of {job.repo} ({status}); push again when they are done"
    return f"the Hub refuses ({status}, {step}): {said}"


def _yours(owner: str, names: list[str]) -> str:
    if not names or owner in names:
        return ""
    return f" {owner} is not among the names this token belongs to: {', '.join(names)}"
