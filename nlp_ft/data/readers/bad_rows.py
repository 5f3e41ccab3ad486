"""Rows that cannot be read: one error with all their places, or set aside."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from nlp_ft.errors import DataError

_SHOWN = 20


class BadRow(NamedTuple):
    """A row that is not read: its place, the reason, and its content."""

    where: str
    reason: str
    content: str


class BadRows:
    """Collects the bad rows of one file.

    Strict (`skip` false): `settle()` raises. Else they stay in `rows`.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.rows: list[BadRow] = []
        self.count = 0

    def add(self, where: str, reason: str, content: str) -> None:
        """One row; where all are refused anyway only the first few are kept."""
        self.count += 1
        if self.skip or self.count <= _SHOWN:
            self.rows.append(BadRow(where, reason, content))

    def settle(self, source: str) -> None:
        """Raise if there are bad rows that are not skipped.

        Raises: DataError with `where: reason` of the first twenty rows, and their number.
        """
        if self.skip or not self.count:
            return
        if self.count == 1:
            raise DataError(f"{self.rows[0].where}: {self.rows[0].reason}")
        first = "" if self.count <= _SHOWN else f", the first {_SHOWN} of them"
        lines = [f"{bad.where}: {bad.reason}" for bad in self.rows]
        raise DataError(
            f"{source}: {self.count} malformed rows{first}:\n" + "\n".join(lines) + "\n"
            "Mend them; or, in training, leave them out with --skip_bad_rows, which counts them and writes them to "
            "rejected_rows.csv."
        )


def write_rejected(path: Path, rejected: Iterable[BadRow]) -> None:
    """CSV of rows that were left out: where they stand, why, and what stands there.

    Whole or not at all.
    """
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("place", "reason", "content"), *rejected])
    part.replace(path)
