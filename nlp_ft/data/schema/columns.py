"""Finding the columns of the text, its pair and the label.

By the flags, else by names and values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from nlp_ft.data.readers.arrow_store import Store
from nlp_ft.data.readers.table import SOURCE, Table, are_texts
from nlp_ft.data.schema.headers import TEXT_FLAG, TEXT_NAMES, refuse_a_row_as_header, refuse_a_text_as_header
from nlp_ft.data.schema.label_candidates import (
    LABEL_FLAG,
    as_flag,
    column_names,
    distinct,
    is_id,
    labels_by_values,
)
from nlp_ft.data.text import shown, split_by_words
from nlp_ft.errors import DataError

PAIR_FLAG = "--text_pair_column_name"
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
_LOOKED_AT = 1000  # rows by which it is told whether a column holds sentences


@dataclass(frozen=True)
class Columns:
    """Names of the columns in use, and why each was taken.

    Several `texts` are joined by `delimiter`. Several `labels` are 0/1 columns of which each is a class.
    """

    texts: tuple[str, ...]
    text_pair: str | None
    labels: tuple[str, ...]
    delimiter: str = " "
    notes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The column that holds the labels, once `with_label` has put it there."""
        return ",".join(self.labels)

    @property
    def used(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*self.texts, *([self.text_pair] if self.text_pair is not None else []), *self.labels)


def find_columns(
    table: Table,
    text_column_names: str | None,
    text_pair_column_name: str | None,
    label_column_name: str | None,
    *,
    labelled: bool = True,
    delimiter: str | None = None,
) -> Columns:
    """Take the named columns, and find those that are not named.

    Without `labelled` no label column is looked for.

    delimiter: what joins several text columns; without one, two are a sentence pair.
    Raises: DataError where a named column does not exist, or where nothing tells which column is meant.
    """
    labels, reason = _given_labels(table, label_column_name), f"given by {LABEL_FLAG}"
    if not labels:
        named = _first_named(table, _LABEL_NAMES, [*_split(text_column_names), text_pair_column_name])
        labels, reason = (named,) if named is not None else (), "by its name"
    elif labelled:
        for name in labels:
            table.column(name, LABEL_FLAG)
    texts, pair, notes = _text_columns(table, text_column_names, text_pair_column_name, labels, delimiter)
    columns = Columns(texts, pair, (), " " if delimiter is None else delimiter, notes)
    if (label_column_name if labelled else text_column_names) is None:
        others = labels or [name for name in table.columns if name not in (*texts, pair)]
        refuse_a_row_as_header(table, others, [*texts, pair], labelled=labelled)
    if not labelled:
        if text_column_names is None:
            refuse_a_text_as_header(table, texts[0])
        return columns
    if not labels:
        labels, reason = labels_by_values(table, [*texts, pair])
    if both := set(labels) & {*texts, pair}:
        raise DataError(f"{table.source}: column {both.pop()!r} is both text ({TEXT_FLAG}) and label ({LABEL_FLAG}).")
    if len(labels) == 1:
        values = f"{distinct(table.columns[labels[0]])} distinct values in {len(table)} rows"
        notes.append(f'label column: "{labels[0]}" ({reason}; {values})')
    else:
        notes.append(f"label columns: {', '.join(labels)}, a class each ({reason}; 1 where it applies)")
    return replace(columns, labels=labels)


def with_label(table: Table, columns: Columns) -> Table:
    """The table with its 0/1 label columns as one column of lists.

    As it is where the labels stand in one column.

    Raises: DataError for a cell that is neither 0 nor 1.
    """
    if len(columns.labels) == 1:
        return table
    flags = [table.column(name, LABEL_FLAG) for name in columns.labels]
    store = Store([columns.label])
    for row, cells in enumerate(zip(*flags, strict=True)):
        ons = [as_flag(cell) for cell in cells]
        if None in ons:
            at = ons.index(None)
            raise DataError(
                f"{table.where(row)}: column {columns.labels[at]!r} holds {shown(cells[at])}; a column that is a class "
                "holds 1 where it applies, else 0."
            )
        store.add_object({columns.label: [at for at, on in enumerate(ons) if on]})
    table = table.with_column(columns.label, store.columns()[columns.label])
    return replace(table, class_names={**table.class_names, columns.label: list(columns.labels)})


def _split(names: str | None) -> list[str]:
    return [] if names is None else [part.strip() for part in names.split(",")]


def _given_labels(table: Table, names: str | None) -> tuple[str, ...]:
    """Label columns that a flag names.

    `a` is a label column, `a,b` are two that are classes, unless a column is itself called `a,b`.
    """
    if names is None:
        return ()
    return (names,) if names in table.columns or "," not in names else tuple(_split(names))


