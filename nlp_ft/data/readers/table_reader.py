"""`read_table`: files, folders and data frames to one table.

Nothing but regular files is ever opened.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nlp_ft.data.readers.arrow import from_frame, open_arrow, open_parquet
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import FileReader, read_whole
from nlp_ft.data.readers.csv_reader import open_delimited
from nlp_ft.data.readers.folder import open_folder
from nlp_ft.data.readers.jsonl import open_json
from nlp_ft.data.readers.table import Table, joined
from nlp_ft.errors import DataError, did_you_mean

_FORMATS: dict[str, Callable[[Path, str | None], FileReader]] = {
    ".csv": open_delimited,
    ".tsv": lambda path, delimiter: open_delimited(path, delimiter or "\t"),
    ".jsonl": lambda path, _: open_json(path),
    ".json": lambda path, _: open_json(path),
    ".parquet": lambda path, _: open_parquet(path),
    ".arrow": lambda path, _: open_arrow(path),
    ".feather": lambda path, _: open_arrow(path),
}
_ZIPPED = (".csv", ".tsv", ".jsonl", ".json")

Source = object  # a path or pattern, several of them, or a data frame: see read_table


def read_table(source: Source, *, delimiter: str | None = None, skip_bad_rows: bool = False) -> Table:
    """Read files, folders or data frames into one table; texts stay as they are.

    Files: .csv, .tsv, .jsonl, .json (these also as .gz), .parquet, .arrow and .feather.

    `source`: a path, a pattern such as `reviews/*.csv`, a folder of text files by class, several of these (their rows one
    after another), or a data frame: pandas, polars, Arrow, a `datasets` split, a list of dictionaries. `delimiter` of CSV:
    found where not given. Cells of CSV and TSV are strings; the other formats keep their types.

    Raises: DataError for a path that is no such file (URLs among them), and for rows that are not well formed: the first
    twenty by file and line. With `skip_bad_rows` those are left out, and stand in the table's `rejected`.
    """
    parts = [part for each in several(source) for part in expanded(each)]
    tables = [_read_one(part, delimiter, skip_bad_rows, number) for number, part in enumerate(parts, start=1)]
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
    name = os.fspath(source)
    if not glob.has_magic(name) or os.path.exists(name):
        return [name]
    paths = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
    if not paths:
        raise DataError(f"no file matches {name}.")
    return paths


def _read_one(source: object, delimiter: str | None, skip: bool, number: int) -> Table:
    if not isinstance(source, str | os.PathLike):
        return from_frame(source, f"{type(source).__name__} {number}" if number > 1 else type(source).__name__)
    try:
        return read_whole(open_file(source, delimiter), BadRows(skip))
    except PermissionError:
        raise DataError(f"{os.fspath(source)} may not be read by this user.") from None


def open_file(source: str | os.PathLike[str], delimiter: str | None = None) -> FileReader:
    """Open a file or a folder by its suffix. Raises: DataError as `read_table`."""
    path = _existing(os.fspath(source))
    if path.is_dir():
        return open_folder(path)
    suffix = path.suffix.lower()
    inner = path.with_suffix("").suffix.lower() if suffix == ".gz" else suffix
    if inner not in _FORMATS or (suffix == ".gz" and inner not in _ZIPPED):
        written = "".join(path.suffixes[-2:]) if suffix == ".gz" else path.suffix
        raise DataError(
            f"{path}: extension {written!r} is not read; use one of {', '.join(_FORMATS)} ({', '.join(_ZIPPED)} also as .gz)."
        )
    return _FORMATS[inner](path, delimiter)


def _existing(name: str) -> Path:
    """The path of a regular file or directory.

    Raises: DataError, naming its nearest neighbour where there is none.
    """
    if "://" in name:
        raise DataError(f"{name} is a URL; only local files are read, so download it first.")
    path = Path(name)
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        raise DataError(f"{name} is not a regular file.")
    if not path.parent.is_dir():
        raise DataError(f"no such file: {name}; there is no directory {path.parent} either.")
    raise DataError(f"no such file: {name}.{did_you_mean(path.name, sorted(os.listdir(path.parent)))}")
