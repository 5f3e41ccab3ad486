"""CSV and TSV by RFC 4180.

A cell is the characters between its delimiters, and a row that does not fit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, text_blocks
from nlp_ft.data.readers.csv_layout import delimiter_name, find_layout
from nlp_ft.data.readers.csv_rows import Layout, delimited_rows
from nlp_ft.data.readers.options import ReadOptions
from nlp_ft.data.schema.label_numbers import is_number
from nlp_ft.data.text import counted, shown
from nlp_ft.errors import DataError


@dataclass
class Header:
    """The columns of a file by its first row.

    names: of those that are read; indices: where their cells stand. width: cells of the row. last: cells that a row needs.
    filled: of the columns without a name, by index, the number of rows that hold something there, and the first place.
    """

    names: list[str]
    indices: list[int]
    width: int
    last: int
    filled: dict[int, tuple[int, str]] = field(default_factory=dict)

    def fit(self, row: Sequence[str], where: str) -> list[str] | None:
        """The cells that are read; None for a row that is too short or too long.

        Cells that only empty delimiters stand for may be missing or too many.
        """
        if len(row) != self.width:
            if len(row) < self.last or any(cell.strip() for cell in row[self.width :]) or not any(row):
                return None
            row = [*row, *[""] * (self.width - len(row))]
        for index in self.filled:
            if row[index].strip():
                count, first = self.filled[index]
                self.filled[index] = count + 1, first or f"{where}, {shown(row[index])}"
        return [row[index] for index in self.indices]

    def stands_in(self, cells: Sequence[str]) -> bool:
        """Whether cells are the names again, as where files with headers were put together."""
        return len(cells) > 1 and all(
            cell.strip() == name.strip() for cell, name in zip(cells, self.names, strict=True)
        )

    def notes(self, source: str) -> list[str]:
        """What is passed over: columns without a name, and what stands there."""
        notes = []
        if empty := sum(not count for count, _ in self.filled.values()):
            notes.append(f"{source}: {counted(empty, 'empty column')} without a name passed over")
        notes += [
            f"{source}: column {index + 1} has no name and is passed over, though {counted(count, 'row')} "
            f"hold{'s' * (count == 1)} something there (first {first}); name it in the header to use it"
            for index, (count, first) in self.filled.items()
            if count
        ]
        return notes


def read_header(source: str, row: Sequence[str], line: int = 1) -> Header:
    """The header out of the first row.

    One column without a name is read as ''; several are passed over. Raises: DataError where none has a name, and for a name
    that stands twice.
    """
    named = [index for index, name in enumerate(row) if name.strip()]
    unnamed = [index for index, name in enumerate(row) if not name.strip()]
    names = [row[index] for index in named]
    if not named:
        raise DataError(f"{source}:{line}: the header names no column; it must name them, as in text,label.")
    for name in names:
        if names.count(name) > 1 and is_number(name):
            raise DataError(
                f"{source}:{line}: the first line holds {name!r} twice, so it looks like a row; if there is no header, name "
                "the columns with --column_names, such as --column_names text,label."
            )
        if names.count(name) > 1:
            raise DataError(
                f"{source}:{line}: the header names column {name!r} twice ({', '.join(names)}); rename one."
            )
    if len(unnamed) == 1:
        return Header([name if name.strip() else "" for name in row], list(range(len(row))), len(row), named[-1] + 1)
    return Header(names, named, len(row), named[-1] + 1, dict.fromkeys(unnamed, (0, "")))


def open_delimited(path: Path, options: ReadOptions, usual: str = ",") -> FileReader:
    """Open a file with a header row; all cells are strings.

    usual: the delimiter that files of this format have. What is not given is found in the first rows.
    """
    layout, notes = find_layout(path, options, usual)
    return FileReader(path, partial(_blocks, path, layout, options.header, notes), notes=notes)


def _blocks(
    path: Path, layout: Layout, names: list[str] | None, notes: list[str], size: Size, bad: BadRows
) -> Iterator[Block]:
    """Blocks of a file with this layout; what is found on the way is added to the notes.

    names: those of the columns, where there is no header.

    Raises: DataError for a header that names a column twice, and where there is no header or no row.
    """
    rows = delimited_rows(path, layout, bad)
    line, row = next(rows, (0, []))
    if not row:
        bad.settle(str(path))
        raise DataError(f"{path} is empty; the first line must name the columns, as in text,label.")
    if names is not None:
        rows = chain([(line, row)], rows)
    header = read_header(str(path), row if names is None else names, line)
    block = None
    for block in text_blocks(str(path), header.names, _fitting(rows, path, header, layout.delimiter, bad), size):
        yield block
    if block is None:
        bad.settle(str(path))
        raise DataError(f"{path} has a header ({', '.join(header.names)}) and no {'readable ' * bool(bad.count)}rows.")
    notes += [note for note in header.notes(str(path)) if note not in notes]


def _fitting(
    rows: Iterator[tuple[int, list[str]]], path: Path, header: Header, delimiter: str, bad: BadRows
) -> Iterator[tuple[list[str], int, int]]:
    """(cells, line, characters) of every row that has as many cells as the header."""
    for line, row in rows:
        cells = header.fit(row, f"{path}:{line}")
        if cells is not None and header.stands_in(cells):
            bad.add(f"{path}:{line}", "the header stands here again; take the line out.", delimiter.join(row))
        elif cells is not None:
            yield cells, line, sum(map(len, cells))
        else:
            bad.add(f"{path}:{line}", _wrong_length(row, header, delimiter), delimiter.join(row))


def _wrong_length(row: list[str], header: Header, delimiter: str) -> str:
    """The reason to refuse a row of another length than the header, and the fix."""
    if any(re.match(r'\s+"', cell) for cell in row):
        return (
            f"a space stands between {delimiter_name(delimiter)} and an opening quote, which makes the quote part of the text; "
            "take the space out."
        )
    cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
    return (
        f"{cells} where the header has {header.width} ({', '.join(header.names)}); put a text that holds "
        f"{delimiter_name(delimiter)} between double quotes, or complete the row."
    )
