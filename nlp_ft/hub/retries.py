"""Bounded retries with backoff for requests to the Hub.

huggingface_hub alone retries some requests and others not, repeats one response to create_repo without end, and has no timeout.
The client installed here raises TemporaryError for a temporary failure, and the wait is the one that the Hub asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers, set_client_factory
from huggingface_hub.utils._http import default_client_factory

T = TypeVar("T")
MAX_ATTEMPTS = 6
_TEMPORARY_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_MAX_BACKOFF = 30.0
_BUSY = "another conflicting operation is in progress"


class TemporaryError(Exception):
    """A response that another attempt may change.

    `status`; `wait`: seconds that the Hub asks for, or None; `text`: its error message.
    """

    def __init__(self, status: int, wait: float | None, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status, self.wait, self.text = status, wait, text


class OutOfTime(Exception):
    """The next attempt would start after the deadline.

    `wait`: seconds until that attempt.
    """

    def __init__(self, wait: float) -> None:
        super().__init__(f"{wait:.0f} s")
        self.wait = wait


def install_client(read_timeout: float) -> None:
    """Set timeouts for every request of huggingface_hub, and replace its retries.

    A failure that may pass raises TemporaryError.
    read_timeout: seconds without a byte after which a response counts as lost.
    """
    limits = httpx2.Timeout(read_timeout, connect=min(read_timeout, 30.0)).as_dict()

    def limit(request: httpx2.Request) -> None:
        request.extensions["timeout"] = limits  # repo_info sets none

    def make() -> httpx2.Client:
        client = default_client_factory()
        client.event_hooks = {"request": [*client.event_hooks["request"], limit], "response": [_check_response]}
        return client

    set_client_factory(make)


def _check_response(response: httpx2.Response) -> None:
    """Raise TemporaryError for a temporary status.

    A PUT of a file is left to huggingface_hub, which rewinds the file.
    """
    if response.request.method == "PUT":
        return
    if response.status_code in _TEMPORARY_STATUSES:
        response.read()
        raise TemporaryError(response.status_code, _retry_after(response), error_text(response))
    if response.status_code == 409:
        response.read()
        if _BUSY in response.text:
            raise TemporaryError(409, None, error_text(response))


def _retry_after(response: httpx2.Response) -> float | None:
    """Return the seconds to wait by `RateLimit: "api";r=0;t=55` or `Retry-After: 55`."""
    limit = parse_ratelimit_headers(response.headers)
    if response.status_code == 429 and limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    after = response.headers.get("Retry-After", "").strip()
    return float(after) if after.isdecimal() else None


def error_text(response: httpx2.Response) -> str:
    """Return the Hub's message about an error, in one line."""
    try:
        body = response.json()
    except (ValueError, httpx2.HTTPError):
        body = {}
    body = body if isinstance(body, dict) else {}
    text = body.get("error") or body.get("message")
    text = text or "; ".join(str(error.get("message")) for error in body.get("errors", ()) if isinstance(error, dict))
    text = text or response.headers.get("X-Error-Message") or response.reason_phrase
    return " ".join(str(text).split())[:300]


def root_cause(error: BaseException) -> BaseException:
    """Return the response or connection error behind an exception.

    An upload wraps it into others.
    """
    current: BaseException | None = error
    while current is not None:
        if isinstance(
            current, TemporaryError | OutOfTime | HfHubHTTPError | httpx2.TransportError | OfflineModeIsEnabled
        ):
            return current
        current = current.__cause__ or current.__context__
    return error


def delay_before(error: BaseException, attempt: int, backoff: float) -> float | None:
    """Return the seconds before the next attempt.

    None if no attempt is left, or another would fail alike.
    """
    error = root_cause(error)
    if attempt >= MAX_ATTEMPTS - 1 or isinstance(error, OutOfTime | OfflineModeIsEnabled):
        return None
    delay = min(backoff * 2**attempt, _MAX_BACKOFF)
    if isinstance(error, TemporaryError):
        return delay if error.wait is None else error.wait + backoff
    if isinstance(error, HfHubHTTPError):
        return delay if _is_stale_upload(error) else None
    # hf_xet raises RuntimeError for every failure
    return delay if isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError | RuntimeError) else None


def _is_stale_upload(error: HfHubHTTPError) -> bool:
    """Return whether an upload URL expired or a file arrived incomplete.

    A new request can succeed then.
    """
    request = error.response.request
    return request.method == "PUT" or "/lfs/verify" in str(request.url) or str(request.url).endswith("/verify")


class Retries:
    """Run the requests of one push, one after another.

    `step`: the name of the request in progress.
    """

    def __init__(self, deadline: float, backoff: float, on_step: Callable[[str], None]) -> None:
        self.deadline, self.backoff, self.on_step = deadline, backoff, on_step
        self.step = ""

    def __call__(self, step: str, call: Callable[[], T]) -> T:
        """Return the result of the call.

        Raises: the error of the last attempt, or OutOfTime.
        """
        self.begin(step)
        for attempt in range(MAX_ATTEMPTS):
            try:
                return call()
            except Exception as error:
                self.wait(error, attempt)
        raise AssertionError("the last attempt returns or raises")

    def begin(self, step: str) -> None:
        """Record and report the step."""
        self.step = step
        self.on_step(step)

    def wait(self, error: Exception, attempt: int) -> None:
        """Sleep before the next attempt.

        Raises: the error itself if there is no next attempt, OutOfTime.
        """
        delay = delay_before(error, attempt, self.backoff)
        if delay is None:
            raise error
        if time.time() + delay > self.deadline:
            raise OutOfTime(delay) from error
        time.sleep(delay)
