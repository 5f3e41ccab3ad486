"""Rows that cannot be read: one error with all their places, or set aside."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nlp_ft.errors import DataError

_SHOWN = 20  # kinds of faults
_PLACES = 3  # of each kind
_VARIABLE = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"")  # what differs between faults of one kind
_PLACE = re.compile(r"(.*?)(:|, row )(\d+)", re.DOTALL)
_MEND = "Mend them; or, in training or predict, leave them out with --skip_bad_rows."


class BadRow(NamedTuple):
    """A row that is not read: its place, the reason, and its content."""

    where: str
    reason: str
    content: str


@dataclass
class _Kind:
    """Faults of one kind: the first reason, the first places, their number, and whether all reasons are the same."""

    reason: str
    places: list[str]
    count: int = 0
    same: bool = True

    def line(self) -> str:
        """`a.csv, lines 2, 5, 9 and 14 more: reason`."""
        if self.count == 1 or self.same:
            return f"{places(self.places, self.count)}: {self.reason}"
        return f"{places(self.places, self.count)}; at the first: {self.reason}"


class BadRows:
    """Collects the bad rows of one file, or of several.

    Strict (`skip` false): `settle()` raises. Else they stay in `rows`.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.rows: list[BadRow] = []
        self.count = 0
        self._kinds: dict[str, _Kind] = {}
        self._sources: dict[str, None] = {}

    def add(self, where: str, reason: str, content: str) -> None:
        """Add one row; where all are refused anyway, faults of one kind are counted."""
        self.count += 1
        if self.skip:
            self.rows.append(BadRow(where, reason, content))
            return
        match = _PLACE.fullmatch(where)
        self._sources[match[1] if match else where] = None
        kind = self._kinds.setdefault(_VARIABLE.sub("#", reason), _Kind(reason, []))
        kind.count += 1
        kind.same = kind.same and kind.reason == reason
        if len(kind.places) < _PLACES:
            kind.places.append(where)

    def settle(self, source: str) -> None:
        """Raise if there are bad rows that are not skipped.

        source: what is named where the rows are of many files. Raises: DataError with one line a kind of fault: its first
        places, how many more there are, the reason.
        """
        if self.skip or not self.count:
            return
        kinds = list(self._kinds.values())
        if self.count == 1:
            raise DataError(kinds[0].line())
        if len(kinds) == 1:
            raise DataError(f"{kinds[0].line()} {_MEND}")
        more = "" if len(kinds) <= _SHOWN else f", the first {_SHOWN} kinds of fault"
        lines = [kind.line() for kind in kinds[:_SHOWN]]
        source = ", ".join(self._sources) if len(self._sources) <= _PLACES else source
        raise DataError("\n".join([f"{source}: {self.count} bad rows{more}:", *lines, _MEND]))


def places(first: Sequence[str], count: int) -> str:
    """First places of `count` rows, in short: `a.csv, lines 2, 5, 9 and 14 more`."""
    if count == 1:
        return first[0]
    split = [_PLACE.fullmatch(place) for place in first]
    same = {match[1] + match[2] for match in split if match}
    names = list(first)
    lead = ""
    if all(split) and len(same) == 1:
        match = split[0]
        assert match is not None
        lead = f"{match[1]}, {'lines' if match[2] == ':' else 'rows'} "
        names = [match[3] for match in split if match]
    if count > len(names):
        return f"{lead}{', '.join(names)} and {count - len(names)} more"
    return f"{lead}{', '.join(names[:-1])} and {names[-1]}"


def write_rejected(path: Path, rejected: Iterable[BadRow]) -> None:
    """CSV of rows that were left out: where they stand, why, and what stands there.

    Whole or not at all.
    """
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("place", "reason", "content"), *rejected])
    part.replace(path)
