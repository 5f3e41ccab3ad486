"""CSV and TSV by RFC 4180.

A cell is the characters between its delimiters, and a row that does not fit is refused.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, text_blocks
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.errors import DataError

_DELIMITERS = (",", "\t", ";", "|")
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
_SNIFFED_ROWS = 50


def open_delimited(path: Path, delimiter: str | None) -> FileReader:
    """Open a file with a header row; all cells are strings.

    A delimiter that is not given is found by the first rows.
    """
    chosen = delimiter or sniff(path)
    is_note = delimiter is None and chosen != ","
    notes = [f"{path}: cells are delimited by {delimiter_name(chosen)} (found)"] if is_note else []
    return FileReader(path, partial(_blocks, path, chosen), notes=notes)


def _blocks(path: Path, delimiter: str, size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of a file with this delimiter.

    Raises: DataError for a header that names a column twice, and where there is no header or no row.
    """
    rows = delimited_rows(path, delimiter, bad)
    _, header = next(rows, (0, []))
    if not header:
        bad.settle(str(path))
        raise DataError(f"{path} is empty; the first line must name the columns, as in text,label.")
    _check_header(path, header)
    block = None
    for block in text_blocks(str(path), header, _fitting(rows, path, header, delimiter, bad), size):
        yield block
    if block is None:
        bad.settle(str(path))
        raise DataError(f"{path} has a header ({', '.join(header)}) and no {'readable ' * bool(bad.count)}rows.")


def _fitting(
    rows: Iterator[tuple[int, list[str]]], path: Path, header: list[str], delimiter: str, bad: BadRows
) -> Iterator[tuple[list[str], int, int]]:
    """(cells, line, characters) of every row that has as many cells as the header."""
    for line, row in rows:
        if len(row) == len(header):
            yield row, line, sum(map(len, row))
        else:
            bad.add(f"{path}:{line}", _wrong_length(row, header, delimiter), delimiter.join(row))


def delimiter_name(delimiter: str) -> str:
    """As errors and notes call it: `a comma`, or the character itself."""
    return f"a {_NAMES[delimiter]}" if delimiter in _NAMES else repr(delimiter)


def sniff(path: Path) -> str:
    """Detect the delimiter from the first rows.

    It is the one that names two columns or more and gives the most rows as many cells; else the comma.
    """
    scores = {}
    for delimiter in _DELIMITERS:
        try:
            rows = [row for _, row in islice(delimited_rows(path, delimiter, BadRows(skip=True)), _SNIFFED_ROWS)]
        except DataError:
            continue
        if rows and len(rows[0]) > 1:
            fitting = sum(len(row) == len(rows[0]) for row in rows)
            scores[delimiter] = (fitting / len(rows), len(rows[0]))
    if not scores:
        return ","
    best = max(score for score, _ in scores.values())
    fitting = [delimiter for delimiter, (score, _) in scores.items() if score == best]
    return fitting[0]


def delimited_rows(path: Path, delimiter: str, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of each row.

    Empty lines are skipped, except between rows of a single column.

    After a quote that is never closed, reading goes on in the line after it, where bad rows are skipped.
    """
    start: int | None = 1
    with _no_field_limit():
        while start is not None:
            start = yield from _rows_from(path, delimiter, bad, start)


def _rows_from(path: Path, delimiter: str, bad: BadRows, start: int) -> Iterator[tuple[int, list[str]]]:
    """Rows from this line on. Returns: the line to go on from, or None at the end."""
    lines = Lines(path, start)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line, empty, columns = start, 0, 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return None
        except csv.Error as error:
            bad.add(f"{path}:{line}", _mend(str(error)), "")
            if "unexpected end of data" in str(error):
                return line + 1 if bad.skip else None
            row = None
        if row is not None and (fault := lines.fault(line, lines.number)):
            bad.add(f"{path}:{line if lines.number == line else lines.number}", fault, delimiter.join(row))
        elif row:
            columns = columns or len(row)
            if empty and columns == 1 and line > empty:
                bad.add(f"{path}:{empty}", 'empty line between rows of one column; write "" for an empty text.', "")
                empty = 0
            yield line, row
        elif row is not None and columns:
            empty = empty or line
        line = lines.number + 1


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
    """Refuse a name that stands twice. Raises: DataError."""
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path}:1: the header names column {name!r} twice ({', '.join(header)}); rename one.")


def _wrong_length(row: list[str], header: list[str], delimiter: str) -> str:
    """The reason to refuse a row of another length than the header, and the fix."""
    cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
    return (
        f"{cells} where the header has {len(header)} ({', '.join(header)}); put a text that holds {delimiter_name(delimiter)} "
        "between double quotes, or complete the row."
    )
