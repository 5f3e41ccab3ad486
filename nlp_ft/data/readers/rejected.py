"""Rows of annotation exports that nobody accepted: left out of training, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from nlp_ft.data.readers.table import Table
from nlp_ft.data.text import counted
from nlp_ft.errors import DataError

STATUS = "annotation_status"  # made by nlp_ft.data.readers.annotations; null is accepted
_ANSWERS = frozenset({"accept", "reject", "ignore"})  # of Prodigy
_FLAGS = {"was_cancelled": ("true", "cancelled"), "is_confirmed": ("false", "not confirmed")}
_APPROVER = "annotation_approver"  # of doccano: who approved, null where nobody did


def without_unannotated(table: Table) -> Table:
    """The table without rows that the reader of an annotation export marked, and without that mark.

    The note says how many are left out, and why. Raises: DataError where no row is left.
    """
    if STATUS not in table.columns:
        return table
    reasons = {row: str(cell) for row, cell in enumerate(table.columns[STATUS]) if cell is not None}
    columns = {name: cells for name, cells in table.columns.items() if name != STATUS}
    return _without(replace(table, columns=columns), reasons)


def without_rejected(table: Table, used: Collection[str]) -> Table:
    """The table without rows that an annotation export marks as rejected, ignored, cancelled or not confirmed.

    used: the columns of texts and labels, which mark nothing. The note says how many are left out, and why. Raises: DataError
    where no row is left.
    """
    reasons: dict[int, str] = {}
    for name in ("answer", _APPROVER, *_FLAGS):
        if name in table.columns and name not in used:
            reasons = {**_reasons(name, table.columns[name]), **reasons}
    return _without(table, reasons)


def _without(table: Table, reasons: Mapping[int, str]) -> Table:
    if not reasons:
        return table
    listed = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons.values()).most_common())
    if len(reasons) == len(table):
        raise DataError(f"{table.source}: no row is left; the annotation export marks all of them: {listed}.")
    left = [row for row in range(len(table)) if row not in reasons]
    note = f"{table.source}: {counted(len(reasons), 'row')} left out, as the annotation export marks them: {listed}"
    return replace(table.take(left), notes=[*table.notes, note])


def _reasons(name: str, cells: Sequence[object]) -> dict[int, str]:
    """Rows that one column marks, with the mark."""
    written = ["" if cell is None else str(cell).strip().lower() for cell in cells]
    if name == "answer":
        if not set(written) <= {*_ANSWERS, ""}:
            return {}
        return _marked({"reject": "rejected", "ignore": "ignored"}, written)
    if name == _APPROVER:
        return _marked({"": "not approved"}, written) if any(written) else {}
    mark, reason = _FLAGS[name]
    return _marked({mark: reason}, written) if set(written) <= {"true", "false", ""} else {}


def _marked(reasons: dict[str, str], written: Iterable[str]) -> dict[int, str]:
    return {row: reasons[cell] for row, cell in enumerate(written) if cell in reasons}
