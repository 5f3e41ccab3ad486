"""Blocks of rows, by which every format is read; a table is its blocks together."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow as pa

from nlp_ft.data.readers import arrow_store
from nlp_ft.data.readers.arrow_store import Store
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.table import Table
from nlp_ft.errors import DataError

_Row = TypeVar("_Row")


class Size(NamedTuple):
    """Size of a block: a limit of rows, and one of characters (bytes, of Arrow).

    A block ends with the row that reaches either.
    """

    rows: int = 4096
    characters: int = 4 << 20


@dataclass(frozen=True)
class Block:
    """Rows of a file that stand together.

    Where a block ends depends on the file and the size alone.

    table: its cells. strings: whether all are. objects: the rows as they stand in a file of JSON lines. batch: the rows as
    they stand in a Parquet or Arrow file.
    """

    table: Table
    strings: bool = False
    objects: list[str] | None = None
    batch: pa.RecordBatch | None = None

    def __len__(self) -> int:
        return len(self.table) if self.objects is None else len(self.objects)

    def take(self, rows: Sequence[int]) -> Block:
        """The block of these rows alone."""
        objects = None if self.objects is None else [self.objects[row] for row in rows]
        batch = None if self.batch is None else self.batch.take(pa.array(rows, pa.int64()))
        return Block(self.table.take(rows), self.strings, objects, batch)


@dataclass(frozen=True)
class FileReader:
    """A file that was opened, and how it is read.

    read: yields the blocks, bad rows go to the second argument. Raises: DataError where the file has no rows.
    in_blocks: whether memory holds one block at a time; if not, the whole is read before the first one. schema: that of a
    Parquet or Arrow file. class_names: as of a Table. mapped: whether its cells stay in the file. notes: what was detected.
    """

    source: Path | str
    read: Callable[[Size, BadRows], Iterator[Block]]
    in_blocks: bool = True
    schema: pa.Schema | None = None
    class_names: dict[str, list[str]] = field(default_factory=dict)
    mapped: bool = False
    notes: list[str] = field(default_factory=list)


def read_whole(reader: FileReader, bad: BadRows, *, settle: bool = True) -> Table:
    """Put the blocks together.

    settle: whether bad rows (unless they are skipped) are refused here, not by the caller. Raises: DataError where they are,
    or where there are no others.
    """
    store, lines = Store(), array("q")
    for block in reader.read(Size(arrow_store.BATCH_ROWS, arrow_store.BATCH_BYTES), bad):
        if block.batch is not None:
            store.add_batch(block.batch, mapped=reader.mapped)
        else:
            store.add_columns(block.table.columns, len(block))
        lines.extend(block.table.lines or ())
    if settle or not store.rows:
        bad.settle(str(reader.source))
    columns = store.columns()
    if not columns:
        raise DataError(f"{reader.source} has no readable rows.")
    return Table(
        str(reader.source),
        columns,
        lines or None,
        class_names=reader.class_names,
        notes=reader.notes,
        rejected=list(bad.rows),
    )


def text_blocks(
    source: str, header: Sequence[str], rows: Iterable[tuple[Sequence[str], int, int]], size: Size
) -> Iterator[Block]:
    """Blocks of rows of strings, out of (cells, line, characters).

    Line 0 where rows have none.
    """
    for cells, lines in parted(rows, size):
        columns: dict[str, Sequence[object]] = dict(zip(header, map(list, zip(*cells, strict=True)), strict=True))
        yield Block(Table(source, columns, lines if lines[0] else None), strings=True)


def parted(rows: Iterable[tuple[_Row, int, int]], size: Size) -> Iterator[tuple[list[_Row], array[int]]]:
    """(rows, their lines) by the block, out of (row, line, characters)."""
    block, lines, filled = [], array("q"), 0
    for row, line, characters in rows:
        block.append(row)
        lines.append(line)
        filled += characters
        if len(block) >= size.rows or filled >= size.characters:
            yield block, lines
            block, lines, filled = [], array("q"), 0
    if block:
        yield block, lines
