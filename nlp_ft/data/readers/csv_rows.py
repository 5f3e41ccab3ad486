"""Rows of a delimited file, one after another; what is no row is set aside with its line and the mend."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.text_lines import Lines

_PLAIN_QUOTES = "or read quotes as ordinary characters with --quoting none"


@dataclass(frozen=True)
class Layout:
    r"""How the cells of a file are told apart.

    encoding, quoting: as of ReadOptions. skip_spaces: whether spaces behind a delimiter belong to no cell. start: the first
    line that is read. carriage_returns: whether lines end at \r; None where that is to be found out. doubled_returns: whether
    they end at \r\r\n.
    """

    delimiter: str
    encoding: str | None = None
    quoting: str | None = None
    skip_spaces: bool = False
    start: int = 1
    carriage_returns: bool | None = None
    doubled_returns: bool = False


def delimited_rows(path: Path, layout: Layout, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of each row.

    Empty lines are skipped, except between rows of a single column.

    After a quote that is never closed, reading goes on in the line after it, where bad rows are skipped.
    """
    start: int | None = layout.start
    with _no_field_limit():
        while start is not None:
            start = yield from _rows_from(path, layout, bad, start)


class _Recorded:
    """Lines as the csv module takes them, and those of the row that is being read."""

    def __init__(self, lines: Iterable[str], doubled_returns: bool) -> None:
        self._lines = iter(lines)
        self._doubled_returns = doubled_returns
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if self._doubled_returns and line.endswith("\r\r\n"):
            line = line[:-3] + "\n"
        self.row.append(line)
        return line


def _rows_from(path: Path, layout: Layout, bad: BadRows, start: int) -> Iterator[tuple[int, list[str]]]:
    """Rows from this line on. Returns: the line to go on from, or None at the end."""
    lines = Lines(path, start, encoding=layout.encoding, strict=not bad.skip, carriage_returns=layout.carriage_returns)
    recorded = _Recorded(lines, layout.doubled_returns)
    quoting = csv.QUOTE_NONE if layout.quoting == "none" else csv.QUOTE_MINIMAL
    reader = csv.reader(
        recorded, delimiter=layout.delimiter, strict=True, skipinitialspace=layout.skip_spaces, quoting=quoting
    )
    line, empty, columns = start, 0, 0
    while True:
        recorded.row.clear()
        try:
            row = next(reader)
        except StopIteration:
            return None
        except csv.Error as error:
            bad.add(f"{path}:{line}", _mend(str(error), "".join(recorded.row), layout), "")
            if "unexpected end of data" in str(error):
                return line + 1 if bad.skip else None
            row = None
        if row is not None and (fault := lines.fault(line, lines.number)):
            bad.add(f"{path}:{line if lines.number == line else lines.number}", fault, layout.delimiter.join(row))
        elif row and _swallows_rows(recorded.row, columns, layout):
            bad.add(f"{path}:{line}", _swallowed(len(recorded.row)), layout.delimiter.join(row))
        elif row:
            columns = columns or len(row)
            if empty and columns == 1 and line > empty:
                bad.add(f"{path}:{empty}", 'empty line between rows of one column; write "" for an empty text.', "")
                empty = 0
            yield line, row
        elif row is not None and columns:
            empty = empty or line
        line = lines.number + 1


def _swallows_rows(lines: list[str], columns: int, layout: Layout) -> bool:
    """Whether a quote seems to hold whole rows of a file with tabs, where quotes are mostly characters like others."""
    if len(lines) < 2 or columns < 2 or layout.delimiter != "\t" or layout.quoting is not None:
        return False
    return all(
        len(cells := line.split("\t")) == columns and all(cell.strip(' "\r\n') for cell in cells) for line in lines
    )


def _swallowed(lines: int) -> str:
    return (
        f"a quote that opens here closes {lines - 1} line{'s' * (lines > 2)} below, and each of these lines looks like a row; "
        "if quotes are ordinary characters, read the file with --quoting none, if they hold cells together, --quoting double."
    )


@contextmanager
def _no_field_limit() -> Iterator[None]:
    """Lift the csv module's limit of 131072 characters a cell while a file is read."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _mend(error: str, row: str, layout: Layout) -> str:
    """The csv module's complaint as what to do about it."""
    if "unexpected end of data" in error:
        return (
            'the row that starts here opens a quote and never closes it; close it, write "" for a quote in the text, '
            f"{_PLAIN_QUOTES}."
        )
    if "new-line character" in error:
        return "carriage return outside quotes; end lines with \\n or \\r\\n, and quote a text that holds one."
    if re.search(rf'" +(?:{re.escape(layout.delimiter)}|\r?\n|$)', row):
        return "in the row that starts here, a space follows a closing quote; take it out."
    return (
        'in the row that starts here, text follows a closing quote; write "" for a quote inside a quoted text, '
        f"{_PLAIN_QUOTES}."
    )
