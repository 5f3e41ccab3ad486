"""Finding the columns of the text, its pair and the label.

By the flags, else by names and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from nlp_ft.data.readers.arrow_store import Store
from nlp_ft.data.readers.table import SOURCE, Table, are_texts
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

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
    if not labelled:
        return columns
    if not labels:
        labels, reason = _labels_by_values(table, [*texts, pair])
    if both := set(labels) & {*texts, pair}:
        raise DataError(f"{table.source}: column {both.pop()!r} is both text ({TEXT_FLAG}) and label ({LABEL_FLAG}).")
    if label_column_name is None and len(labels) == 1:
        _refuse_a_row_as_header(table, labels[0])
    if len(labels) == 1:
        distinct = _distinct(table.columns[labels[0]])
        notes.append(f'label column: "{labels[0]}" ({reason}; {distinct} distinct values in {len(table)} rows)')
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
        ons = [_as_flag(cell) for cell in cells]
        if None in ons:
            at = ons.index(None)
            raise DataError(
                f"{table.where(row)}: column {columns.labels[at]!r} holds {shown(cells[at])}; a column that is a class "
                "holds 1 where it applies, else 0."
            )
        store.add_object({columns.label: [at for at, on in enumerate(ons) if on]})
    table = table.with_column(columns.label, store.columns()[columns.label])
    return replace(table, class_names={**table.class_names, columns.label: list(columns.labels)})


def _as_flag(cell: object) -> bool | None:
    """A 0/1 cell as a boolean; None for any other."""
    return {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}.get(
        str(cell).strip().lower()
    )


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
        (text, pair), reason = named_pair, "by their names"
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
    """By name, else the string column whose cells are by far the longest."""
    named = _first_named(table, _TEXT_NAMES, taken)
    if named is not None:
        return named, "by its name"
    lengths = {
        name: sum(map(len, cells)) / len(cells)
        for name, cells in table.columns.items()
        if name not in (*taken, SOURCE) and not _is_id(name) and are_texts(cells)
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


def _labels_by_values(table: Table, taken: list[str | None]) -> tuple[tuple[str, ...], str]:
    """The only other column.

    Or all others, where all are 0/1; or the only one whose values recur.

    Values recur where there are at most 100 distinct ones, each twice on average.
    """
    left = [name for name in table.columns if name not in (*taken, SOURCE) and not _is_id(name)]
    if len(left) == 1:
        return (left[0],), "the only column left"
    if len(left) > 1 and all(_are_flags(table.columns[name]) for name in left):
        return tuple(left), "the columns left hold 0 and 1"
    recurring = [name for name in left if 2 <= _distinct(table.columns[name]) <= min(100, len(table) / 2)]
    if len(recurring) == 1:
        return (recurring[0],), "the only column whose values recur"
    why = f"{' and '.join(map(repr, recurring))} could all be labels" if recurring else "none looks like labels"
    raise DataError(
        f"{table.source}: no column is called label, and {why}; "
        f"name it with {LABEL_FLAG} (its columns are {_names(table)})."
    )


def _are_flags(cells: Sequence[object]) -> bool:
    return all(_as_flag(cell) is not None for cell in cells) and len({_as_flag(cell) for cell in cells}) == 2


def _distinct(cells: Iterable[object]) -> int:
    return len({repr(cell) for cell in cells})


def _is_id(name: str) -> bool:
    return name.lower() in _ID_NAMES or name.startswith("__")


def _refuse_a_row_as_header(table: Table, label: str) -> None:
    """A file without a header would lose its first row to it.

    That row's label then recurs below.
    """
    if any(cell == label for cell in table.columns[label]):
        raise DataError(
            f"{table.source}: the first line ({_names(table)}) looks like a row: {label!r} is also a label below it; "
            f"add a header line such as text,label (or name the column with {LABEL_FLAG})."
        )


def _names(table: Table) -> str:
    return ", ".join(shown(name).strip("'") if len(name) > 38 else name for name in table.columns)
