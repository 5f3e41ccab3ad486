"""Which column holds the labels, or which columns are a class each, where no name says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from nlp_ft.data.readers.table import SOURCE, Table
from nlp_ft.data.schema.joined_labels import find_delimiter, split_names
from nlp_ft.data.schema.label_lists import flags_of, unpacked
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

LABEL_FLAG = "--label_column_name"
_ID_NAMES = ("", "id", "idx", "index")
_ID_ENDINGS = ("_id", " id", "uuid", "guid")
_MOST_CLASSES = 100
_NAMED = 10  # columns that a question names
_SAMPLE = 20_000  # rows by which it is told whether cells hold several names
_LOOKED_AT = 1000  # rows by which the kind of a column's cells is told
_MARK_WORDS = """
    train training test split fold valid validation dev verified checked reviewed annotated gold flagged flag deleted
    duplicate seen used active locked public hidden skipped rejected accepted unclear confident sample selected"""
_MARKS = frozenset(_MARK_WORDS.split())  # in names of columns that say something about the row, not about its text


class Candidates(NamedTuple):
    """Columns that are a class each: those that surely are, and those that may be something else, with the reason."""

    sure: list[str]
    doubtful: list[str]
    reason: str


def labels_by_values(table: Table, taken: list[str | None]) -> tuple[tuple[str, ...], str]:
    """The only other column that can hold labels.

    Or all others, where all are 0/1; or the only one whose values recur.

    Values recur where there are at most 100 distinct ones, each twice on average; of lists the names in them count.

    Raises: DataError where none, or more than one choice, is left.
    """
    others = [name for name in table.columns if name not in (*taken, SOURCE) and not is_id(table, name)]
    left = [name for name in others if _can_be_labels(table.columns[name])] or others
    if len(left) == 1:
        why = "the only column left" if len(others) == 1 else "the only column left that can hold labels"
        return (left[0],), f"{why}; {LABEL_FLAG} names another"
    flags = [name for name in left if are_flags(table.columns[name])]
    if len(flags) == len(left) > 1 or (len(flags) > 1 and all(n in flags or _is_constant(table, n) for n in left)):
        found = _classes(table, flags, [name for name in left if name not in flags])
        if not found.doubtful:
            return tuple(left), f"the columns left hold 0 and 1; {LABEL_FLAG} names others"
        raise DataError(_ask_which(table, found))
    recurring = [
        name for name in left if 2 <= _distinct_names(table.columns[name]) <= min(_MOST_CLASSES, len(table) / 2)
    ]
    if len(recurring) == 1:
        return (recurring[0],), f"the only column whose values recur; {LABEL_FLAG} names another"
    more = f" and {len(recurring) - _NAMED} more" if len(recurring) > _NAMED else ""
    named = " and ".join(map(repr, recurring[:_NAMED])) + more
    why = f"{named} could all be labels" if recurring else "none looks like labels"
    several = _classes(table, flags, []).sure if len(flags) > 1 else []
    classes = f"; several of 0 and 1 are named as in {LABEL_FLAG} {','.join(several)}" if several else ""
    raise DataError(
        f"{table.source}: no column is called label, and {why}; "
        f"name it with {LABEL_FLAG} (its columns are {column_names(table)}){classes}."
    )


def as_flag(cell: object) -> bool | None:
    """A 0/1 cell as a boolean; None for any other."""
    return {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}.get(
        str(cell).strip().lower()
    )


def are_flags(cells: Sequence[object]) -> bool:
    """Whether a column holds 0 and 1, in one of the ways to write them, and both of them."""
    return all(as_flag(cell) is not None for cell in cells) and len({as_flag(cell) for cell in cells}) == 2


def distinct(cells: Iterable[object]) -> int:
    """Number of distinct cells."""
    return len({repr(cell) for cell in cells})


def is_id(table: Table, name: str) -> bool:
    """Whether a column numbers or names the rows: by its name, or by that and as many values as rows."""
    lower = name.lower()
    if lower in _ID_NAMES or name.startswith("__"):
        return True
    return (lower.endswith(_ID_ENDINGS) or lower.startswith("unnamed: 0")) and distinct(table.columns[name]) == len(
        table
    )


def column_names(table: Table) -> str:
    """The names of the columns, as an error lists them."""
    return ", ".join(shown(name).strip("'") if len(name) > 38 else name for name in table.columns)


def _classes(table: Table, flags: list[str], constant: list[str]) -> Candidates:
    """Columns of 0 and 1 as classes; doubtful are those that are written otherwise, called otherwise or constant."""
    ways: dict[str, list[str]] = {}
    for name in flags:
        ways.setdefault(_way(table.columns[name]), []).append(name)
    if len(ways) > 1:
        most = max(ways, key=lambda way: (len(ways[way]), way != "True and False"))
        doubtful = [name for name in flags if name not in ways[most]]
        other = next(way for way in ways if way != most)
        return Candidates(ways[most], doubtful, f"{other}, where the others hold {most}")
    for is_mark in (_says_of_the_row, _asks):
        marks = [name for name in flags if is_mark(name)]
        if marks and len(marks) < len(flags):
            return Candidates([name for name in flags if name not in marks], marks, "named unlike the others")
    return Candidates(flags, constant, "the same in every row")


def _way(cells: Sequence[object]) -> str:
    text = {str(cell).strip().lower() for cell in islice(iter(cells), _LOOKED_AT)}
    if text & {"true", "false"}:
        return "True and False"
    return "0.0 and 1.0" if text & {"0.0", "1.0"} else "0 and 1"


def _says_of_the_row(name: str) -> bool:
    return bool(_MARKS & set(_words(name)))


def _asks(name: str) -> bool:
    return _words(name)[0] in ("is", "has", "was")


def _words(name: str) -> list[str]:
    return name.lower().replace("-", "_").replace(" ", "_").split("_")


def _is_constant(table: Table, name: str) -> bool:
    cells = table.columns[name]
    return as_flag(cells[0]) is not None and distinct(cells) == 1


def _ask_which(table: Table, found: Candidates) -> str:
    every = [name for name in table.columns if name in {*found.sure, *found.doubtful}]
    doubtful = " and ".join(map(repr, found.doubtful))
    columns, classes = ("column", "a class") if len(found.doubtful) == 1 else ("columns", "classes")
    return (
        f"{table.source}: {columns} {doubtful} ({found.reason}) may not be {classes}; say which columns are, with {LABEL_FLAG} "
        f"{','.join(found.sure)} or {LABEL_FLAG} {','.join(every)}."
    )


def _can_be_labels(cells: Sequence[object]) -> bool:
    """Whether the first cells that are not null are strings, numbers, lists of names, or objects of 0 and 1."""
    some = [cell for cell in islice(iter(cells), _LOOKED_AT) if cell is not None]
    return bool(some) and all(map(_is_label, some))


def _is_label(cell: object) -> bool:
    if isinstance(cell, list):
        return all(isinstance(part, str | int) or part in (0.0, 1.0) for part in cell)
    return flags_of(cell) if isinstance(cell, dict) else isinstance(cell, str | bool | int | float)


def _distinct_names(cells: Sequence[object]) -> int:
    """Number of distinct labels: cells, or the names in them where they hold several."""
    filled = [cell for cell in cells if cell is not None]
    lists, _ = unpacked(filled)
    if filled and all(isinstance(cell, list) or cell is None for cell in lists):
        return distinct(part for cell in lists for part in cell or ())
    strings = set(islice((cell for cell in filled if isinstance(cell, str)), _SAMPLE))
    if len(strings) <= _MOST_CLASSES or (delimiter := find_delimiter(strings)) is None:
        return distinct(cells)
    return len({part for cell in strings for part in split_names(cell, delimiter)})
