"""The table every format is read into: columns of cells exactly as written, and where each row stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nlp_ft.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Table:
    """Rows of one file or Hub split, by column.

    `lines` holds the 1-based line at which each row starts, or None where a row has no line (Parquet, Hub, a JSON
    array). `class_names` holds the names of those columns whose integers stand for classes (ClassLabel features).
    """

    source: str
    columns: dict[str, list[Any]]
    lines: Sequence[int] | None = None
    class_names: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), []))

    def where(self, row: int) -> str:
        """`reviews.csv:7` for a row that has a line, `reviews.parquet, row 7` (from 1) for one without."""
        return f"{self.source}:{self.lines[row]}" if self.lines is not None else f"{self.source}, row {row + 1}"

    def column(self, name: str, flag: str) -> list[Any]:
        """The cells of a column. Raises: DataError, naming the flag that asked for it, where there is none."""
        if name not in self.columns:
            raise DataError(
                f"{self.source} has no column {name!r} ({flag}); its columns are {', '.join(self.columns)}."
                f"{did_you_mean(name, self.columns)}"
            )
        return self.columns[name]

    def texts(self, name: str, flag: str) -> list[str]:
        """The cells of a text column, character for character.

        Raises: DataError for a cell that is no string, with its place.
        """
        cells = self.column(name, flag)
        for row, cell in enumerate(cells):
            if cell is None:
                raise DataError(
                    f"{self.where(row)}: column {name!r} ({flag}) is null or missing; write the text, or drop the row."
                )
            if not isinstance(cell, str):
                raise DataError(
                    f"{self.where(row)}: column {name!r} ({flag}) holds {shown(cell)}, which is no string; "
                    "texts are read as they are written, so put it between quotes, or name another column."
                )
        return cells


def shown(value: Any) -> str:
    """A value as an error quotes it: its repr, cut to 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
