"""Parquet and Arrow files, `datasets` splits and data frames.

Columns are typed, with class names where the schema has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, List

from nlp_ft.data.readers.arrow_store import BATCH_ROWS, Column, Store, as_column
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, read_whole
from nlp_ft.data.readers.table import Table
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

_Batches = Callable[[Path, Size], tuple[pa.Schema, Iterable[pa.RecordBatch]]]


def open_parquet(path: Path) -> FileReader:
    """Open a Parquet file.

    Raises: DataError where it is damaged or names a column twice.
    """
    return _open(path, "Parquet", _parquet_batches)


def open_arrow(path: Path) -> FileReader:
    """Open an Arrow IPC file or stream (Feather, too); it is mapped, not read in.

    Raises: DataError as `open_parquet`.
    """
    return _open(path, "Arrow", _ipc_batches)


def _open(path: Path, kind: str, batches: _Batches) -> FileReader:
    with _readable(path, kind):
        schema, _ = batches(path, Size())
    _require_different(str(path), schema.names)
    names = _class_names(_features(schema))
    return FileReader(
        path, partial(_file_blocks, path, kind, batches), schema=schema, class_names=names, mapped=kind == "Arrow"
    )


def _file_blocks(path: Path, kind: str, batches: _Batches, size: Size, bad: BadRows) -> Iterator[Block]:
    with _readable(path, kind):
        schema, parts = batches(path, size)
        yield from _blocks(str(path), schema, parts, size)


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {kind}: {_reason(error)}") from None


def _parquet_batches(path: Path, size: Size) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Read through a small buffer, and fewer rows at a time where they are large."""
    file = pq.ParquetFile(path, buffer_size=1 << 20)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    largest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
    rows = int(min(size.rows, max(1, size.characters / max(1, largest))))
    return file.schema_arrow, file.iter_batches(batch_size=rows)


def _ipc_batches(path: Path, size: Size) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The batches as they were written, mapped, not read in."""
    mapped = pa.memory_map(str(path))
    try:
        file = pa.ipc.open_file(mapped)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    except pa.ArrowInvalid:
        mapped.seek(0)
        stream = pa.ipc.open_stream(mapped)
        return stream.schema, iter(stream)


def _blocks(source: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], size: Size) -> Iterator[Block]:
    """Blocks of batches.

    Raises: DataError for a string that is not UTF-8, and where there are no rows.
    """
    start = 0
    for batch in (piece for whole in batches for piece in _pieces(whole, size)):
        _require_utf8(source, batch)
        columns: dict[str, Sequence[object]] = {
            name: Column([cells]) for name, cells in zip(batch.schema.names, batch.columns, strict=True)
        }
        yield Block(Table(source, columns, place=partial(_place, source, start)), batch=batch)
        start += batch.num_rows
    if not start:
        raise DataError(f"{source} has columns ({', '.join(schema.names)}) and no rows.")


def _place(source: str, start: int, row: int) -> str:
    return f"{source}, row {start + row + 1}"


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


def from_dataset(source: str, data: Dataset) -> Table:
    """A split of a `datasets` dataset as a table; what lies on disk stays there.

    Raises: DataError where it is empty.
    """
    parts: Any = data.with_format("arrow").iter(BATCH_ROWS)
    batches = (batch for part in parts for batch in part.to_batches())
    mapped = data._indices is None
    return _from_batches(source, data.features.arrow_schema, batches, data.features, mapped=mapped)


def from_frame(frame: object, name: str) -> Table:
    """Turn a data frame into a table.

    A pandas or polars frame, an Arrow table, a `datasets` split, or a list of dictionaries.

    Raises: DataError for anything else, for a frame without rows, and for column names that are no strings.
    """
    if isinstance(frame, Dataset):
        return from_dataset(name, frame)
    if isinstance(frame, list):
        return _from_objects(frame, name)
    if hasattr(frame, "__arrow_c_stream__"):
        try:
            table = pa.table(frame)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            if hasattr(frame, "to_dict"):
                return _from_mixed(frame, name)
            raise DataError(f"{name} cannot be read: {_reason(error)}") from None
        table = table.drop_columns([n for n in table.column_names if n.startswith("__index_level_")])
        return _from_batches(name, table.schema, table.to_batches(BATCH_ROWS))
    raise DataError(
        f"{name} is a {type(frame).__name__}; wanted a path, a pandas or polars frame, an Arrow table, a datasets split, or "
        "a list of dictionaries."
    )


def _from_mixed(frame: Any, name: str) -> Table:
    """A pandas frame with a column of several kinds of values, each of which keeps its own."""
    names = [str(column) for column in frame.columns]
    _require_different(name, names)
    if not len(frame):
        raise DataError(f"{name} has columns ({', '.join(names)}) and no rows.")
    columns: dict[str, Sequence[object]] = {}
    for place, column in enumerate(names):
        series = frame.iloc[:, place]
        try:
            columns[column] = Column(pa.chunked_array([pa.array(series, from_pandas=True)]).chunks)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            missing = series.isna()
            columns[column] = as_column([None if gone else cell for cell, gone in zip(series, missing, strict=True)])
    return Table(name, columns)


def _reason(error: Exception) -> str:
    """The first line of an error's first argument: Arrow's are tuples."""
    text = str(error.args[0] if error.args else error)
    return next(iter(text.splitlines()), type(error).__name__)


def _from_objects(rows: Sequence[object], name: str) -> Table:
    store = Store()
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{name}, row {number}: {shown(row)} is not a dictionary.")
        store.add_object(row)
    if not store.rows:
        raise DataError(f"{name} has no rows.")
    return Table(name, store.columns())


def _from_batches(
    source: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    features: Features | None = None,
    *,
    mapped: bool = False,
) -> Table:
    _require_different(source, schema.names)
    reader = FileReader(
        source,
        lambda size, _: _blocks(source, schema, batches, size),
        class_names=_class_names(features or _features(schema)),
        mapped=mapped,
    )
    return read_whole(reader, BadRows())


def _require_different(source: str, names: list[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{source} names column {twice[0]!r} twice; rename one.")


def _require_utf8(source: str, batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error).upper().replace("-", ""):
            raise
        raise DataError(
            f"{source} holds a string that is not UTF-8; write it again from a program that checks."
        ) from None


def _features(schema: pa.Schema) -> Features:
    """The features that `datasets` writes into the metadata of a file, or none."""
    return Features.from_arrow_schema(schema) if b"huggingface" in (schema.metadata or {}) else Features()


def _class_names(features: Features) -> dict[str, list[str]]:
    """Names of the ClassLabel columns (and of lists of ClassLabel), in id order."""
    names = {}
    for name, feature in features.items():
        inner = feature.feature if isinstance(feature, List) else feature
        if isinstance(inner, ClassLabel):
            names[name] = list(inner.names)
    return names
