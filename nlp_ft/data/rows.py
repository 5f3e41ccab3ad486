"""Texts with their numbered labels: what is split, sampled and trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, List, Value

from nlp_ft.data.readers.arrow_store import Column, Store, as_column
from nlp_ft.data.readers.table import Table
from nlp_ft.data.schema.columns import PAIR_FLAG, TEXT_FLAG, Columns
from nlp_ft.data.schema.problem_type import MULTI, REGRESSION, SINGLE

_LABEL_FEATURES = {SINGLE: Value("int64"), MULTI: List(Value("float32")), REGRESSION: Value("float64")}


@dataclass(frozen=True)
class Rows:
    """Rows of a split.

    `data`: columns `text`, (`text_pair`,) `label` (int64, list of float32, or float64 by problem) and what else was asked
    for (`source`, `group`); texts that lie on disk stay there.
    `labels`: class id, 0/1 list or float of each row. `keys`: 8 bytes a row, equal for equal texts (or pairs): equal words,
    whatever the case and the spaces between.
    """

    data: Dataset
    labels: list[Any]
    keys: list[bytes]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Iterable[int]) -> Rows:
        """The rows at these places, in this order."""
        indices = list(indices)
        labels, keys = [self.labels[index] for index in indices], [self.keys[index] for index in indices]
        return Rows(self.data.select(indices), labels, keys)

    def cells(self, name: str) -> list[Any] | None:
        """The cells of a column such as `group`, or None where there is none."""
        return list(self.data[name]) if name in self.data.column_names else None


def make_rows(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: list[Any],
    problem: str,
    others: Mapping[str, Sequence[object]] | None = None,
) -> Rows:
    """Rows of these columns; `others` are kept beside them as strings."""
    features = {"text": Value("string")}
    columns = {"text": as_column(texts).arrow(pa.string())}
    if pairs is not None:
        features["text_pair"] = Value("string")
        columns["text_pair"] = as_column(pairs).arrow(pa.string())
    for name, cells in (others or {}).items():
        features[name] = Value("string")
        columns[name] = pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
    features["label"] = _LABEL_FEATURES[problem]
    schema = Features(features).arrow_schema
    columns["label"] = pa.array(labels, schema.field("label").type)
    data = Dataset(pa.table(columns, schema=schema))
    return Rows(data, labels, [text_digest(*both) for both in zip(texts, pairs or _nothing(len(texts)), strict=True)])


def _nothing(count: int) -> Iterable[None]:
    return (None for _ in range(count))


def text_digest(text: str, pair: str | None = None) -> bytes:
    """8 bytes that are equal for texts (or pairs) of equal words."""
    return hashlib.blake2b(text_key(text, pair).encode(), digest_size=8).digest()


def text_key(text: str, pair: str | None = None) -> str:
    """Key that is equal for texts (or pairs) of equal words.

    Case and the spaces between words do not count.
    """
    key = " ".join(text.lower().split())
    return key if pair is None else f"{key}\0{' '.join(pair.lower().split())}"


def texts_of(table: Table, columns: Columns) -> tuple[Sequence[str], Sequence[str] | None]:
    """The texts of a table and their pairs; several text columns are joined.

    Raises: DataError for one that is no string.
    """
    parts = [table.texts(name, TEXT_FLAG) for name in columns.texts]
    pairs = None if columns.text_pair is None else table.texts(columns.text_pair, PAIR_FLAG)
    return parts[0] if len(parts) == 1 else _joined(parts, columns.delimiter), pairs


def _joined(parts: Sequence[Sequence[str]], delimiter: str) -> Column:
    store = Store(["text"])
    for cells in zip(*parts, strict=True):
        store.add_cells([delimiter.join(cells)])
    return store.columns()["text"]


def rows_of(
    table: Table, columns: Columns, labels: list[Any], problem: str, kept: dict[str, str] | None = None
) -> Rows:
    """The rows of a table with these targets.

    `kept`: other columns to keep, by the name that they get.
    """
    texts, pairs = texts_of(table, columns)
    others = {name: table.columns[column] for name, column in (kept or {}).items()}
    return make_rows(texts, pairs, labels, problem, others)


def text_columns(split: Dataset) -> tuple[list[str], list[str] | None]:
    """The texts of a split, and the second texts of pairs or None."""
    return list(split["text"]), list(split["text_pair"]) if "text_pair" in split.column_names else None


def texts_or_pairs(split: Dataset) -> list[Any]:
    """The texts of a split, or (text, pair) tuples."""
    if "text_pair" in split.column_names:
        return list(zip(split["text"], split["text_pair"], strict=True))
    return list(split["text"])
