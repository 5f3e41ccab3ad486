"""Parquet files and `datasets` splits: typed columns, with the class names where the features carry them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, List

from nlp_ft.data.table import Table
from nlp_ft.errors import DataError


def read_parquet(path: Path) -> Table:
    """Read a Parquet file. Raises: DataError where it is damaged, holds no rows or names a column twice."""
    try:
        with pq.ParquetFile(path) as file:
            return _from_arrow(str(path), file.read())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def from_dataset(source: str, data: Dataset) -> Table:
    """A split of a `datasets` dataset as a table. Raises: DataError where it holds no rows."""
    return _from_arrow(source, data.with_format("arrow")[:], data.features)


def _from_arrow(source: str, table: pa.Table, features: Features | None = None) -> Table:
    names = table.column_names
    if not table.num_rows:
        raise DataError(f"{source} has columns ({', '.join(names)}) and no rows.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{source} names column {twice[0]!r} twice; rename one.")
    try:
        columns = {name: table.column(name).to_pylist() for name in names}
    except UnicodeDecodeError:
        raise DataError(
            f"{source} holds a string that is not UTF-8; write it again from a program that checks."
        ) from None
    return Table(source, columns, class_names=_class_names(features or _features(table.schema)))


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