def _text_columns(
    table: Table, names: str | None, pair: str | None, labels: tuple[str, ...], delimiter: str | None
) -> tuple[tuple[str, ...], str | None, list[str]]:
    """(texts, pair, notes)."""
    if names is not None:
        texts, pair, reason = _given_texts(table, names, pair, delimiter)
    elif pair is None and (named_pair := _named_pair(table, labels)):
        (text, pair), reason = named_pair, f"by their names; {TEXT_FLAG} names others"
        texts = (text,)
    else:
        text, reason = _find_text(table, [*labels, pair])
        texts = (text,)
    for name in texts:
        table.column(name, TEXT_FLAG)
    if pair is not None:
        table.column(pair, PAIR_FLAG)
    if pair in texts:
        raise DataError(f"{table.source}: column {pair!r} is both text ({TEXT_FLAG}) and pair ({PAIR_FLAG}).")
    named = " + ".join(f'"{name}"' for name in texts)
    if pair is not None:
        return texts, pair, [f'text columns: {named} and "{pair}" as a sentence pair ({reason})']
    if len(texts) > 1:
        return texts, None, [f"text columns: {named} joined by {' ' if delimiter is None else delimiter!r} ({reason})"]
    return texts, None, [f"text column: {named} ({reason})"]


def _given_texts(
    table: Table, names: str, pair: str | None, delimiter: str | None
) -> tuple[tuple[str, ...], str | None, str]:
    """Text columns that a flag names.

    `a` is a text, `a,b` a pair or (with a delimiter, or a third) joined, unless a column is itself called `a,b`.
    """
    if names in table.columns or "," not in names:
        return (names,), pair, f"given by {TEXT_FLAG}" + (f" and {PAIR_FLAG}" if pair else "")
    parts = _split(names)
    if len(parts) == 2 and pair is None and delimiter is None:
        return (parts[0],), parts[1], f"two names in {TEXT_FLAG}; --text_column_delimiter joins them instead"
    return tuple(parts), pair, f"{len(parts)} names in {TEXT_FLAG}" + (f", and {PAIR_FLAG}" if pair else "")


def _named_pair(table: Table, labels: tuple[str, ...]) -> tuple[str, str] | None:
    lower = {name.lower(): name for name in table.columns if name not in labels}
    for first, second in _PAIR_NAMES:
        if first in lower and second in lower:
            return lower[first], lower[second]
    return None


def _first_named(table: Table, wanted: tuple[str, ...], taken: list[str | None]) -> str | None:
    lower = {name.lower(): name for name in reversed(table.columns) if name not in taken}
    return next((lower[name] for name in wanted if name in lower), None)


def _find_text(table: Table, taken: list[str | None]) -> tuple[str, str]:
    """By name, else the string column whose cells are by far the longest; prose before links and codes."""
    texts = {
        name: cells
        for name, cells in table.columns.items()
        if name not in (*taken, SOURCE) and are_texts(cells) and not is_id(table, name)
    }
    lengths = {name: sum(map(len, cells)) / len(cells) for name, cells in texts.items()}
    prose = [name for name, cells in texts.items() if _is_prose(cells)]
    links = [name for name, cells in texts.items() if prose and _are_links(cells)]
    named = _first_named(table, TEXT_NAMES, [*taken, *links])
    if named is not None:
        longer = [name for name in prose if lengths[name] > 2 * lengths.get(named, math.inf)]
        hint = f'; --text_column_names {longer[0]} takes the longer "{longer[0]}"' if longer else ""
        return named, f"by its name{hint}"
    ranked = sorted(prose or lengths, key=lambda name: -lengths[name])
    if not ranked:
        raise DataError(
            f"{table.source}: no column holds texts; its columns are {column_names(table)}. Name one with {TEXT_FLAG}."
        )
    if len(ranked) == 1:
        if len(lengths) > 1:
            return ranked[0], f"the only column of sentences; {TEXT_FLAG} names another"
        return ranked[0], "the only column of strings left"
    if lengths[ranked[0]] < 2 * lengths[ranked[1]]:
        raise DataError(
            f"{table.source}: columns {ranked[0]!r} and {ranked[1]!r} hold texts of like length; "
            f"name the one to classify with {TEXT_FLAG} (its columns are {column_names(table)})."
        )
    mean = f"{lengths[ranked[0]]:.0f} characters on average"
    return ranked[0], f"the longest strings, {mean}; {TEXT_FLAG} names another"


def _is_prose(cells: Sequence[str]) -> bool:
    """Whether most cells are of several words and no links, by the first ones that are not blank."""
    some = [cell for cell in islice(iter(cells), _LOOKED_AT) if cell.strip()]
    return 2 * sum(len(split_by_words(cell)) > 1 and not _is_link(cell) for cell in some) > len(some)


def _are_links(cells: Sequence[str]) -> bool:
    some = [cell for cell in islice(iter(cells), _LOOKED_AT) if cell.strip()]
    return 2 * sum(map(_is_link, some)) > len(some)


def _is_link(cell: str) -> bool:
    first, *others = cell.split()
    return not others and ("://" in first or first.startswith("www."))
