"""Reading a label column: one kind of value in every row, and no row without one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nlp_ft.data.readers.table import Table
from nlp_ft.data.schema.joined_labels import find_delimiter
from nlp_ft.data.schema.label_lists import are_vectors, flags_of, joined_bits, places_on, unpacked
from nlp_ft.data.schema.label_numbers import (
    DECIMAL_COMMA,
    PERCENT,
    STYLE_NAMES,
    Numbers,
    number_name,
    read_numbers,
)
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

Kind = Literal["string", "number", "boolean", "list"]
_SINGLE, _MULTI = "single_label_classification", "multi_label_classification"
_NULL_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})


@dataclass(frozen=True)
class LabelColumn:
    """One label column.

    `values`: str, bool, int or float by kind, or list[str]; "" is an empty cell.

    Numbers that were written as strings stay strings. `order`: the names of a ClassLabel in id order, else None. `notes`: what
    was read in an unusual way.
    """

    table: Table
    name: str
    kind: Kind
    values: list[Any]
    order: list[str] | None = None
    notes: list[str] = field(default_factory=list)

    def where(self, row: int) -> str:
        """The place of a row, for an error."""
        return self.table.where(row)

    def names(self) -> list[str]:
        """Each value (of a kind that is not list) as a class name."""
        return [number_name(value) if self.kind == "number" else str(value) for value in self.values]

    def names_one_each(self) -> bool:
        """Whether the column holds lists, each of exactly one name."""
        return self.kind == "list" and all(len(value) == 1 for value in self.values)

    def require_none_empty(self) -> None:
        """Raises: DataError with the count and first places where cells are empty."""
        if empty := [row for row, value in enumerate(self.values) if value == ""]:
            raise DataError(_empty(self.table, self.name, empty))


def as_float(value: str | float) -> float:
    """A number, as a float; an integer too large for one is inf.

    Raises: ValueError for another string.
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf


def read_label_column(
    table: Table, name: str, problem_type: str | None = None, delimiter: str | None = None
) -> LabelColumn:
    """Check the cells of a label column and find their kind.

    Spaces around a string label do not count.

    problem_type: as requested or known, else None. delimiter: what joins several names in a string, where that is given; then
    strings are neither lists nor numbers.

    Raises: DataError where there is no such column, where cells are null (with their count and first places), or where
    the rows hold values of different kinds.
    """
    cells: list[Any] = list(table.column(name, "--label_column_name"))
    names = table.class_names.get(name)
    if names is not None:
        return _from_class_ids(table, name, cells, names)
    notes = []
    if delimiter is None:
        unpacked_cells, form = unpacked(cells)
        if form and not (
            problem_type == _SINGLE and any(cell is not None and len(cell) != 1 for cell in unpacked_cells)
        ):
            example = shown(next(cell for cell in cells if cell))
            notes = [f'labels: "{name}" holds {form}, such as {example} (--label_column_name names another column)']
            cells = unpacked_cells
    elif vectors := joined_bits(cells, delimiter):
        cells = vectors
    _require_no_null(table, name, cells)
    kind = _only_kind(table, name, cells)
    if kind == "list":
        if not are_vectors(cells):
            lists = [_list_of_names(table, name, row, cell) for row, cell in enumerate(cells)]
            return LabelColumn(table, name, kind, lists, notes=notes)
        places = [str(place) for place in range(len(cells[0]))]
        note = (
            f'labels: "{name}" holds vectors of 0 and 1, such as {shown(cells[0])}; each place is a class, named 0 to '
            f"{places[-1]} (--label_column_name names another column)"
        )
        return LabelColumn(table, name, kind, [places_on(cell) for cell in cells], places, [*notes, note])
    if kind == "string":
        stripped = [cell.strip() for cell in cells]
        if delimiter is None and (read := _as_numbers(table, name, stripped, problem_type)):
            values = [read.plain.get(cell, cell) for cell in stripped]
            return LabelColumn(table, name, "number", values, notes=_number_notes(name, read))
        return LabelColumn(table, name, kind, stripped)
    return LabelColumn(table, name, kind, cells)


def is_unlabelled(table: Table, name: str) -> bool:
    """Whether no row has a label: null, or -1 as in the hidden test labels of GLUE."""
    return all(cell is None or (cell == -1 and name in table.class_names) for cell in table.columns.get(name, [0]))


