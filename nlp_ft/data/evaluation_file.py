"""Reading a file for a saved model: with labels to evaluate, without to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from datasets import Dataset

from nlp_ft.data.readers.options import Reading
from nlp_ft.data.readers.rejected import without_rejected, without_unannotated
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.table_reader import Source, read_table
from nlp_ft.data.rows import rows_of, texts_of
from nlp_ft.data.schema.columns import find_columns, with_label
from nlp_ft.data.schema.encode_labels import encode_with_notes
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
    **reading: Unpack[Reading],
) -> Texts:
    """Read the texts of a file that needs no labels.

    `reading`: as `read_table` takes it. Raises: DataError as `read_table`, or for a missing column.
    """
    table = read_table(source, **reading)
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
    label_delimiter: str | None = None,
    merge_label_spellings: bool = False,
    **reading: Unpack[Reading],
) -> tuple[Dataset, list[str]]:
    """Read a labelled file for a saved model.

    `labels`: its class names in id order ([] for regression). `label_delimiter`, `merge_label_spellings`: as of DataArguments;
    the delimiter is found by the names where not given. `reading`: as `read_table` takes it.

    Returns: the split with columns `text`, (`text_pair`,) `label`, and the notes. Raises: DataError, also for a label
    the model does not know.
    """
    table = without_unannotated(read_table(source, **reading))
    columns = find_columns(
        table, text_column_names, text_pair_column_name, label_column_name, delimiter=text_column_delimiter
    )
    table = with_label(without_rejected(table, columns.used), columns)
    targets, label_notes = encode_with_notes(
        table, columns.label, labels, problem_type, label_delimiter, merge_spellings=merge_label_spellings
    )
    rows = rows_of(table, columns, targets, problem_type)
    return rows.data, [*table.notes, *columns.notes, *label_notes, f"{counted(len(table), 'row')} of {table.source}"]
