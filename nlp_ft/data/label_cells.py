"""A label column read with care: one kind of value in every row, no row without one, and the kind known."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from nlp_ft.data.table import Table, shown
from nlp_ft.errors import DataError

Kind = Literal["string", "number", "boolean", "list"]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)
_CODE = re.compile(r"[+-]?0\d", re.ASCII)
_WHOLE = re.compile(r"(-?\d+)\.0*", re.ASCII)
_NULL_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})


@dataclass(frozen=True)
class LabelColumn:
    """One label column. `values`: str, bool, int or float by kind, or list[str]; "" is an empty cell.

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
    """A number as a class name: "1" for 1, 1.0, "1" and "1.0"; other numbers as they are written."""
    text = str(value)
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def is_number(text: str) -> bool:
    """Whether a string is a number and loses nothing as one ("007" would)."""
    return _NUMBER.fullmatch(text) is not None and not _CODE.match(text)


def as_float(value: str | float) -> float:
    """A number, as a float; an integer too large for one is inf. Raises: ValueError for another string."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def read_label_column(table: Table, name: str) -> LabelColumn:
    """Check the cells of a label column and find their kind; spaces around a string label do not count.

    Raises: DataError where there is no such column, where cells are null (with their count and first places), or where
    the rows hold values of different kinds.
    """
    cells = table.column(name, "--label_column_name")
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
    """Whether every row lacks its label (null, or the -1 of a hidden one), as in the test splits of GLUE."""
    return all(cell is None or (cell == -1 and name in table.class_names) for cell in table.columns.get(name, [0]))


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


def _require_no_null(table: Table, name: str, cells: list[Any]) -> None:
    missing = [row for row, cell in enumerate(cells) if cell is None or (isinstance(cell, float) and math.isnan(cell))]
    if missing:
        raise DataError(_empty(table, name, missing))


def _empty(table: Table, name: str, rows: list[int]) -> str:
    if len(rows) == 1:
        return f"{table.where(rows[0])}: no label in column {name!r}; write it, or drop the row."
    lines = [str(row + 1 if table.lines is None else table.lines[row]) for row in rows[:5]]
    places = ", ".join(lines) + (", ..." if len(rows) > 5 else "")
    unit = "rows" if table.lines is None else "lines"
    return (
        f"{table.where(rows[0])}: no label in column {name!r} in {len(rows)} rows ({unit} {places}); "
        "write them, or drop the rows."
    )


def _kind(value: Any) -> Kind | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list) else None


def _only_kind(table: Table, name: str, cells: list[Any]) -> Kind:
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
    """Whether all strings are numbers. Raises: DataError where all are but for words like NA, which stand for nulls."""
    distinct = set(cells) - {""}
    numbers = {cell for cell in distinct if is_number(cell)}
    finite = any(math.isfinite(float(cell)) for cell in numbers)
    if not finite or not all(cell in numbers or cell.lower() in _NULL_WORDS for cell in distinct):
        return False
    if nulls := [row for row, cell in enumerate(cells) if cell and cell not in numbers]:
        raise DataError(_empty(table, name, nulls))
    return True


def _list_of_names(table: Table, name: str, row: int, cell: list[Any]) -> list[str]:
    if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in cell):
        raise DataError(f"{table.where(row)}: the list {shown(cell)} in column {name!r} must hold label names.")
    return [str(part).strip() for part in cell]
