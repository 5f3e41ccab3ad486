"""From sources to rows with numbered labels.

Columns are found, bad rows set aside, the problem and its classes settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nlp_ft.data.readers.bad_rows import BadRow
from nlp_ft.data.readers.table import SOURCE, Table, not_a_text, source_names
from nlp_ft.data.readers.table_reader import Source
from nlp_ft.data.rows import Rows, rows_of
from nlp_ft.data.schema.columns import PAIR_FLAG, TEXT_FLAG, Columns, find_columns, with_label
from nlp_ft.data.schema.encode_labels import class_names, listed, number_targets, targets
from nlp_ft.data.schema.label_cells import faulty_labels, read_label_column
from nlp_ft.data.schema.problem_type import find_problem
from nlp_ft.data.sources import read_sources
from nlp_ft.data.text import counted
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


def read_rows(args: DataArguments, frames: Mapping[str, Source] | None = None) -> Labelled:
    """Read what the arguments (or `frames`, by split) name.

    Raises: DataError, ConfigError.
    """
    tables, notes = read_sources(args, frames)
    columns = find_columns(
        tables["train"],
        args.text_column_names,
        args.text_pair_column_name,
        args.label_column_name,
        delimiter=args.text_column_delimiter,
    )
    tables = {split: with_label(table, columns) for split, table in tables.items()}
    if args.skip_bad_rows:
        tables = {split: _without_bad(table, columns, args.problem_type) for split, table in tables.items()}
    label_columns = {split: read_label_column(table, columns.label) for split, table in tables.items()}
    problem = find_problem(label_columns["train"], args.problem_type)
    named = {split: targets(column, problem.kind) for split, column in label_columns.items()}
    labels = class_names(label_columns["train"], named["train"], problem.kind)
    notes += [*columns.notes, f"problem: {problem.kind}, because {problem.reason}"]
    notes += [f"labels: {listed(labels)}"] if labels else []
    kept = _kept_columns(tables, columns, args)
    rows = {}
    for split, table in tables.items():
        numbers = number_targets(label_columns[split], named[split], labels, problem.kind)
        rows[split] = rows_of(
            table, columns, numbers, problem.kind, {k: v for k, v in kept.items() if v in table.columns}
        )
        notes.append(f"{split}: {counted(len(table), 'row')} of {table.source}{_left_out(table)}")
    return Labelled(tables, rows, columns, problem.kind, labels, notes)


def _left_out(table: Table) -> str:
    """`; 3 rows left out (--skip_bad_rows)`, or nothing."""
    return f"; {counted(len(table.rejected), 'row')} left out (--skip_bad_rows)" if table.rejected else ""


def _without_bad(table: Table, columns: Columns, problem_type: str | None) -> Table:
    """The table without the rows that have no text or label; those become `rejected`."""
    faults = faulty_labels(table, columns.label, problem_type)
    texts = [(name, TEXT_FLAG) for name in columns.texts]
    texts += [(columns.text_pair, PAIR_FLAG)] if columns.text_pair is not None else []
    for name, flag in texts:
        for row, cell in enumerate(table.column(name, flag)):
            if not isinstance(cell, str):
                faults[row] = not_a_text(name, flag, cell)
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
