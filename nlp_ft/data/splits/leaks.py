"""Refusal of test rows that are training rows too.

Figures on them would say nothing.
"""

from __future__ import annotations

from nlp_ft.data.readers.table import Table
from nlp_ft.data.rows import Rows
from nlp_ft.data.text import counted
from nlp_ft.errors import DataError

_SHOWN = 3


def refuse_leaks(tables: dict[str, Table], rows: dict[str, Rows], allowed: bool) -> list[str]:
    """Compare the test rows with the training and validation rows.

    Equal texts and equal groups are leaks.

    Returns: warnings, on leaks between other splits and on those that are allowed. Raises: DataError for test rows whose
    text (or group) is among the training rows, unless that is `allowed`.
    """
    notes = []
    for held_out, source in (("test", "train"), ("validation", "train"), ("test", "validation")):
        if held_out not in rows or source not in rows:
            continue
        for what, leaks in (
            ("text", _shared_texts(rows, held_out, source)),
            ("group", _shared_groups(rows, held_out, source)),
        ):
            if not leaks:
                continue
            examples = ", ".join(
                f"{tables[held_out].where(row)} = {tables[source].where(other)}" for row, other in leaks[:_SHOWN]
            )
            have = "has" if len(leaks) == 1 else "have"
            message = (
                f"{counted(len(leaks), 'row')} of {len(rows[held_out])} in {held_out} {have} a {what} that is in {source} too "
                f"({examples}{', ...' if len(leaks) > _SHOWN else ''})"
            )
            if (held_out, source) == ("test", "train") and not allowed:
                raise DataError(
                    f"{message}, so the test figures would flatter the model; take them out (nlp-ft data check ... --fix DIR "
                    "writes clean files), or go on with --allow_leakage."
                )
            notes.append(f"warning: {message}, so its figures flatter the model")
    return notes


def _shared_texts(rows: dict[str, Rows], held_out: str, source: str) -> list[tuple[int, int]]:
    """(row of the held-out split, first row of the other) for each equal text."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(rows[source].keys):
        first.setdefault(key, row)
    return [(row, first[key]) for row, key in enumerate(rows[held_out].keys) if key in first]


def _shared_groups(rows: dict[str, Rows], held_out: str, source: str) -> list[tuple[int, int]]:
    held, others = rows[held_out].cells("group"), rows[source].cells("group")
    if held is None or others is None:
        return []
    first: dict[str, int] = {}
    for row, group in enumerate(others):
        first.setdefault(group, row)
    return [(row, first[group]) for row, group in enumerate(held) if group in first]
