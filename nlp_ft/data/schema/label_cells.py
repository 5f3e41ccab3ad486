"""Reading a label column: one kind of value in every row, and no row without one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nlp_ft.data.readers.table import Table
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

Kind = Literal["string", "number", "boolean", "list"]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)
_CODE = re.compile(r"[+-]?0\d", re.ASCII)
_WHOLE = re.compile(r"(-?\d+)\.0*", re.ASCII)
_NULL_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})


@dataclass(frozen=True)
class LabelColumn:
    """One label column.

    `values`: str, bool, int or float by kind, or list[str]; "" is an empty cell.

    Numbers that were written as strings stay strings. `order`: the names of a ClassLabel in id order, else None.
    """

    table: Table
    name: str
    kind: Kind
    values: list[Any]
    order: list[str] | None = None

    def where(self, row: int) -> str:
        """The place of a row, for an error."""
        return self.table.where(row)

    def names(self) -> list[str]:
        """Each value (of a kind that is not list) as a class name."""
        return [label_name(value) if self.kind == "number" else str(value) for value in self.values]

    def require_none_empty(self) -> None:
        """Raises: DataError with the count and first places where cells are empty."""
        if empty := [row for row, value in enumerate(self.values) if value == ""]:
            raise DataError(_empty(self.table, self.name, empty))


def label_name(value: str | float) -> str:
    """A number as a class name: "1" for 1, 1.0, "1" and "1.0".

    Other numbers as they are written.
    """
    text = str(value)
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def is_number(text: str) -> bool:
    """Whether a string is a number and loses nothing as one ("007" would)."""
    return _NUMBER.fullmatch(text) is not None and not _CODE.match(text)


def as_float(value: str | float) -> float:
    """A number, as a float; an integer too large for one is inf.

    Raises: ValueError for another string.
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf


def read_label_column(table: Table, name: str) -> LabelColumn:
    """Check the cells of a label column and find their kind.

    Spaces around a string label do not count.

    Raises: DataError where there is no such column, where cells are null (with their count and first places), or where
    the rows hold values of different kinds.
    """
    cells: list[Any] = list(table.column(name, "--label_column_name"))
    names = table.class_names.get(name)
    if names is not None:
        return _from_class_ids(table, name, cells, names)
    _require_no_null(table, name, cells)
    kind = _only_kind(table, name, cells)
    if kind == "list":
        return LabelColumn(
            table, name, kind, [_list_of_names(table, name, row, cell) for row, cell in enumerate(cells)]
        )
    if kind == "string":
        stripped = [cell.strip() for cell in cells]
        return LabelColumn(table, name, "number" if _are_numbers(table, name, stripped) else kind, stripped)
    return LabelColumn(table, name, kind, cells)


def is_unlabelled(table: Table, name: str) -> bool:
    """Whether no row has a label: null, or -1 as in the hidden test labels of GLUE."""
    return all(cell is None or (cell == -1 and name in table.class_names) for cell in table.columns.get(name, [0]))


def faulty_labels(table: Table, name: str, problem_type: str | None) -> dict[int, str]:
    """Rows to be left out by `--skip_bad_rows`, with the reason.

    They have no label, or one of another kind than most.

    An empty string is a row without labels where the problem is multi-label, and no label at all otherwise.
    """
    cells = list(table.column(name, "--label_column_name"))
    kinds = Counter(kind for cell in cells if (kind := _kind(cell)) is not None)
    most = kinds.most_common(1)[0][0] if kinds else None
    listed = problem_type == "multi_label_classification" or any(isinstance(c, str) and ";" in c for c in cells)
    written = {cell.strip() for cell in cells if isinstance(cell, str)} - {""}
    as_numbers = most == "string" and all(is_number(cell) or cell.lower() in _NULL_WORDS for cell in written)
    faults = {}
    for row, cell in enumerate(cells):
        text = cell.strip() if isinstance(cell, str) else None
        if cell is None or (isinstance(cell, float) and math.isnan(cell)) or (text == "" and not listed):
            faults[row] = f"no label in column {name!r}."
        elif as_numbers and text and not is_number(text):
            faults[row] = f"no label in column {name!r} ({text} among numbers)."
        elif _kind(cell) != most:
            faults[row] = f"column {name!r} holds {shown(cell)}, where most rows hold a {most}."
    return faults


