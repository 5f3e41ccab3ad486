"""Splitting by time: the newest rows are held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from nlp_ft.data.splits.groups import Components
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

_OLDEST_FIRST = ("train", "validation", "test")
_NUMBER, _LOCAL, _ZONED = "a number", "a time without a zone", "a time with a zone"


def read_times(times: Sequence[object]) -> NDArray[np.number]:
    """Times as numbers to compare.

    Numbers as they are; ISO strings, dates and datetimes in microseconds.

    Raises: DataError with the first row (from 1) whose time cannot be read, or is of another kind than the first one's.
    """
    values, first = [], ""
    for row, cell in enumerate(times, start=1):
        moment, named = _read(cell), shown(str(cell) if isinstance(cell, date) else cell)
        if moment is None:
            raise DataError(
                f"row {row}: {named} is no time; write all times as 2024-05-31, all as 2024-05-31T12:00:00, "
                "or all as numbers."
            )
        kind, value = moment
        first = first or kind
        if kind != first:
            raise DataError(f"row {row}: {named} is {kind}, the first row holds {first}; write all times alike.")
        values.append(value)
    numbers = np.asarray(values)
    return numbers if numbers.dtype.kind in "iuf" else numbers.astype(np.float64)


def _read(cell: object) -> tuple[str, float] | None:
    """(kind, number), or None for a cell that is no time."""
    if isinstance(cell, str):
        cell = _from_text(cell.strip())
    if isinstance(cell, datetime):
        return _since_1970(cell) if cell == cell else None  # pandas' missing time is a datetime unequal to itself
    if isinstance(cell, date):
        return _since_1970(datetime.combine(cell, time()))
    if isinstance(cell, Integral) and not isinstance(cell, bool):
        return _NUMBER, int(cell)
    if isinstance(cell, Real) and not isinstance(cell, bool) and math.isfinite(cell):
        return _NUMBER, float(cell)
    return None


def _from_text(text: str) -> float | datetime | None:
    for read in (int, float, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _since_1970(moment: datetime) -> tuple[str, int]:
    if moment.tzinfo is None:
        return _LOCAL, (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    return _ZONED, (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def split_by_time(parts: Components, times: Sequence[object], wanted: dict[str, float]) -> list[str]:
    """The split of each component by its newest row.

    The newest are test, the next validation, the rest train.

    A cut falls between two different times, where the split comes nearest to its share. Raises: DataError where there
    are fewer different times than splits, or as `read_times`.
    """
    numbers = read_times(times)
    order = np.argsort(numbers, kind="stable")
    newest = np.empty(len(parts), numbers.dtype)
    newest[parts.of_row[order]] = numbers[order]  # the last assignment to a component stands
    values, of_part = np.unique(newest, return_inverse=True)
    names = [name for name in _OLDEST_FIRST if name == "train" or name in wanted]
    if len(values) < len(names):
        raise DataError(
            f"{len(times)} rows of {len(values)} different times (equal texts and groups go with their newest row) are "
            f"too few to split {' and '.join(names[1:])} off train by time; add rows, or give the splits as files."
        )
    before = np.concatenate([[0], np.cumsum(np.bincount(of_part, parts.sizes))])  # rows older than each time
    splits, end = np.empty(len(values), dtype=object), len(values)
    for left in range(len(names) - 1, 0, -1):
        starts = np.arange(end - 1, left - 1, -1)
        missed = np.abs(before[end] - before[starts] - wanted[names[left]] * len(times))
        start = int(starts[missed.argmin()])
        splits[start:end], end = names[left], start
    splits[:end] = "train"
    return splits[of_part].tolist()


def older_rows(split: dict[str, list[int]], times: Sequence[object]) -> dict[str, int]:
    """Count held-out rows that are no newer than some row of an earlier split.

    They are there with a newer row of equal text or group. split: row numbers, as `split_rows` gives them by time.
    """
    numbers = read_times(times)
    names = [name for name in _OLDEST_FIRST if name in split]
    newest, counts = numbers[split[names[0]]].max(), {}
    for name in names[1:]:
        split_times = numbers[split[name]]
        counts[name] = int((split_times <= newest).sum())
        newest = max(newest, split_times.max())
    return counts
