"""`read_table`: a local file to a table, by its extension. Nothing but a regular file is ever opened."""

from __future__ import annotations

import os
from pathlib import Path

from nlp_ft.data.delimited import read_delimited
from nlp_ft.data.jsonl import read_json
from nlp_ft.data.parquet import read_parquet
from nlp_ft.data.table import Table
from nlp_ft.errors import DataError, did_you_mean

_READERS = {
    ".csv": lambda path: read_delimited(path, ","),
    ".tsv": lambda path: read_delimited(path, "\t"),
    ".jsonl": read_json,
    ".json": read_json,
    ".parquet": read_parquet,
}


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a .csv, .tsv, .jsonl, .json or .parquet file, every text as its characters stand in the file.

    Cells of CSV and TSV are strings; JSON and Parquet keep their types. Raises: DataError for a path that is no such
    file (URLs among them), and for anything in it that is not well formed, with the line.
    """
    file = _existing_file(os.fspath(path))
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise DataError(f"{file}: extension {file.suffix!r} is not read; use one of {', '.join(_READERS)}.")
    try:
        return reader(file)
    except PermissionError:
        raise DataError(f"{file} may not be read by this user.") from None


def _existing_file(name: str) -> Path:
    """The path of a regular file. Raises: DataError, naming its nearest neighbour where there is no such file."""
    if "://" in name:
        raise DataError(f"{name} is a URL; only local files are read, so download it first.")
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(f"{name} is a directory; name a file in it.")
    if path.exists():
        raise DataError(f"{name} is not a regular file.")
    if not path.parent.is_dir():
        raise DataError(f"no such file: {name}; there is no directory {path.parent} either.")
    raise DataError(f"no such file: {name}.{did_you_mean(path.name, sorted(os.listdir(path.parent)))}")
