"""Excel workbooks: the first sheet, a header row, and cells as strings, as CSV has them."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, text_blocks
from nlp_ft.data.readers.csv_reader import Header, read_header
from nlp_ft.errors import DataError

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet


def open_excel(path: Path) -> FileReader:
    """Open an .xlsx workbook.

    Raises: DataError where openpyxl is missing, for what is no such workbook, and for one without a sheet.
    """
    with _sheet(path) as (_, titles):
        pass
    notes = []
    if len(titles) > 1:
        notes = [f"{path}: sheet {titles[0]!r} is read, the first of {len(titles)} ({', '.join(titles)})"]
    return FileReader(path, partial(_blocks, path, notes), notes=notes)


@contextmanager
def _sheet(path: Path, *, formulas: bool = False) -> Iterator[tuple[Worksheet, list[str]]]:
    """The first sheet, and the names of all; with `formulas` its cells hold those in place of their values."""
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise DataError(f"{path}: reading Excel needs a package: pip install 'nlp_ft[excel]'.") from None
    with path.open("rb") as file:
        if file.read(4) == b"\xd0\xcf\x11\xe0":
            raise DataError(
                f"{path} is an old Excel file (.xls) or locked by a password; save it as .xlsx without one, or as CSV."
            )
        try:  # of a file, not of a path, whose extension would have to be one of Excel's
            book = openpyxl.load_workbook(file, read_only=True, data_only=not formulas)
        except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError, SyntaxError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise DataError(f"{path} cannot be read as Excel (.xlsx): {reason}.") from None
        try:
            if not book.worksheets:
                raise DataError(f"{path} has no sheet with cells.")
            sheet: Any = book.worksheets[0]
            sheet.reset_dimensions()  # a writer may have noted too few rows
            yield sheet, [other.title for other in book.worksheets]
        finally:
            book.close()


def _blocks(path: Path, notes: list[str], size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of the rows below the header.

    Raises: DataError where there is no header or no row, and for a header that names a column twice.
    """
    uncomputed = _uncomputed(path)
    with _sheet(path) as (sheet, _):
        rows = _filled_rows(sheet)
        line, first = next(rows, (0, ()))
        if not line:
            raise DataError(f"{path} is empty; the first row must name the columns, as in text, label.")
        names = [_as_text(cell.value) for cell in first]
        while names and not names[-1].strip():
            names.pop()
        header = read_header(str(path), names, line)
        block = None
        for block in text_blocks(str(path), header.names, _fitting(path, rows, header, uncomputed, bad), size):
            yield block
    if block is None:
        bad.settle(str(path))
        raise DataError(f"{path} has a header ({', '.join(header.names)}) and no {'readable ' * bool(bad.count)}rows.")
    notes += [note for note in header.notes(str(path)) if note not in notes]


def _filled_rows(sheet: Worksheet) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """(number in the sheet, cells) of every row that holds something."""
    for number, row in enumerate(sheet.iter_rows(), start=1):
        if any(cell.value is not None and str(cell.value).strip() for cell in row):
            yield number, tuple(row)


def _uncomputed(path: Path) -> dict[int, str]:
    """Rows with a formula whose value was never saved, with the first such cell."""
    with _sheet(path) as (values, _), _sheet(path, formulas=True) as (formulas, _):
        rows = {}
        for number, (shown, written) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=True), start=1):
            for cell, formula in zip(shown, written, strict=False):
                if cell.value is None and formula.data_type == "f":
                    rows.setdefault(number, formula.coordinate)
    return rows


def _fitting(
    path: Path,
    rows: Iterator[tuple[int, tuple[Any, ...]]],
    header: Header,
    uncomputed: dict[int, str],
    bad: BadRows,
) -> Iterator[tuple[list[str], int, int]]:
    """(cells, row of the sheet, characters) of every row without a fault."""
    for number, row in rows:
        where = f"{path}:{number}"
        texts = [_as_text(cell.value) for cell in row]
        texts += [""] * (header.width - len(texts))
        error = next((cell for cell in row if cell.data_type == "e"), None)
        if number in uncomputed:
            bad.add(
                where,
                f"cell {uncomputed[number]} holds a formula whose value is not saved; open and save the file in Excel, or "
                "save it as CSV.",
                ", ".join(texts),
            )
        elif error is not None:
            bad.add(where, f"cell {error.coordinate} holds the error {error.value}.", ", ".join(texts))
        elif (cells := header.fit(texts, where)) is None:
            bad.add(
                where, f"it has cells beyond the header's {header.width} columns; name those, too.", ", ".join(texts)
            )
        else:
            yield cells, number, sum(map(len, cells))


def _as_text(value: object) -> str:
    """A cell as a CSV file would have it."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)
