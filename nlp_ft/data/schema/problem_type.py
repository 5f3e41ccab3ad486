"""Detecting the problem type from a label column, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from nlp_ft.data.schema.joined_labels import SEMICOLON, delimiter_in, find_delimiter, quoted
from nlp_ft.data.schema.label_cells import LabelColumn, as_float
from nlp_ft.data.schema.label_numbers import is_number
from nlp_ft.errors import ConfigError, DataError

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
_MOST_INTEGER_CLASSES = 20


@dataclass(frozen=True)
class Problem:
    """The kind of problem, and the sentence that says why.

    `delimiter`: what joins the names of a multi-label cell, where they are joined.
    """

    kind: str
    reason: str
    delimiter: str | None = None


def find_problem(
    column: LabelColumn,
    requested: str | None = None,
    delimiter: str | None = None,
    others: Iterable[LabelColumn] = (),
) -> Problem:
    """The problem type of a label column.

    `requested` (--problem_type) has the last word; `delimiter` (--label_delimiter) is that of multi-label strings.

    Lists are multi-label, unless each of them, in the `others` (the columns of the other splits) too, holds one name. So are
    strings such as `a;b` or `a, b` whose parts recombine (see `find_delimiter`).

    Fractions are regression. Integers are classes if there are
    two distinct ones, or up to 20 that occur twice on average; else regression. Other strings and booleans are classes.
    Raises: DataError where nearly every row holds another string, which is no label; ConfigError for another kind given.
    """
    if requested is not None:
        if requested not in (SINGLE, MULTI, REGRESSION):
            raise ConfigError(f"--problem_type must be {SINGLE}, {MULTI} or {REGRESSION}, got {requested}.")
        return _requested(column, requested, delimiter)
    if delimiter is not None:
        idle = "" if _occurs(delimiter, column) else ", though no cell holds it"
        return Problem(MULTI, f"--label_delimiter {delimiter!r} is given{idle}", delimiter)
    values = [value for value in column.values if value != ""]
    override = "--problem_type overrides"
    if column.kind == "list":
        return _list_problem(column, others, override)
    if column.kind == "number":
        return _number_problem(column.name, [as_float(value) for value in values], override)
    distinct = Counter(values)
    if column.kind == "string" and column.order is None:
        if (joined := find_delimiter(distinct)) is not None:
            return Problem(
                MULTI, f'"{column.name}" holds names joined by {quoted(joined)} that recombine ({override})', joined
            )
        if len(distinct) > 20 and len(distinct) > len(values) / 2:
            raise DataError(_too_many(column, len(distinct)))
    return Problem(SINGLE, f'"{column.name}" holds {len(distinct)} distinct {column.kind}s ({override})')


def _occurs(delimiter: str, column: LabelColumn) -> bool:
    cells = (name for value in column.values for name in (value if isinstance(value, list) else [value]))
    return any(delimiter in str(name) for name in cells)


def _requested(column: LabelColumn, kind: str, delimiter: str | None) -> Problem:
    reason = "given by --problem_type"
    if kind != MULTI or delimiter is not None or column.kind == "list":
        return Problem(kind, reason, delimiter)
    distinct = set(column.names())
    found = find_delimiter(distinct) or delimiter_in(distinct) or SEMICOLON
    if found != SEMICOLON:
        reason += f"; its names are joined by {quoted(found)} (--label_delimiter overrides)"
    return Problem(kind, reason, found)


def _list_problem(column: LabelColumn, others: Iterable[LabelColumn], override: str) -> Problem:
    if not all(each.names_one_each() for each in (column, *others)):
        return Problem(MULTI, f'"{column.name}" holds lists ({override})')
    joined = None if column.order is not None else find_delimiter({names[0] for names in column.values})
    if joined is not None:
        reason = f'the lists of "{column.name}" hold names joined by {quoted(joined)} that recombine ({override})'
        return Problem(MULTI, reason, joined)
    if len(column.values) < 2:
        return Problem(MULTI, f'"{column.name}" holds lists ({override})')
    return Problem(SINGLE, f'each row has exactly one of the labels of "{column.name}" ({override})')


def _too_many(column: LabelColumn, distinct: int) -> str:
    """Error for a column of too many classes.

    It names the one string that spoils a column of numbers, or says that the column holds no labels.
    """
    others = [row for row, value in enumerate(column.values) if value and not is_number(value)]
    if len(others) < len(column.values) / 2:
        value = column.values[others[0]]
        return (
            f"{column.where(others[0])}: label {value!r} in column {column.name!r} is not a number, as most are; "
            "correct it, or insist with --problem_type."
        )
    return (
        f"{column.table.source}: column {column.name!r} holds {distinct} distinct strings in {len(column.values)} "
        "rows, too many to be labels; name another with --label_column_name, or insist with --problem_type."
    )


def _number_problem(name: str, numbers: list[float], override: str) -> Problem:
    distinct = len(set(numbers))
    if not all(number.is_integer() for number in numbers):
        return Problem(REGRESSION, f'"{name}" holds numbers with fractions ({override})')
    if distinct <= 2 or (distinct <= _MOST_INTEGER_CLASSES and distinct <= len(numbers) / 2):
        return Problem(SINGLE, f'"{name}" holds {distinct} distinct whole numbers in {len(numbers)} rows ({override})')
    return Problem(
        REGRESSION,
        f'"{name}" holds {distinct} distinct whole numbers in {len(numbers)} rows, too many for classes ({override})',
    )
