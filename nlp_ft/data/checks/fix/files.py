"""The files that --fix writes: CSV where every cell is a string, JSON lines where types would be lost."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp_ft.errors import DataError

if TYPE_CHECKING:
    from nlp_ft.data import Table

Row = tuple[int, Sequence[Any]]  # row number in its table, cells


def numbered_rows(table: Table) -> Iterator[Row]:
    """Every row in order; in columns with class names the names stand for their ids, which neither format could tell."""
    return enumerate(zip(*_columns(table).values(), strict=True))


def write_rows(directory: Path, split: str, table: Table, rows: Iterable[Row]) -> tuple[Path, int, list[str]]:
    """Write rows, as they come, under the names of their table's columns, in a file called as the split.

    CSV by RFC 4180 where it gives every cell back as it is, else JSON lines.
    Returns: the file, its rows, notes on what is written otherwise than it was. Raises: DataError for a cell that has no
    text form, with its place.
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
    """Rows as JSON lines; remembers what JSON has no type for and had to become a string."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.kinds: set[str] = set()

    def line(self, number: int, cells: Sequence[Any]) -> str:
        row = dict(zip(self.table.columns, cells, strict=True))
        try:
            return json.dumps(row, ensure_ascii=False, default=self._as_string) + "\n"
        except TypeError as error:
            raise DataError(f"{self.table.where(number)}: {error}; --fix cannot write it.") from None

    def _as_string(self, value: Any) -> str:
        if not isinstance(value, date | time | Decimal):
            raise TypeError(f"a cell of type {type(value).__name__} has no place in CSV or JSON")
        self.kinds.add(type(value).__name__)
        return str(value) if isinstance(value, Decimal) else value.isoformat()

    def notes(self) -> list[str]:
        return [f"cells of type {', '.join(sorted(self.kinds))} are written as strings"] if self.kinds else []


def _fits_csv(table: Table) -> bool:
    """Whether all cells are strings without a NUL, and the header does not begin with what reads as a byte order mark."""
    columns = _columns(table)
    return not next(iter(columns)).startswith("\ufeff") and all(
        isinstance(cell, str) and "\0" not in cell for cells in columns.values() for cell in cells
    )


def _columns(table: Table) -> dict[str, Iterable[Any]]:
    return {name: _named(cells, table.class_names.get(name)) for name, cells in table.columns.items()}


def _named(cells: Iterable[Any], names: list[str] | None) -> Iterable[Any]:
    return cells if names is None else (_name(cell, names) for cell in cells)


def _name(cell: Any, names: list[str]) -> Any:
    if isinstance(cell, list):
        return [_name(one, names) for one in cell]
    return names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else None
