"""What the pushing process is told, as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True)
class Job:
    """A staged folder and where it goes.

    private: True and None make a private repository; None also refuses one that is public. ends: seconds since the epoch after
    which nothing is begun. pause: seconds before the second try; it doubles from try to try. silence: seconds without a byte
    after which an answer is taken for lost. parent: the process without which this one is to end, too.
    """

    repo: str
    folder: str
    files: list[str]
    private: bool | None = None
    revision: str | None = None
    create_pr: bool = False
    ends: float = float("inf")
    pause: float = 1.0
    silence: float = 120.0
    parent: int | None = None

    @property
    def branch(self) -> str:
        """Where the commit goes."""
        return self.revision or "main"

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The inverse of `to_json`."""
        return cls(**json.loads(line))
