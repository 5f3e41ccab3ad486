"""The format of a file: by the flag, by its extension, and by its first bytes where these say otherwise."""

from __future__ import annotations

import json
import zipfile
from itertools import islice
from pathlib import Path

from nlp_ft.data.readers.line_formats import looks_like_fasttext, looks_like_trec
from nlp_ft.data.readers.options import FORMATS, ReadOptions
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.errors import DataError

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}
_BINARY = ("parquet", "arrow", "xlsx")
_FIRST_BYTES = {b"PAR1": "parquet", b"ARROW1": "arrow"}
_MENDS = {  # what is not read, and what to do
    b"\x1f\x8b": "is packed by gzip; give its name the ending .gz",
    b"PK\x03\x04": "is a zip archive; unpack it first",
    b"\xd0\xcf\x11\xe0": "is an old Excel file (.xls) or locked by a password; save it as .xlsx without one, or as CSV",
    b"%PDF": "is a PDF; take its texts out first",
}
_LOOKED_AT = 5  # lines


def format_of(path: Path, options: ReadOptions) -> str:
    """The format that a file is read as.

    Raises: DataError where nothing tells it, naming the flag, and where the first bytes are those of another one.
    """
    packed = path.suffix.lower() == ".gz"
    suffix = (path.with_suffix("") if packed else path).suffix.lower()
    by_name = options.file_format or _SUFFIXES.get(suffix)
    if by_name in _BINARY and packed:
        raise DataError(f"{path}: {by_name} is not read out of .gz; unpack it first.")
    if by_name not in _BINARY and not packed:
        _require_text(path)
    if options.file_format is not None:
        return options.file_format
    lines = [] if by_name in (*_BINARY, "json", "jsonl") else _first_lines(path, options)
    if looks_like_fasttext(lines):
        return "fasttext"
    if by_name is None:
        written = f"its extension {suffix!r}" if suffix else "its name"
        hint = f"; it looks like {likely}" if (likely := _likely(lines)) else ""
        raise DataError(
            f"{path}: {written} does not say the format; name it with --file_format ({', '.join(FORMATS)}){hint}."
        )
    if by_name in ("csv", "tsv") and lines and _is_object(lines[0]):
        raise DataError(f"{path} holds JSON lines, by its first one; read it with --file_format jsonl.")
    return by_name


def _require_text(path: Path) -> None:
    """Refuse a file whose first bytes are those of another format than text. Raises: DataError."""
    with path.open("rb") as file:
        start = file.read(8)
    for first, name in _FIRST_BYTES.items():
        if start.startswith(first):
            raise DataError(f"{path} is {name.capitalize()} by its first bytes; read it with --file_format {name}.")
    if start.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "xl/workbook.xml" in archive.namelist():
                raise DataError(f"{path} is an Excel workbook by its first bytes; read it with --file_format xlsx.")
    for first, mend in _MENDS.items():
        if start.startswith(first):
            raise DataError(f"{path} {mend}.")


def _first_lines(path: Path, options: ReadOptions) -> list[str]:
    """The first lines that are not blank; none where they cannot be decoded."""
    try:
        lines = Lines(path, encoding=options.encoding, strict=False)
        return list(islice((line.rstrip("\r\n") for line in lines if line.strip()), _LOOKED_AT))
    except DataError:
        return []


def _likely(lines: list[str]) -> str | None:
    """The format that these first lines look like."""
    if not lines:
        return None
    if _is_object(lines[0]):
        return "jsonl"
    if lines[0].lstrip().startswith(("[", "{")):
        return "json"
    if looks_like_trec(lines):
        return "trec"
    for delimiter, name in (("\t", "tsv"), (",", "csv"), (";", "csv")):
        if delimiter in lines[0] and all(delimiter in line for line in lines):
            return name
    return "txt"


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
