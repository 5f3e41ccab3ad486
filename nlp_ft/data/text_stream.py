"""Texts of files of any size, block after block; memory holds one block.

Files are read, and rows refused, as in `read_table`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Unpack

import pyarrow as pa

from nlp_ft.data.readers.arrow_store import as_column
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, Size
from nlp_ft.data.readers.options import Reading, ReadOptions, reading_of
from nlp_ft.data.readers.table import Table, are_texts, not_a_text
from nlp_ft.data.readers.table_reader import expanded, open_file, read_table
from nlp_ft.data.rows import texts_of
from nlp_ft.data.schema.columns import PAIR_FLAG, TEXT_FLAG, Columns, find_columns
from nlp_ft.data.text import counted
from nlp_ft.errors import DataError

_Blocks = Callable[[BadRows], Iterator[Block]]
_LONG = 2**53  # from here on a float does not hold every whole number


@dataclass
class TextFile:
    """A file that one pass has gone over, and its blocks.

    They are the same ones whenever they are read.

    source: as the user named it. rows: their number. sizes: rows of each block. names: every column, in order of first
    appearance. columns: those whose texts are answered. kinds: by column, the kinds of values there (`str`, `bool`, `int`,
    `long`, `float`, `null`, `other`), where the file has no schema. schema: that of a Parquet or Arrow file. digest: sha256 of
    the content. notes: what was found out. skips: whether rows that cannot be read, or have no text, are left out.
    """

    source: str
    columns: Columns
    names: list[str]
    sizes: list[int]
    kinds: dict[str, set[str]]
    schema: pa.Schema | None
    digest: str
    notes: list[str]
    _read: _Blocks = field(repr=False)
    _stamps: list[tuple[int, int]] = field(repr=False)
    skips: bool = False

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.sizes)

    def blocks(self) -> Iterator[Block]:
        """Every block, in order. Raises: DataError where the file is another one by now."""
        bad = BadRows(self.skips)
        for block in self._read(bad):
            self.require_unchanged()
            yield _with_texts(block, self.columns) if self.skips else block
        bad.settle(self.source)

    def texts(self, block: Block) -> list[str] | list[tuple[str, str]]:
        """The texts of a block, or pairs of them.

        Raises: DataError for one that is no string, with its place.
        """
        texts, pairs = texts_of(_with_all(block, self.columns), self.columns)
        return list(texts) if pairs is None else list(zip(texts, pairs, strict=True))

    def require_unchanged(self) -> None:
        """Raises: DataError where the file was written to since the pass over it."""
        if self._stamps != _stamps(self.source):
            raise DataError(f"{self.source} was changed while it was read; start anew when it is whole.")


def open_texts(
    source: str | Path,
    text_column_names: str | None = None,
    text_pair_column_name: str | None = None,
    text_column_delimiter: str | None = None,
    *,
    block_rows: int = Size().rows,
    skip_bad_rows: bool = False,
    **reading: Unpack[Reading],
) -> TextFile:
    """Go over a file that needs no labels, once, to the end.

    Its columns are found in the first block; all rows are checked.

    CSV, TSV and JSON lines (also as .gz), Parquet and Arrow are read block by block; anything else that `read_table` takes by
    name (a pattern, a folder, a JSON array) is read whole first. `reading`: as there. skip_bad_rows: leaves out rows that
    cannot be read, or have no text; a note counts them. Raises: DataError as `texts_for_prediction`.
    """
    source = os.fspath(source)
    how = {"labelled": False, "delimiter": text_column_delimiter}
    with _permitted(source):
        stamps = _stamps(source)
        read, schema, notes, digest = _opened(
            source, ReadOptions(**reading, skip_bad_rows=skip_bad_rows), Size(block_rows)
        )
        bad, sizes = BadRows(skip_bad_rows), []
        names: dict[str, None] = {}
        kinds: dict[str, set[str]] = {}
        columns, fault = None, None
        for block in read(bad):
            sizes.append(len(block))
            names.update(dict.fromkeys(block.table.columns))
            if schema is None:
                _add_kinds(kinds, block)
            try:
                if columns is None and fault is None:
                    columns = find_columns(block.table, text_column_names, text_pair_column_name, None, **how)
                if columns is not None:
                    _add_missing(_with_all(block, columns), columns, bad)
                    sizes[-1] = len(_with_texts(block, columns)) if skip_bad_rows else len(block)
            except DataError as error:  # bad rows come first
                fault = fault or error
        bad.settle(source)
        if fault is not None:
            raise fault
        if columns is None:
            raise DataError(f"{source} has no rows.")
    if skip_bad_rows and bad.count:
        notes = [
            *notes,
            f"{source}: {counted(bad.count, 'row')} left out, the first {bad.rows[0].where}: {bad.rows[0].reason}",
        ]
    notes = [*notes, *columns.notes]
    return TextFile(source, columns, list(names), sizes, kinds, schema, digest, notes, read, stamps, skip_bad_rows)


def _add_missing(table: Table, columns: Columns, bad: BadRows) -> None:
    """Add every row of a table that has no text."""
    flags = {**dict.fromkeys(columns.texts, TEXT_FLAG), **dict.fromkeys(filter(None, [columns.text_pair]), PAIR_FLAG)}
    for name, flag in flags.items():
        cells = table.column(name, flag)
        for row, cell in enumerate(cells) if not are_texts(cells) else ():
            if not isinstance(cell, str):
                bad.add(table.where(row), not_a_text(name, flag, cell), "")


def _with_texts(block: Block, columns: Columns) -> Block:
    """The rows of a block that have every text."""
    table = _with_all(block, columns)
    names = [*columns.texts, *filter(None, [columns.text_pair])]
    rows = [row for row in range(len(block)) if all(isinstance(table.columns[name][row], str) for name in names)]
    return block if len(rows) == len(block) else block.take(rows)


def _opened(source: str, options: ReadOptions, size: Size) -> tuple[_Blocks, pa.Schema | None, list[str], str]:
    """A reader of blocks, the file's schema or None, notes, and its sha256."""
    if os.path.isfile(source) and "://" not in source:
        reader = open_file(source, options)
        if reader.in_blocks:
            return partial(reader.read, size), reader.schema, reader.notes, _digest(Path(source))
    table = read_table(source, **reading_of(options))
    return partial(_table_blocks, table, size.rows), None, table.notes, _digest_of_rows(table)


