"""`read_table`: files, folders and data frames to one table.

Nothing but regular files is ever opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Unpack

from nlp_ft.config import files
from nlp_ft.data.readers.arrow import from_frame, open_arrow, open_parquet
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import FileReader, read_whole
from nlp_ft.data.readers.csv_reader import open_delimited
from nlp_ft.data.readers.excel import open_excel
from nlp_ft.data.readers.folder import open_folder
from nlp_ft.data.readers.jsonl import open_json
from nlp_ft.data.readers.line_formats import open_fasttext, open_lines, open_trec
from nlp_ft.data.readers.options import Reading, ReadOptions
from nlp_ft.data.readers.recognition import format_of
from nlp_ft.data.readers.table import Table, joined
from nlp_ft.errors import DataError

_OPENERS: dict[str, Callable[[Path, ReadOptions], FileReader]] = {
    "csv": open_delimited,
    "tsv": lambda path, options: open_delimited(path, options, "\t"),
    "jsonl": open_json,
    "json": open_json,
    "parquet": lambda path, _: open_parquet(path),
    "arrow": lambda path, _: open_arrow(path),
    "xlsx": lambda path, _: open_excel(path),
    "fasttext": open_fasttext,
    "trec": open_trec,
    "txt": open_lines,
}

Source = object  # a path or pattern, several of them, or a data frame: see read_table


def read_table(
    source: Source, *, skip_bad_rows: bool = False, collected: BadRows | None = None, **reading: Unpack[Reading]
) -> Table:
    """Read files, folders or data frames into one table; texts stay as they are.

    Files: .csv, .tsv, .jsonl, .json (these also as .gz), .parquet, .arrow, .feather and .xlsx; others by `file_format`.

    `source`: a path, a pattern such as `reviews/*.csv`, a folder of text files by class, several of these (their rows one
    after another), or a data frame: pandas, polars, Arrow, a `datasets` split, a list of dictionaries. `reading`: how files
    are read; found where not given. Cells of CSV, TSV and Excel are strings; the other formats keep their types.

    Raises: DataError for a path that is no such file (URLs among them), and for rows that are not well formed, by file and
    line. With `skip_bad_rows` those are left out, and stand in the table's `rejected`; with `collected` they are added to
    that, for the caller to refuse.
    """
    options = ReadOptions(**reading, skip_bad_rows=skip_bad_rows)
    parts = [part for each in several(source) for part in expanded(each)]
    tables = [_read_one(part, options, number, collected) for number, part in enumerate(parts, start=1)]
    return tables[0] if len(tables) == 1 else joined(tables)


def several(source: Source) -> Iterable[object]:
    """The parts of a source: a list of dictionaries is one, and so is a frame."""
    if isinstance(source, list | tuple) and not (source and isinstance(source[0], dict)):
        if not source:
            raise DataError("no file is named.")
        return source
    return [source]


def expanded(source: object) -> Sequence[object]:
    """The files of a pattern in the order of their names.

    A file that is called like one is itself.
    """
    if not isinstance(source, str | os.PathLike):
        return [source]
    return files.expanded(os.fspath(source))


def _read_one(source: object, options: ReadOptions, number: int, collected: BadRows | None) -> Table:
    if not isinstance(source, str | os.PathLike):
        return from_frame(source, f"{type(source).__name__} {number}" if number > 1 else type(source).__name__)
    try:
        bad = BadRows(options.skip_bad_rows) if collected is None else collected
        return read_whole(open_file(source, options), bad, settle=collected is None)
    except PermissionError:
        raise DataError(f"{os.fspath(source)} may not be read by this user.") from None


def open_file(source: str | os.PathLike[str], options: ReadOptions) -> FileReader:
    """Open a file or a folder by its format. Raises: DataError as `read_table`."""
    path = files.existing(os.fspath(source))
    if path.is_dir():
        return open_folder(path, options)
    return _OPENERS[format_of(path, options)](path, options)
