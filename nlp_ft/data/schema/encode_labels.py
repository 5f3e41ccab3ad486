"""Label cells to targets: class names in order, and a number for each row.

The class order is numeric where every name is a number ("2" < "10"), else by code point; a ClassLabel keeps its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from nlp_ft.data.readers.table import Table
from nlp_ft.data.schema.joined_labels import SEMICOLON, known_delimiter, quoted, split_names
from nlp_ft.data.schema.label_cells import LabelColumn, as_float, read_label_column
from nlp_ft.data.schema.label_spelling import alike, merged
from nlp_ft.data.schema.problem_type import MULTI, REGRESSION, SINGLE
from nlp_ft.data.text import counted
from nlp_ft.errors import DataError

Numbers = list[int] | list[list[float]] | list[float]  # of single-label, multi-label and regression rows


def targets(column: LabelColumn, problem: str, delimiter: str | None = None) -> list[Any]:
    """The target of each row, names not yet numbered.

    delimiter: what joins the names of a string (`;` where None), or those of each string in a list.

    str (single), list[str] (multi) or float (regression).

    Raises: DataError for an empty label, a list of several where one label is wanted, or a label that is no finite number.
    """
    if problem == MULTI:
        cells = column.values if column.kind == "list" else [[name] if name else [] for name in column.names()]
        if column.kind != "list" or delimiter is not None:
            joined = SEMICOLON if delimiter is None else delimiter
            cells = [[part for name in cell for part in split_names(name, joined)] for cell in cells]
        return [_distinct_names(column, row, cell) for row, cell in enumerate(cells)]
    if column.kind == "list":
        return _only_names(column, problem)
    column.require_none_empty()
    return column.names() if problem == SINGLE else [_number(column, row) for row in range(len(column.values))]


def _only_names(column: LabelColumn, problem: str) -> list[str]:
    """The one name in each list. Raises: DataError where a list has none or several, and for a regression."""
    if problem != SINGLE:
        raise DataError(
            f"{column.where(0)}: column {column.name!r} holds lists, which only multi_label_classification takes."
        )
    for row, names in enumerate(column.values):
        if len(names) != 1:
            raise DataError(
                f"{column.where(row)}: column {column.name!r} holds a list of {counted(len(names), 'name')}; only "
                "multi_label_classification takes lists that do not hold exactly one."
            )
    return [names[0] for names in column.values]


def _distinct_names(column: LabelColumn, row: int, names: list[str]) -> list[str]:
    if "" in names:
        raise DataError(
            f"{column.where(row)}: an empty name among the labels {';'.join(names)!r} of column {column.name!r}."
        )
    if len(set(names)) < len(names):
        raise DataError(
            f"{column.where(row)}: column {column.name!r} repeats a label in {names}; list the names that apply "
            "(vectors of 0 and 1 are read where all have one length)."
        )
    return sorted(names)


def _number(column: LabelColumn, row: int) -> float:
    value = column.values[row]
    try:
        number = as_float(value) if not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{column.where(row)}: label {str(value)!r} in column {column.name!r} is not a finite number, "
            "which regression needs."
        )
    return number


def class_names(column: LabelColumn, rows: Sequence[str | list[str]], problem: str) -> list[str]:
    """Class names in id order; [] for regression.

    Raises: DataError where the rows hold fewer than two.
    """
    if problem == REGRESSION:
        return []
    names = dict.fromkeys(name for row in rows for name in ([row] if isinstance(row, str) else row))
    if len(names) < 2:
        only = f"only the label {next(iter(names))!r}" if names else "no label at all"
        raise DataError(
            f"{column.table.source}: {counted(len(rows), 'row')} with {only} (column {column.name!r}); "
            "a classifier needs two or more."
        )
    return column.order or order_names(names)


def order_names(names: Iterable[str]) -> list[str]:
    """By value where all are numbers, else by code point."""
    names = list(names)
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def encode_labels(
    table: Table,
    column_name: str,
    labels: list[str],
    problem: str,
    delimiter: str | None = None,
    *,
    merge_spellings: bool = False,
) -> Numbers:
    """Number the labels of a table by class names that are already known.

    They come from training, or from a saved model.

    delimiter: what joins several names in a string; found by the names where not given. merge_spellings: takes a name that
    differs from a known one in spelling alone for that.

    Returns: an id (single), a 0/1 list of len(labels) (multi) or a float (regression) for each row.
    Raises: DataError for a label that is not among `labels`, with its name, count and first place.
    """
    return encode_with_notes(table, column_name, labels, problem, delimiter, merge_spellings=merge_spellings)[0]


def encode_with_notes(
    table: Table,
    column_name: str,
    labels: list[str],
    problem: str,
    delimiter: str | None = None,
    *,
    merge_spellings: bool = False,
) -> tuple[Numbers, list[str]]:
    """As `encode_labels`. Returns: the numbers, and notes on what was read in an unusual way."""
    cells = table.columns.get(column_name, ())
    as_names = problem != SINGLE or any(isinstance(cell, str) and cell.strip() in labels for cell in cells)
    column = read_label_column(table, column_name, problem if as_names else None, delimiter)
    notes = list(column.notes)
    if problem == MULTI and delimiter is None and column.kind != "list":
        delimiter = known_delimiter(column.names(), labels)
        if delimiter != SEMICOLON:
            notes.append(
                f'labels: names in "{column_name}" are joined by {quoted(delimiter)} (--label_delimiter overrides)'
            )
    rows = targets(column, problem, delimiter)
    if merge_spellings and labels:
        rows = merged(rows, {name: name for name in labels})
    return number_targets(column, rows, labels, problem), notes


def number_targets(column: LabelColumn, rows: list[Any], labels: list[str], problem: str) -> Numbers:
    """`targets` as numbers. Raises: DataError for a name that is not among `labels`."""
    if problem == REGRESSION:
        return rows
    ids = {name: number for number, name in enumerate(labels)}
    _refuse_unknown(column, rows, ids)
    if problem == SINGLE:
        return [ids[name] for name in rows]
    return [[float(label in row) for label in labels] for row in rows]


def _refuse_unknown(column: LabelColumn, rows: Sequence[str | list[str]], ids: dict[str, int]) -> None:
    unknown_rows: dict[str, list[int]] = {}
    for row, names in enumerate(rows):
        for name in [names] if isinstance(names, str) else names:
            if name not in ids:
                unknown_rows.setdefault(name, []).append(row)
    if not unknown_rows:
        return
    (name, rows_of_name), *rest = unknown_rows.items()
    others = f"; so are {listed([name for name, _ in rest])}" if rest else ""
    near = alike(name, ids)
    hint = f" (--merge_label_spellings takes it for {near!r})" if near is not None else ""
    raise DataError(
        f"{column.where(rows_of_name[0])}: label {name!r} ({counted(len(rows_of_name), 'row')}) is unknown{others}; the "
        f"labels trained on are {listed(list(ids))}; correct it{hint}, or add such rows to the training file."
    )


def listed(names: list[str]) -> str:
    """Class names for a message: the first twenty, and how many there are."""
    return ", ".join(names) if len(names) <= 20 else ", ".join(names[:20]) + f", ... ({len(names)} in all)"