def _from_class_ids(table: Table, name: str, cells: list[Any], names: list[str]) -> LabelColumn:
    def named(row: int, cell: int) -> str:
        if not 0 <= cell < len(names):
            raise DataError(
                f"{table.where(row)}: class id {cell} in column {name!r}, which has {len(names)} class names."
            )
        return names[cell]

    if isinstance(next((cell for cell in cells if cell is not None), None), list):
        _require_no_null(table, name, cells)
        lists = [[named(row, part) for part in cell] for row, cell in enumerate(cells)]
        return LabelColumn(table, name, "list", lists, names)
    _require_no_null(table, name, [None if cell == -1 else cell for cell in cells])
    return LabelColumn(table, name, "string", [named(row, cell) for row, cell in enumerate(cells)], names)


def _require_no_null(table: Table, name: str, cells: Sequence[object]) -> None:
    missing = [row for row, cell in enumerate(cells) if cell is None or (isinstance(cell, float) and math.isnan(cell))]
    if missing:
        raise DataError(_empty(table, name, missing))


def _empty(table: Table, name: str, rows: list[int]) -> str:
    if len(rows) == 1:
        place = table.where(rows[0])
        return f"{place}: no label in column {name!r}; write it, or drop the row, as --skip_bad_rows does in training."
    if table.place is not None:
        places = ", ".join(table.where(row) for row in rows[:5])
    else:
        unit, numbers = ("rows", rows) if table.lines is None else ("lines", [table.lines[row] for row in rows])
        places = f"{unit} {', '.join(map(str, [n + (table.lines is None) for n in numbers[:5]]))}"
    return (
        f"{table.where(rows[0])}: no label in column {name!r} in {len(rows)} rows ({places}"
        f"{', ...' if len(rows) > 5 else ''}); write them, or drop the rows, as --skip_bad_rows does in training."
    )


def _kind(value: object) -> Kind | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list) else None


def _only_kind(table: Table, name: str, cells: Sequence[object]) -> Kind:
    first = _kind(cells[0])
    for row, cell in enumerate(cells):
        kind = _kind(cell)
        if kind is None:
            raise DataError(
                f"{table.where(row)}: {shown(cell)} in column {name!r} is no label (a string, number, boolean or list)."
            )
        if kind != first:
            raise DataError(
                f"{table.where(row)}: column {name!r} holds the {kind} {shown(cell)}, but the {first} "
                f"{shown(cells[0])} at {table.where(0)}; write all labels in one type."
            )
    assert first is not None  # a table has rows, and the first was looked at
    return first


def _are_numbers(table: Table, name: str, cells: list[str]) -> bool:
    """Whether all strings are numbers.

    Raises: DataError where all are but for words like NA, which stand for nulls.
    """
    distinct = set(cells) - {""}
    numbers = {cell for cell in distinct if is_number(cell)}
    finite = any(math.isfinite(float(cell)) for cell in numbers)
    if not finite or not all(cell in numbers or cell.lower() in _NULL_WORDS for cell in distinct):
        return False
    if nulls := [row for row, cell in enumerate(cells) if cell and cell not in numbers]:
        raise DataError(_empty(table, name, nulls))
    return True


def _list_of_names(table: Table, name: str, row: int, cell: list[object]) -> list[str]:
    if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in cell):
        raise DataError(f"{table.where(row)}: the list {shown(cell)} in column {name!r} must hold label names.")
    return [str(part).strip() for part in cell]
