"""Which column is the text, which its pair, which the label: what the flags say, else what names and values show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nlp_ft.data.table import Table, shown
from nlp_ft.errors import ConfigError, DataError

TEXT_FLAG, PAIR_FLAG, LABEL_FLAG = "--text_column_names", "--text_pair_column_name", "--label_column_name"
_PAIR_NAMES = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "answer"),
    ("query", "document"),
    ("query", "passage"),
)
_TEXT_NAMES = ("text", "sentence", "review", "content", "document", "comment", "tweet", "message", "body", "utterance")
_LABEL_NAMES = (
    "label",
    "labels",
    "target",
    "class",
    "category",
    "sentiment",
    "intent",
    "emotion",
    "rating",
    "stars",
    "score",
)
_ID_NAMES = ("", "id", "idx", "index")


@dataclass(frozen=True)
class Columns:
    """Names of the columns in use, and why each was taken."""

    text: str
    text_pair: str | None
    label: str | None
    notes: list[str] = field(default_factory=list)


def find_columns(
    table: Table,
    text_column_names: str | None,
    text_pair_column_name: str | None,
    label_column_name: str | None,
    *,
    labelled: bool = True,
) -> Columns:
    """Take the named columns, and find those that are not named; without `labelled` no label column is looked for.

    Raises: DataError where a named column does not exist, or where nothing tells which column is meant.
    """
    label, reason = label_column_name, f"given by {LABEL_FLAG}"
    if label is None:
        label, reason = _first_named(table, _LABEL_NAMES, [text_column_names, text_pair_column_name]), "by its name"
    elif labelled:
        table.column(label, LABEL_FLAG)
    text, pair, notes = _text_columns(table, text_column_names, text_pair_column_name, label)
    if not labelled:
        return Columns(text, pair, None, notes)
    if label is None:
        label, reason = _label_by_values(table, [text, pair])
    if label in (text, pair):
        raise DataError(f"{table.source}: column {label!r} is both text ({TEXT_FLAG}) and label ({LABEL_FLAG}).")
    if label_column_name is None:
        _refuse_a_row_as_header(table, label)
    distinct = _distinct(table.columns[label])
    notes.append(f'label column: "{label}" ({reason}; {distinct} distinct values in {len(table)} rows)')
    return Columns(text, pair, label, notes)


def _text_columns(
    table: Table, names: str | None, pair: str | None, label: str | None
) -> tuple[str, str | None, list[str]]:
    """(text, pair, notes)."""
    if names is not None:
        text, pair, reason = _given_text(table, names, pair)
    elif pair is None and (found := _named_pair(table, label)):
        (text, pair), reason = found, "by their names"
    else:
        text, reason = _find_text(table, [label, pair])
    for name, flag in ((text, TEXT_FLAG), (pair, PAIR_FLAG)):
        if name is not None:
            table.column(name, flag)
    if pair is None:
        return text, None, [f'text column: "{text}" ({reason})']
    if text == pair:
        raise DataError(f"{table.source}: column {text!r} is both text ({TEXT_FLAG}) and pair ({PAIR_FLAG}).")
    return text, pair, [f'text columns: "{text}" and "{pair}" as a sentence pair ({reason})']


def _given_text(table: Table, names: str, pair: str | None) -> tuple[str, str | None, str]:
    """`a` is a text, `a,b` a pair, unless a column is itself called `a,b`."""
    if names in table.columns or "," not in names:
        return names, pair, f"given by {TEXT_FLAG}" + (f" and {PAIR_FLAG}" if pair else "")
    parts = [part.strip() for part in names.split(",")]
    if len(parts) > 2 or pair is not None:
        raise ConfigError(
            f"{TEXT_FLAG} takes one column, or two for a sentence pair; got {names}"
            + (f" and {PAIR_FLAG} {pair}." if pair is not None else ".")
        )
    return parts[0], parts[1], f"two names in {TEXT_FLAG}"


def _named_pair(table: Table, label: str | None) -> tuple[str, str] | None:
    lower = {name.lower(): name for name in table.columns if name != label}
    for first, second in _PAIR_NAMES:
        if first in lower and second in lower:
            return lower[first], lower[second]
    return None


def _first_named(table: Table, wanted: tuple[str, ...], taken: list[str | None]) -> str | None:
    lower = {name.lower(): name for name in reversed(table.columns) if name not in taken}
    return next((lower[name] for name in wanted if name in lower), None)


def _find_text(table: Table, taken: list[str | None]) -> tuple[str, str]:
    """By name, else the string column whose cells are by far the longest."""
    named = _first_named(table, _TEXT_NAMES, taken)
    if named is not None:
        return named, "by its name"
    lengths = {
        name: sum(map(len, cells)) / len(cells)
        for name, cells in table.columns.items()
        if name not in taken and not _is_id(name) and all(isinstance(cell, str) for cell in cells)
    }
    ranked = sorted(lengths, key=lambda name: -lengths[name])
    if not ranked:
        raise DataError(
            f"{table.source}: no column holds texts; its columns are {_names(table)}. Name one with {TEXT_FLAG}."
        )
    if len(ranked) == 1:
        return ranked[0], "the only column of strings left"
    if lengths[ranked[0]] < 2 * lengths[ranked[1]]:
        raise DataError(
            f"{table.source}: columns {ranked[0]!r} and {ranked[1]!r} hold texts of like length; "
            f"name the one to classify with {TEXT_FLAG} (its columns are {_names(table)})."
        )
    return ranked[0], f"the longest strings, {lengths[ranked[0]]:.0f} characters on average"


def _label_by_values(table: Table, taken: list[str | None]) -> tuple[str, str]:
    """The only other column, else the only one whose values recur: at most 100 distinct ones, each twice on average."""
    left = [name for name in table.columns if name not in taken and not _is_id(name)]
    if len(left) == 1:
        return left[0], "the only column left"
    recurring = [name for name in left if 2 <= _distinct(table.columns[name]) <= min(100, len(table) / 2)]
    if len(recurring) == 1:
        return recurring[0], "the only column whose values recur"
    why = f"{' and '.join(map(repr, recurring))} could all be labels" if recurring else "none looks like labels"
    raise DataError(
        f"{table.source}: no column is called label, and {why}; "
        f"name it with {LABEL_FLAG} (its columns are {_names(table)})."
    )


def _distinct(cells: list[Any]) -> int:
    return len({repr(cell) for cell in cells})


def _is_id(name: str) -> bool:
    return name.lower() in _ID_NAMES or name.startswith("__")


def _refuse_a_row_as_header(table: Table, label: str) -> None:
    """A file without a header would lose its first row to it; that row's label then recurs below."""
    if label in [cell for cell in table.columns[label] if isinstance(cell, str)]:
        raise DataError(
            f"{table.source}: the first line ({_names(table)}) looks like a row: {label!r} is also a label below it; "
            f"add a header line such as text,label (or name the column with {LABEL_FLAG})."
        )


def _names(table: Table) -> str:
    return ", ".join(shown(name).strip("'") if len(name) > 38 else name for name in table.columns)
