"""Reading a file for a model that exists: with labels to evaluate it, without them to predict."""

from __future__ import annotations

import os
from dataclasses import dataclass

from datasets import Dataset

from nlp_ft.data.columns import PAIR_FLAG, TEXT_FLAG, find_columns
from nlp_ft.data.labels import encode_labels
from nlp_ft.data.read import read_table
from nlp_ft.data.rows import rows_of
from nlp_ft.data.table import Table, counted


@dataclass(frozen=True)
class Texts:
    """Texts to predict, their pairs (or None), the table they stand in, and notes on the columns taken."""

    texts: list[str]
    pairs: list[str] | None
    table: Table
    notes: list[str]


def texts_for_prediction(
    path: str | os.PathLike[str], text_column_names: str | None = None, text_pair_column_name: str | None = None
) -> Texts:
    """Read the texts of a file that needs no labels. Raises: DataError as `read_table`, or for a missing column."""
    table = read_table(path)
    columns = find_columns(table, text_column_names, text_pair_column_name, None, labelled=False)
    pairs = None if columns.text_pair is None else table.texts(columns.text_pair, PAIR_FLAG)
    return Texts(table.texts(columns.text, TEXT_FLAG), pairs, table, columns.notes)


def load_labelled(
    path: str | os.PathLike[str],
    labels: list[str],
    problem_type: str,
    text_column_names: str | None = None,
    text_pair_column_name: str | None = None,
    label_column_name: str | None = None,
) -> tuple[Dataset, list[str]]:
    """Read a labelled file for a saved model, whose class names are `labels` in id order ([] for regression).

    Returns: the split with columns `text`, (`text_pair`,) `label`, and the notes. Raises: DataError, also for a label
    the model does not know.
    """
    table = read_table(path)
    columns = find_columns(table, text_column_names, text_pair_column_name, label_column_name)
    assert columns.label is not None  # find_columns found one, or raised
    rows = rows_of(table, columns, encode_labels(table, columns.label, labels, problem_type))
    return rows.to_dataset(problem_type), [*columns.notes, f"{counted(len(table), 'row')} of {table.source}"]
