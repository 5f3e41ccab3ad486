"""Parquet and Arrow files, `datasets` splits and data frames: typed columns, with class names where the schema has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, List

from nlp_ft.data.readers.arrow_store import BATCH_ROWS, Store
from nlp_ft.data.readers.table import Table
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError


def read_parquet(path: Path) -> Table:
    """Read a Parquet file. Raises: DataError where it is damaged, holds no rows or names a column twice."""

    def batches() -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
        file = pq.ParquetFile(path)
        return file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS)

    return _read(path, "Parquet", batches)


def read_arrow(path: Path) -> Table:
    """Read an Arrow IPC file or stream (Feather, too); it is mapped, not read in. Raises: DataError as `read_parquet`."""
    return _read(path, "Arrow", lambda: ipc_batches(path), mapped=True)


def ipc_batches(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Schema and batches of an Arrow IPC file or stream, mapped, not read in. Raises: pyarrow's own errors, and OSError."""
    mapped = pa.memory_map(str(path))
    try:
        file = pa.ipc.open_file(mapped)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    except pa.ArrowInvalid:
        mapped.seek(0)
        stream = pa.ipc.open_stream(mapped)
        return stream.schema, iter(stream)


def _read(
    path: Path, kind: str, opened: Callable[[], tuple[pa.Schema, Iterable[pa.RecordBatch]]], *, mapped: bool = False
) -> Table:
    try:
        schema, batches = opened()
        return _from_batches(str(path), schema, batches, mapped=mapped)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {kind}: {str(error).splitlines()[0]}") from None


def from_dataset(source: str, data: Dataset) -> Table:
    """A split of a `datasets` dataset as a table; what lies on disk stays there. Raises: DataError where it is empty."""
    parts: Any = data.with_format("arrow").iter(BATCH_ROWS)
    batches = (batch for part in parts for batch in part.to_batches())
    mapped = data._indices is None
    return _from_batches(source, data.features.arrow_schema, batches, data.features, mapped=mapped)


def from_frame(frame: Any, name: str) -> Table:
    """A pandas or polars data frame, an Arrow table, a `datasets` split, or a list of dictionaries, as a table.

    Raises: DataError for anything else, for a frame without rows, and for column names that are no strings.
    """
    if isinstance(frame, Dataset):
        return from_dataset(name, frame)
    if isinstance(frame, list):
        return _from_objects(frame, name)
    if hasattr(frame, "__arrow_c_stream__"):
        try:
            table = pa.table(frame)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"{name} cannot be read: {str(error).splitlines()[0]}") from None
        table = table.drop_columns([n for n in table.column_names if n.startswith("__index_level_")])
        return _from_batches(name, table.schema, table.to_batches(BATCH_ROWS))
    raise DataError(
        f"{name} is a {type(frame).__name__}; wanted a path, a pandas or polars frame, an Arrow table, a datasets split, or "
        "a list of dictionaries."
    )


def _from_objects(rows: Sequence[Any], name: str) -> Table:
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
    names = schema.names
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{source} names column {twice[0]!r} twice; rename one.")
    store = Store(names)
    for batch in batches:
        require_utf8(source, batch)
        store.add_batch(batch, mapped=mapped)
    if not store.rows:
        raise DataError(f"{source} has columns ({', '.join(names)}) and no rows.")
    return Table(source, store.columns(), class_names=_class_names(features or _features(schema)))


def require_utf8(source: str, batch: pa.RecordBatch) -> None:
    """Refuse strings that are not UTF-8. Raises: DataError."""
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
    found = {}
    for name, feature in features.items():
        inner = feature.feature if isinstance(feature, List) else feature
        if isinstance(inner, ClassLabel):
            found[name] = list(inner.names)
    return found
