"""The request to the pushing process and its messages, one line of JSON each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self, TypedDict


class PushResult(TypedDict):
    """A finished push.

    `sent`, `removed`: file names, both empty if the Hub had the same files; `notes`: for the user.
    """

    commit: str
    url: str
    sent: list[str]
    removed: list[str]
    notes: list[str]


class Message(TypedDict, total=False):
    """A line of the worker: the request in progress, or the end of the push."""

    step: str
    done: PushResult
    failed: str


@dataclass(frozen=True)
class PushRequest:
    """A staged folder and its destination.

    private: True and None create a private repository; None also refuses a public one. deadline: seconds since the epoch after
    which no request is started. backoff: seconds before the second attempt; doubles with each attempt. read_timeout: seconds
    without a byte after which a response counts as lost. parent_pid: the worker exits when this process has ended.
    """

    repo: str
    folder: str
    files: list[str]
    private: bool | None = None
    revision: str | None = None
    create_pr: bool = False
    deadline: float = float("inf")
    backoff: float = 1.0
    read_timeout: float = 120.0
    parent_pid: int | None = None

    @property
    def branch(self) -> str:
        """The branch that receives the commit."""
        return self.revision or "main"

    def to_json(self) -> str:
        """Serialise to one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Parse the output of `to_json`."""
        return cls(**json.loads(line))
