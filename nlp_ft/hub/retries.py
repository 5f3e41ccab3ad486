"""Bounded tries: the client that huggingface_hub uses here reports what may pass, and waits as long as the Hub asks for.

By itself huggingface_hub tries some calls again, others not, repeats one answer to create_repo for ever, and has no timeout.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers, set_client_factory
from huggingface_hub.utils._http import default_client_factory

T = TypeVar("T")
TRIES = 6
_FOR_NOW = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_PAUSE = 30.0
_BUSY = "another conflicting operation is in progress"


class TemporaryError(Exception):
    """An answer that may be another later. `status`; `wait`: the seconds the Hub asks for, if any; `text`: its words."""

    def __init__(self, status: int, wait: float | None, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status, self.wait, self.text = status, wait, text


class OutOfTime(Exception):
    """The next try would come after the deadline. `wait`: how long it would have waited."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"{wait:.0f} s")
        self.wait = wait


def use_own_client(silence: float) -> None:
    """From here on every call of huggingface_hub times out, and says ForNow instead of trying again by itself.

    silence: seconds without a byte after which an answer is taken for lost.
    """
    limits = httpx2.Timeout(silence, connect=min(silence, 30.0)).as_dict()

    def limit(request: httpx2.Request) -> None:
        request.extensions["timeout"] = limits  # repo_info asks for none at all

    def make() -> httpx2.Client:
        client = default_client_factory()
        client.event_hooks = {"request": [*client.event_hooks["request"], limit], "response": [_look_at]}
        return client

    set_client_factory(make)


def _look_at(response: httpx2.Response) -> None:
    """Raises: ForNow. A PUT of a file is left to huggingface_hub, which rewinds what it sends."""
    if response.request.method == "PUT":
        return
    if response.status_code in _FOR_NOW:
        response.read()
        raise TemporaryError(response.status_code, _asked(response), words_of(response))
    if response.status_code == 409:
        response.read()
        if _BUSY in response.text:
            raise TemporaryError(409, None, words_of(response))


def _asked(response: httpx2.Response) -> float | None:
    """Seconds to wait by `RateLimit: "api";r=0;t=55` or `Retry-After: 55`."""
    limit = parse_ratelimit_headers(response.headers)
    if response.status_code == 429 and limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    after = response.headers.get("Retry-After", "").strip()
    return float(after) if after.isdecimal() else None


def words_of(response: httpx2.Response) -> str:
    """What the Hub says of an error, in one line."""
    try:
        held: Any = response.json()
    except (ValueError, httpx2.HTTPError):
        held = {}
    held = held if isinstance(held, dict) else {}
    said = held.get("error") or held.get("message")
    said = said or "; ".join(str(one.get("message")) for one in held.get("errors", ()) if isinstance(one, dict))
    said = said or response.headers.get("X-Error-Message") or response.reason_phrase
    return " ".join(str(said).split())[:300]


def cause(error: BaseException) -> BaseException:
    """The answer or the broken connection behind an exception, which the upload wraps into others."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(
            found, TemporaryError | OutOfTime | HfHubHTTPError | httpx2.TransportError | OfflineModeIsEnabled
        ):
            return found
        found = found.__cause__ or found.__context__
    return error


def pause_before(error: BaseException, attempt: int, pause: float) -> float | None:
    """Seconds before the next try; None: another try would end alike, or there were enough of them."""
    error = cause(error)
    if attempt >= TRIES - 1 or isinstance(error, OutOfTime | OfflineModeIsEnabled):
        return None
    usual = min(pause * 2**attempt, _LONGEST_PAUSE)
    if isinstance(error, TemporaryError):
        return usual if error.wait is None else error.wait + pause
    if isinstance(error, HfHubHTTPError):
        return usual if _is_stale_upload(error) else None
    # hf_xet says what went wrong in words alone
    return usual if isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError | RuntimeError) else None


def _is_stale_upload(error: HfHubHTTPError) -> bool:
    """An address to put a file to that has run out, or a file that did not arrive whole: asked for anew, it goes."""
    request = error.response.request
    return request.method == "PUT" or "/lfs/verify" in str(request.url) or str(request.url).endswith("/verify")


class Retries:
    """Runs the calls of one push, one after the other. `step`: the name of the one under way."""

    def __init__(self, ends: float, pause: float, tell: Callable[[str], None]) -> None:
        self.ends, self.pause, self.tell = ends, pause, tell
        self.step = ""

    def __call__(self, step: str, call: Callable[[], T]) -> T:
        """The call's answer. Raises: what the last try raised, or OutOfTime."""
        self.begin(step)
        for attempt in range(TRIES):
            try:
                return call()
            except Exception as error:
                self.wait(error, attempt)
        raise AssertionError("the last try returns or raises")

    def begin(self, step: str) -> None:
        """Note and tell what is done."""
        self.step = step
        self.tell(step)

    def wait(self, error: Exception, attempt: int) -> None:
        """Sleep before the next try. Raises: the error itself if there is to be none, OutOfTime."""
        pause = pause_before(error, attempt, self.pause)
        if pause is None:
            raise error
        if time.time() + pause > self.ends:
            raise OutOfTime(pause) from error
        time.sleep(pause)
