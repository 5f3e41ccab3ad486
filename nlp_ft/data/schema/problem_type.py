"""Detecting the problem type from a label column, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from nlp_ft.data.schema.label_cells import LabelColumn, as_float, is_number
from nlp_ft.errors import ConfigError, DataError

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
_MOST_INTEGER_CLASSES = 20


@dataclass(frozen=True)
class Problem:
    """The kind of problem, and the sentence that says why."""

    kind: str
    reason: str


def find_problem(column: LabelColumn, requested: str | None = None) -> Problem:
    """The problem type of a label column.

    `requested` (--problem_type) has the last word.

    Lists are multi-label, and so are `a;b` strings whose parts recombine: at least two parts of combined cells, and
    half of them all, occur in another distinct cell too. Fractions are regression. Integers are classes if there are
    two distinct ones, or up to 20 that occur twice on average; else regression. Other strings and booleans are classes.
    Raises: DataError where nearly every row holds another string, which is no label; ConfigError for another kind given.
    """
    if requested is not None:
        if requested not in (SINGLE, MULTI, REGRESSION):
            raise ConfigError(f"--problem_type must be {SINGLE}, {MULTI} or {REGRESSION}, got {requested}.")
        return Problem(requested, "given by --problem_type")
    values = [value for value in column.values if value != ""]
    override = "--problem_type overrides"
    if column.kind == "list":
        return Problem(MULTI, f'"{column.name}" holds lists ({override})')
    if column.kind == "number":
        return _number_problem(column.name, [as_float(value) for value in values], override)
    distinct = Counter(values)
    if column.kind == "string" and column.order is None:
        if _recombine(distinct):
            return Problem(MULTI, f'"{column.name}" holds names joined by ";" that recombine ({override})')
        if len(distinct) > 20 and len(distinct) > len(values) / 2:
            raise DataError(_too_many(column, len(distinct)))
    return Problem(SINGLE, f'"{column.name}" holds {len(distinct)} distinct {column.kind}s ({override})')


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


def _recombine(distinct: Iterable[str]) -> bool:
    cells = [frozenset(split_names(value)) for value in distinct]
    seen_in = Counter(part for cell in cells for part in cell)
    combined = {part for cell in cells if len(cell) > 1 for part in cell}
    recurring = [part for part in combined if seen_in[part] > 1]
    return "" not in combined and len(recurring) >= 2 and 2 * len(recurring) >= len(combined)


def split_names(cell: str) -> list[str]:
    """`a; b` to ["a", "b"]."""
    return [part.strip() for part in cell.split(";")] if cell else []
