"""The table every source is read into.

It holds columns of cells exactly as written, and where each row stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import TypeGuard

import numpy as np

from nlp_ft.data.readers.arrow_store import Column, Store, as_column, repeated
from nlp_ft.data.readers.bad_rows import BadRow
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError, did_you_mean

SOURCE = "source"  # the column that says which of several sources a row is of


@dataclass(frozen=True)
class Table:
    """Rows of one source (or of several, one after another), by column.

    `lines` holds the 1-based line at which each row starts, or None where a row has no line (Parquet, Hub, a JSON
    array). `class_names` holds the names of those columns whose integers stand for classes (ClassLabel features).
    `notes`: what was found out while reading. `rejected`: rows left out because they could not be read. `parts`: the
    sources with their numbers of rows, where there are several; `lacking`: the columns that one of those has not, with its
    refusal. `place`: where a row stands, if not by source and lines.
    """

    source: str
    columns: dict[str, Sequence[object]]
    lines: Sequence[int] | None = None
    class_names: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rejected: list[BadRow] = field(default_factory=list)
    parts: list[tuple[str, int]] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)
    place: Callable[[int], str] | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), []))

    def where(self, row: int) -> str:
        """The place of a row.

        `reviews.csv:7` for a row that has a line, `reviews.parquet, row 7` (from 1) for one without.
        """
        if self.place is not None:
            return self.place(row)
        return f"{self.source}:{self.lines[row]}" if self.lines is not None else f"{self.source}, row {row + 1}"

    def column(self, name: str, flag: str) -> Sequence[object]:
        """The cells of a column.

        Raises: DataError, naming the flag that asked for it, where there is none.
        """
        if name not in self.columns:
            raise DataError(
                f"{self.source} has no column {name!r} ({flag}); its columns are {', '.join(self.columns)}."
                f"{did_you_mean(name, self.columns)}"
            )
        if name in self.lacking:
            raise DataError(self.lacking[name])
        return self.columns[name]

    def texts(self, name: str, flag: str) -> Sequence[str]:
        """The cells of a text column, character for character.

        Raises: DataError for a cell that is no string, with its place.
        """
        cells = self.column(name, flag)
        if not are_texts(cells):
            row, cell = next((row, cell) for row, cell in enumerate(cells) if not isinstance(cell, str))
            raise DataError(f"{self.where(row)}: {not_a_text(name, flag, cell)}")
        return cells

    def take(self, rows: Sequence[int]) -> Table:
        """The rows of these numbers, in this order; each keeps its place."""
        chosen = np.asarray(rows, dtype=np.int64)
        store = Store(list(self.columns))
        store.add_rows({name: as_column(cells) for name, cells in self.columns.items()}, chosen)
        return replace(self, columns=dict(store.columns()), lines=None, place=lambda row: self.where(int(chosen[row])))

    def with_column(self, name: str, cells: Sequence[object]) -> Table:
        """One column more, or another of its name."""
        return replace(self, columns={**self.columns, name: cells})


def joined(tables: Sequence[Table]) -> Table:
    """The rows of several tables, one after another.

    A column `source` names the table of each row (its file's stem).

    A column that one of them lacks is None there. Raises: DataError where class names differ.
    """
    names = dict.fromkeys(name for table in tables for name in table.columns)
    ends = list(accumulate(len(table) for table in tables))
    titles = source_names([table.source for table in tables])
    columns: dict[str, Sequence[object]] = {}
    for name in names:
        parts = [as_column(table.columns.get(name), len(table)) for table in tables]
        columns[name] = Column(
            [chunk for part in parts for chunk in part.chunks], [flag for part in parts for flag in part.encoded]
        )
    columns.setdefault(SOURCE, repeated(titles, [len(table) for table in tables]))

    def place(row: int) -> str:
        part = bisect_right(ends, row)
        return tables[part].where(row - (ends[part - 1] if part else 0))

    return Table(
        source=", ".join(table.source for table in tables),
        columns=columns,
        class_names=_common_class_names(tables),
        notes=[note for table in tables for note in table.notes],
        rejected=[bad for table in tables for bad in table.rejected],
        parts=[(title, len(table)) for title, table in zip(titles, tables, strict=True)],
        lacking={
            name: f"{table.source} has no column {name!r}, as the other files have; its columns are {', '.join(table.columns)}."
            for table in tables
            for name in names
            if name not in table.columns
        },
        place=place,
    )


def source_names(sources: Sequence[str]) -> list[str]:
    """Short names of sources.

    Their files' stems, or where these are alike their directories, else the sources as they are.
    """
    paths = [Path(source) for source in sources]
    stems, folders = [path.name.partition(".")[0] for path in paths], [path.parent.name for path in paths]
    return next((names for names in (stems, folders) if len(set(names)) == len(paths) and all(names)), list(sources))


def _common_class_names(tables: Sequence[Table]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for table in tables:
        for name, classes in table.class_names.items():
            if any(other.class_names.get(name) != classes for other in tables):
                raise DataError(
                    f"{table.source}: column {name!r} has the class names {', '.join(classes)}, which another file lacks or "
                    "has otherwise; write its labels as strings in all of them."
                )
            names[name] = classes
    return names


def are_texts(cells: Sequence[object]) -> TypeGuard[Sequence[str]]:
    """Whether all cells are strings."""
    return all(isinstance(cell, str) for cell in cells)


def not_a_text(name: str, flag: str, cell: object) -> str:
    """The reason why a cell is no text, and the fix."""
    if cell is None:
        return f"column {name!r} ({flag}) is null or missing; write the text, or drop the row."
    return (
        f"column {name!r} ({flag}) holds {shown(cell)}, which is no string; "
        "texts are read as they are written, so put it between quotes, or name another column."
    )
