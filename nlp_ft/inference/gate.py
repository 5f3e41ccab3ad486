"""Calls that may run side by side, and changes that run alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Let any number of calls run at once, and a change only while none runs.

    A change that waits is let in before later calls. Neither may be begun within the other, by the same thread. Copies and
    pickles start anew.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._answering = 0
        self._waiting = 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Context of a call."""
        with self._condition:
            self._condition.wait_for(lambda: not self._waiting)
            self._answering += 1
        try:
            yield
        finally:
            with self._condition:
                self._answering -= 1
                self._condition.notify_all()

    @contextmanager
    def changing_alone(self) -> Iterator[None]:
        """Context of a change."""
        with self._condition:
            self._waiting += 1
            try:
                self._condition.wait_for(lambda: not self._answering)
                yield
            finally:
                self._waiting -= 1
                self._condition.notify_all()

    def __reduce__(self) -> tuple[type[Gate], tuple[()]]:
        return Gate, ()