def _table_blocks(table: Table, rows: int, bad: BadRows) -> Iterator[Block]:
    """Blocks of a table that is held, whose bad rows were refused when it was read."""
    cells = {name: iter(column) for name, column in table.columns.items()}
    for start in range(0, len(table), rows):
        columns: dict[str, Sequence[object]] = {name: list(islice(column, rows)) for name, column in cells.items()}
        place = partial(_place, table, start)
        yield Block(Table(table.source, columns, place=place))


def _place(table: Table, start: int, row: int) -> str:
    return table.where(start + row)


def _with_all(block: Block, columns: Columns) -> Table:
    """The table of a block with every column in use.

    One that no row of this block has is all null.
    """
    table = block.table
    for name in columns.used:
        if name not in table.columns:
            table = table.with_column(name, as_column(None, len(block)))
    return table


def _add_kinds(kinds: dict[str, set[str]], block: Block) -> None:
    """Add the kinds of values in a block; strings alone, as of CSV, are seen at once."""
    for name, cells in block.table.columns.items():
        column_kinds = kinds.setdefault(name, set())
        if block.strings:
            column_kinds.add("str")
        else:
            column_kinds.update(map(_kind, cells))


def _kind(cell: object) -> str:
    if cell is None:
        return "null"
    if type(cell) is int:
        return "int" if abs(cell) <= _LONG else "long" if -(2**63) <= cell < 2**63 else "other"
    name = type(cell).__name__
    return name if name in ("str", "bool", "float") else "other"


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _digest_of_rows(table: Table) -> str:
    digest = hashlib.sha256(repr(list(table.columns)).encode())
    for row in zip(*table.columns.values(), strict=True):
        digest.update(repr(row).encode())
    return digest.hexdigest()


def _stamps(source: str) -> list[tuple[int, int]]:
    """Size and time of every file of a source that is there."""
    files = [str(file) for file in expanded(source)] if "://" not in source else []
    return [(info.st_size, info.st_mtime_ns) for info in map(os.stat, filter(os.path.exists, files))]


@contextmanager
def _permitted(source: str) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise DataError(f"{source} may not be read by this user.") from None
