"""Reading a file for a saved model: with labels to evaluate, without to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset

from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.table_reader import Source, read_table
from nlp_ft.data.rows import rows_of, texts_of
from nlp_ft.data.schema.columns import find_columns, with_label
from nlp_ft.data.schema.encode_labels import encode_labels
from nlp_ft.data.text import counted


@dataclass(frozen=True)
class Texts:
    """Texts to predict, their pairs (or None), their table, and notes on the columns."""

    texts: Sequence[str]
    pairs: Sequence[str] | None
    table: Table
    notes: list[str]


def texts_for_prediction(
    source: Source,
    text_column_names: str | None = None,
    text_pair_column_name: str | None = None,
    text_column_delimiter: str | None = None,
    *,
    delimiter: str | None = None,
) -> Texts:
    """Read the texts of a file that needs no labels.

    Raises: DataError as `read_table`, or for a missing column.
    """
    table = read_table(source, delimiter=delimiter)
    columns = find_columns(
        table, text_column_names, text_pair_column_name, None, labelled=False, delimiter=text_column_delimiter
    )
    return Texts(*texts_of(table, columns), table, [*table.notes, *columns.notes])


def load_labelled(
    source: Source,
    labels: list[str],
    problem_type: str,
    text_column_names: str | None = None,
    text_pair_column_name: str | None = None,
    label_column_name: str | None = None,
    text_column_delimiter: str | None = None,
    *,
    delimiter: str | None = None,
) -> tuple[Dataset, list[str]]:
    """Read a labelled file for a saved model.

    `labels`: its class names in id order ([] for regression).

    Returns: the split with columns `text`, (`text_pair`,) `label`, and the notes. Raises: DataError, also for a label
    the model does not know.
    """
    table = read_table(source, delimiter=delimiter)
    columns = find_columns(
        table, text_column_names, text_pair_column_name, label_column_name, delimiter=text_column_delimiter
    )
    table = with_label(table, columns)
    rows = rows_of(table, columns, encode_labels(table, columns.label, labels, problem_type), problem_type)
    return rows.data, [*table.notes, *columns.notes, f"{counted(len(table), 'row')} of {table.source}"]
