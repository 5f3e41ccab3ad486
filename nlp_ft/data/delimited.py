"""CSV and TSV by RFC 4180: a cell is the characters between its delimiters, and a row that does not fit is refused."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nlp_ft.data.lines import read_lines
from nlp_ft.data.table import Table
from nlp_ft.errors import DataError


def read_delimited(path: Path, delimiter: str) -> Table:
    """Read a file with a header row; all cells are strings. Raises: DataError with the line a bad row starts at."""
    rows = _rows(path, delimiter)
    _, header = next(rows, (0, []))
    if not header:
        raise DataError(f"{path} is empty; the first line must name the columns, as in text,label.")
    _check_header(path, header)
    cells: list[list[str]] = [[] for _ in header]
    appends = [column.append for column in cells]
    lines: list[int] = []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(_wrong_length(path, line, row, header, delimiter))
        for append, cell in zip(appends, row, strict=True):
            append(cell)
        lines.append(line)
    if not lines:
        raise DataError(f"{path} has a header ({', '.join(header)}) and no rows.")
    return Table(str(path), dict(zip(header, cells, strict=True)), lines)


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of each row; empty lines are skipped, except between rows of a single column."""
    reader = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    line, empty, columns = 1, 0, 0
    with _no_field_limit():
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{path}:{line}: {_mend(str(error))}") from None
            if row:
                columns = columns or len(row)
                if empty and columns == 1 and line > empty:
                    raise DataError(
                        f'{path}:{empty}: empty line between rows of one column; write "" for an empty text.'
                    )
                yield line, row
            elif columns:
                empty = empty or line
            line = reader.line_num + 1


@contextmanager
def _no_field_limit() -> Iterator[None]:
    """Lift the csv module's limit of 131072 characters a cell while a file is read."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _mend(error: str) -> str:
    """The csv module's complaint as what to do about it."""
    if "unexpected end of data" in error:
        return (
            'the row that starts here opens a quote and never closes it; close it, or write "" for a quote in the text.'
        )
    if "new-line character" in error:
        return "carriage return outside quotes; end lines with \\n or \\r\\n, and quote a text that holds one."
    return 'in the row that starts here, text follows a closing quote; write "" for a quote inside a quoted text.'


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path}:1: the header names column {name!r} twice ({', '.join(header)}); rename one.")


def _wrong_length(path: Path, line: int, row: list[str], header: list[str], delimiter: str) -> str:
    name = {"\t": "tab"}.get(delimiter, "comma")
    cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
    return (
        f"{path}:{line}: {cells} where the header has {len(header)} ({', '.join(header)}); "
        f"put a text that holds a {name} between double quotes, or complete the row."
    )
