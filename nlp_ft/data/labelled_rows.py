"""From sources to rows with numbered labels.

Columns are found, bad rows set aside, the problem and its classes settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nlp_ft.data.readers.bad_rows import BadRow, BadRows
from nlp_ft.data.readers.rejected import without_rejected, without_unannotated
from nlp_ft.data.readers.table import SOURCE, Table, not_a_text, source_names
from nlp_ft.data.readers.table_reader import Source
from nlp_ft.data.rows import Rows, rows_of
from nlp_ft.data.schema.columns import PAIR_FLAG, TEXT_FLAG, Columns, find_columns, with_label
from nlp_ft.data.schema.encode_labels import class_names, listed, number_targets, targets
from nlp_ft.data.schema.label_cells import faulty_labels, read_label_column
from nlp_ft.data.schema.label_spelling import merged, most_frequent_spellings, spelling_warning
from nlp_ft.data.schema.problem_type import REGRESSION, find_problem
from nlp_ft.data.sources import read_sources
from nlp_ft.data.text import counted, is_blank
from nlp_ft.errors import DataError

if TYPE_CHECKING:
    from nlp_ft.config import DataArguments

_MOST_SOURCES = 50


@dataclass(frozen=True)
class Labelled:
    """Every given split as a table and as rows with numbered labels.

    `problem`: its kind. `labels`: class names in id order, [] for regression. `notes`: what was found, and why.
    """

    tables: dict[str, Table]
    rows: dict[str, Rows]
    columns: Columns
    problem: str
    labels: list[str]
    notes: list[str]

    def raw_tables(self) -> dict[str, Table]:
        """The tables as their sources have them, without columns made here."""
        if len(self.columns.labels) == 1:
            return self.tables
        made = self.columns.label
        return {
            split: replace(table, columns={name: cells for name, cells in table.columns.items() if name != made})
            for split, table in self.tables.items()
        }


def read_rows(args: DataArguments, frames: Mapping[str, Source] | None = None, *, keep_blank: bool = False) -> Labelled:
    """Read what the arguments (or `frames`, by split) name.

    keep_blank: leaves rows with blank texts where they are, in place of refusing them.

    Raises: DataError, ConfigError.
    """
    malformed = BadRows(args.skip_bad_rows)
    tables, notes = read_sources(args, frames, None if args.skip_bad_rows else malformed)
    try:
        tables = {split: without_unannotated(table) for split, table in tables.items()}
        columns = find_columns(
            tables["train"],
            args.text_column_names,
            args.text_pair_column_name,
            args.label_column_name,
            delimiter=args.text_column_delimiter,
        )
        tables = {split: with_label(without_rejected(table, columns.used), columns) for split, table in tables.items()}
    except DataError:
        malformed.settle(tables["train"].source)  # it may be what spoils the columns
        raise
    if args.skip_bad_rows:
        tables = {split: _without_bad(table, columns, args) for split, table in tables.items()}
    else:
        _refuse_bad(tables, columns, args, malformed, keep_blank)
    notes += [note for table in tables.values() for note in table.notes if note not in notes]
    named, labels, problem, label_notes = _labels(tables, columns, args)
    notes += [*columns.notes, *label_notes]
    kept = _kept_columns(tables, columns, args)
    rows = {}
    for split, table in tables.items():
        rows[split] = rows_of(
            table, columns, named[split], problem, {k: v for k, v in kept.items() if v in table.columns}
        )
        notes.append(f"{split}: {counted(len(table), 'row')} of {table.source}{_left_out(table)}")
    return Labelled(tables, rows, columns, problem, labels, notes)


def _labels(
    tables: dict[str, Table], columns: Columns, args: DataArguments
) -> tuple[dict[str, list[Any]], list[str], str, list[str]]:
    """Settle the problem and its classes on train. Returns: targets by split, class names, the problem, notes."""
    label_columns = {
        split: read_label_column(table, columns.label, args.problem_type, args.label_delimiter)
        for split, table in tables.items()
    }
    train = label_columns["train"]
    problem = find_problem(train, args.problem_type, args.label_delimiter, label_columns.values())
    named = {split: targets(column, problem.kind, problem.delimiter) for split, column in label_columns.items()}
    if args.merge_label_spellings and problem.kind != REGRESSION and train.order is None:
        spellings = most_frequent_spellings(named["train"])
        named = {split: merged(rows, spellings) for split, rows in named.items()}
    labels = class_names(train, named["train"], problem.kind)
    numbers = {
        split: number_targets(column, named[split], labels, problem.kind) for split, column in label_columns.items()
    }
    notes = list(dict.fromkeys(note for column in label_columns.values() for note in column.notes))
    notes.append(f"problem: {problem.kind}, because {problem.reason}")
    notes += [f"labels: {listed(labels)}", *spelling_warning(labels)] if labels else []
    return numbers, labels, problem.kind, notes


def _left_out(table: Table) -> str:
    """`; 3 rows left out (--skip_bad_rows)`, or nothing."""
    return f"; {counted(len(table.rejected), 'row')} left out (--skip_bad_rows)" if table.rejected else ""


def _refuse_bad(
    tables: Mapping[str, Table], columns: Columns, args: DataArguments, bad: BadRows, keep_blank: bool
) -> None:
    """Raises: DataError where rows of several kinds are bad, or some texts blank, with all of them.

    bad: the malformed rows. What is wrong in one way alone is told where it is read.
    """
    faults: list[tuple[str, str]] = []
    kinds, blanks = int(bad.count > 0), False
    for table in tables.values():
        labels, (texts, blank) = _label_faults(table, columns, args), _text_faults(table, columns)
        blank = {} if keep_blank else blank
        kinds += sum(map(bool, (labels, texts)))
        blanks = blanks or bool(blank)
        faults += [(table.where(row), reason) for row, reason in sorted({**labels, **texts, **blank}.items())]
    if kinds > 1 or blanks or bad.count:
        for where, reason in faults:
            bad.add(where, reason, "")
        bad.settle(tables["train"].source)


def _label_faults(table: Table, columns: Columns, args: DataArguments) -> dict[int, str]:
    return faulty_labels(table, columns.label, args.problem_type, args.label_delimiter)


def _text_faults(table: Table, columns: Columns) -> tuple[dict[int, str], dict[int, str]]:
    """Rows whose text is missing or no string; and rows where it is blank, on either side of a pair."""
    faults: dict[int, str] = {}
    blanks: dict[int, str] = {}
    sides = [(columns.texts, TEXT_FLAG)]
    sides += [((columns.text_pair,), PAIR_FLAG)] if columns.text_pair is not None else []
    for names, flag in sides:
        blank = [True] * len(table)
        for name in names:
            for row, cell in enumerate(table.column(name, flag)):
                if not isinstance(cell, str):
                    faults[row] = not_a_text(name, flag, cell)
                elif blank[row]:
                    blank[row] = is_blank(cell)
        named = " and ".join(map(repr, names))
        for row in (row for row, is_so in enumerate(blank) if is_so and row not in faults):
            blanks[row] = (
                f"the text in column {named} ({flag}) is blank; write it, or drop the row, as --skip_bad_rows does in training."
            )
    return faults, blanks


def _without_bad(table: Table, columns: Columns, args: DataArguments) -> Table:
    """The table without the rows that have no text or label; those become `rejected`."""
    no_text, blank = _text_faults(table, columns)
    faults = {**_label_faults(table, columns, args), **no_text, **blank}
    if not faults:
        return table
    left = [row for row in range(len(table)) if row not in faults]
    if not left:
        row, reason = next(iter(faults.items()))
        raise DataError(f"{table.source}: no row is left; all are refused, as {table.where(row)}: {reason}")
    rejected = [
        BadRow(table.where(row), faults[row], str({name: table.columns[name][row] for name in columns.used}))
        for row in sorted(faults)
    ]
    return replace(table.take(left), rejected=[*table.rejected, *rejected])


def _kept_columns(tables: dict[str, Table], columns: Columns, args: DataArguments) -> dict[str, str]:
    """Columns that go along with the rows: which source each is of, and which group."""
    kept = {}
    if args.group_column is not None:
        tables["train"].column(args.group_column, "--group_column")
        kept["group"] = args.group_column
    several = any(table.parts for table in tables.values())
    for split, table in list(tables.items()):
        if several and SOURCE not in table.columns:
            (title,) = source_names([table.source])
            tables[split] = table.with_column(SOURCE, [title] * len(table))
    cells = tables["train"].columns.get(SOURCE)
    if (
        cells is not None
        and SOURCE not in columns.used
        and (several or 2 <= len(set(map(str, cells))) <= _MOST_SOURCES)
    ):
        kept["source"] = SOURCE
    return kept
