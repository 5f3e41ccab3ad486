"""The fault table: what the Hub is to do wrong, at which request, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

KINDS = ("status", "hang", "slow", "drop", "lost-reply", "cut", "wrong-size", "corrupt")


@dataclass
class Fault:
    """One line of the table; it is used up by `count` requests that match, after `skip` that are let through.

    kind:
        status      answer `status` with `headers` and `body`; nothing is done.
        hang        say nothing for `seconds`, then close the connection; nothing is done.
        slow        wait `seconds`, then do the work and answer.
        drop        close the connection after `after` bytes of the request's body; nothing is done.
        lost-reply  do the work, then close the connection without an answer.
        cut         close the connection after `after` bytes of the answer's body, which announced its whole length.
        wrong-size  answer with a body whose last byte is missing and a Content-Length that says so.
        corrupt     answer with a body of the right length whose last byte is another.
    """

    method: str
    """`POST`, `GET|HEAD` or `.*`: a regular expression for the whole method."""
    path: str
    """A regular expression searched in the unquoted path and query, on both ports: `/commit/`, `^/blobs/`."""
    kind: str
    count: int | None = 1
    """None: every time."""
    skip: int = 0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error":"a fault of the table"}'
    seconds: float = 60.0
    after: int = 0
    hits: int = 0
    """Requests it has met."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}; got {self.kind!r}")

    def takes(self, method: str, target: str) -> bool:
        """Whether it happens to this request; counts it."""
        if self.count == 0 or not re.fullmatch(self.method, method) or not re.search(self.path, target):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count = None if self.count is None else self.count - 1
        self.hits += 1
        return True


class FaultTable:
    """Faults in the order they were given; a request meets the first that takes it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Append a fault."""
        with self._lock:
            self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Behave from now on."""
        with self._lock:
            self.faults.clear()

    def take(self, method: str, target: str) -> Fault | None:
        """The fault that happens to this request."""
        with self._lock:
            return next((fault for fault in self.faults if fault.takes(method, target)), None)
