"""Texts with their numbered labels: what splitting and sampling work on, and what becomes a `datasets` split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, List, Value

from nlp_ft.data.columns import PAIR_FLAG, TEXT_FLAG, Columns
from nlp_ft.data.problem import MULTI, REGRESSION, SINGLE
from nlp_ft.data.table import Table

_LABEL_FEATURES = {SINGLE: Value("int64"), MULTI: List(Value("float32")), REGRESSION: Value("float64")}


@dataclass(frozen=True)
class Rows:
    """Texts, their pairs (or None), and their targets: class id, 0/1 list or float."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, places: Iterable[int]) -> Rows:
        """The rows at these places, in this order."""
        places = list(places)
        pairs = None if self.pairs is None else [self.pairs[place] for place in places]
        return Rows([self.texts[place] for place in places], pairs, [self.labels[place] for place in places])

    @cached_property
    def keys(self) -> list[str]:
        """What makes two texts (or pairs) equal: their words, whatever the case and the spaces between."""
        keys = [" ".join(text.lower().split()) for text in self.texts]
        if self.pairs is None:
            return keys
        return [f"{key}\0{' '.join(pair.lower().split())}" for key, pair in zip(keys, self.pairs, strict=True)]

    def blank(self) -> list[int]:
        """Places of the rows without a single visible character."""
        return [place for place, key in enumerate(self.keys) if not key.strip("\0")]

    def to_dataset(self, problem: str) -> Dataset:
        """Columns `text`, (`text_pair`,) `label`: int64, list of float32, or float64 by problem."""
        pair_column = {} if self.pairs is None else {"text_pair": self.pairs}
        features = {
            "text": Value("string"),
            **dict.fromkeys(pair_column, Value("string")),
            "label": _LABEL_FEATURES[problem],
        }
        cells = {"text": self.texts, **pair_column, "label": self.labels}
        return Dataset(pa.table(cells, schema=Features(features).arrow_schema))


def rows_of(table: Table, columns: Columns, labels: list[Any]) -> Rows:
    """The rows of a table with these targets. Raises: DataError for a text that is no string."""
    pairs = None if columns.text_pair is None else table.texts(columns.text_pair, PAIR_FLAG)
    return Rows(table.texts(columns.text, TEXT_FLAG), pairs, labels)
