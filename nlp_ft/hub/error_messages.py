"""One-line messages for failed requests to the Hub, each with a remedy."""

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

from nlp_ft.hub.push_request import PushRequest
from nlp_ft.hub.retries import MAX_ATTEMPTS, OutOfTime, TemporaryError, error_text, root_cause

_LONGEST = 400
_FULL = re.compile("quota|storage limit|storage space", re.IGNORECASE)


def explain(error: BaseException, step: str, request: PushRequest, names: list[str]) -> str:
    """Return the message for an error.

    step: the request in progress; names: the accounts of the token (user and organisations), empty before whoami.
    """
    root = root_cause(error)
    if isinstance(root, OutOfTime):
        return (
            f"no time left ({step}): the next attempt was due in {root.wait:.0f} s, after the deadline (--hub_timeout); "
            f"before it: {explain(root.__cause__, step, request, names) if root.__cause__ else 'nothing'}"
        )
    if isinstance(root, TemporaryError):
        return _temporary(root, step)
    if isinstance(root, HfHubHTTPError):
        return _rejected(root, step, request, names)
    if isinstance(root, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and a push needs the network; unset it"
    if isinstance(root, httpx2.TimeoutException):
        return f"the Hub did not answer in time ({step}), {MAX_ATTEMPTS} times"
    if isinstance(root, httpx2.TransportError | ConnectionError):
        reason = " ".join(str(root).split())[:_LONGEST] or type(root).__name__
        return f"the connection to the Hub failed ({step}: {reason}); check the network, the proxy and HF_ENDPOINT"
    text = " ".join(str(root).split()) or type(root).__name__
    if _FULL.search(text):  # an upload wraps the response into a plain exception
        return _storage_full(request, text.rpartition(": ")[2].strip("`"))
    return f"{step}: {text[:_LONGEST]}"


def _storage_full(request: PushRequest, text: str) -> str:
    return f"the Hub accepts no more files from {request.repo.partition('/')[0]} ({text[:_LONGEST]}): free space there"


def _temporary(root: TemporaryError, step: str) -> str:
    if root.status == 429:
        delay = f"; retry after {root.wait:.0f} s" if root.wait is not None else ""
        return f"the Hub's rate limit is exceeded (429, {step}{delay}): wait, then push again"
    if root.status == 409:
        return f"the Hub is busy with another change to this repository (409, {step}): wait a minute"
    return f"the Hub is unavailable ({root.status}, {step}: {root.text}); wait, and check its status page"


def _rejected(root: HfHubHTTPError, step: str, request: PushRequest, names: list[str]) -> str:
    """Return the message for a response that another attempt would not change."""
    status, owner = root.response.status_code, request.repo.partition("/")[0]
    text = error_text(root.response)
    if isinstance(root, GatedRepoError):
        return f"{request.repo} is gated ({status}): ask its owner for access on its page, then push again"
    if isinstance(root, DisabledRepoError):
        return f"{request.repo} is disabled on the Hub ({status}); only its owner can enable it there"
    if isinstance(root, RevisionNotFoundError):
        return f"{request.repo} has no revision {request.branch} ({status}, {step}); --hub_revision takes a branch"
    if status == 401 and not isinstance(root, RepositoryNotFoundError):
        return "the Hub does not know this token (401): it is expired or mistyped; create another and set HF_TOKEN"
    if isinstance(root, RepositoryNotFoundError) or status == 404:
        hint = _ownership(owner, names)
        return f"the Hub has no {request.repo} that this token may see ({status}, {step}); is the name right?{hint}"
    if (status == 403 and _FULL.search(text)) or status in (402, 413):
        return _storage_full(request, f"{status}: {text}")
    if status == 403:
        return f"this token may not write to {request.repo} (403: {text}); use one with write access.{_ownership(owner, names)}"
    if status in (409, 412):
        return (
            f"another client keeps changing {request.branch} of {request.repo} ({status}); push again when it is done"
        )
    return f"the Hub refuses ({status}, {step}): {text}"


def _ownership(owner: str, names: list[str]) -> str:
    if not names or owner in names:
        return ""
    return f" {owner} is not among the names this token belongs to: {', '.join(names)}"