def faulty_labels(table: Table, name: str, problem_type: str | None, delimiter: str | None = None) -> dict[int, str]:
    """Rows to be left out by `--skip_bad_rows`, with the reason.

    They have no label, or one of another kind than most.

    An empty string is a row without labels where the problem is multi-label, and no label at all otherwise.
    """
    cells = list(table.column(name, "--label_column_name"))
    kinds = Counter(kind for cell in cells if (kind := _kind(cell)) is not None)
    most = kinds.most_common(1)[0][0] if kinds else None
    written = {cell.strip() for cell in cells if isinstance(cell, str)} - {""}
    listed = problem_type == _MULTI or delimiter is not None or any(";" in cell for cell in written)
    listed = listed or (problem_type is None and find_delimiter(written) is not None)
    words = {cell for cell in written if cell.lower() in _NULL_WORDS}
    as_numbers = most == "string" and delimiter is None and read_numbers(written - words) is not None
    faults = {}
    for row, cell in enumerate(cells):
        text = cell.strip() if isinstance(cell, str) else None
        if cell is None or (isinstance(cell, float) and math.isnan(cell)) or (text == "" and not listed):
            faults[row] = f"no label in column {name!r}."
        elif as_numbers and text in words:
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
    return "list" if isinstance(value, list) or flags_of(value) else None


def _only_kind(table: Table, name: str, cells: Sequence[object]) -> Kind:
    first = _kind(cells[0])
    for row, cell in enumerate(cells):
        kind = _kind(cell)
        if kind is None:
            raise DataError(
                f"{table.where(row)}: {shown(cell)} in column {name!r} is no label (a string, number, boolean or list); "
                "name another column with --label_column_name."
            )
        if kind != first:
            raise DataError(
                f"{table.where(row)}: column {name!r} holds the {kind} {shown(cell)}, but the {first} "
                f"{shown(cells[0])} at {table.where(0)}; write all labels in one type."
            )
    assert first is not None  # a table has rows, and the first was looked at
    return first


def _as_numbers(table: Table, name: str, cells: list[str], problem_type: str | None) -> Numbers | None:
    """The strings as numbers, where all are.

    Raises: DataError where all are but for words like NA, which stand for nulls, and where the way they are written has two
    meanings.
    """
    distinct = dict.fromkeys(cell for cell in cells if cell)
    words = {cell for cell in distinct if cell.lower() in _NULL_WORDS}
    read = read_numbers([cell for cell in distinct if cell not in words])
    if read is None or not any(math.isfinite(float(number)) for number in read.plain.values()):
        return None
    if any(style in read.styles for style in STYLE_NAMES) and problem_type in (_SINGLE, _MULTI):
        return None
    if nulls := [row for row, cell in enumerate(cells) if cell in words]:
        raise DataError(_empty(table, name, nulls))
    if problem_type not in (_SINGLE, _MULTI):
        _require_one_meaning(table, name, cells, read, problem_type)
    return read


def _require_one_meaning(table: Table, name: str, cells: list[str], read: Numbers, problem_type: str | None) -> None:
    """Raises: DataError for numbers whose comma, or whose percent sign in some cells alone, has two meanings."""
    if read.either is not None:
        where = table.where(cells.index(read.either))
        raise DataError(
            f"{where}: {read.either!r} in column {name!r} may have a decimal comma or one between thousands; write the numbers "
            "with a decimal point and nothing between thousands, or keep them as names with --problem_type "
            f"{_SINGLE}."
        )
    if PERCENT in read.styles and (bare := [cell for cell in cells if cell and not cell.endswith("%")]):
        raise DataError(
            f"{table.where(cells.index(bare[0]))}: column {name!r} holds {bare[0]!r}, and {read.styles[PERCENT]!r} with a "
            "percent sign; write all of them one way."
        )
    commas = [cell for cell in read.plain if "," in cell]
    if (
        DECIMAL_COMMA in read.styles
        and problem_type is None
        and (
            all(part in ("0", "1") for cell in read.plain for part in cell.split(","))
            or (len(commas) < len(read.plain) and find_delimiter(read.plain) == ",")
        )
    ):
        raise DataError(
            f"{table.where(cells.index(commas[0]))}: {commas[0]!r} in column {name!r} may be a number with a decimal comma, or "
            "two labels; say which by --problem_type regression or --label_delimiter ,"
        )


def _number_notes(name: str, read: Numbers) -> list[str]:
    notes = []
    for style, cell in read.styles.items():
        kept = f"; --problem_type {_SINGLE} keeps it as a name" if style in STYLE_NAMES else ""
        notes.append(f'labels: "{cell}" in "{name}" is read as the number {read.plain[cell]} ({style}{kept})')
    signed = [cell for cell in read.plain if cell.startswith("+") or "e" in cell.lower()]
    written = {number_name(number) for cell, number in read.plain.items() if cell not in signed}
    if same := sorted(cell for cell in signed if number_name(read.plain[cell]) in written):
        notes.append(f'labels: "{same[0]}" and "{number_name(read.plain[same[0]])}" in "{name}" are one number')
    return notes


def _list_of_names(table: Table, name: str, row: int, cell: list[object]) -> list[str]:
    if any(isinstance(part, float) for part in cell):
        raise DataError(
            f"{table.where(row)}: the list {shown(cell)} in column {name!r} holds numbers with a point, as an embedding or "
            "probabilities do, and no label names; name the column of the labels with --label_column_name."
        )
    if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in cell):
        raise DataError(f"{table.where(row)}: the list {shown(cell)} in column {name!r} must hold label names.")
    return [str(part).strip() for part in cell]
