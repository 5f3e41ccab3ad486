"""Blocks of rows out of one file, by its format; where a block ends depends on the file alone."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from nlp_ft.data.readers.arrow import ipc_batches, require_utf8
from nlp_ft.data.readers.arrow_store import Column
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.csv_reader import check_header, delimited_rows, wrong_length
from nlp_ft.data.readers.jsonl import NotARow, parse, row_object
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.table_reader import read_table
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.errors import DataError


class Size(NamedTuple):
    """Where a block ends: at so many rows, or behind the row with which it has so many characters (bytes, of Arrow)."""

    rows: int = 4096
    characters: int = 4 << 20


@dataclass(frozen=True)
class Block:
    """Rows of a file that stand together.

    number: of the block, from 0. start: rows of the file before it. table: its cells. strings: whether all are. objects: the
    rows as they stand in a file of JSON lines. batch: the rows as they stand in a Parquet or Arrow file.
    """

    number: int
    start: int
    table: Table
    strings: bool = False
    objects: list[str] | None = None
    batch: pa.RecordBatch | None = None

    def __len__(self) -> int:
        return len(self.table) if self.objects is None else len(self.objects)


def delimited_blocks(path: Path, delimiter: str, size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of CSV or TSV. Raises: DataError for a header that names a column twice; bad rows go to `bad`."""
    rows = delimited_rows(path, delimiter, bad)
    _, header = next(rows, (0, []))
    check_header(path, header)
    number, start = 0, 0
    for held, lines in _parted(_fitting(rows, path, header, delimiter, bad), size):
        columns: dict[str, Sequence[Any]] = dict(zip(header, map(list, zip(*held, strict=True)), strict=True))
        yield Block(number, start, Table(str(path), columns, lines), strings=True)
        number, start = number + 1, start + len(held)


def _fitting(
    rows: Iterator[tuple[int, list[str]]], path: Path, header: list[str], delimiter: str, bad: BadRows
) -> Iterator[tuple[list[str], int, int]]:
    """(cells, line, characters) of every row that has as many cells as the header."""
    for line, row in rows:
        if len(row) == len(header):
            yield row, line, sum(map(len, row))
        else:
            bad.add(f"{path}:{line}", wrong_length(row, header, delimiter), delimiter.join(row))


def json_blocks(path: Path, size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of JSON lines; bad rows go to `bad`."""
    number, start = 0, 0
    for held, lines in _parted(_objects(path, bad), size):
        names = dict.fromkeys(name for _, row in held for name in row)
        columns: dict[str, Sequence[Any]] = {name: [row.get(name) for _, row in held] for name in names}
        yield Block(number, start, Table(str(path), columns, lines), objects=[text for text, _ in held])
        number, start = number + 1, start + len(held)


def _objects(path: Path, bad: BadRows) -> Iterator[tuple[tuple[str, dict[str, Any]], int, int]]:
    """((text, object), line, characters) of every line that is not blank."""
    lines = Lines(path)
    for line in lines:
        if fault := lines.fault(lines.number):
            bad.add(f"{path}:{lines.number}", fault, line)
        elif text := line.strip():
            try:
                yield (text, row_object(parse(line.rstrip("\r\n")))), lines.number, len(text)
            except NotARow as reason:
                bad.add(f"{path}:{lines.number}", str(reason), line)


def _parted(rows: Iterator[tuple[Any, int, int]], size: Size) -> Iterator[tuple[list[Any], array[int]]]:
    """(rows, their lines) by the block, out of (row, line, characters)."""
    held, lines, filled = [], array("q"), 0
    for row, line, characters in rows:
        held.append(row)
        lines.append(line)
        filled += characters
        if len(held) >= size.rows or filled >= size.characters:
            yield held, lines
            held, lines, filled = [], array("q"), 0
    if held:
        yield held, lines


def arrow_blocks(path: Path, kind: str, size: Size) -> tuple[pa.Schema, Callable[[BadRows], Iterator[Block]]]:
    """Schema and blocks of a `Parquet` or `Arrow` file. Raises: DataError where it is damaged or names a column twice."""
    batches = partial(_parquet_batches, size) if kind == "Parquet" else ipc_batches
    try:
        schema, _ = batches(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, kind, error) from None
    if len(set(schema.names)) < len(schema.names):
        read_table(path)  # says which
    return schema, partial(_batch_blocks, path, kind, size, batches)


def _batch_blocks(
    path: Path,
    kind: str,
    size: Size,
    batches: Callable[[Path], tuple[pa.Schema, Iterator[pa.RecordBatch]]],
    bad: BadRows,
) -> Iterator[Block]:
    number, start = 0, 0
    try:
        for whole in batches(path)[1]:
            for batch in _pieces(whole, size):
                require_utf8(str(path), batch)
                columns: dict[str, Sequence[Any]] = {
                    name: Column([cells]) for name, cells in zip(batch.schema.names, batch.columns, strict=True)
                }
                place = partial(_place, path, start)
                yield Block(number, start, Table(str(path), columns, place=place), batch=batch)
                number, start = number + 1, start + batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, kind, error) from None


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as {kind}: {str(error).splitlines()[0]}")


def _place(path: Path, start: int, row: int) -> str:
    return f"{path}, row {start + row + 1}"


def _pieces(batch: pa.RecordBatch, size: Size) -> Iterator[pa.RecordBatch]:
    """A batch in pieces that are no larger than a block, halved while they are."""
    if not batch.num_rows:
        return
    if batch.num_rows > size.rows:
        for start in range(0, batch.num_rows, size.rows):
            yield from _pieces(batch.slice(start, size.rows), size)
    elif batch.num_rows > 1 and batch.nbytes > size.characters:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half), size)
        yield from _pieces(batch.slice(half), size)
    else:
        yield batch


def _parquet_batches(size: Size, path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Read through a small buffer, and fewer rows at a time where they are large."""
    file = pq.ParquetFile(path, buffer_size=1 << 20)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    largest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
    rows = int(min(size.rows, max(1, size.characters / max(1, largest))))
    return file.schema_arrow, file.iter_batches(batch_size=rows)
