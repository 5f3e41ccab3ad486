"""Files that --fix writes.

CSV if every cell is a string, JSON lines if CSV would lose types.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from nlp_ft.errors import DataError

if TYPE_CHECKING:
    from nlp_ft.data import Table

Row = tuple[int, Sequence[object]]  # row number in its table, cells


def numbered_rows(table: Table) -> Iterator[Row]:
    """Rows of a table in order, with their numbers.

    In columns with class names the names replace the ids, as neither format could store both.
    """
    return enumerate(zip(*_columns(table).values(), strict=True))


def write_rows(directory: Path, split: str, table: Table, rows: Iterable[Row]) -> tuple[Path, int, list[str]]:
    """Write rows, as they come, to a file with the name of the split.

    CSV by RFC 4180 if it gives every cell back unchanged, else JSON lines.

    Returns: the file, its number of rows, notes on cells that are written in another form.
    Raises: DataError for a cell that has no text form, with its location.
    """
    notes = [f"{split}: class ids in column {name!r} are written as names" for name in table.class_names]
    path = directory / f"{split}{'.csv' if _fits_csv(table) else '.jsonl'}"
    lines = _Lines(table)
    written = 0
    with path.open("x", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        if path.suffix == ".csv":
            writer.writerow(table.columns)
        for number, cells in rows:
            if path.suffix == ".csv":
                writer.writerow(cells)
            else:
                handle.write(lines.line(number, cells))
            written += 1
    return path, written, [*notes, *(f"{split}: {note}" for note in lines.notes())]


class _Lines:
    """Rows as JSON lines.

    `kinds`: types of the cells that JSON has no type for, and that are written as strings.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.kinds: set[str] = set()

    def line(self, number: int, cells: Sequence[object]) -> str:
        row = dict(zip(self.table.columns, cells, strict=True))
        try:
            return json.dumps(row, ensure_ascii=False, default=self._as_string) + "\n"
        except TypeError as error:
            raise DataError(f"{self.table.where(number)}: {error}; --fix cannot write it.") from None

    def _as_string(self, value: object) -> str:
        if not isinstance(value, date | time | Decimal):
            raise TypeError(f"a cell of type {type(value).__name__} has no form in CSV or JSON")
        self.kinds.add(type(value).__name__)
        return str(value) if isinstance(value, Decimal) else value.isoformat()

    def notes(self) -> list[str]:
        return [f"cells of type {', '.join(sorted(self.kinds))} are written as strings"] if self.kinds else []


def _fits_csv(table: Table) -> bool:
    """Whether CSV gives every cell back.

    All cells are strings without a NUL, and the header does not begin with a byte order mark.
    """
    columns = _columns(table)
    return not next(iter(columns)).startswith("\ufeff") and all(
        isinstance(cell, str) and "\0" not in cell for cells in columns.values() for cell in cells
    )


def _columns(table: Table) -> dict[str, Iterable[object]]:
    return {name: _named(cells, table.class_names.get(name)) for name, cells in table.columns.items()}


def _named(cells: Iterable[object], names: list[str] | None) -> Iterable[object]:
    return cells if names is None else (_name(cell, names) for cell in cells)


def _name(cell: object, names: list[str]) -> object:
    if isinstance(cell, list):
        return [_name(item, names) for item in cell]
    return names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else None
